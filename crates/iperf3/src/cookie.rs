//! The name of a test, which its client chooses: 36 characters and a zero.

use std::fmt;

/// Bytes of a cookie on the wire.
pub const COOKIE_BYTES: usize = 37;
/// Characters that iperf3 takes.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A cookie.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cookie([u8; COOKIE_BYTES]);

impl Cookie {
    /// A cookie from random bytes.
    pub fn from_random(random: &[u8; COOKIE_BYTES - 1]) -> Self {
        let mut bytes = [0; COOKIE_BYTES];
        for (byte, random) in bytes.iter_mut().zip(random) {
            *byte = ALPHABET[usize::from(random % 32)];
        }
        Self(bytes)
    }

    /// Reads a cookie; `None` unless it is printable characters that end with a zero. Older versions put the
    /// host's name and the time into it.
    pub fn from_bytes(bytes: [u8; COOKIE_BYTES]) -> Option<Self> {
        let [text @ .., end] = &bytes;
        let length = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        let (name, rest) = text.split_at(length);
        let printable = name.iter().all(u8::is_ascii_graphic);
        (*end == 0 && !name.is_empty() && printable && rest.iter().all(|byte| *byte == 0))
            .then_some(Self(bytes))
    }

    /// The bytes on the wire.
    pub fn to_bytes(self) -> [u8; COOKIE_BYTES] {
        self.0
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte));
        f.write_str(&name.collect::<String>())
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_cookies() {
        let cookie = Cookie::from_random(&std::array::from_fn(|index| index as u8 * 7));
        assert_eq!(Cookie::from_bytes(cookie.to_bytes()), Some(cookie));
        assert_eq!(cookie.to_string().len(), 36);
        let with = |text: &[u8]| {
            let mut bytes = [0; COOKIE_BYTES];
            bytes[..text.len()].copy_from_slice(text);
            Cookie::from_bytes(bytes).map(|cookie| cookie.to_string())
        };
        assert_eq!(with(b"host.1700000000.123"), Some("host.1700000000.123".to_owned()));
        assert_eq!(with(b""), None);
        assert_eq!(with(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), None);
        assert_eq!(with(&[b'a'; COOKIE_BYTES]), None, "without its end");
        assert_eq!(with(b"a\0b"), None);
    }
}
