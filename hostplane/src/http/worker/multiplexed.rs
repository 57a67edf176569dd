//! HTTP/2: connections that have many requests under way.
//!
//! A *place* is what a connection is with HTTP/1.1: it has one request at a time. Each connection has a number of
//! them, as many as the server permits streams. What is to be sent on a connection is gathered, and sent when the
//! requests that are due and the events at hand have been seen to.

use std::collections::VecDeque;

use linerate_agent::host::monotonic_ns;
use linerate_http::h2::blocks::Blocks;
use linerate_http::h2::connection::{Connection, Event};
use linerate_http::h2::stream::BlockCache;
use linerate_http::tls::fault::{Fault, FaultKind};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::super::deadlines::Deadlines;
use super::super::spec::HttpSpec;
use super::super::tally::{Failure, NO_BACKEND};
use super::super::transport::Transport;
use super::Worker;
use super::connections::{Asked, Kind, State};
use super::requests::READS;

/// In the place of a request that is to be sent although it has come to an end: one that a server can see, and one
/// that counts as such already, or will.
const GONE: u32 = u32::MAX;
const COUNTED: u32 = u32::MAX - 1;

/// One request at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) asked: Option<Asked>,
    pub(super) last_backend: u32,
    /// Its request has a stream; otherwise it waits for one.
    pub(super) opened: bool,
    /// Not used, because the server does not permit so many streams.
    pub(super) parked: bool,
}

/// What a connection of HTTP/2 has besides its socket.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    /// Places whose requests wait for the connection, or for a stream.
    pub(super) waiting: VecDeque<u32>,
    /// Places whose requests are to be sent, and where they begin among all bytes of the connection.
    pub(super) unwritten: VecDeque<(u32, u64)>,
    pub(super) written_bytes: u64,
    /// It is among those with something to send.
    pub(super) dirty: bool,
    /// Places that the server permits to be used; at least one, whose requests fail when it permits none.
    pub(super) admitted: usize,
    /// When the server last said something, in nanoseconds of the raw monotonic clock.
    pub(super) heard_ns: u64,
}

impl Link {
    /// A request comes to an end. What was added to the bytes to send leaves all the same: the fields of later
    /// requests are encoded by it.
    pub(super) fn forget_unwritten(&mut self, place: u32, counted: bool) {
        if let Some(entry) = self.unwritten.iter_mut().find(|(unwritten, _)| *unwritten == place) {
            entry.0 = if counted { COUNTED } else { GONE };
        }
    }
}

/// All connections of a worker.
#[derive(Debug)]
pub(super) struct Multiplexed {
    pub(super) links: Vec<Link>,
    pub(super) places: Vec<Place>,
    /// Places of a connection.
    pub(super) each: usize,
    pub(super) blocks: Blocks,
    pub(super) cache: BlockCache,
    pub(super) events: Vec<Event>,
    pub(super) dirty: Vec<u32>,
    /// Time limits of requests.
    pub(super) deadlines: Deadlines,
    /// True once a server said what it permits.
    pub(super) is_told: bool,
}

impl Multiplexed {
    /// `None` for HTTP/1.1.
    pub(super) fn new(spec: &HttpSpec, connections: usize) -> Option<Self> {
        let each = spec.streams? as usize;
        let link = || Link {
            connection: Connection::new(),
            waiting: VecDeque::new(),
            unwritten: VecDeque::new(),
            written_bytes: 0,
            dirty: false,
            admitted: each,
            heard_ns: 0,
        };
        let place = Place { asked: None, last_backend: NO_BACKEND, opened: false, parked: false };
        Some(Self {
            links: (0..connections).map(|_| link()).collect(),
            places: vec![place; connections * each],
            each,
            blocks: Blocks::new(&spec.request),
            cache: BlockCache::default(),
            events: Vec::new(),
            dirty: Vec::new(),
            deadlines: Deadlines::new(connections * each, spec.timeout_ms.saturating_mul(1_000_000)),
            is_told: false,
        })
    }

    /// Requests that servers permitted to be under way at the same time; `None` when none of them said anything.
    pub(super) fn permitted(&self) -> Option<u64> {
        self.is_told.then(|| self.links.iter().map(|link| link.admitted as u64).sum())
    }

    /// Number of the connection of a place.
    pub(super) fn link_of(&self, place: usize) -> usize {
        place / self.each
    }

    /// True when the server permits as many streams as a place needs; otherwise the place is not used until it does.
    pub(super) fn admits(&mut self, place: usize) -> bool {
        let most = self.links.get(place / self.each).map_or(0, |link| link.admitted);
        let admitted = (place % self.each) < most;
        if let Some(place) = self.places.get_mut(place) {
            place.parked = !admitted;
        }
        admitted
    }

    pub(super) fn mark(&mut self, at: usize) {
        if let Some(link) = self.links.get_mut(at)
            && !std::mem::replace(&mut link.dirty, true)
        {
            self.dirty.push(at as u32);
        }
    }

    /// Sends requests that wait, as far as the server permits.
    pub(super) fn open_waiting(&mut self, at: usize) {
        let Some(link) = self.links.get_mut(at) else { return };
        while link.connection.may_open()
            && let Some(place) = link.waiting.pop_front()
        {
            let begins = link.written_bytes + link.connection.out().len() as u64;
            link.unwritten.push_back((place, begins));
            link.connection.open(place, &self.blocks);
            if let Some(place) = self.places.get_mut(place as usize) {
                place.opened = true;
            }
        }
        self.mark(at);
    }

    /// Begins anew on a connection; those that wait go on waiting.
    fn renew(&mut self, at: usize) {
        if let Some(link) = self.links.get_mut(at) {
            link.connection = Connection::new();
            link.unwritten.clear();
            link.written_bytes = 0;
        }
    }

    /// Places of a connection with a request that has a stream: those whose requests a server can have seen, and
    /// those of which nothing was written.
    pub(super) fn under_way(&self, at: usize) -> (Vec<usize>, Vec<usize>) {
        let all = at * self.each..(at + 1) * self.each;
        let has_stream = |place: &Place| place.asked.is_some() && place.opened;
        let is_written = |place: &Place| place.asked.is_some_and(|asked| asked.written_ns > 0);
        all.filter(|place| self.places.get(*place).is_some_and(has_stream))
            .partition(|place| self.places.get(*place).is_some_and(is_written))
    }
}

impl<T: Transport> Worker<T> {
    /// Gives the place of a connection of HTTP/2 a request. False when the connection could not be made at once.
    pub(super) fn begin_place(&mut self, place: usize, asked: Asked, now: u64) -> bool {
        let Some(h2) = &mut self.h2 else { return true };
        let at = h2.link_of(place);
        h2.deadlines.set(place, now);
        if let Some(place) = h2.places.get_mut(place) {
            place.asked = Some(asked);
            place.opened = false;
        }
        if let Some(link) = h2.links.get_mut(at) {
            link.waiting.push_back(place as u32);
        }
        match self.slots.get(at).map(|slot| slot.state) {
            Some(State::Idle) => {
                h2.open_waiting(at);
                true
            }
            Some(State::Empty) => self.connect(at, now),
            _ => true,
        }
    }

    /// A connection is made, and TLS agreed on: HTTP/2 begins.
    pub(super) fn greet(&mut self, at: usize, now: u64) {
        let (Some(h2), Some(slot)) = (&mut self.h2, self.slots.get_mut(at)) else { return };
        let session = slot.socket.as_ref().and_then(Transport::session);
        if let Some(agreed) = session.map(linerate_http::tls::session::Session::agreed)
            && agreed.protocol.as_deref() != Some("h2")
        {
            let fault = Fault::new(
                FaultKind::Protocol,
                "the server does not speak HTTP/2 by TLS: it did not choose h2 (ALPN)",
            );
            return self.cannot_connect(at, Kind::Tls(fault.kind), &fault, now);
        }
        slot.state = State::Greeting;
        h2.renew(at);
        h2.mark(at);
    }

    /// Handles an event of a connection of HTTP/2.
    pub(super) fn note_link(&mut self, at: usize, readable: bool, flags: EventFlags) {
        if flags.contains(EventFlags::OUT)
            && let Some(h2) = &mut self.h2
        {
            h2.mark(at);
        }
        if readable {
            self.receive_link(at);
        }
        self.flush_links();
    }

    /// Reads what has come on a connection of HTTP/2.
    pub(super) fn receive_link(&mut self, at: usize) {
        for _ in 0..READS {
            let Some(slot) = self.slots.get_mut(at) else { return };
            if !matches!(slot.state, State::Greeting | State::Idle | State::Closing) {
                return;
            }
            let Some(socket) = &mut slot.socket else { return };
            let got = socket.recv(&mut self.rooms, &mut self.wire);
            if got.bytes == 0 && got.end.is_none() {
                if got.drained {
                    return;
                }
                continue;
            }
            slot.hung_up |= got.end.is_some();
            let hung_up = slot.hung_up;
            let generation = slot.generation;
            if got.bytes > 0 && !self.take_frames(at, got.bytes) {
                return;
            }
            if self.slots.get(at).is_none_or(|slot| slot.generation != generation || slot.socket.is_none()) {
                return;
            }
            if let Some(end) = got.end {
                return self.link_ended(at, end);
            }
            if got.drained && !hung_up {
                return;
            }
        }
        self.come_back(at);
    }

    /// A connection could not be made: the requests that wait for it have failed.
    pub(super) fn fail_waiting(&mut self, at: usize, kind: Kind, now: u64) {
        let Some(link) = self.h2.as_mut().and_then(|h2| h2.links.get_mut(at)) else { return };
        for place in std::mem::take(&mut link.waiting) {
            self.fail_place(place as usize, kind, now);
        }
    }

    /// The request of a place has failed.
    pub(super) fn fail_place(&mut self, place: usize, kind: Kind, now: u64) {
        let Some(h2) = &mut self.h2 else { return };
        h2.deadlines.clear(place);
        if h2.places.get_mut(place).and_then(|place| place.asked.take()).is_some() {
            self.count_failure(kind, now);
        }
        self.vacate(place, now);
    }

    /// The time limit of a request is reached.
    pub(super) fn time_out_place(&mut self, place: usize, now: u64) {
        let Some(h2) = &mut self.h2 else { return };
        let at = h2.link_of(place);
        let limit_ns = self.spec.timeout_ms.saturating_mul(1_000_000);
        let mut silent = false;
        if let (Some(link), Some(known)) = (h2.links.get_mut(at), h2.places.get(place)) {
            let number = place as u32;
            if known.opened {
                link.forget_unwritten(number, known.asked.is_some_and(|asked| asked.sent > 0));
                link.connection.cancel(number);
                silent = link.heard_ns.saturating_add(limit_ns) <= now;
            } else if link.waiting.front() == Some(&number) {
                // Who has waited longest is mostly the first one.
                link.waiting.pop_front();
            } else {
                link.waiting.retain(|waiting| *waiting != number);
            }
        }
        if h2.links.get(at).is_some_and(|link| link.connection.most_streams() == 0) {
            self.tally.first_failure.get_or_insert_with(|| Failure {
                words: "the server permits no stream (SETTINGS_MAX_CONCURRENT_STREAMS is 0)".to_owned(),
                remedy: None,
            });
        }
        h2.mark(at);
        if silent && let Some(slot) = self.slots.get_mut(at) {
            // The next request of this place is not for this connection.
            slot.state = State::Closing;
        }
        self.fail_place(place, Kind::Timeout, now);
        if silent {
            let words = "the server said nothing for as long as a request may take";
            return self.link_failed(at, Kind::Timeout, words, now);
        }
        self.go_on_link(at, now);
    }

    /// Sends what has been gathered.
    pub(super) fn flush_links(&mut self) {
        loop {
            let Some(h2) = &mut self.h2 else { return };
            let Some(at) = h2.dirty.pop() else { return };
            self.flush_link(at as usize);
        }
    }

    fn flush_link(&mut self, at: usize) {
        let (Some(h2), Some(slot)) = (&mut self.h2, self.slots.get_mut(at)) else { return };
        let Some(link) = h2.links.get_mut(at) else { return };
        link.dirty = false;
        if !matches!(slot.state, State::Greeting | State::Idle | State::Closing) {
            return;
        }
        let Some(socket) = &mut slot.socket else { return };
        while !link.connection.out().is_empty() {
            let now = monotonic_ns();
            match socket.send(link.connection.out(), &mut self.wire) {
                Ok(bytes) => {
                    if socket.is_worn() {
                        link.connection.retire();
                    }
                    self.counts.written_bytes += bytes as u64;
                    link.written_bytes += bytes as u64;
                    link.connection.sent(bytes, &h2.blocks);
                    while let Some((place, begins)) = link.unwritten.front().copied()
                        && begins < link.written_bytes
                    {
                        link.unwritten.pop_front();
                        self.counts.written += u64::from(place == GONE);
                        let place = h2.places.get_mut(place as usize);
                        if let Some(asked) = place.and_then(|place| place.asked.as_mut()) {
                            asked.written_ns = now;
                            // One that was returned, and is sent again, is the same request.
                            self.counts.written += u64::from(std::mem::replace(&mut asked.sent, 1) == 0);
                        }
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    slot.broke_in_writing(errno);
                    return self.receive_link(at);
                }
            }
        }
        // Those that waited until the peer took more.
        if slot.state == State::Idle && !link.waiting.is_empty() && link.connection.may_open() {
            h2.open_waiting(at);
        }
    }
}
