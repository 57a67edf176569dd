//! Signals to the loops: begin, end, and a waiting frame of the port's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::own_frames::{Outbox, OwnFrames};

const WAIT: u8 = 0;
const GO: u8 = 1;
const STOP: u8 = 2;
/// Bits that hold the phase.
const PHASE: u8 = 3;
/// Bit that is set while a frame waits in the outbox. It is in the same word as the phase, so the loops see
/// it without another load.
const FRAMES: u8 = 4;

/// Signal to all loops of a trial to begin and to end. Clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<Word>);

#[derive(Debug, Default)]
struct Word {
    state: AtomicU8,
    /// Start time in ticks; loops wait until then.
    from: AtomicU64,
    outbox: Outbox,
}

impl Signal {
    /// Starts the loops at once, unless they were stopped.
    pub fn go(&self) {
        self.go_at(0);
    }

    /// Starts the loops when their clock reaches `ticks`, unless they were stopped.
    pub fn go_at(&self, ticks: u64) {
        self.0.from.store(ticks, Ordering::Relaxed);
        let begin = |state: u8| (state & PHASE == WAIT).then_some(state | GO);
        let _ = self.0.state.fetch_update(Ordering::Release, Ordering::Relaxed, begin);
    }

    /// Ends the loops at their next iteration.
    pub fn stop(&self) {
        let end = |state: u8| Some(state & !PHASE | STOP);
        let _ = self.0.state.fetch_update(Ordering::Release, Ordering::Relaxed, end);
    }

    /// True once the loops were stopped.
    #[inline(always)]
    pub fn stopped(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) & PHASE == STOP
    }

    /// True when a sending loop must interrupt its sending: it was stopped, or a frame of the port's own
    /// waits.
    #[inline(always)]
    pub fn calls(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) != GO
    }

    /// True when a frame of the port's own waits. For loops that check for the stop separately and receive no
    /// start signal.
    #[inline(always)]
    pub fn has_frames(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) & FRAMES != 0
    }

    /// Queues a frame of the port's own, which a loop sends.
    pub fn send(&self, frame: Vec<u8>) {
        self.0.outbox.put(frame);
        self.0.state.fetch_or(FRAMES, Ordering::Release);
    }

    /// Sends the waiting frames of the port's own.
    #[cold]
    #[inline(never)]
    pub fn send_waiting(&self, queue: &mut impl OwnFrames) {
        if self.has_frames() {
            self.0.state.fetch_and(!FRAMES, Ordering::Acquire);
            self.0.outbox.send(queue);
        }
    }

    /// Number of the port's own frames that the loops sent, and their bytes.
    pub fn own_frames(&self) -> (u64, u64) {
        self.0.outbox.sent()
    }

    /// True before the loops are started or stopped.
    pub fn is_silent(&self) -> bool {
        self.0.state.load(Ordering::Acquire) & PHASE == WAIT
    }

    /// True while the start time has not been reached, with the clock at `ticks`.
    #[inline(always)]
    pub fn waiting(&self, ticks: u64) -> bool {
        match self.0.state.load(Ordering::Acquire) & PHASE {
            WAIT => true,
            GO => ticks < self.0.from.load(Ordering::Relaxed),
            _ => false,
        }
    }
}
