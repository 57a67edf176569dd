//! The word to begin and the word to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const WAIT: u8 = 0;
const GO: u8 = 1;
const STOP: u8 = 2;

/// Tells all loops of a trial to begin and to end. Clones share the word.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<Word>);

#[derive(Debug, Default)]
struct Word {
    state: AtomicU8,
    /// Those told to begin wait until then, in ticks.
    from: AtomicU64,
}

impl Signal {
    /// Lets the loops begin at once, unless they were told to stop.
    pub fn go(&self) {
        self.go_at(0);
    }

    /// Lets the loops begin when their clock shows `ticks`, unless they were told to stop.
    pub fn go_at(&self, ticks: u64) {
        self.0.from.store(ticks, Ordering::Relaxed);
        let _ = self.0.state.compare_exchange(WAIT, GO, Ordering::Release, Ordering::Relaxed);
    }

    /// Lets the loops end at their next turn.
    pub fn stop(&self) {
        self.0.state.store(STOP, Ordering::Release);
    }

    /// True once told to stop.
    #[inline(always)]
    pub fn stopped(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) == STOP
    }

    /// True while nobody has said anything.
    pub fn is_silent(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == WAIT
    }

    /// True while the time to begin has not come, with the clock at `ticks`.
    #[inline(always)]
    pub fn waiting(&self, ticks: u64) -> bool {
        match self.0.state.load(Ordering::Acquire) {
            WAIT => true,
            GO => ticks < self.0.from.load(Ordering::Relaxed),
            _ => false,
        }
    }
}
