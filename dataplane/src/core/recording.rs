//! Recorded frames and their times.

use std::sync::Arc;
use std::time::Duration;

use linerate_protocol::mac::MacAddr;

/// Smallest frame, without check sequence; shorter ones are padded with zeros, as a port would.
const SHORTEST_BYTES: usize = 60;
/// Largest frame, without check sequence.
const LONGEST_BYTES: usize = 9600;

/// A frame and when it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Time of the recording, from any zero.
    pub at: Duration,
    /// The frame without check sequence.
    pub bytes: Box<[u8]>,
}

/// Frames to be sent again; at least one.
#[derive(Debug, Clone)]
pub struct Recording {
    frames: Vec<Recorded>,
}

/// A recording that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// Nothing in it.
    #[error("no frame in it")]
    Empty,
    /// A frame of an impossible length.
    #[error("frame {number} has {bytes} bytes, outside 14…{LONGEST_BYTES}")]
    Length {
        /// Which, from 1.
        number: usize,
        /// Its length.
        bytes: usize,
    },
}

impl Recording {
    /// Puts the frames in the order of their times.
    ///
    /// # Errors
    /// When there is none, or one is no Ethernet frame.
    pub fn new(mut frames: Vec<Recorded>) -> Result<Self, RecordingError> {
        if frames.is_empty() {
            return Err(RecordingError::Empty);
        }
        for (number, frame) in (1..).zip(&mut frames) {
            let bytes = frame.bytes.len();
            if !(14..=LONGEST_BYTES).contains(&bytes) {
                return Err(RecordingError::Length { number, bytes });
            }
            if bytes < SHORTEST_BYTES {
                let mut padded = frame.bytes.to_vec();
                padded.resize(SHORTEST_BYTES, 0);
                frame.bytes = padded.into();
            }
        }
        frames.sort_by_key(|frame| frame.at);
        Ok(Self { frames })
    }

    /// Number of frames.
    pub fn count(&self) -> usize {
        self.frames.len()
    }

    /// Length of the longest frame in bytes, without check sequence.
    pub fn longest_bytes(&self) -> u32 {
        self.frames.iter().map(|frame| frame.bytes.len()).max().unwrap_or(0) as u32
    }

    /// Mean length of the frames in bytes, without check sequence.
    pub fn mean_bytes(&self) -> f64 {
        let total: usize = self.frames.iter().map(|frame| frame.bytes.len()).sum();
        total as f64 / self.frames.len().max(1) as f64
    }

    /// Length of each frame in bytes, without check sequence, in the order of their times.
    pub fn lengths_bytes(&self) -> impl Iterator<Item = u32> {
        self.frames.iter().map(|frame| frame.bytes.len() as u32)
    }

    /// When each frame leaves, in seconds from the first one.
    pub fn departures_s(&self) -> Vec<f64> {
        let first = self.frames.first().map_or(Duration::ZERO, |frame| frame.at);
        self.frames.iter().map(|frame| (frame.at - first).as_secs_f64()).collect()
    }

    /// Gives every frame these Ethernet addresses.
    pub fn readdress(&mut self, source: MacAddr, destination: MacAddr) {
        for frame in &mut self.frames {
            frame.bytes[0..6].copy_from_slice(&destination.0);
            frame.bytes[6..12].copy_from_slice(&source.0);
        }
    }

    /// The frames, to be shared.
    pub fn into_frames(self) -> Arc<[Box<[u8]>]> {
        self.frames.into_iter().map(|frame| frame.bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(at_ms: u64, bytes: usize) -> Recorded {
        Recorded { at: Duration::from_millis(at_ms), bytes: vec![7; bytes].into() }
    }

    #[test]
    fn frames_are_ordered_padded_and_bounded() {
        let recording = Recording::new(vec![frame(30, 100), frame(10, 14)]).unwrap();
        assert_eq!((recording.count(), recording.longest_bytes(), recording.mean_bytes()), (2, 100, 80.0));
        assert_eq!(recording.departures_s(), [0.0, 0.02]);
        let frames = recording.into_frames();
        assert_eq!((frames[0].len(), frames[0][13], frames[0][14]), (60, 7, 0));
        assert_eq!(Recording::new(Vec::new()).unwrap_err(), RecordingError::Empty);
        for bytes in [13, 9601] {
            let error = Recording::new(vec![frame(0, 64), frame(1, bytes)]).unwrap_err();
            assert_eq!(error, RecordingError::Length { number: 2, bytes });
        }
    }
}
