//! One worker: a thread with an epoll set and connections of its own.
//!
//! Sockets are non-blocking and watched edge-triggered, so that a request costs two system calls beside the
//! look at events, which many requests share. Nothing is shared with other threads but published counters, the
//! orders of the trial and, with a number of requests in a closed loop, their count.

mod arrivals;
mod connections;
mod frames;
mod handshakes;
mod multiplexed;
mod requests;
mod wait;

#[cfg(test)]
mod tests;

use std::collections::{BinaryHeap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use linerate_agent::cpu_time::{Looks, ThreadTime};
use linerate_agent::host::monotonic_ns;
use linerate_http::response::{Expected, HeadCache};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{TimerfdClockId, TimerfdFlags};

use self::connections::Slot;
use self::multiplexed::Multiplexed;
use super::counters::{HttpBlock, HttpCounters};
use super::deadlines::Deadlines;
use super::outcome::HttpWorker;
use super::schedule::{Share, WorkerSchedule};
use super::spec::{HttpError, HttpLoad, HttpSpec};
use super::tally::Tally;
use super::transport::{Rooms, Transport, WireBytes};

/// Event of the eventfd through which orders are announced, and of the timer.
const ORDERS: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
/// Most events of one look.
const EVENTS: usize = 256;
/// Time for a peer to close a connection of which it said so; then this end does.
const CLOSING_NS: u64 = 100_000_000;
/// No start is known.
pub(super) const NO_START: u64 = u64::MAX;

/// How far a trial's user wants it to end.
pub(super) const RUN: u8 = 0;
/// No request is sent any more; those under way are waited for.
pub(super) const STOP: u8 = 1;
/// Nothing is waited for.
pub(super) const ABORT: u8 = 2;

/// What the workers of a trial and its user share.
#[derive(Debug)]
pub(super) struct Orders {
    /// Time of the start, in nanoseconds of the raw monotonic clock.
    pub(super) start_ns: AtomicU64,
    pub(super) end: AtomicU8,
    /// Requests left of a closed loop.
    pub(super) requests_left: AtomicU64,
}

/// What one worker shows.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) counters: HttpBlock,
    /// Every connection was made, or could not be made.
    pub(super) ready: AtomicBool,
    wake: OwnedFd,
}

impl Shown {
    fn new() -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { counters: HttpBlock::default(), ready: AtomicBool::new(false), wake })
    }

    /// Has the worker look at its orders.
    pub(super) fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// What a worker measured.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) counters: HttpCounters,
    pub(super) tally: Tally,
    pub(super) worker: HttpWorker,
    /// End of sending, and of everything, in nanoseconds of the raw monotonic clock.
    pub(super) sending_ended_ns: u64,
    pub(super) ended_ns: u64,
}

/// What a worker needs, made before its thread starts.
#[derive(Debug)]
pub(super) struct Seat {
    number: u32,
    cpu: Option<u32>,
    spec: Arc<HttpSpec>,
    orders: Arc<Orders>,
    pub(super) shown: Arc<Shown>,
    epoll: OwnedFd,
    timer: OwnedFd,
    spacing_ns: u64,
}

impl Seat {
    pub(super) fn new(
        number: u32,
        cpu: Option<u32>,
        spec: &Arc<HttpSpec>,
        orders: &Arc<Orders>,
    ) -> Result<Self, HttpError> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(std::io::Error::from)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags);
        let timer = timer.map_err(std::io::Error::from)?;
        let shown = Arc::new(Shown::new()?);
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &shown.wake, EventData::new_u64(ORDERS), edge).map_err(std::io::Error::from)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), edge).map_err(std::io::Error::from)?;
        let spacing_ns = spec.spacing_ns()?;
        let (spec, orders) = (Arc::clone(spec), Arc::clone(orders));
        Ok(Self { number, cpu, spec, orders, shown, epoll, timer, spacing_ns })
    }
}

/// Course of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Connections are being made.
    Arming,
    /// The start is awaited.
    Armed,
    Sending,
    /// Responses are awaited.
    Draining,
}

pub(super) struct Worker<T: Transport> {
    number: u32,
    cpu: Option<u32>,
    spec: Arc<HttpSpec>,
    orders: Arc<Orders>,
    shown: Arc<Shown>,
    epoll: OwnedFd,
    timer: OwnedFd,
    /// Time for which the timer is set.
    timer_ns: u64,
    expected: Expected,
    phase: Phase,
    start_ns: u64,
    /// End of sending, and of waiting for responses.
    end_ns: u64,
    drain_ns: u64,
    sending_ended_ns: u64,
    /// Connections, those without a request, and those with more to read.
    slots: Vec<Slot<T>>,
    free: VecDeque<u32>,
    again: VecDeque<u32>,
    /// Connections that rest after a failure, with the time until which they do, negated: the first one is on top.
    resting: BinaryHeap<(std::cmp::Reverse<u64>, u32)>,
    /// Connections that are being made before the start, and the next one to make.
    connecting: u32,
    next_slot: usize,
    deadlines: Deadlines,
    /// Limits of connections that the peer said it will close.
    closing: Deadlines,
    /// Of an open loop: when requests are due, those that wait, and how many may.
    schedule: Option<WorkerSchedule>,
    due_ns: u64,
    pending: VecDeque<u64>,
    most_pending: usize,
    spacing_ns: u64,
    next_allowed_ns: u64,
    counts: HttpCounters,
    tally: Tally,
    /// Of HTTP/2: what its connections have besides.
    h2: Option<Multiplexed>,
    settings: T::Settings,
    rooms: Rooms,
    wire: WireBytes,
    cache: HeadCache,
    spins: bool,
    spun_ns: u64,
    /// The thread's accounting when sending began, and what it used until sending ended.
    sending: Option<ThreadTime>,
    used: Option<HttpWorker>,
    /// When it last woke up, and the longest time without a look at events.
    awake_ns: u64,
    longest_gap_ns: u64,
}

impl<T: Transport> Worker<T> {
    /// The worker of a seat, on the thread that will run it, and what its connections have in common.
    pub(super) fn new(seat: Seat, settings: T::Settings) -> Self {
        let Seat { number, cpu, spec, orders, shown, epoll, timer, spacing_ns } = seat;
        let workers = spec.workers();
        let connections = spec.connections_of(number) as usize;
        let schedule = match &spec.load {
            HttpLoad::Closed => None,
            HttpLoad::Open { stages, arrivals, seed } => {
                let share = Share { worker: number, workers };
                Some(WorkerSchedule::new(stages, *arrivals, *seed, share, spec.requests))
            }
        };
        let expected = Expected {
            head: spec.request.is_head(),
            most_body_bytes: spec.most_body_bytes,
            named_by: spec.named_by.clone(),
        };
        let most_pending = spec.most_pending / workers + u32::from(number < spec.most_pending % workers);
        Self {
            number,
            cpu,
            expected,
            phase: Phase::Arming,
            start_ns: NO_START,
            end_ns: u64::MAX,
            drain_ns: u64::MAX,
            sending_ended_ns: 0,
            slots: (0..connections).map(|at| Slot::new(spec.address_of(number, at as u32))).collect(),
            free: VecDeque::with_capacity(connections),
            again: VecDeque::new(),
            resting: BinaryHeap::new(),
            connecting: 0,
            next_slot: 0,
            deadlines: Deadlines::new(connections, spec.timeout_ms.saturating_mul(1_000_000)),
            closing: Deadlines::new(connections, CLOSING_NS),
            schedule,
            due_ns: u64::MAX,
            pending: VecDeque::new(),
            most_pending: most_pending as usize,
            spacing_ns,
            next_allowed_ns: 0,
            counts: HttpCounters::default(),
            tally: Tally::default(),
            h2: Multiplexed::new(&spec, connections),
            settings,
            rooms: T::rooms(),
            wire: WireBytes::default(),
            cache: HeadCache::default(),
            // Waking up takes as long as a turn of the loop; only a CPU of its own makes up for it.
            spins: spec.cpus.as_ref().is_some_and(|cpus| cpus.iter().count() >= workers as usize),
            spun_ns: 0,
            sending: None,
            used: None,
            awake_ns: monotonic_ns(),
            longest_gap_ns: 0,
            spec,
            orders,
            shown,
            epoll,
            timer,
            timer_ns: 0,
        }
    }

    /// Runs until the trial's end.
    pub(super) fn run(mut self) -> Left {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let now = monotonic_ns();
            self.steer(now);
            let busy = self.work(now);
            self.publish();
            if self.is_over(now) {
                break;
            }
            self.wait(busy, &mut events);
        }
        self.abandon();
        self.publish();
        self.shown.ready.store(true, Ordering::Release);
        self.tally.permitted = self.h2.as_ref().and_then(Multiplexed::permitted);
        let ended_ns = monotonic_ns();
        Left {
            worker: self.used.take().unwrap_or_else(|| self.used_until_now()),
            counters: self.counts,
            tally: self.tally,
            sending_ended_ns: if self.sending_ended_ns == 0 { ended_ns } else { self.sending_ended_ns },
            ended_ns,
        }
    }

    fn publish(&mut self) {
        self.counts.wire_read_bytes = self.wire.read;
        self.counts.wire_written_bytes = self.wire.written;
        self.shown.counters.publish(&self.counts);
    }

    /// What the worker has used since sending began; waiting before it and after it would make a full worker look idle.
    fn used_until_now(&self) -> HttpWorker {
        let looks = Looks { longest_gap_s: self.longest_gap_ns as f64 / 1e9, absences: None };
        let time = self.sending.unwrap_or_else(ThreadTime::now).until_now(self.number, looks);
        HttpWorker {
            worker: self.number,
            cpu: self.cpu,
            connections: self.slots.len() as u32,
            cpu_s: (time.elapsed_s - time.off_cpu_s).max(0.0),
            spun_s: self.spun_ns as f64 / 1e9,
            time,
        }
    }

    /// Enters the phase that it is time for.
    fn steer(&mut self, now: u64) {
        let ordered = self.orders.end.load(Ordering::Relaxed);
        if matches!(self.phase, Phase::Arming | Phase::Armed) {
            if self.start_ns == NO_START {
                self.start_ns = self.orders.start_ns.load(Ordering::Acquire);
            }
            if ordered >= STOP {
                self.phase = Phase::Draining;
            } else if now >= self.start_ns {
                self.begin_sending(now);
            }
        }
        if self.phase == Phase::Sending && (now >= self.end_ns || ordered >= STOP) {
            self.end_sending(now.min(self.end_ns), now);
        }
    }

    fn is_over(&self, now: u64) -> bool {
        match self.phase {
            Phase::Draining => {
                self.counts.busy == 0
                    || now >= self.drain_ns
                    || self.orders.end.load(Ordering::Relaxed) >= ABORT
            }
            // Every request of a limited number was answered, or has failed.
            Phase::Sending => self.counts.busy == 0 && self.pending.is_empty() && !self.has_more(),
            Phase::Arming | Phase::Armed => false,
        }
    }

    /// Does what needs no event. True when there is more of it.
    fn work(&mut self, now: u64) -> bool {
        while let Some(at) = self.deadlines.take_due(now) {
            self.time_out(at, now);
        }
        while let Some(at) = self.closing.take_due(now) {
            self.time_out(at, now);
        }
        while let Some(place) = self.h2.as_mut().and_then(|h2| h2.deadlines.take_due(now)) {
            self.time_out_place(place, now);
        }
        match self.phase {
            Phase::Arming => self.connect_more(now),
            Phase::Armed | Phase::Draining => {}
            Phase::Sending => {
                self.end_rests(now);
                self.release(now);
            }
        }
        for _ in 0..self.again.len() {
            if let Some(at) = self.again.pop_front() {
                if let Some(slot) = self.slots.get_mut(at as usize) {
                    slot.again = false;
                }
                self.go_on(at as usize);
            }
        }
        if self.h2.is_some() {
            self.flush_links();
        }
        !self.again.is_empty() || self.may_dispatch(now) || self.phase == Phase::Sending && self.due_ns <= now
    }
}
