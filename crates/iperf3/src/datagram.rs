//! Datagrams: the greeting of a stream, and the header of each datagram.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | seconds of the sender's clock, big-endian |
//! | 4 | 4 | microseconds |
//! | 8 | 4 or 8 | number, from 1; 8 bytes when the client asked for it |

/// Bytes of a header with numbers of 32 and of 64 bits.
pub const HEADER_BYTES: (usize, usize) = (12, 16);

/// First datagram of a stream: a number in the byte order of the client's machine.
const GREETINGS: [(u32, u32); 2] = [(0x3637_3839, 0x3938_3736), (123_456_789, 987_654_321)];

/// The greeting of a stream.
pub fn greeting() -> [u8; 4] {
    GREETINGS[0].0.to_ne_bytes()
}

/// The answer to a greeting, in its byte order and of its version; `None` when the datagram is no greeting.
pub fn answer(datagram: &[u8]) -> Option<[u8; 4]> {
    let bytes: [u8; 4] = datagram.try_into().ok()?;
    GREETINGS.iter().find_map(|(greeting, answer)| {
        if bytes == greeting.to_le_bytes() {
            return Some(answer.to_le_bytes());
        }
        (bytes == greeting.to_be_bytes()).then(|| answer.to_be_bytes())
    })
}

/// True when a datagram answers a greeting, in any byte order.
pub fn is_answer(datagram: &[u8]) -> bool {
    let Ok(bytes) = <[u8; 4]>::try_from(datagram) else { return false };
    GREETINGS.iter().any(|(_, answer)| bytes == answer.to_le_bytes() || bytes == answer.to_be_bytes())
}

/// Header of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Time of sending in microseconds of the sender's clock, whose origin is not known.
    pub sent_us: u64,
    /// Number of the datagram, from 1.
    pub number: u64,
}

impl Header {
    /// Reads a header; `None` when the datagram is too short, or its microseconds are no part of a second.
    #[inline]
    pub fn read(datagram: &[u8], wide: bool) -> Option<Self> {
        let four = |at: usize| datagram.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four));
        let (seconds, micros) = (four(0)?, four(4)?);
        let number = if wide {
            datagram.get(8..)?.first_chunk().map(|eight| u64::from_be_bytes(*eight))?
        } else {
            four(8)?.into()
        };
        (micros < 1_000_000)
            .then_some(Self { sent_us: u64::from(seconds) * 1_000_000 + u64::from(micros), number })
    }

    /// Writes a header into the beginning of a datagram that has room for it.
    #[inline]
    pub fn write(self, datagram: &mut [u8], wide: bool) {
        let (seconds, micros) = ((self.sent_us / 1_000_000) as u32, (self.sent_us % 1_000_000) as u32);
        let mut bytes = [0; HEADER_BYTES.1];
        bytes[..4].copy_from_slice(&seconds.to_be_bytes());
        bytes[4..8].copy_from_slice(&micros.to_be_bytes());
        let length = if wide {
            bytes[8..].copy_from_slice(&self.number.to_be_bytes());
            HEADER_BYTES.1
        } else {
            bytes[8..12].copy_from_slice(&(self.number as u32).to_be_bytes());
            HEADER_BYTES.0
        };
        if let Some(head) = datagram.get_mut(..length) {
            head.copy_from_slice(&bytes[..length]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_are_answered_in_their_own_form() {
        assert!(answer(&greeting()).is_some_and(|answer| is_answer(&answer)));
        assert_eq!(answer(b"9876"), Some(*b"6789"), "a little-endian client");
        assert_eq!(answer(b"6789"), Some(*b"9876"), "a big-endian client");
        assert_eq!(answer(&123_456_789u32.to_le_bytes()), Some(987_654_321u32.to_le_bytes()));
        for no in [&b""[..], b"678", b"67890", b"GET "] {
            assert_eq!(answer(no), None);
            assert!(!is_answer(no));
        }
    }

    #[test]
    fn headers_survive_the_wire() {
        for (wide, number) in [(true, u64::MAX), (true, 1), (false, 1), (false, u64::from(u32::MAX))] {
            let header = Header { sent_us: 4_000_000_000_999_999, number };
            let mut datagram = [0xaa; 20];
            header.write(&mut datagram, wide);
            assert_eq!(Header::read(&datagram, wide), Some(header));
            let end = if wide { 16 } else { 12 };
            assert!(datagram[end..].iter().all(|byte| *byte == 0xaa));
        }
        assert_eq!(Header::read(&[0; 15], true), None);
        assert_eq!(Header::read(&[0xff; 16], true), None, "no part of a second");
        let mut short = [1; 8];
        Header { sent_us: 0, number: 1 }.write(&mut short, false);
        assert_eq!(short, [1; 8]);
    }
}
