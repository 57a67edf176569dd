//! Frames: a JSON object after its length, a big-endian number of 4 bytes.

/// Longest parameters that a server of iperf3 accepts.
pub const MOST_PARAMETERS: u32 = 8 * 1024;
/// Longest results that are accepted: those of thousands of streams, and a server's output.
pub const MOST_RESULTS: u32 = 4 << 20;

/// Error: a frame that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a JSON object of {length} bytes was announced, and {most} are accepted")]
pub struct TooLong {
    /// Announced bytes.
    pub length: u32,
    /// Accepted bytes.
    pub most: u32,
}

/// The length that a frame's first bytes announce.
///
/// # Errors
/// When it is more than `most`.
pub fn length(bytes: [u8; 4], most: u32) -> Result<usize, TooLong> {
    let length = u32::from_be_bytes(bytes);
    if length > most { Err(TooLong { length, most }) } else { Ok(length as usize) }
}

/// A frame with this text.
pub fn frame(json: &str) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_a_limit() {
        assert_eq!(frame("{}"), [0, 0, 0, 2, b'{', b'}']);
        assert_eq!(length([0, 0, 0x20, 0], MOST_PARAMETERS), Ok(8192));
        let error = length([0xff; 4], MOST_PARAMETERS).unwrap_err().to_string();
        assert_eq!(error, "a JSON object of 4294967295 bytes was announced, and 8192 are accepted");
    }
}
