//! One worker: a thread with an epoll set, which moves the bytes of the streams it was given.
//!
//! Sockets are non-blocking and watched edge-triggered. A worker keeps two kinds of queues: the writable
//! streams of each trial, and all readable streams. In a round, each stream gets one system call, so a fast
//! stream cannot starve others. A worker without anything to do sleeps until an event, an order or the time at
//! which a budget has something due again; it never spins.

mod group;
mod orders;
mod yields;

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use linerate_agent::host::monotonic_ns;
use linerate_measure::gap_log::GapLog;
use linerate_wire::streams::{SendingEnd, StreamEnd};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::Shutdown;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

pub(super) use self::group::Group;
pub(crate) use self::group::{FromWorker, Left, Order};
use self::group::{Slot, Way};
use self::yields::Yields;
use super::receiving::{Heard, listen};
use super::sending::{Turn, UdpSender, send_datagrams, send_stream};

/// Event of the eventfd through which orders are announced, and of the timer.
const ORDERS: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
/// Most events of one look.
const EVENTS: usize = 256;
/// Bytes read at once from a TCP connection: small enough for a CPU's L2 cache.
const READ_BYTES: usize = 256 * 1024;

pub(crate) struct Worker {
    index: u32,
    epoll: OwnedFd,
    timer: OwnedFd,
    wake: Arc<OwnedFd>,
    orders: Receiver<Order>,
    slots: Vec<Option<Slot>>,
    groups: Vec<Option<Group>>,
    readable: VecDeque<usize>,
    generation: u32,
    payload: Box<[u8]>,
    room: Box<[u8]>,
    log: Option<Box<GapLog>>,
    yields: Yields,
    ordered: bool,
}

/// What a worker needs of the kernel, made before its thread starts.
#[derive(Debug)]
pub(crate) struct Seat {
    index: u32,
    epoll: OwnedFd,
    timer: OwnedFd,
    wake: Arc<OwnedFd>,
    orders: Receiver<Order>,
}

impl Seat {
    /// # Errors
    /// When there are no file descriptors.
    pub(crate) fn new(index: u32, wake: Arc<OwnedFd>, orders: Receiver<Order>) -> std::io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &*wake, EventData::new_u64(ORDERS), edge)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), edge)?;
        Ok(Self { index, epoll, timer, wake, orders })
    }
}

impl Worker {
    /// The worker of a seat, on the thread that will run it.
    pub(crate) fn new(seat: Seat) -> Self {
        let Seat { index, epoll, timer, wake, orders } = seat;
        Self {
            index,
            epoll,
            timer,
            wake,
            orders,
            slots: Vec::new(),
            groups: Vec::new(),
            readable: VecDeque::new(),
            generation: 0,
            payload: Box::default(),
            room: vec![0; READ_BYTES].into_boxed_slice(),
            log: None,
            yields: Yields::default(),
            ordered: true,
        }
    }

    /// Runs until the pool is dropped.
    pub(crate) fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            if std::mem::take(&mut self.ordered) && !self.take_orders() {
                return;
            }
            let busy = self.round();
            let wait = if busy { Some(Duration::ZERO) } else { self.time_to_sleep() };
            if !busy {
                self.yields.sleeps();
            }
            self.wait(wait, &mut events);
        }
    }

    /// Waits for events, at most this long, and sorts them into the queues.
    fn wait(&mut self, wait: Option<Duration>, events: &mut Vec<epoll::Event>) {
        let poll = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = match wait {
            Some(Duration::ZERO) => Some(&poll),
            Some(time) => {
                let value = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
                let once = Itimerspec { it_interval: poll, it_value: value };
                // The timer is exact to microseconds; epoll's own time limit has milliseconds on old kernels.
                let _ = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
                None
            }
            None => None,
        };
        events.clear();
        let spare: &mut [MaybeUninit<epoll::Event>] = events.spare_capacity_mut();
        let Ok((ready, _)) = epoll::wait(&self.epoll, spare, timeout) else { return };
        for event in ready {
            let (data, flags) = (event.data.u64(), event.flags);
            match data {
                ORDERS => {
                    let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
                    self.ordered = true;
                }
                TIMER => {}
                _ => self.note(data, flags),
            }
        }
    }

    fn note(&mut self, data: u64, flags: EventFlags) {
        let (index, generation) = ((data & u64::from(u32::MAX)) as usize, (data >> 32) as u32);
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        if slot.generation != generation {
            return;
        }
        let gone = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        slot.hung_up |= flags.intersects(gone);
        if flags.intersects(EventFlags::IN | gone) && !slot.readable {
            slot.readable = true;
            self.readable.push_back(index);
        }
        if flags.intersects(EventFlags::OUT | gone) {
            self.may_send(index);
        }
    }

    /// Puts a sender back into the queue of those that may send.
    fn may_send(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        if slot.writable || !matches!(slot.way, Way::TcpSend | Way::UdpSend(_)) {
            return;
        }
        if let Some(since) = slot.full_since.take() {
            slot.full_ns += monotonic_ns().saturating_sub(since);
        }
        if let Some(group) = self.groups.get_mut(slot.group).and_then(Option::as_mut) {
            slot.writable = true;
            group.writable.push_back(index);
        }
    }

    /// Time until something is due; `None`: only events and orders matter.
    fn time_to_sleep(&self) -> Option<Duration> {
        let due = |group: &Group| {
            let start = group.start_ns.filter(|_| !group.sending_over && group.senders > 0)?;
            let now = monotonic_ns();
            let next = if now < start { start } else { group.paused_until.unwrap_or(u64::MAX) };
            Some(next.min(group.deadline_ns()).saturating_sub(now).max(1))
        };
        let least = self.groups.iter().flatten().filter_map(due).min()?;
        // The timer takes no time beyond some hundred years.
        Some(Duration::from_nanos(least.min(1 << 60)))
    }

    /// Gives each stream that is ready one turn. True when some are still ready.
    fn round(&mut self) -> bool {
        // What has arrived is read before more is sent: where both ends share a CPU, it is still in the cache.
        for _ in 0..self.readable.len() {
            if let Some(index) = self.readable.pop_front() {
                self.receive_turn(index);
            }
        }
        let mut busy = !self.readable.is_empty();
        for group in 0..self.groups.len() {
            busy |= self.send_round(group);
        }
        busy
    }

    fn send_round(&mut self, at: usize) -> bool {
        let Some(group) = self.groups.get_mut(at).and_then(Option::as_mut) else { return false };
        if group.sending_over || group.senders == 0 {
            return false;
        }
        let Some(start) = group.start_ns else { return false };
        let now = monotonic_ns();
        if now < start {
            return false;
        }
        let deadline = group.deadline_ns();
        // What was due before the deadline still leaves, also from a worker that comes late.
        let past = now >= deadline;
        if past && (!group.plan.budget.has_rate() || group.writable.is_empty()) {
            self.end_sending(at, SendingEnd::Duration, deadline);
            return false;
        }
        if group.paused_until.take_if(|until| *until <= now).is_none()
            && group.paused_until.is_some()
            && !past
        {
            return false;
        }
        for _ in 0..group.writable.len() {
            let Some(index) = group.writable.pop_front() else { break };
            let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { continue };
            let before = slot.counts.bytes;
            let turn = match &mut slot.way {
                Way::TcpSend => send_stream(&slot.stream, &mut slot.counts, group, &self.payload),
                Way::UdpSend(sender) => send_datagrams(&slot.stream, &mut slot.counts, sender, group),
                _ => {
                    slot.writable = false;
                    continue;
                }
            };
            slot.stream.counters.publish(&slot.counts);
            let mut is_late = false;
            if group.plan.yields() {
                // A yield may have taken long: what is written after the deadline would count for the time before it.
                is_late = self.yields.wrote(slot.counts.bytes - before).is_some_and(|now| now >= deadline);
            }
            match turn {
                Turn::More => group.writable.push_back(index),
                Turn::Full => {
                    slot.writable = false;
                    slot.full_since = Some(monotonic_ns());
                }
                Turn::Wait(_) if past => {
                    self.end_sending(at, SendingEnd::Duration, deadline);
                    return false;
                }
                Turn::Wait(until) => {
                    group.writable.push_front(index);
                    group.paused_until = Some(until);
                    return false;
                }
                Turn::Exhausted => {
                    group.writable.push_front(index);
                    self.end_sending(at, SendingEnd::Bytes, monotonic_ns());
                    return false;
                }
                Turn::Ended(end) => {
                    slot.writable = false;
                    self.end_stream(index, end);
                    return true;
                }
            }
            if is_late {
                return true;
            }
        }
        !group.writable.is_empty()
    }

    /// Ends the sending of a trial: TCP streams close their side, and wait until the peer has read everything.
    fn end_sending(&mut self, at: usize, end: SendingEnd, at_ns: u64) {
        let Some(group) = self.groups.get_mut(at).and_then(Option::as_mut) else { return };
        if std::mem::replace(&mut group.sending_over, true) {
            return;
        }
        group.writable.clear();
        group.paused_until = None;
        if group.senders > 0 {
            group.report(FromWorker::SendingOver { end, at_ns });
        }
        for index in 0..self.slots.len() {
            if self.slots[index].as_ref().is_some_and(|slot| slot.group == at) {
                self.end_sender(index, at_ns);
            }
        }
    }

    /// Ends the sending of a stream.
    fn end_sender(&mut self, index: usize, at_ns: u64) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        slot.writable = false;
        if let Some(since) = slot.full_since.take() {
            slot.full_ns += at_ns.saturating_sub(since);
        }
        match slot.way {
            Way::TcpSend => {
                slot.way = Way::TcpDrain;
                let group = self.groups.get(slot.group).and_then(Option::as_ref);
                if group.is_some_and(|group| group.plan.dialect.half_closes()) {
                    let _ = rustix::net::shutdown(&slot.stream.socket, Shutdown::Write);
                }
            }
            Way::UdpSend(_) => self.end_stream(index, StreamEnd::complete()),
            _ => {}
        }
    }

    fn receive_turn(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(group) = self.groups.get_mut(slot.group).and_then(Option::as_mut) else { return };
        let hung_up = slot.hung_up;
        let heard = match &mut slot.way {
            Way::TcpReceive(receiver) => {
                receiver.read(&slot.stream, &mut slot.counts, &mut self.room, hung_up)
            }
            Way::UdpReceive(receiver) => {
                let log = self.log.get_or_insert_default();
                receiver.read(&slot.stream, &mut slot.counts, group, log, slot.generation)
            }
            Way::TcpSend => listen(&slot.stream, &mut slot.counts, false),
            Way::TcpDrain => listen(&slot.stream, &mut slot.counts, true),
            Way::UdpSend(_) => {
                UdpSender::read(&slot.stream, group);
                slot.hung_up = false;
                Heard::Nothing
            }
            Way::Ended => Heard::Nothing,
        };
        slot.stream.counters.publish(&slot.counts);
        match heard {
            Heard::More => self.readable.push_back(index),
            Heard::Nothing => slot.readable = false,
            Heard::End(end) => {
                slot.readable = false;
                self.end_stream(index, end);
            }
        }
    }

    /// Ends a stream. Its socket stays open until the trial ends, so that its account can be read.
    fn end_stream(&mut self, index: usize, end: StreamEnd) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        let sends = matches!(slot.way, Way::TcpSend | Way::TcpDrain | Way::UdpSend(_));
        match std::mem::replace(&mut slot.way, Way::Ended) {
            Way::Ended => return,
            // Tells the sender that everything was read.
            Way::TcpReceive(_) | Way::TcpSend => {
                let _ = rustix::net::shutdown(&slot.stream.socket, Shutdown::Write);
            }
            // The account is kept until the worker leaves the trial.
            kept @ Way::UdpReceive(_) => slot.way = kept,
            Way::TcpDrain | Way::UdpSend(_) => {}
        }
        let (number, at) = (slot.stream.number, slot.group);
        if let Some(since) = slot.full_since.take() {
            slot.full_ns += monotonic_ns().saturating_sub(since);
        }
        let Some(group) = self.groups.get_mut(at).and_then(Option::as_mut) else { return };
        group.report(FromWorker::StreamEnded { stream: number, end });
        if sends {
            group.senders = group.senders.saturating_sub(1);
            if group.senders == 0 && !std::mem::replace(&mut group.sending_over, true) {
                group.report(FromWorker::SendingOver { end: SendingEnd::Streams, at_ns: monotonic_ns() });
            }
        }
    }
}

/// Bytes that do not compress: xorshift.
pub(super) fn noise(bytes: usize) -> Box<[u8]> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}
