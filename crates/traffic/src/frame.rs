//! Frame sizes, and their overhead on the wire.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes of the frame check sequence, which the port appends and removes.
pub const FCS_BYTES: u32 = 4;
/// Overhead of a frame on the wire in bytes: preamble 7, start delimiter 1, inter-frame gap 12 (IEEE 802.3).
pub const WIRE_OVERHEAD_BYTES: u32 = 20;

/// Size of an Ethernet frame in bytes, frame check sequence included, as RFC 2544 counts it: 64…9000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schemars(!try_from, !into)]
pub struct FrameSize(#[schemars(range(min = 64, max = 9000))] u16);

impl FrameSize {
    /// The smallest frame, as a size.
    pub const MIN_FRAME: FrameSize = FrameSize(64);
    /// Bytes of the smallest frame without the frame check sequence.
    pub const MIN_FRAME_PORT_BYTES: usize = 60;
    /// Smallest Ethernet frame.
    pub const MIN: u32 = 64;
    /// Largest frame that profiles allow.
    pub const MAX: u32 = 9000;

    /// Checks the range 64…9000.
    pub fn new(bytes: u32) -> Result<Self, FrameSizeError> {
        match u16::try_from(bytes) {
            Ok(size) if (Self::MIN..=Self::MAX).contains(&bytes) => Ok(Self(size)),
            _ => Err(FrameSizeError(bytes.to_string())),
        }
    }

    /// Bytes with the frame check sequence.
    pub fn bytes(self) -> u32 {
        u32::from(self.0)
    }

    /// Bytes handed to the port: without the frame check sequence.
    pub fn port_bytes(self) -> u32 {
        self.bytes() - FCS_BYTES
    }

    /// Bits of this frame on the wire, with preamble, start delimiter and inter-frame gap.
    pub fn wire_bits(self) -> u32 {
        (self.bytes() + WIRE_OVERHEAD_BYTES) * 8
    }

    /// Frames per second that fill a link of `link_bps` bit/s (RFC 2544 appendix B).
    pub fn line_rate_pps(self, link_bps: u64) -> f64 {
        link_bps as f64 / f64::from(self.wire_bits())
    }
}

impl TryFrom<u32> for FrameSize {
    type Error = FrameSizeError;
    fn try_from(bytes: u32) -> Result<Self, Self::Error> {
        Self::new(bytes)
    }
}

impl From<FrameSize> for u32 {
    fn from(size: FrameSize) -> u32 {
        size.bytes()
    }
}

impl FromStr for FrameSize {
    type Err = FrameSizeError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<u32>().map_err(|_| FrameSizeError(text.to_owned())).and_then(Self::new)
    }
}

impl fmt::Display for FrameSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Error: a frame size that Ethernet or Linerate cannot send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("frame size '{0}' is not a whole number from 64 to 9000 (bytes, frame check sequence included)")]
pub struct FrameSizeError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_rates_are_those_of_the_textbook() {
        for (size, gbps, pps) in
            [(64, 10, 14_880_952), (64, 100, 148_809_523), (1518, 10, 812_743), (1518, 100, 8_127_438)]
        {
            let rate = FrameSize::new(size).unwrap().line_rate_pps(gbps * 1_000_000_000);
            assert_eq!(rate as u64, pps, "{size} B at {gbps} Gbit/s");
        }
    }

    #[test]
    fn sizes_outside_the_range_are_refused() {
        for bad in ["63", "9001", "-1", "64.5", "70000", "", "big"] {
            let message = bad.parse::<FrameSize>().unwrap_err().to_string();
            assert!(message.contains(&format!("'{bad}'")), "{message}");
        }
        assert_eq!("64".parse::<FrameSize>().unwrap().port_bytes(), 60);
    }
}
