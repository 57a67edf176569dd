//! Frames gathered from a file, within bounds.

use std::time::Duration;

use super::error::{CaptureError, MOST_BYTES, MOST_FRAMES};
use super::{Capture, input::Input};
use crate::recording::{LONGEST_BYTES, RecordedFrame, Recording, RecordingError};
use std::io::Read;

/// A frame as its record in the file describes it.
pub(super) struct Frame<'a> {
    /// Nanoseconds since 1970; `None`: the record has no time.
    pub(super) at_ns: Option<i128>,
    /// The captured bytes.
    pub(super) data: &'a [u8],
    /// Length on the wire; it may exceed the captured length.
    pub(super) original: u32,
    /// Bytes of frame check sequence at the end.
    pub(super) fcs: u32,
}

/// Frames so far, and irregularities for the notes.
#[derive(Default)]
pub(super) struct Gathered {
    frames: Vec<(Option<i128>, Box<[u8]>)>,
    bytes: u64,
    /// Number of frames cut by the capture, and the first one: its number, captured and original length.
    cut: (u64, Option<(usize, usize, u32)>),
    /// Frames longer than their stated length.
    longer: u64,
    with_fcs: u64,
    timeless: u64,
    backwards: u64,
    /// Offset at which the file ends within a record.
    ends_at: Option<u64>,
}

impl Gathered {
    /// Number of the next frame, from 1.
    pub(super) fn next(&self) -> usize {
        self.frames.len() + 1
    }

    pub(super) fn add(&mut self, frame: &Frame<'_>) -> Result<(), CaptureError> {
        let number = self.next();
        let original = frame.original as usize;
        let mut bytes = frame.data.len().max(original);
        if frame.data.len() < original {
            self.cut.0 += 1;
            self.cut.1.get_or_insert((number, frame.data.len(), frame.original));
        }
        self.longer += u64::from(frame.data.len() > original);
        self.timeless += u64::from(frame.at_ns.is_none());
        if frame.fcs > 0 {
            self.with_fcs += 1;
            bytes = bytes.saturating_sub(frame.fcs as usize);
        }
        if bytes > LONGEST_BYTES {
            return Err(RecordingError::Length { number, bytes }.into());
        }
        self.bytes += bytes as u64;
        if number > MOST_FRAMES || self.bytes > MOST_BYTES {
            return Err(CaptureError::TooLarge);
        }
        let mut whole = frame.data[..frame.data.len().min(bytes)].to_vec();
        whole.resize(bytes, 0);
        let earlier = self.frames.last().is_some_and(|(last, _)| frame.at_ns < *last);
        self.backwards += u64::from(earlier);
        self.frames.push((frame.at_ns, whole.into()));
        Ok(())
    }

    /// Notes that the file ends within a record.
    pub(super) fn ends_early<R: Read>(&mut self, input: &Input<R>) {
        self.ends_at = Some(input.offset());
    }

    /// The recording, or the error.
    pub(super) fn finish(self, outcome: Result<(), CaptureError>) -> Result<Capture, CaptureError> {
        outcome?;
        if let (true, Some(offset)) = (self.frames.is_empty(), self.ends_at) {
            return Err(CaptureError::NoWholeFrame { offset });
        }
        let notes = self.notes();
        let timed = self.timeless == 0;
        let first = self.frames.iter().filter_map(|(at, _)| *at).min().unwrap_or(0);
        let since = |at: Option<i128>| {
            let ns = at.map_or(0, |at| u64::try_from(at - first).unwrap_or(u64::MAX));
            Duration::from_nanos(ns)
        };
        let frames = self
            .frames
            .into_iter()
            .map(|(at, bytes)| RecordedFrame { at: since(at.filter(|_| timed)), bytes })
            .collect();
        Ok(Capture { recording: Recording::new(frames)?, notes })
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let frames = |count: u64| if count == 1 { "1 frame".to_owned() } else { format!("{count} frames") };
        if let (count, Some((number, have, of))) = self.cut {
            notes.push(format!(
                "{} cut when recorded (frame {number} to {have} of {of} bytes): zeros stand for what is missing, so the \
                 checksums of these frames are wrong; record whole frames with tcpdump -s 0",
                were(count)
            ));
        }
        if self.longer > 0 {
            notes.push(format!("{} longer than the record says: sent as captured", were(self.longer)));
        }
        if self.with_fcs > 0 {
            notes.push(format!(
                "{} recorded with the frame check sequence: left out, because the port adds its own",
                were(self.with_fcs)
            ));
        }
        if self.timeless > 0 {
            notes.push(format!("{} recorded without a time", were(self.timeless)));
        }
        if self.backwards > 0 {
            notes.push(format!(
                "{} recorded behind a later one: all are sent in the order of their times",
                were(self.backwards)
            ));
        }
        if let Some(offset) = self.ends_at {
            notes.push(format!(
                "the file ends at byte {offset}, within a record: {} before it {} sent",
                frames(self.frames.len() as u64),
                if self.frames.len() == 1 { "is" } else { "are" }
            ));
        }
        notes
    }
}

fn were(count: u64) -> String {
    if count == 1 { "1 frame was".to_owned() } else { format!("{count} frames were") }
}
