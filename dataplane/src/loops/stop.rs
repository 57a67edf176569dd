//! The word to begin and the word to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const WAIT: u8 = 0;
const GO: u8 = 1;
const STOP: u8 = 2;

/// Tells all loops of a trial to begin and to end. Clones share the word.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<AtomicU8>);

impl Signal {
    /// Lets the loops begin, unless they were told to stop.
    pub fn go(&self) {
        let _ = self.0.compare_exchange(WAIT, GO, Ordering::Release, Ordering::Relaxed);
    }

    /// Lets the loops end at their next turn.
    pub fn stop(&self) {
        self.0.store(STOP, Ordering::Release);
    }

    /// True once told to stop.
    #[inline(always)]
    pub fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed) == STOP
    }

    /// True while not yet told to begin.
    #[inline(always)]
    pub fn waiting(&self) -> bool {
        self.0.load(Ordering::Acquire) == WAIT
    }
}
