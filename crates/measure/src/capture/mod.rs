//! Captures of Ethernet frames, as tcpdump and Wireshark write them.
//!
//! pcap in both byte orders, with microseconds or nanoseconds, and pcapng with any number of sections and interfaces. What is odd and can
//! be read is read, and told in notes; what cannot be sent again is an error with a remedy.
//! Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.

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

/// A recording, and what is odd about the file it comes from.
#[derive(Debug, Clone)]
pub struct Capture {
    /// The frames and their times.
    pub recording: Recording,
    /// What the reader has put right, each in a sentence.
    pub notes: Vec<String>,
}

/// Reads a capture of Ethernet frames.
///
/// # Errors
/// When it is none, when it is damaged before its first frame, or when a frame cannot be sent again.
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
