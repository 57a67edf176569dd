//! What a loop needs of a queue. The DPDK queues implement these, and so does the in-memory link of the tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::frame::FrameHead;
use crate::recognise::PortVerdict;

/// A clock that counts ticks.
pub trait Clock {
    /// Ticks now.
    fn ticks(&self) -> u64;
    /// Ticks per second.
    fn tick_hz(&self) -> u64;
    /// Lets a moment pass in a loop that has nothing to do. What fits depends on who else wants the CPU
    /// ([`Idle`](crate::idle::Idle)).
    fn relax(&self) {
        std::hint::spin_loop();
    }
    /// Longest time between two looks of a loop that has nothing to do, in seconds: what is longer was spent elsewhere, by another thread on
    /// the same CPU.
    fn longest_look_s(&self) -> f64 {
        2e-6
    }
}

/// Frames about to be sent. Owns their buffers: dropping it gives them back.
pub trait FrameBurst {
    /// Frames in it.
    fn len(&self) -> usize;
    /// True when it holds no frame.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Their bytes, without frame check sequence.
    fn bytes(&self) -> u64;
    /// The part of each frame that may be written.
    fn heads(&mut self) -> impl Iterator<Item = &mut FrameHead>;
}

/// Where a transmitting loop sends to.
pub trait TransmitQueue {
    /// What it sends.
    type Burst: FrameBurst + Default;
    /// Adds `count` frames to the burst, or none when buffers are short. Returns how many. Each is written into a buffer that holds the
    /// template, or an earlier frame made from it; `write` returns its length in bytes.
    fn build(&mut self, burst: &mut Self::Burst, count: usize, write: impl FnMut(&mut [u8]) -> u16) -> usize;
    /// Hands the burst to the port and returns how many frames it accepted; the others stay in the burst.
    fn transmit(&mut self, burst: &mut Self::Burst) -> usize;
}

/// A frame as received.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// Its first segment.
    pub bytes: &'a [u8],
    /// Length of the whole frame in bytes, without frame check sequence.
    pub length: u32,
    /// What the port says of its checksums.
    pub verdict: PortVerdict,
}

/// Frames that were received. Owns their buffers: dropping it gives them back.
pub trait ReceivedBurst {
    /// The frames.
    fn frames(&self) -> impl Iterator<Item = Received<'_>>;
}

/// Received frames that may be sent on.
pub trait TurnableBurst {
    /// Frames in it.
    fn len(&self) -> usize;
    /// True when it holds no frame.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Their bytes, without frame check sequence.
    fn bytes(&self) -> u64;
    /// Has each frame's first segment changed as needed, and gives back those for which `keep` is false.
    fn retain(&mut self, keep: impl FnMut(&mut [u8]) -> bool);
}

/// Where received frames are sent on.
pub trait ForwardQueue {
    /// What it sends.
    type Burst;
    /// Hands the burst to the port and returns how many frames it accepted; the others stay in the burst.
    fn forward(&mut self, burst: &mut Self::Burst) -> usize;
    /// Has the port give back the buffers of frames that have left, where its driver keeps them until their slots are used again.
    fn reclaim(&mut self);
}

/// Where a receiving loop takes frames from.
pub trait ReceiveQueue {
    /// What it gives.
    type Burst: ReceivedBurst + Default;
    /// Replaces the burst's frames by those that wait, and returns how many.
    fn receive(&mut self, burst: &mut Self::Burst) -> usize;
}

/// Frames taken from each queue of an lcore. The lcore writes them once a burst, anybody may read them.
pub type QueueFrames = Arc<[CachePadded<AtomicU64>]>;

/// Several receive queues served by one lcore, in turns.
#[derive(Debug)]
pub struct RoundRobin<Q> {
    queues: Vec<Q>,
    frames: QueueFrames,
    next: usize,
}

impl<Q> RoundRobin<Q> {
    /// Serves these queues.
    pub fn new(queues: Vec<Q>) -> Self {
        Self { frames: queues.iter().map(|_| CachePadded::default()).collect(), queues, next: 0 }
    }

    /// The number of frames received from each, as it grows.
    pub fn frames(&self) -> QueueFrames {
        self.frames.clone()
    }

    /// Gives the queues back.
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
