//! Interfaces of a loop's queues and clock. The DPDK queues implement them, and so does the in-memory link of
//! the tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::frame::FrameHead;
use crate::recognise::PortVerdict;

/// A clock that counts ticks.
pub trait Clock {
    /// The current tick.
    fn ticks(&self) -> u64;
    /// Ticks per second.
    fn tick_hz(&self) -> u64;
    /// Pauses briefly in a loop without work. How depends on the other users of the CPU
    /// ([`Idle`](crate::idle::Idle)).
    fn relax(&self) {
        std::hint::spin_loop();
    }
    /// Longest time between two polls of an idle loop that counts as its own, in seconds; in a longer one,
    /// another thread used the CPU.
    fn longest_look_s(&self) -> f64 {
        2e-6
    }
}

/// Frames to be sent. The burst owns their buffers: dropping it frees them.
pub trait FrameBurst {
    /// Number of frames.
    fn len(&self) -> usize;
    /// True when it holds no frame.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Bytes of all frames, without frame check sequence.
    fn bytes(&self) -> u64;
    /// The writable part of each frame.
    fn heads(&mut self) -> impl Iterator<Item = &mut FrameHead>;
}

/// Queue that a transmitting loop sends to.
pub trait TransmitQueue {
    /// Burst that the queue sends.
    type Burst: FrameBurst + Default;
    /// Adds `count` frames to the burst, or none when buffers are short, and returns the number added. Each
    /// buffer holds the template, or an earlier frame made from it; `write` returns the frame's length in
    /// bytes.
    fn build(&mut self, burst: &mut Self::Burst, count: usize, write: impl FnMut(&mut [u8]) -> u16) -> usize;
    /// Hands the burst to the port and returns how many frames it accepted; the others stay in the burst.
    fn transmit(&mut self, burst: &mut Self::Burst) -> usize;
}

/// A frame as received.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// First segment.
    pub bytes: &'a [u8],
    /// Length of the whole frame in bytes, without frame check sequence.
    pub length: u32,
    /// The port's checksum verdict.
    pub verdict: PortVerdict,
}

/// Received frames. The burst owns their buffers: dropping it frees them.
pub trait ReceivedBurst {
    /// The frames.
    fn frames(&self) -> impl Iterator<Item = Received<'_>>;
}

/// Received frames that can be forwarded.
pub trait TurnableBurst {
    /// Number of frames.
    fn len(&self) -> usize;
    /// True when it holds no frame.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Bytes of all frames, without frame check sequence.
    fn bytes(&self) -> u64;
    /// Passes each frame's first segment to `keep`, which may change it, and frees the frames for which
    /// `keep` returns false.
    fn retain(&mut self, keep: impl FnMut(&mut [u8]) -> bool);
}

/// Queue that forwards received frames.
pub trait ForwardQueue {
    /// Burst that the queue forwards.
    type Burst;
    /// Hands the burst to the port and returns how many frames it accepted; the others stay in the burst.
    fn forward(&mut self, burst: &mut Self::Burst) -> usize;
    /// Frees the buffers of sent frames, for drivers that keep them until their slots are reused.
    fn reclaim(&mut self);
}

/// Queue that a receiving loop reads from.
pub trait ReceiveQueue {
    /// Burst that the queue returns.
    type Burst: ReceivedBurst + Default;
    /// Replaces the burst's frames by the waiting ones, and returns their number.
    fn receive(&mut self, burst: &mut Self::Burst) -> usize;
}

/// Number of frames taken from each queue of an lcore. The lcore writes the numbers once per burst; any
/// thread may read them.
pub type QueueFrames = Arc<[CachePadded<AtomicU64>]>;

/// Several receive queues that one lcore serves in turn.
#[derive(Debug)]
pub struct RoundRobin<Q> {
    queues: Vec<Q>,
    frames: QueueFrames,
    next: usize,
}

impl<Q> RoundRobin<Q> {
    /// Combines these queues.
    pub fn new(queues: Vec<Q>) -> Self {
        Self { frames: queues.iter().map(|_| CachePadded::default()).collect(), queues, next: 0 }
    }

    /// Number of frames received from each queue, updated during reception.
    pub fn frames(&self) -> QueueFrames {
        self.frames.clone()
    }

    /// Returns the queues.
    pub fn into_queues(self) -> Vec<Q> {
        self.queues
    }
}

impl<Q: ReceiveQueue> ReceiveQueue for RoundRobin<Q> {
    type Burst = Q::Burst;

    #[inline(always)]
    fn receive(&mut self, burst: &mut Self::Burst) -> usize {
        for _ in 0..self.queues.len() {
            let at = self.next;
            self.next = if at + 1 == self.queues.len() { 0 } else { at + 1 };
            let count = self.queues[at].receive(burst);
            if count > 0 {
                let frames = &self.frames[at];
                frames.store(frames.load(Ordering::Relaxed) + count as u64, Ordering::Relaxed);
                return count;
            }
        }
        0
    }
}
