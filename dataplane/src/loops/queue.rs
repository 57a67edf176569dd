//! What a loop needs of a queue. The DPDK queues implement these, and so does the in-memory link of the tests.

use crate::core::frame::FrameHead;

/// A clock that counts ticks.
pub trait Clock {
    /// Ticks now.
    fn ticks(&self) -> u64;
    /// Ticks per second.
    fn tick_hz(&self) -> u64;
}

/// Frames about to be sent. Owns their buffers: dropping it gives them back.
pub trait FrameBurst {
    /// Frames in it.
    fn len(&self) -> usize;
    /// True when it holds no frame.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The part of each frame that may be written.
    fn heads(&mut self) -> impl Iterator<Item = &mut FrameHead>;
}

/// Where a transmitting loop sends to.
pub trait TransmitQueue {
    /// What it sends.
    type Burst: FrameBurst + Default;
    /// Bytes of every frame, without frame check sequence.
    fn frame_bytes(&self) -> u32;
    /// Adds `count` frames that carry the template to the burst, or none when buffers are short. Returns how many.
    fn allocate(&mut self, burst: &mut Self::Burst, count: usize) -> usize;
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
}

/// Frames that were received. Owns their buffers: dropping it gives them back.
pub trait ReceivedBurst {
    /// The frames.
    fn frames(&self) -> impl Iterator<Item = Received<'_>>;
}

/// Where a receiving loop takes frames from.
pub trait ReceiveQueue {
    /// What it gives.
    type Burst: ReceivedBurst + Default;
    /// Replaces the burst's frames by those that wait, and returns how many.
    fn receive(&mut self, burst: &mut Self::Burst) -> usize;
}

/// Several receive queues served by one lcore, in turns.
#[derive(Debug)]
pub struct RoundRobin<Q> {
    queues: Vec<Q>,
    next: usize,
}

impl<Q> RoundRobin<Q> {
    /// Serves these queues.
    pub fn new(queues: Vec<Q>) -> Self {
        Self { queues, next: 0 }
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
                return count;
            }
        }
        0
    }
}
