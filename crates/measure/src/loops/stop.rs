//! The word to begin and the word to end, and that a frame of the port's own waits to be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::own_frames::{Outbox, OwnFrames};

const WAIT: u8 = 0;
const GO: u8 = 1;
const STOP: u8 = 2;
/// The bits that hold one of these.
const PHASE: u8 = 3;
/// A frame waits in the outbox: a bit of the same word, so that the loops see it without a further look.
const FRAMES: u8 = 4;

/// Tells all loops of a trial to begin and to end. Clones share the word.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<Word>);

#[derive(Debug, Default)]
struct Word {
    state: AtomicU8,
    /// Those told to begin wait until then, in ticks.
    from: AtomicU64,
    outbox: Outbox,
}

impl Signal {
    /// Lets the loops begin at once, unless they were told to stop.
    pub fn go(&self) {
        self.go_at(0);
    }

    /// Lets the loops begin when their clock shows `ticks`, unless they were told to stop.
    pub fn go_at(&self, ticks: u64) {
        self.0.from.store(ticks, Ordering::Relaxed);
        let begin = |state: u8| (state & PHASE == WAIT).then_some(state | GO);
        let _ = self.0.state.fetch_update(Ordering::Release, Ordering::Relaxed, begin);
    }

    /// Lets the loops end at their next turn.
    pub fn stop(&self) {
        let end = |state: u8| Some(state & !PHASE | STOP);
        let _ = self.0.state.fetch_update(Ordering::Release, Ordering::Relaxed, end);
    }

    /// True once told to stop.
    #[inline(always)]
    pub fn stopped(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) & PHASE == STOP
    }

    /// True when a loop that sends has something else to do than to go on: it was told to stop, or a frame of the port's own waits.
    #[inline(always)]
    pub fn calls(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) != GO
    }

    /// True when a frame of the port's own waits. For loops that look at the word to stop apart, and are never told to go.
    #[inline(always)]
    pub fn has_frames(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) & FRAMES != 0
    }

    /// Has the loops send a frame of the port's own.
    pub fn send(&self, frame: Vec<u8>) {
        self.0.outbox.put(frame);
        self.0.state.fetch_or(FRAMES, Ordering::Release);
    }

    /// Sends what waits of the port's own frames.
    #[cold]
    #[inline(never)]
    pub fn send_waiting(&self, queue: &mut impl OwnFrames) {
        if self.has_frames() {
            self.0.state.fetch_and(!FRAMES, Ordering::Acquire);
            self.0.outbox.send(queue);
        }
    }

    /// Frames of the port's own that were sent by the loops, and their bytes.
    pub fn own_frames(&self) -> (u64, u64) {
        self.0.outbox.sent()
    }

    /// True while the loops were told neither to begin nor to stop.
    pub fn is_silent(&self) -> bool {
        self.0.state.load(Ordering::Acquire) & PHASE == WAIT
    }

    /// True while the time to begin has not come, with the clock at `ticks`.
    #[inline(always)]
    pub fn waiting(&self, ticks: u64) -> bool {
        match self.0.state.load(Ordering::Acquire) & PHASE {
            WAIT => true,
            GO => ticks < self.0.from.load(Ordering::Relaxed),
            _ => false,
        }
    }
}
