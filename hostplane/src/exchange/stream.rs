//! One stream of requests, at its thread.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use linerate_agent::host::monotonic_ns;
use linerate_measure::histogram::TickHistogram;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{SendFlags, send};
use rustix::time::Timespec;

use super::ExchangeKind;
use crate::streams::header::Header;
use crate::sys::stamps;

/// Time after which a request counts as lost.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Longest sleep: the signal to end is looked at then.
const LOOK: Duration = Duration::from_millis(50);
/// Most requests under way at a rate.
const MOST_UNDER_WAY: usize = 16_384;

/// What all streams of a trial share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// True when no further request is to be sent.
    pub(crate) stop: AtomicBool,
    /// Instants between which requests count as sent under load; `u64::MAX`: not yet.
    pub(crate) load_from_ns: AtomicU64,
    pub(crate) load_until_ns: AtomicU64,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            stop: AtomicBool::new(false),
            load_from_ns: AtomicU64::new(u64::MAX),
            load_until_ns: AtomicU64::new(u64::MAX),
        }
    }
}

/// Counts and times of the requests of a phase.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) responses: u64,
    /// Not answered in time, or not at all.
    pub(crate) lost: u64,
    /// From the call that sends to the call that has received.
    pub(crate) application: TickHistogram,
    /// From the request's departure from this kernel to the response's arrival in it.
    pub(crate) kernel: TickHistogram,
    /// Time for a connection to be made.
    pub(crate) connect: TickHistogram,
}

impl Tally {
    pub(super) fn merge(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.responses += other.responses;
        self.lost += other.lost;
        self.application.merge(&other.application);
        self.kernel.merge(&other.kernel);
        self.connect.merge(&other.connect);
    }
}

/// When a request was sent, with respect to the load beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Loaded,
    After,
}

/// A stream's account.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamTally {
    /// Before a load began; all requests where there is none.
    pub(crate) idle: Tally,
    pub(crate) loaded: Tally,
    /// After the load's end.
    pub(crate) after: Tally,
    /// Responses that came after their request counted as lost.
    pub(crate) late: u64,
    /// Largest delay of a request against its schedule.
    pub(crate) slip_ns: u64,
    /// From the first request to the last response.
    pub(crate) began_ns: u64,
    pub(crate) ended_ns: u64,
    /// Why the stream ended early.
    pub(crate) failure: Option<String>,
}

impl StreamTally {
    fn phase(&mut self, phase: Phase) -> &mut Tally {
        match phase {
            Phase::Idle => &mut self.idle,
            Phase::Loaded => &mut self.loaded,
            Phase::After => &mut self.after,
        }
    }
}

impl Shared {
    fn phase(&self, sent_ns: u64) -> Phase {
        if sent_ns < self.load_from_ns.load(Ordering::Relaxed) {
            Phase::Idle
        } else if sent_ns < self.load_until_ns.load(Ordering::Relaxed) {
            Phase::Loaded
        } else {
            Phase::After
        }
    }
}

/// How a stream asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) kind: ExchangeKind,
    pub(super) request_bytes: usize,
    pub(super) response_bytes: usize,
    /// Time between requests; `None`: when the response has come.
    pub(super) interval_ns: Option<u64>,
    pub(super) start_ns: u64,
    /// No request is sent after that.
    pub(super) end_ns: u64,
}

struct Waiting {
    number: u64,
    sent_ns: u64,
    phase: Phase,
    /// When it left the kernel.
    kernel_ns: Option<u64>,
}

/// A stream that asks.
pub(super) struct Asker<'a> {
    socket: OwnedFd,
    asking: Asking,
    shared: &'a Shared,
    tally: StreamTally,
    under_way: VecDeque<Waiting>,
    next: u64,
    due_ns: u64,
    room: Vec<u8>,
    /// Bytes of a response of TCP that have come.
    partial: usize,
    first_id: Option<u32>,
}

impl<'a> Asker<'a> {
    pub(super) fn new(socket: OwnedFd, asking: Asking, shared: &'a Shared) -> Self {
        let room = vec![0; asking.request_bytes.max(asking.response_bytes).max(64)];
        let due_ns = asking.start_ns;
        let (tally, under_way) = (StreamTally::default(), VecDeque::new());
        Self { socket, asking, shared, tally, under_way, next: 0, due_ns, room, partial: 0, first_id: None }
    }

    /// Asks until the end, and waits for the last responses.
    pub(super) fn run(mut self) -> StreamTally {
        if let Err(error) = self.prepare().and_then(|()| self.ask_all()) {
            self.tally.failure = Some(error.to_string());
        }
        // What is still under way was not answered.
        while let Some(waiting) = self.under_way.pop_front() {
            self.tally.phase(waiting.phase).lost += 1;
        }
        if self.asking.kind == ExchangeKind::Tcp {
            let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
        }
        self.tally
    }

    fn prepare(&self) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&self.socket, false)?;
        set_socket_timeout(&self.socket, Timeout::Recv, Some(LOOK))?;
        // Without the times, those of the kernel are unknown.
        let _ = stamps::enable(&self.socket);
        let wait = self.asking.start_ns.saturating_sub(monotonic_ns());
        std::thread::sleep(Duration::from_nanos(wait));
        Ok(())
    }

    fn over(&self, now_ns: u64) -> bool {
        now_ns >= self.asking.end_ns || self.shared.stop.load(Ordering::Relaxed)
    }

    fn ask_all(&mut self) -> io::Result<()> {
        self.tally.began_ns = monotonic_ns();
        loop {
            let now = monotonic_ns();
            let over = self.over(now);
            if over && self.under_way.is_empty() {
                return Ok(());
            }
            self.give_up_old(now)?;
            if !over {
                self.send_due(now)?;
            }
            self.wait(over)?;
        }
    }

    /// Gives up requests that are not answered in time. A connection that does not answer is broken.
    fn give_up_old(&mut self, now_ns: u64) -> io::Result<()> {
        let limit = ANSWER_TIME.as_nanos() as u64;
        while let Some(oldest) =
            self.under_way.front().filter(|oldest| now_ns - oldest.sent_ns.min(now_ns) > limit)
        {
            if self.asking.kind == ExchangeKind::Tcp {
                // TCP sends again what is lost: only a long silence is the end.
                if now_ns - oldest.sent_ns.min(now_ns) > 15 * limit {
                    return Err(io::Error::other("a request was not answered for 30 s"));
                }
                return Ok(());
            }
            let phase = oldest.phase;
            self.under_way.pop_front();
            self.tally.phase(phase).lost += 1;
        }
        Ok(())
    }

    fn send_due(&mut self, now_ns: u64) -> io::Result<()> {
        match self.asking.interval_ns {
            None if self.under_way.is_empty() => self.send(now_ns),
            None => Ok(()),
            Some(interval) => {
                while self.due_ns <= monotonic_ns() && self.under_way.len() < MOST_UNDER_WAY {
                    let now_ns = monotonic_ns();
                    self.tally.slip_ns = self.tally.slip_ns.max(now_ns - self.due_ns);
                    self.send(now_ns)?;
                    self.due_ns += interval;
                }
                Ok(())
            }
        }
    }

    fn send(&mut self, sent_ns: u64) -> io::Result<()> {
        let number = self.next;
        let bytes = self.asking.request_bytes;
        if self.asking.kind == ExchangeKind::Udp {
            self.room[..8].copy_from_slice(&number.to_le_bytes());
        }
        let phase = self.shared.phase(sent_ns);
        let mut from = 0;
        while from < bytes {
            match send(&self.socket, &self.room[from..bytes], SendFlags::NOSIGNAL) {
                Ok(sent) => from += sent,
                Err(rustix::io::Errno::INTR) => {}
                // An ICMP message of an earlier datagram, or a full queue: this one was not sent.
                Err(_) if self.asking.kind == ExchangeKind::Udp => {
                    let tally = self.tally.phase(phase);
                    tally.requests += 1;
                    tally.lost += 1;
                    self.next += 1;
                    return Ok(());
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        self.next += 1;
        self.tally.phase(phase).requests += 1;
        self.under_way.push_back(Waiting { number, sent_ns, phase, kernel_ns: None });
        Ok(())
    }

    /// Waits for a response, or until the next request is due.
    fn wait(&mut self, over: bool) -> io::Result<()> {
        if self.asking.interval_ns.is_some() {
            let now = monotonic_ns();
            let due = if over { u64::MAX } else { self.due_ns };
            let wait = due.saturating_sub(now).min(LOOK.as_nanos() as u64);
            if wait == 0 {
                return Ok(());
            }
            let time = Timespec { tv_sec: 0, tv_nsec: wait as _ };
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
            let _ = poll(&mut ready, Some(&time));
            let events = ready[0].revents();
            if events.contains(PollFlags::ERR) {
                self.take_times();
            }
            if !events.intersects(PollFlags::IN | PollFlags::HUP) {
                return Ok(());
            }
        }
        let room = if self.asking.kind == ExchangeKind::Tcp {
            let left = self.asking.response_bytes - self.partial;
            &mut self.room[..left]
        } else {
            &mut self.room[..]
        };
        match stamps::receive(&self.socket, room) {
            Ok((0, _)) if self.asking.kind == ExchangeKind::Tcp => {
                Err(io::Error::other("the server closed the connection"))
            }
            Ok((bytes, received_ns)) => {
                self.received(bytes, received_ns, monotonic_ns());
                Ok(())
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
                // A message of the network about an earlier datagram.
                _ if self.asking.kind == ExchangeKind::Udp => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn received(&mut self, bytes: usize, kernel_ns: Option<u64>, now_ns: u64) {
        let at = match self.asking.kind {
            ExchangeKind::Udp => {
                let number = self.room.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
                let known = bytes == self.asking.response_bytes;
                let at = self.under_way.iter().position(|waiting| Some(waiting.number) == number);
                if at.is_none() || !known {
                    self.tally.late += 1;
                    return;
                }
                at.unwrap_or(0)
            }
            _ => {
                self.partial += bytes;
                if self.partial < self.asking.response_bytes {
                    return;
                }
                self.partial = 0;
                0
            }
        };
        self.take_times();
        let Some(waiting) = self.under_way.remove(at) else { return };
        self.tally.ended_ns = now_ns;
        let tally = self.tally.phase(waiting.phase);
        tally.responses += 1;
        tally.application.record(now_ns.wrapping_sub(waiting.sent_ns).cast_signed());
        // A step of the calendar's clock makes a time negative: it is not known then.
        let took = kernel_ns.zip(waiting.kernel_ns).and_then(|(received, sent)| received.checked_sub(sent));
        if let Some(took) = took {
            tally.kernel.record_times(took, 1);
        }
    }

    /// Notes the times at which requests left the kernel.
    fn take_times(&mut self) {
        while let Some((id, time_ns)) = stamps::sent(&self.socket) {
            let first = *self.first_id.get_or_insert(id);
            let unit =
                if self.asking.kind == ExchangeKind::Tcp { self.asking.request_bytes as u32 } else { 1 };
            let number = u64::from(id.wrapping_sub(first) / unit.max(1));
            if let Some(waiting) = self.under_way.iter_mut().find(|waiting| waiting.number == number) {
                waiting.kernel_ns.get_or_insert(time_ns);
            }
        }
    }
}

/// What the server's end of a stream counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answered {
    pub(crate) requests: u64,
    pub(crate) responses: u64,
    pub(crate) kernel: TickHistogram,
    pub(crate) failure: Option<String>,
}

/// Answers requests until the connection ends, or `stop` is true.
pub(crate) fn answer(
    socket: &OwnedFd,
    kind: ExchangeKind,
    request_bytes: usize,
    response_bytes: usize,
    stop: &AtomicBool,
) -> Answered {
    let mut answered = Answered::default();
    if let Err(error) = answer_all(socket, kind, request_bytes, response_bytes, stop, &mut answered) {
        answered.failure = Some(error.to_string());
    }
    answered
}

fn answer_all(
    socket: &OwnedFd,
    kind: ExchangeKind,
    request_bytes: usize,
    response_bytes: usize,
    stop: &AtomicBool,
    answered: &mut Answered,
) -> io::Result<()> {
    rustix::io::ioctl_fionbio(socket, false)?;
    set_socket_timeout(socket, Timeout::Recv, Some(LOOK))?;
    if kind == ExchangeKind::Tcp {
        rustix::net::sockopt::set_tcp_nodelay(socket, true)?;
    }
    let _ = stamps::enable(socket);
    let mut room = vec![0; request_bytes.max(response_bytes).max(64)];
    let (mut partial, mut arrived_ns) = (0, None);
    while !stop.load(Ordering::Relaxed) {
        let left = if kind == ExchangeKind::Tcp { request_bytes - partial } else { room.len() };
        let (bytes, received_ns) = match stamps::receive(socket, &mut room[..left]) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                continue;
            }
            Err(_) if kind == ExchangeKind::Udp => continue,
            Err(error) => return Err(error),
        };
        // The time of the response before this request: it has left the kernel by now.
        note_departure(socket, &mut arrived_ns, &mut answered.kernel);
        if kind == ExchangeKind::Tcp {
            if bytes == 0 {
                rustix::net::shutdown(socket, rustix::net::Shutdown::Write)?;
                return Ok(());
            }
            partial += bytes;
            if partial < request_bytes {
                continue;
            }
            partial = 0;
        } else if let Some(header) = Header::from_bytes(&room[..bytes]) {
            // The first answer was lost: the client asks for the stream again.
            let _ = send(socket, &header.answered(), SendFlags::NOSIGNAL);
            continue;
        } else if bytes != request_bytes {
            continue;
        }
        answered.requests += 1;
        let mut from = 0;
        while from < response_bytes {
            match send(socket, &room[from..response_bytes], SendFlags::NOSIGNAL) {
                Ok(sent) => from += sent,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) if kind == ExchangeKind::Udp => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        if from >= response_bytes {
            answered.responses += 1;
            arrived_ns = received_ns;
            note_departure(socket, &mut arrived_ns, &mut answered.kernel);
        }
    }
    Ok(())
}

fn note_departure(socket: &OwnedFd, arrived_ns: &mut Option<u64>, times: &mut TickHistogram) {
    let mut left_ns = None;
    while let Some((_, time_ns)) = stamps::sent(socket) {
        left_ns = Some(time_ns);
    }
    if let Some(left) = left_ns
        && let Some(took) = arrived_ns.take().and_then(|arrived| left.checked_sub(arrived))
    {
        times.record_times(took, 1);
    }
}
