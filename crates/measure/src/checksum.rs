//! The Internet checksum (RFC 1071), in whole machine words.
//!
//! The one's-complement sum does not depend on byte order, so this module works on little-endian words and
//! stores the result little-endian. Wider words are added with end-around carry and folded once at the end.

/// Adds two partial sums with end-around carry.
#[inline(always)]
pub fn add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u64::from(carry)
}

/// Folds a partial sum to 16 bits.
#[inline(always)]
pub fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    fold_small(sum as u32)
}

/// Folds a 32-bit sum to 16 bits: adds both halves to each other; the upper half of the result includes the
/// carry of the lower.
#[inline(always)]
fn fold_small(sum: u32) -> u16 {
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// Contribution of a number to a sum, in the frame's byte order.
#[inline(always)]
pub fn word(number: u16) -> u64 {
    u16::from_le_bytes(number.to_be_bytes()).into()
}

/// Sum over bytes; an odd last byte is padded with zero.
#[inline]
pub fn sum(bytes: &[u8]) -> u64 {
    // Halves of 64-bit words: the sums of a frame of any size fit into 64 bits, and the additions are
    // independent of each other.
    let (words, rest) = bytes.as_chunks::<8>();
    let (low, high) = words.iter().fold((0u64, 0u64), |(low, high), word| {
        let word = u64::from_le_bytes(*word);
        (low + (word & 0xffff_ffff), high + (word >> 32))
    });
    add(low + high, last_word(rest))
}

/// Fewer than eight bytes as a word, without a call to copy them.
#[inline(always)]
fn last_word(bytes: &[u8]) -> u64 {
    let (mut word, mut bits, mut rest) = (0, 0, bytes);
    if let Some((four, more)) = rest.split_first_chunk() {
        (word, bits, rest) = (u64::from(u32::from_le_bytes(*four)), 32, more);
    }
    if let Some((two, more)) = rest.split_first_chunk() {
        word |= u64::from(u16::from_le_bytes(*two)) << bits;
        (bits, rest) = (bits + 16, more);
    }
    match rest {
        [one, ..] => word | u64::from(*one) << bits,
        [] => word,
    }
}

/// The checksum field for a sum: its complement.
#[inline(always)]
pub fn finish(sum: u64) -> [u8; 2] {
    (!fold(sum)).to_le_bytes()
}

/// The UDP or TCP checksum field for a sum of a few words plus one. The field is never zero: UDP reads zero
/// as "no checksum" and sends the other representation of zero instead (RFC 768), which TCP accepts as well.
///
/// The complement of the sum `s` is `-(s + 1)`. A zero sum may appear as 0 or as 0xffff; plus one and folded,
/// it is 1 in both cases, and the field is 0xffff.
#[inline(always)]
pub fn finish_transport(sum_and_one: u32) -> [u8; 2] {
    fold_small(sum_and_one).wrapping_neg().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_match_the_example_of_rfc_1071() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&data)).to_le_bytes(), [0xdd, 0xf2]);
        assert_eq!(finish(sum(&data)), [0x22, 0x0d]);
    }

    #[test]
    fn wide_words_sum_like_narrow_ones() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..if cfg!(miri) { 50 } else { 1000 } {
            let words: Vec<u64> = (0..4)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    seed
                })
                .collect();
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            let wide = words.iter().fold(0, |total, word| add(total, *word));
            // 0 and 0xffff both represent zero in one's complement.
            assert_eq!(fold(wide) % 0xffff, fold(sum(&bytes)) % 0xffff);
        }
        for edge in [u64::MAX, 0xffff_ffff, 0x1_ffff_ffff, 0xffff_0001] {
            assert_eq!(fold(edge) % 0xffff, (edge % 0xffff) as u16);
        }
    }
}
