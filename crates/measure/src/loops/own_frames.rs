//! Frames of the port's own, such as answers to ARP, on their way to the lcores that send. They are rare: a loop calls here only when one waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Frames that wait to be sent, at most.
const MOST_WAITING: usize = 64;

/// A queue that sends frames beside test traffic.
pub trait OwnFrames {
    /// Sends a frame; false when the port does not take it or was not set up for it.
    fn send_own(&mut self, frame: &[u8]) -> bool;
}

/// Frames for a sending lcore, and what became of them.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<Vec<Vec<u8>>>,
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl Outbox {
    /// Adds a frame, as long as there is room.
    pub(super) fn put(&self, frame: Vec<u8>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST_WAITING {
            waiting.push(frame);
        }
    }

    /// Sends what waits.
    pub(super) fn send(&self, queue: &mut impl OwnFrames) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for frame in waiting {
            if queue.send_own(&frame) {
                self.frames.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
            }
        }
    }

    /// Frames sent so far, and their bytes.
    pub fn sent(&self) -> (u64, u64) {
        (self.frames.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}
