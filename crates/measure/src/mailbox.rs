//! Frames that lcores receive and that are not test traffic, on their way to the thread that answers for the port's addresses.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Frames that wait to be looked at, at most; what comes beyond is dropped, and whoever asked asks again.
const ROOM: usize = 64;
/// Longest frame that is looked at, in bytes without check sequence.
const LONGEST: usize = 1514;
/// A frame as it was received.
#[derive(Clone, Copy)]
pub struct Caught {
    bytes: [u8; LONGEST],
    length: u16,
}

impl std::fmt::Debug for Caught {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caught").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Caught {
    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Where receiving lcores put frames that may ask for the port's addresses. Neither waits nor allocates.
#[derive(Debug, Clone)]
pub struct Mailbox(SyncSender<Caught>);

impl Mailbox {
    /// A mailbox, and where its frames come out.
    pub fn new() -> (Self, Receiver<Caught>) {
        let (put, take) = sync_channel(ROOM);
        (Self(put), take)
    }

    /// Puts a copy of the frame in.
    #[cold]
    #[inline(never)]
    pub fn put(&self, frame: &[u8]) {
        if frame.len() <= LONGEST {
            let mut caught = Caught { bytes: [0; LONGEST], length: frame.len() as u16 };
            caught.bytes[..frame.len()].copy_from_slice(frame);
            let _ = self.0.try_send(caught);
        }
    }
}
