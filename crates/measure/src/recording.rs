//! Recorded frames and their times.

use std::sync::Arc;
use std::time::Duration;

use linerate_traffic::mac::MacAddr;

/// Smallest frame, without check sequence; shorter ones are padded with zeros, as a port does.
const SHORTEST_BYTES: usize = 60;
/// Largest frame, without check sequence.
pub const LONGEST_BYTES: usize = 9600;
/// Longest gap between two frames that is accepted unchanged.
pub const LONGEST_GAP: Duration = Duration::from_secs(3600);

/// A frame and its recording time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedFrame {
    /// Recording time, from an arbitrary zero.
    pub at: Duration,
    /// The frame without check sequence.
    pub bytes: Box<[u8]>,
}

/// Frames to replay; at least one.
#[derive(Debug, Clone)]
pub struct Recording {
    frames: Vec<RecordedFrame>,
}

/// Error: a recording that cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// The recording is empty.
    #[error("no frame in it")]
    Empty,
    /// A frame of an impossible length.
    #[error(
        "frame {number} has {bytes} bytes, outside 14…{LONGEST_BYTES}; leave such frames out with \
         `tshark -r IN -Y 'frame.len >= 14 && frame.len <= 1514' -w OUT`, or record without segmentation offload \
         (ethtool -K IFACE gro off gso off tso off)"
    )]
    Length {
        /// Number of the frame, from 1.
        number: usize,
        /// Length of the frame.
        bytes: usize,
    },
    /// The frames have no usable times.
    #[error(
        "{frames} frames without different times, so the recording has no pace of its own; give one with --rate"
    )]
    NoTimes {
        /// Number of frames.
        frames: usize,
    },
    /// A gap that suggests a wrong time stamp.
    #[error(
        "frame {number} comes {gap:?} after the one before it, more than {LONGEST_GAP:?}: a stray time stamp? Give a pace with --rate, or \
         shorten such gaps with --max-gap (--max-gap 1s); a --max-gap above the gap takes it as it is"
    )]
    Gap {
        /// The frame after the gap, from 1, in the order of times.
        number: usize,
        /// The gap.
        gap: Duration,
    },
}

/// The timing of a recording at its own pace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Time from the first frame to the last.
    pub length: Duration,
    /// Mean packets per second in that time.
    pub mean_pps: f64,
    /// Longest time between two frames.
    pub longest_gap: Duration,
}

impl Recording {
    /// Sorts the frames by their times.
    ///
    /// # Errors
    /// When there are no frames, or one is not an Ethernet frame.
    pub fn new(mut frames: Vec<RecordedFrame>) -> Result<Self, RecordingError> {
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

    /// The recording's own pace. Gaps longer than `longest_gap` are shortened to it; without it, a gap of
    /// more than [`LONGEST_GAP`] is an error.
    ///
    /// # Errors
    /// When all times are equal, or a gap is too long.
    pub fn keep_pace(&mut self, longest_gap: Option<Duration>) -> Result<Pace, RecordingError> {
        let (mut before, mut now, mut longest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        for (i, frame) in self.frames.iter_mut().enumerate() {
            let at = frame.at;
            let gap = if i == 0 { Duration::ZERO } else { at - before };
            if longest_gap.is_none() && gap > LONGEST_GAP {
                return Err(RecordingError::Gap { number: i + 1, gap });
            }
            let gap = longest_gap.map_or(gap, |most| gap.min(most));
            (before, now, longest) = (at, now + gap, longest.max(gap));
            frame.at = now;
        }
        if now.is_zero() {
            return Err(RecordingError::NoTimes { frames: self.frames.len() });
        }
        let mean_pps = (self.frames.len() - 1) as f64 / now.as_secs_f64();
        Ok(Pace { length: now, mean_pps, longest_gap: longest })
    }

    /// Length of each frame in bytes, without check sequence, in the order of their times.
    pub fn lengths_bytes(&self) -> impl Iterator<Item = u32> {
        self.frames.iter().map(|frame| frame.bytes.len() as u32)
    }

    /// Departure time of each frame, in seconds from the first one.
    pub fn departures_s(&self) -> Vec<f64> {
        let first = self.frames.first().map_or(Duration::ZERO, |frame| frame.at);
        self.frames.iter().map(|frame| (frame.at - first).as_secs_f64()).collect()
    }

    /// Sets the Ethernet addresses of every frame.
    pub fn readdress(&mut self, source: MacAddr, destination: MacAddr) {
        for frame in &mut self.frames {
            frame.bytes[0..6].copy_from_slice(&destination.0);
            frame.bytes[6..12].copy_from_slice(&source.0);
        }
    }

    /// The frames, as shared memory.
    pub fn into_frames(self) -> Arc<[Box<[u8]>]> {
        self.frames.into_iter().map(|frame| frame.bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(at_ms: u64, bytes: usize) -> RecordedFrame {
        RecordedFrame { at: Duration::from_millis(at_ms), bytes: vec![7; bytes].into() }
    }

    #[test]
    fn a_pace_needs_different_times_and_plausible_gaps() {
        let of = |times: &[u64]| Recording::new(times.iter().map(|at| frame(*at, 64)).collect()).unwrap();
        let hour = 3_600_000;
        for times in [&[5][..], &[5, 5, 5]] {
            let error = of(times).keep_pace(None).unwrap_err();
            assert_eq!(error, RecordingError::NoTimes { frames: times.len() });
            assert!(error.to_string().contains("--rate"), "{error}");
        }
        let mut steady = of(&[1000, 1500, 2000, 3000]);
        let pace = steady.keep_pace(None).unwrap();
        assert_eq!((pace.length, pace.longest_gap), (Duration::from_secs(2), Duration::from_secs(1)));
        assert!((pace.mean_pps - 1.5).abs() < 1e-9);
        let years = 20 * 365 * 24 * hour;
        let error = of(&[0, years, years + 10]).keep_pace(None).unwrap_err();
        assert!(
            error.to_string().contains("frame 2 comes") && error.to_string().contains("--max-gap"),
            "{error}"
        );
        let mut stray = of(&[0, years, years + 10]);
        let pace = stray.keep_pace(Some(Duration::from_secs(1))).unwrap();
        assert_eq!(pace.length, Duration::from_millis(1010));
        assert_eq!(stray.departures_s(), [0.0, 1.0, 1.01]);
        let long = of(&[0, 2 * hour]).keep_pace(Some(Duration::from_secs(3 * 3600))).unwrap();
        assert_eq!(long.length, Duration::from_secs(7200));
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
