//! One stream of requests, at its thread.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use linerate_agent::host::monotonic_ns;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{SendFlags, send};
use rustix::time::Timespec;

use super::ExchangeKind;
use super::outcome::{Phase, Shared, StreamTally};
use super::pace::Pace;
use crate::streams::header::Header;
use crate::sys::stamps;

/// Time after which a request counts as lost.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Time without an answer, or without a byte that the kernel takes, after which a connection is broken: TCP sends
/// again what is lost.
pub(super) const BROKEN_TIME: Duration = Duration::from_secs(30);
/// Longest sleep: the signal to end is looked at then.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// Longest time after the end in which requests that were due before it are sent.
pub(super) const CATCH_UP_TIME: Duration = Duration::from_secs(1);
/// Most requests under way at a rate.
const MOST_UNDER_WAY: usize = 16_384;
/// Most lost requests that are remembered, so that their late responses are known.
const MOST_GIVEN_UP: usize = 1 << 17;

/// How a stream asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) kind: ExchangeKind,
    pub(super) request_bytes: usize,
    pub(super) response_bytes: usize,
    /// When requests are due; `None`: when the response has come.
    pub(super) pace: Option<Pace>,
    pub(super) start_ns: u64,
    /// No request becomes due from then on.
    pub(super) end_ns: u64,
}

/// The end of a stream's schedule, once it has been reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScheduleEnd {
    /// Requests that were due before this are still to be sent,
    until_ns: u64,
    /// but not after this.
    limit_ns: u64,
}

impl Asking {
    /// When the stream's first request is due, and it begins.
    pub(super) fn begins_ns(&self) -> u64 {
        self.pace.map_or(self.start_ns, |pace| pace.due_ns(0))
    }

    /// When the request with this number, from 0, is due; `None` without a rate.
    pub(super) fn due_ns(&self, request: u64) -> Option<u64> {
        Some(self.pace?.due_ns(request))
    }

    /// The end of the schedule when it has been reached by now, or when `stop` is true.
    pub(super) fn schedule_end(&self, now_ns: u64, stop: bool) -> Option<ScheduleEnd> {
        (stop || now_ns >= self.end_ns).then(|| ScheduleEnd {
            until_ns: self.end_ns.min(now_ns),
            // From now on, not from the end: a process that had no CPU meanwhile catches up.
            limit_ns: now_ns + CATCH_UP_TIME.as_nanos() as u64,
        })
    }
}

impl ScheduleEnd {
    /// True when nothing more is to be sent by a stream whose next request is due at `due_ns`; `None`: that sends the
    /// next request when the response has come.
    pub(super) fn is_over(self, now_ns: u64, due_ns: Option<u64>) -> bool {
        due_ns.is_none_or(|due_ns| due_ns >= self.until_ns || now_ns > self.limit_ns)
    }

    /// Number of requests that were due and were not sent; `begun` were.
    pub(super) fn forgone(self, pace: &Pace, begun: u64) -> u64 {
        pace.due_before(self.until_ns).saturating_sub(begun)
    }
}

struct Waiting {
    number: u64,
    /// When it was due; `None` without a rate.
    due_ns: Option<u64>,
    sent_ns: u64,
    phase: Phase,
    /// When it left the kernel.
    kernel_ns: Option<u64>,
}

/// A request that the kernel has not taken as a whole.
#[derive(Debug, Clone, Copy)]
struct Partial {
    due_ns: Option<u64>,
    sent_ns: u64,
    /// Bytes that it has taken, and when it took the last ones.
    bytes: usize,
    moved_ns: u64,
}

/// A stream that asks.
pub(super) struct Asker<'a> {
    socket: OwnedFd,
    asking: Asking,
    shared: &'a Shared,
    tally: StreamTally,
    under_way: VecDeque<Waiting>,
    sending: Option<Partial>,
    /// Numbers of lost requests whose responses may still come, in order.
    given_up: VecDeque<u64>,
    end: Option<ScheduleEnd>,
    next: u64,
    /// Requests that have been begun.
    begun: u64,
    room: Vec<u8>,
    /// Bytes of a response of TCP that have come.
    partial: usize,
    /// Bytes of the first call that sent, and the kernel's number of its last one.
    first_bytes: u32,
    first_id: Option<u32>,
}

impl<'a> Asker<'a> {
    pub(super) fn new(socket: OwnedFd, asking: Asking, shared: &'a Shared) -> Self {
        let room = vec![0; asking.request_bytes.max(asking.response_bytes).max(64)];
        Self {
            socket,
            asking,
            shared,
            tally: StreamTally::default(),
            under_way: VecDeque::new(),
            sending: None,
            given_up: VecDeque::new(),
            end: None,
            next: 0,
            begun: 0,
            room,
            partial: 0,
            first_bytes: 0,
            first_id: None,
        }
    }

    /// Asks until the end, and waits for the last responses.
    pub(super) fn run(mut self) -> StreamTally {
        let broken = self.prepare().and_then(|()| self.ask_all()).err();
        // A peer that does not answer has lost what is under way; one that is gone may have answered.
        let silent = broken.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        while let Some(waiting) = self.under_way.pop_front() {
            let tally = self.tally.phase(waiting.phase);
            *(if silent { &mut tally.lost } else { &mut tally.unknown }) += 1;
        }
        self.tally.failure = broken.map(|error| error.to_string());
        if let Some(pace) = self.asking.pace {
            let end = self.end.or_else(|| self.asking.schedule_end(monotonic_ns(), true));
            let unsent = end.map_or(0, |end| end.forgone(&pace, self.begun));
            self.tally.forgone = unsent + u64::from(self.sending.is_some());
        }
        if self.asking.kind == ExchangeKind::Tcp {
            let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
        }
        self.tally
    }

    fn prepare(&self) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&self.socket, false)?;
        set_socket_timeout(&self.socket, Timeout::Recv, Some(LOOK))?;
        set_socket_timeout(&self.socket, Timeout::Send, Some(LOOK))?;
        // Without the times, those of the kernel are unknown.
        let _ = stamps::enable(&self.socket);
        let wait = self.asking.begins_ns().saturating_sub(monotonic_ns());
        std::thread::sleep(Duration::from_nanos(wait));
        Ok(())
    }

    /// True when no further request is to be sent.
    fn over(&mut self, now_ns: u64) -> bool {
        let stop = self.shared.stop.load(Ordering::Relaxed);
        // A probe ends with the load beside it.
        self.asking.end_ns = self.asking.end_ns.min(self.shared.load_until_ns.load(Ordering::Relaxed));
        self.end = self.end.or_else(|| self.asking.schedule_end(now_ns, stop));
        self.end.is_some_and(|end| end.is_over(now_ns, self.asking.due_ns(self.begun)))
    }

    fn ask_all(&mut self) -> io::Result<()> {
        self.tally.began_ns = monotonic_ns();
        loop {
            let now = monotonic_ns();
            let over = self.over(now);
            let ended = over && self.under_way.is_empty() && self.sending.is_none();
            if ended || self.shared.cut.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.give_up_old(now)?;
            if self.sending.is_some() {
                self.send()?;
            } else if !over {
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
                if now_ns - oldest.sent_ns.min(now_ns) > BROKEN_TIME.as_nanos() as u64 {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "a request was not answered for 30 s",
                    ));
                }
                return Ok(());
            }
            let (number, phase) = (oldest.number, oldest.phase);
            self.under_way.pop_front();
            self.tally.phase(phase).lost += 1;
            if self.given_up.len() >= MOST_GIVEN_UP {
                self.given_up.pop_front();
            }
            self.given_up.push_back(number);
        }
        Ok(())
    }

    /// Sends a request that is due: one, so that what has arrived is read before the next.
    fn send_due(&mut self, now_ns: u64) -> io::Result<()> {
        match self.asking.due_ns(self.begun) {
            None if self.under_way.is_empty() => self.begin(now_ns, None),
            Some(due_ns) if due_ns <= now_ns && self.under_way.len() < MOST_UNDER_WAY => {
                self.tally.slip_ns = self.tally.slip_ns.max(now_ns - due_ns);
                self.begin(now_ns, Some(due_ns))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, now_ns: u64, due_ns: Option<u64>) -> io::Result<()> {
        self.begun += 1;
        self.sending = Some(Partial { due_ns, sent_ns: now_ns, bytes: 0, moved_ns: now_ns });
        self.send()
    }

    /// Sends what the kernel takes of the request that has been begun. It counts once the kernel has all of it.
    fn send(&mut self) -> io::Result<()> {
        let Some(mut partial) = self.sending.take() else { return Ok(()) };
        let (number, bytes) = (self.next, self.asking.request_bytes);
        if self.asking.kind == ExchangeKind::Udp {
            self.room[..8].copy_from_slice(&number.to_le_bytes());
        }
        let phase = self.shared.phase(partial.due_ns.unwrap_or(partial.sent_ns));
        // With a rate, responses are read while the socket is full: at neither end may both wait for the other.
        let wait = if self.asking.pace.is_some() { SendFlags::DONTWAIT } else { SendFlags::empty() };
        let result = send(&self.socket, &self.room[partial.bytes..bytes], SendFlags::NOSIGNAL | wait);
        if let Ok(sent) = result
            && self.first_bytes == 0
        {
            self.first_bytes = sent as u32;
        }
        match result {
            Ok(sent) if partial.bytes + sent >= bytes => {
                self.next += 1;
                self.tally.phase(phase).requests += 1;
                let Partial { due_ns, sent_ns, .. } = partial;
                self.under_way.push_back(Waiting { number, due_ns, sent_ns, phase, kernel_ns: None });
                return Ok(());
            }
            Ok(sent) => {
                partial.bytes += sent;
                partial.moved_ns = monotonic_ns();
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                if monotonic_ns() - partial.moved_ns > BROKEN_TIME.as_nanos() as u64 {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the server read no request for 30 s",
                    ));
                }
            }
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
        self.sending = Some(partial);
        Ok(())
    }

    /// Waits for a response, or until the next request is due.
    fn wait(&mut self, over: bool) -> io::Result<()> {
        if let Some(due_ns) = self.asking.due_ns(self.begun) {
            let now = monotonic_ns();
            let full = self.sending.is_some();
            let due = if over || full || self.under_way.len() >= MOST_UNDER_WAY { u64::MAX } else { due_ns };
            let wait = due.saturating_sub(now).min(LOOK.as_nanos() as u64);
            let time = Timespec { tv_sec: 0, tv_nsec: wait as _ };
            let room = if full { PollFlags::OUT } else { PollFlags::empty() };
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN | room)];
            let _ = poll(&mut ready, Some(&time));
            let events = ready[0].revents();
            if events.contains(PollFlags::ERR) {
                self.take_times();
            }
            if !events.intersects(PollFlags::IN | PollFlags::HUP) {
                return Ok(());
            }
        } else if self.sending.is_some() {
            return Ok(());
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
                let number = self.room.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                let at = self.under_way.iter().position(|waiting| waiting.number == number);
                match at.filter(|_| bytes == self.asking.response_bytes) {
                    Some(at) => at,
                    None => return self.received_other(bytes, number),
                }
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
        tally.record_answer(now_ns, waiting.sent_ns, waiting.due_ns);
        // A step of the calendar's clock makes a time negative: it is not known then.
        let took = kernel_ns.zip(waiting.kernel_ns).and_then(|(received, sent)| received.checked_sub(sent));
        if let Some(took) = took {
            tally.kernel.record_times(took, 1);
        }
    }

    /// Counts a datagram that answers no request under way.
    fn received_other(&mut self, bytes: usize, number: u64) {
        if Header::from_bytes(&self.room[..bytes]).is_some() {
            // A further answer of the set-up.
        } else if bytes != self.asking.response_bytes || number >= self.next {
            self.tally.foreign += 1;
        } else if let Ok(at) = self.given_up.binary_search(&number) {
            self.given_up.remove(at);
            self.tally.late += 1;
        } else {
            self.tally.duplicates += 1;
        }
    }

    /// Notes the times at which requests left the kernel: those of their last bytes.
    fn take_times(&mut self) {
        let (unit, first_bytes) = match self.asking.kind {
            ExchangeKind::Tcp => (self.asking.request_bytes as u32, self.first_bytes),
            _ => (1, 1),
        };
        while let Some((id, time_ns)) = stamps::sent(&self.socket) {
            let first = *self.first_id.get_or_insert(id);
            let sent = id.wrapping_sub(first).wrapping_add(first_bytes);
            if unit == 0 || sent < unit || sent % unit != 0 {
                continue;
            }
            let number = u64::from(sent / unit - 1);
            if let Some(waiting) = self.under_way.iter_mut().find(|waiting| waiting.number == number) {
                waiting.kernel_ns.get_or_insert(time_ns);
            }
        }
    }
}
