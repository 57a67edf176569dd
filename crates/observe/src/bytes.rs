//! Words, lines and numbers of the kernel's text files, without allocation.

/// Lines, without their ends; the last one may lack its end.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// Words between spaces and tabs.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A decimal number that fills the word; `None` for anything else and beyond 64 bits.
pub fn decimal(word: &[u8]) -> Option<u64> {
    number(word, 10)
}

/// A hexadecimal number that fills the word.
pub fn hexadecimal(word: &[u8]) -> Option<u64> {
    number(word, 16)
}

fn number(word: &[u8], base: u32) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |value, byte| {
        let digit = char::from(*byte).to_digit(base)?;
        value.checked_mul(u64::from(base))?.checked_add(u64::from(digit))
    })
}

/// The number of `prefix` followed by digits, such as `CPU12`.
pub fn numbered(word: &[u8], prefix: &[u8]) -> Option<u32> {
    decimal(word.strip_prefix(prefix)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_their_word() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"-1", b"1x", b"18446744073709551616", b" 1"] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
        assert_eq!((hexadecimal(b"0000ff1A"), hexadecimal(b"g")), (Some(0xff1a), None));
        assert_eq!((numbered(b"CPU12", b"CPU"), numbered(b"CPU", b"CPU")), (Some(12), None));
    }

    #[test]
    fn lines_and_words_skip_what_is_empty() {
        assert_eq!(lines(b"a\n\nb").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(words(b"  a\tb  ").collect::<Vec<_>>(), [b"a", b"b"]);
    }
}
