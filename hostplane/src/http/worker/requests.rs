//! A request: written, answered, or failed.

use linerate_agent::host::monotonic_ns;
use linerate_http::response::{Bad, NamedBy, Progress, Response};
use linerate_http::tls::fault::{Fault, FaultKind};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::super::tally::Failure;
use super::super::transport::{End, Transport};
use super::connections::{Asked, Kind, State};
use super::{Phase, Worker};

/// Reads of one connection before others have their turn.
pub(super) const READS: usize = 16;
/// Bytes of an incomplete head for which room is kept on a connection.
const KEPT_BYTES: usize = 4096;

impl<T: Transport> Worker<T> {
    /// Handles an event of a connection.
    pub(super) fn note(&mut self, data: u64, flags: EventFlags) {
        let (at, generation) = ((data & u64::from(u32::MAX)) as usize, (data >> 32) as u32);
        let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.generation == generation) else { return };
        let gone = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        slot.hung_up |= flags.intersects(gone);
        let readable = flags.intersects(EventFlags::IN | gone);
        match slot.state {
            State::Empty => {}
            State::Connecting if flags.intersects(EventFlags::OUT | gone) => {
                self.look_at_connection(at);
                // What a server says at once comes with the same event, and is not announced again.
                if readable {
                    self.read_first(at, generation);
                }
            }
            State::Connecting => {}
            State::Handshaking => {
                self.shake_hands(at);
                self.read_first(at, generation);
            }
            State::Greeting => self.note_link(at, readable, flags),
            State::Idle | State::Closing if self.h2.is_some() => self.note_link(at, readable, flags),
            State::Idle if readable => self.read_idle(at),
            State::Idle => {}
            State::Busy => {
                let unsent = slot.asked.is_some_and(|asked| asked.sent < self.spec.request.bytes().len());
                if unsent && flags.contains(EventFlags::OUT) {
                    self.write(at);
                }
                if readable {
                    self.receive(at);
                }
            }
            State::Closing if readable => self.await_end(at),
            State::Closing => {}
        }
        // Requests that became due meanwhile do not wait for the other events.
        if self.due_ns != u64::MAX || !self.pending.is_empty() {
            self.release_due();
        }
    }

    /// Reads what came with the establishment of a connection, unless that one is gone already.
    pub(super) fn read_first(&mut self, at: usize, generation: u32) {
        match self.slots.get(at).filter(|slot| slot.generation == generation).map(|slot| slot.state) {
            Some(_) if self.h2.is_some() => {
                self.receive_link(at);
                self.flush_links();
            }
            Some(State::Busy) => self.receive(at),
            Some(State::Idle) => self.read_idle(at),
            _ => {}
        }
    }

    fn release_due(&mut self) {
        if self.phase == Phase::Sending {
            let now = monotonic_ns();
            if now >= self.due_ns || self.may_dispatch(now) {
                self.release(now);
                if self.h2.is_some() {
                    self.flush_links();
                }
            }
        }
    }

    /// Writes what is left of a request.
    pub(super) fn write(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let (Some(asked), Some(socket)) = (&mut slot.asked, &mut slot.socket) else { return };
        let bytes = self.spec.request.bytes();
        while let Some(rest) = bytes.get(asked.sent..).filter(|rest| !rest.is_empty()) {
            let now = if asked.sent == 0 { monotonic_ns() } else { 0 };
            match socket.send(rest, &mut self.wire) {
                Ok(count) => {
                    if asked.sent == 0 {
                        asked.written_ns = now;
                        self.counts.written += 1;
                    }
                    asked.sent += count;
                    self.counts.written_bytes += count as u64;
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    slot.broke_in_writing(errno);
                    self.receive(at);
                    return;
                }
            }
        }
    }

    /// Reads a response as far as it has come.
    pub(super) fn receive(&mut self, at: usize) {
        for _ in 0..READS {
            let Some(slot) = self.slots.get_mut(at).filter(|slot| slot.state == State::Busy) else { return };
            let (Some(asked), Some(socket)) = (&mut slot.asked, &mut slot.socket) else { return };
            let got = socket.recv(&mut self.rooms, &mut self.wire);
            let count = got.bytes;
            if count == 0 {
                match got.end {
                    None if got.drained => return,
                    None => continue,
                    Some(end) => return self.ended(at, end),
                }
            }
            slot.hung_up |= got.end.is_some();
            let now = monotonic_ns();
            // It answers no request, for none was written: the peer gives the connection up, as with 408.
            if asked.written_ns == 0 {
                self.counts.unsolicited += 1;
                return self.fail(at, Kind::ClosedEarly, now);
            }
            if asked.first_byte_ns == 0 {
                asked.first_byte_ns = now;
            }
            self.counts.read_bytes += count as u64;
            let drained = got.drained && !slot.hung_up;
            let fresh = &self.rooms.plain[..count];
            let read = if slot.kept.is_empty() {
                slot.reader.read(fresh, &self.expected, &mut self.cache)
            } else {
                slot.kept.extend_from_slice(fresh);
                slot.reader.read(&slot.kept, &self.expected, &mut self.cache)
            };
            match read {
                Ok(Progress::Whole(taken, response)) => {
                    let given = if slot.kept.is_empty() { count } else { slot.kept.len() };
                    if slot.kept.capacity() > KEPT_BYTES {
                        slot.kept = Vec::new();
                    } else {
                        slot.kept.clear();
                    }
                    if taken < given {
                        self.counts.unsolicited += 1;
                    }
                    return self.complete(at, response, now, taken < given);
                }
                Ok(Progress::Partial(taken)) => {
                    if slot.kept.is_empty() {
                        slot.kept.extend_from_slice(&fresh[taken..]);
                    } else {
                        slot.kept.drain(..taken);
                    }
                }
                Err(bad) => {
                    let kind = match bad {
                        Bad::TooLarge => Kind::TooLarge,
                        Bad::Malformed => Kind::Malformed,
                        Bad::ClosedEarly => Kind::ClosedEarly,
                    };
                    return self.fail(at, kind, now);
                }
            }
            if let Some(end) = got.end {
                return self.ended(at, end);
            }
            if drained {
                return;
            }
        }
        self.come_back(at);
    }

    /// Has a connection read later, when others had their turn.
    pub(super) fn come_back(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at).filter(|slot| !slot.again) {
            slot.again = true;
            self.again.push_back(at as u32);
        }
    }

    /// Reads on where reading was left off.
    pub(super) fn go_on(&mut self, at: usize) {
        let Some(slot) = self.slots.get(at) else { return };
        let (state, generation) = (slot.state, slot.generation);
        match state {
            State::Handshaking => {
                self.shake_hands(at);
                self.read_first(at, generation);
            }
            _ if self.h2.is_some() => self.receive_link(at),
            State::Idle => self.read_idle(at),
            State::Closing => self.await_end(at),
            _ => self.receive(at),
        }
    }

    /// The connection of a request has ended.
    fn ended(&mut self, at: usize, end: End) {
        let now = monotonic_ns();
        let Some(slot) = self.slots.get_mut(at) else { return };
        slot.hung_up = true;
        let (kind, words) = match slot.end_of(end) {
            End::Closed => match slot.reader.end() {
                Ok(response) => return self.complete(at, response, now, true),
                Err(_) => return self.fail(at, Kind::ClosedEarly, now),
            },
            // Who ends it may not be the server: what ends with the connection may not be whole.
            End::Truncated => return self.fail(at, Kind::ClosedEarly, now),
            End::Broken(errno) => {
                let kind = if errno == Errno::TIMEDOUT { Kind::Timeout } else { Kind::Reset };
                (kind, std::io::Error::from(errno).to_string())
            }
            End::Fault => match slot.socket.as_mut().and_then(Transport::fault) {
                Some(fault) => (Kind::Tls(fault.kind), fault.to_string()),
                None => (Kind::ClosedEarly, "TLS ended".to_owned()),
            },
        };
        let remedy = if let Kind::Tls(kind) = kind { Some(kind.remedy()) } else { None };
        self.tally
            .first_failure
            .get_or_insert_with(|| Failure { words: format!("a connection broke: {words}"), remedy });
        self.fail(at, kind, now);
    }

    /// A response is whole. `spent`: nothing more can come on its connection.
    fn complete(&mut self, at: usize, response: Response, now: u64, spent: bool) {
        self.deadlines.clear(at);
        let Some(slot) = self.slots.get_mut(at) else { return };
        let Some(asked) = slot.asked.take() else { return };
        slot.answered = slot.answered.saturating_add(1);
        self.count_response(&asked, response, now);
        let Some(slot) = self.slots.get_mut(at) else { return };
        // The body of an error is a message, most often of the balancer.
        let is_name = match self.expected.named_by {
            NamedBy::Nothing => None,
            NamedBy::Body => Some((200..300).contains(&response.status)),
            NamedBy::Header(_) => Some(true),
        };
        if let Some(is_name) = is_name {
            let name = slot.reader.name().filter(|_| is_name);
            slot.last_backend = self.tally.backends.count(name, slot.last_backend);
        }
        let whole = asked.sent == self.spec.request.bytes().len();
        let worn = slot.socket.as_ref().is_some_and(Transport::is_worn);
        let kept = !worn && self.spec.requests_per_connection.is_none_or(|most| slot.answered < most);
        if spent || !whole || slot.hung_up {
            self.close(at);
        } else if !response.keep_alive {
            // The peer closes first, so that this end's port is free at once.
            slot.state = State::Closing;
            self.closing.set(at, now);
            self.await_end(at);
            return;
        } else if kept {
            slot.state = State::Idle;
        } else {
            self.close(at);
        }
        self.vacate(at, now);
    }

    /// Counts a whole response, and its times.
    #[inline]
    pub(super) fn count_response(&mut self, asked: &Asked, response: Response, now: u64) {
        let counts = &mut self.counts;
        counts.busy -= 1;
        counts.answered += 1;
        counts.answered_in_time += u64::from(now <= self.end_ns);
        counts.body_bytes += response.body_bytes;
        match response.status {
            200..300 => counts.status_2xx += 1,
            300..400 => counts.status_3xx += 1,
            400..500 => counts.status_4xx += 1,
            500..600 => {
                counts.status_5xx += 1;
                self.tally.failures.count(now.saturating_sub(self.start_ns));
            }
            _ => counts.status_other += 1,
        }
        let times = &mut self.tally.times;
        let since = |then: u64| now.wrapping_sub(then).cast_signed();
        times.service.record(since(asked.written_ns));
        times.first_byte.record(asked.first_byte_ns.wrapping_sub(asked.written_ns).cast_signed());
        if self.schedule.is_some() {
            times.corrected.record(since(asked.intended_ns));
        }
    }

    /// Waits until the peer closes a connection.
    fn await_end(&mut self, at: usize) {
        let Some(got) = self.read_unasked(at) else { return };
        self.counts.unsolicited += u64::from(got.bytes > 0);
        self.close(at);
        self.vacate(at, monotonic_ns());
    }

    /// The time limit of a connection is reached.
    pub(super) fn time_out(&mut self, at: usize, now: u64) {
        let Some(slot) = self.slots.get(at) else { return };
        let error = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        match slot.state {
            State::Connecting => self.cannot_connect(at, Kind::Connect, &error(), now),
            State::Handshaking => {
                self.cannot_connect(at, Kind::Tls(FaultKind::Timeout), &Fault::timed_out(), now);
            }
            State::Greeting => self.cannot_connect(
                at,
                Kind::Timeout,
                &"the server did not begin to speak HTTP/2 in time",
                now,
            ),
            State::Busy => self.fail(at, Kind::Timeout, now),
            State::Closing => {
                self.close(at);
                self.vacate(at, now);
            }
            State::Empty | State::Idle => {}
        }
    }

    /// A request has failed, and its connection is of no more use.
    pub(super) fn fail(&mut self, at: usize, kind: Kind, now: u64) {
        self.close(at);
        let asked = self.slots.get_mut(at).and_then(|slot| slot.asked.take());
        if asked.is_some() {
            self.count_failure(kind, now);
        }
        self.vacate(at, now);
    }

    /// Counts a request that failed.
    pub(super) fn count_failure(&mut self, kind: Kind, now: u64) {
        let counts = &mut self.counts;
        counts.busy -= 1;
        *match kind {
            Kind::Connect => &mut counts.failed_connect,
            Kind::Local => &mut counts.failed_local,
            Kind::Reset => &mut counts.failed_reset,
            Kind::ClosedEarly => &mut counts.failed_closed_early,
            Kind::Timeout => &mut counts.failed_timeout,
            Kind::Malformed => &mut counts.failed_malformed,
            Kind::TooLarge => &mut counts.failed_too_large,
            Kind::StreamReset => &mut counts.failed_stream_reset,
            Kind::StreamRefused => &mut counts.failed_stream_refused,
            Kind::Tls(kind) => counts.failed_tls(kind),
        } += 1;
        self.tally.failures.count(now.saturating_sub(self.start_ns));
    }

    /// Closes everything at the end.
    pub(super) fn abandon(&mut self) {
        for at in 0..self.slots.len() {
            self.close(at);
        }
        self.counts.unfinished = std::mem::take(&mut self.counts.busy);
    }
}
