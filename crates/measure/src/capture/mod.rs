//! Captures of Ethernet frames, in the formats of tcpdump and Wireshark.
//!
//! The reader supports pcap in both byte orders, with microseconds or nanoseconds, and pcapng with any number
//! of sections and interfaces. It corrects what it can and records each correction in a note; a capture that
//! cannot be replayed is an error with a remedy. Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.

mod error;
mod gathered;
mod input;
mod pcap;
mod pcapng;
#[cfg(test)]
mod tests;

use std::io::Read;

pub use error::CaptureError;
use gathered::Gathered;
use input::Input;

use super::recording::Recording;

/// A recording, and notes on its file.
#[derive(Debug, Clone)]
pub struct Capture {
    /// The frames and their times.
    pub recording: Recording,
    /// Corrections that the reader made, each in a sentence.
    pub notes: Vec<String>,
}

/// Reads a capture of Ethernet frames.
///
/// # Errors
/// When the file is not a capture, is damaged before its first frame, or holds a frame that cannot be sent.
pub fn read(reader: impl Read) -> Result<Capture, CaptureError> {
    let mut input = Input::new(reader);
    let mut gathered = Gathered::default();
    let magic: [u8; 4] = input.array()?.ok_or(CaptureError::TooShort)?;
    let outcome = match magic {
        pcapng::MAGIC => pcapng::read(&mut input, &mut gathered),
        _ => match pcap::Form::of(magic) {
            Some(form) => pcap::read(&mut input, form, &mut gathered),
            None => Err(error::unknown(&magic)),
        },
    };
    gathered.finish(outcome)
}
