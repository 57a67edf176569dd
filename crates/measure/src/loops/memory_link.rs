//! An in-memory link that loses, duplicates, delays and reorders each frame as specified, like a real path.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::own_frames::OwnFrames;
use super::queue::{
    Clock, ForwardQueue, FrameBurst, ReceiveQueue, Received, ReceivedBurst, TransmitQueue, TurnableBurst,
};
use crate::frame::FrameHead;
use crate::recognise::PortVerdict;

/// Fate of the n-th frame on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Deliver,
    Lose,
    Duplicate,
    /// Arrives after the given number of later frames.
    Overtaken(usize),
}

/// A clock that advances with each reading.
#[derive(Clone)]
pub(super) struct SteppingClock {
    now: Rc<Cell<u64>>,
    step: u64,
}

impl SteppingClock {
    pub(super) fn new(step: u64) -> Self {
        Self { now: Rc::new(Cell::new(1_000_000)), step }
    }

    pub(super) fn advance(&self, ticks: u64) {
        self.now.set(self.now.get() + ticks);
    }
}

impl Clock for SteppingClock {
    fn ticks(&self) -> u64 {
        self.advance(self.step);
        self.now.get()
    }

    fn tick_hz(&self) -> u64 {
        1_000_000_000
    }
}

/// A buffer: room for the largest frame, and the used length.
#[derive(Clone)]
pub(super) struct Buffer {
    room: Vec<u8>,
    length: usize,
}

#[derive(Default)]
pub(super) struct Frames(Vec<Buffer>);

impl FrameBurst for Frames {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|buffer| buffer.length as u64).sum()
    }

    fn heads(&mut self) -> impl Iterator<Item = &mut FrameHead> {
        self.0.iter_mut().filter_map(|buffer| buffer.room.first_chunk_mut())
    }
}

impl ReceivedBurst for Frames {
    fn frames(&self) -> impl Iterator<Item = Received<'_>> {
        self.0.iter().map(|buffer| Received {
            bytes: &buffer.room[..buffer.length],
            length: buffer.length as u32,
            verdict: PortVerdict::Unknown,
        })
    }
}

impl TurnableBurst for Frames {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn bytes(&self) -> u64 {
        FrameBurst::bytes(self)
    }

    fn retain(&mut self, mut keep: impl FnMut(&mut [u8]) -> bool) {
        self.0.retain_mut(|buffer| keep(&mut buffer.room[..buffer.length]));
    }
}

type Wire = Rc<RefCell<VecDeque<Buffer>>>;

pub(super) struct Sender<F> {
    wire: Wire,
    template: Vec<u8>,
    /// Frames the port accepts per attempt.
    pub(super) accepts: usize,
    /// Most frames on the link at once; it accepts no more.
    pub(super) capacity: usize,
    fate: F,
    count: u64,
    waiting: Vec<(usize, Buffer)>,
}

pub(super) struct Receiver {
    wire: Wire,
}

/// A link with the template of its buffers.
pub(super) fn link<F: FnMut(u64) -> Fate>(template: Vec<u8>, fate: F) -> (Sender<F>, Receiver) {
    let wire = Wire::default();
    let receiver = Receiver { wire: wire.clone() };
    let sender = Sender {
        wire,
        template,
        accepts: usize::MAX,
        capacity: usize::MAX,
        fate,
        count: 0,
        waiting: Vec::new(),
    };
    (sender, receiver)
}

impl<F: FnMut(u64) -> Fate> Sender<F> {
    fn put(&mut self, head: Buffer) {
        let fate = (self.fate)(self.count);
        self.count += 1;
        let mut wire = self.wire.borrow_mut();
        for (ahead, _) in &mut self.waiting {
            *ahead -= 1;
        }
        match fate {
            Fate::Deliver => wire.push_back(head),
            Fate::Lose => {}
            Fate::Duplicate => wire.extend([head.clone(), head]),
            Fate::Overtaken(by) => self.waiting.push((by, head)),
        }
        self.waiting.retain(|(ahead, head)| {
            if *ahead == 0 {
                wire.push_back(head.clone());
            }
            *ahead > 0
        });
    }
}

impl<F: FnMut(u64) -> Fate> TransmitQueue for Sender<F> {
    type Burst = Frames;

    fn build(&mut self, burst: &mut Frames, count: usize, mut write: impl FnMut(&mut [u8]) -> u16) -> usize {
        for _ in 0..count {
            let mut room = self.template.clone();
            let length = usize::from(write(&mut room));
            burst.0.push(Buffer { room, length });
        }
        count
    }

    fn transmit(&mut self, burst: &mut Frames) -> usize {
        let room = self.capacity.saturating_sub(self.wire.borrow().len());
        let accepted = burst.0.len().min(self.accepts).min(room);
        for head in burst.0.drain(..accepted).collect::<Vec<_>>() {
            self.put(head);
        }
        accepted
    }
}

impl<F: FnMut(u64) -> Fate> ForwardQueue for Sender<F> {
    type Burst = Frames;

    fn forward(&mut self, burst: &mut Frames) -> usize {
        self.transmit(burst)
    }

    fn reclaim(&mut self) {}
}

impl<F: FnMut(u64) -> Fate> OwnFrames for Sender<F> {
    fn send_own(&mut self, frame: &[u8]) -> bool {
        self.wire.borrow_mut().push_back(Buffer { room: frame.to_vec(), length: frame.len() });
        true
    }
}

impl ReceiveQueue for Receiver {
    type Burst = Frames;

    fn receive(&mut self, burst: &mut Frames) -> usize {
        let mut wire = self.wire.borrow_mut();
        let count = wire.len().min(32);
        burst.0 = wire.drain(..count).collect();
        count
    }
}
