//! Source of a transmitting loop's frames.

use std::sync::Arc;

use super::queue::{FrameBurst, TransmitQueue};
use crate::flows::{FrameWriter, Slots};

/// Frames to send.
#[derive(Debug)]
pub enum Source {
    /// A profile's flows, with probes.
    Flows(FrameWriter),
    /// Recorded frames, unchanged.
    Replay(Replay),
}

/// Slots of the queue's next buffers.
struct Allocation<'a, Q: TransmitQueue> {
    queue: &'a mut Q,
    burst: &'a mut Q::Burst,
    count: usize,
}

impl<Q: TransmitQueue> Slots for Allocation<'_, Q> {
    #[inline(always)]
    fn each(self, write: impl FnMut(&mut [u8]) -> u16) -> usize {
        self.queue.build(self.burst, self.count, write)
    }
}

impl Source {
    /// Adds the next `count` frames to the burst, or none when buffers are short, and returns the
    /// number added.
    #[inline(always)]
    pub fn build<Q: TransmitQueue>(
        &mut self,
        queue: &mut Q,
        burst: &mut Q::Burst,
        count: usize,
        ticks: u64,
    ) -> usize {
        match self {
            Self::Flows(writer) => writer.write(Allocation { queue, burst, count }, ticks),
            Self::Replay(replay) => queue.build(burst, count, |room| replay.write(room)),
        }
    }

    /// Gives frames that waited a new send time.
    #[inline(always)]
    pub fn restamp(&self, burst: &mut impl FrameBurst, ticks: u64) {
        if let Self::Flows(writer) = self {
            burst.heads().for_each(|head| writer.restamp(head, ticks));
        }
    }
}

/// Recorded frames, repeated in order.
#[derive(Debug)]
pub struct Replay {
    frames: Arc<[Box<[u8]>]>,
    next: usize,
}

impl Replay {
    /// A replay of these frames in their order; `None` when there are none.
    pub fn new(frames: Arc<[Box<[u8]>]>) -> Option<Self> {
        (!frames.is_empty()).then_some(Self { frames, next: 0 })
    }

    fn write(&mut self, room: &mut [u8]) -> u16 {
        let frame = &self.frames[self.next];
        let length = frame.len().min(room.len());
        room[..length].copy_from_slice(&frame[..length]);
        self.next = if self.next + 1 == self.frames.len() { 0 } else { self.next + 1 };
        length as u16
    }
}
