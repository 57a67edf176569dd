//! First bytes of a stream, which say to which trial and stream it belongs.
//!
//! A TCP connection begins with a header; it is not part of the payload. A UDP stream begins with a datagram
//! that consists of a header; the accepting end answers it with a header of its own. The key comes from a
//! control connection, so streams of strangers and of earlier trials are told apart.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | the letters `LiSt`, in an answer `LiSa` |
//! | 4 | 4 | version, little-endian |
//! | 8 | 4 | number of the stream, little-endian |
//! | 12 | 4 | number of the path, little-endian |
//! | 16 | 16 | key of the trial |

use linerate_wire::streams::StreamKey;

/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 32;
const MAGIC: [u8; 4] = *b"LiSt";
const ANSWER: [u8; 4] = *b"LiSa";
const VERSION: u32 = 1;

/// Header of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) key: StreamKey,
    pub(crate) path: u32,
    pub(crate) stream: u32,
    /// True in an answer.
    pub(crate) answer: bool,
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(if self.answer { &ANSWER } else { &MAGIC });
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.stream.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.path.to_le_bytes());
        bytes[16..].copy_from_slice(&self.key.0);
        bytes
    }

    /// `None` when the bytes are no header of this version.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.try_into().ok()?;
        let answer = bytes.starts_with(&ANSWER);
        let number = |at: usize| bytes[at..].first_chunk().map(|four| u32::from_le_bytes(*four));
        if !(answer || bytes.starts_with(&MAGIC)) || number(4)? != VERSION {
            return None;
        }
        let key = StreamKey(*bytes.last_chunk()?);
        Some(Self { key, path: number(12)?, stream: number(8)?, answer })
    }

    /// The answer to this header.
    pub(crate) fn answered(self) -> [u8; HEADER_BYTES] {
        Self { answer: true, ..self }.to_bytes()
    }

    /// What the streams of a path have in common.
    pub(crate) fn name(self) -> (StreamKey, u32) {
        (self.key, self.path)
    }

    /// True when this can be the first byte of a header, and is none of a control line.
    pub(crate) fn begins(first: u8) -> bool {
        first == MAGIC[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_are_written() {
        for answer in [false, true] {
            let key = StreamKey(std::array::from_fn(|i| i as u8));
            let header = Header { key, path: 77, stream: 0x1234_5678, answer };
            let bytes = header.to_bytes();
            assert_eq!(Header::from_bytes(&bytes), Some(header));
            assert_eq!(Header::from_bytes(&header.answered()), Some(Header { answer: true, ..header }));
            assert_eq!(Header::from_bytes(&bytes[1..]), None);
            let other = {
                let mut other = bytes;
                other[4] = 9;
                other
            };
            assert_eq!(Header::from_bytes(&other), None, "another version");
        }
        assert_eq!(Header::from_bytes(&[b'{'; HEADER_BYTES]), None);
        assert!(Header::begins(b'L') && !Header::begins(b'{'));
    }
}
