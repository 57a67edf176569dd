//! The port's own frames, such as answers to ARP, on their way to a sending lcore. They are rare: a loop
//! calls this module only when one waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most frames that wait to be sent.
const MOST_WAITING: usize = 64;

/// A queue that sends frames besides test traffic.
pub trait OwnFrames {
    /// Sends a frame; false when the port does not accept it or is not set up for own frames.
    fn send_own(&mut self, frame: &[u8]) -> bool;
}

/// Frames for a sending lcore, and counters of those sent.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<Vec<Vec<u8>>>,
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl Outbox {
    /// Adds a frame, if there is room.
    pub(super) fn put(&self, frame: Vec<u8>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST_WAITING {
            waiting.push(frame);
        }
    }

    /// Sends the waiting frames.
    pub(super) fn send(&self, queue: &mut impl OwnFrames) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for frame in waiting {
            if queue.send_own(&frame) {
                self.frames.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
            }
        }
    }

    /// Number of frames sent so far, and their bytes.
    pub fn sent(&self) -> (u64, u64) {
        (self.frames.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}
