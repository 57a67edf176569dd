//! A thread of a backend.

mod away;
mod streams;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use linerate_agent::host::monotonic_ns;
use linerate_http::h2::server::ServerConnection;
use linerate_http::incoming::{Incoming, RequestReader};
use linerate_http::tls::session::Session;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};
use rustix::time::Timespec;

use super::super::transport::{End, Rooms, Transport, WireBytes};
use super::absence::Absence;
use super::responses::Responses;
use super::{BackendConfig, BackendCounters, Common, Shown};

/// Event of the eventfd that ends the thread; those below the number of listening sockets are theirs.
const WAKE: u64 = u64::MAX;
/// First event of a connection.
const CONNECTIONS: u64 = 1 << 16;
const EVENTS: usize = 256;
/// Events of a connection that may send requests.
const REQUESTS: EventFlags = EventFlags::IN.union(EventFlags::RDHUP);
/// Bytes of responses that wait on a connection, delayed ones included, from which on no further request is taken.
const MOST_WAITING_BYTES: usize = 1 << 20;
/// Time after which an absent backend whose port cannot be had asks for it again.
const RETURN_AGAIN_NS: u64 = 10_000_000;
/// Rest of a listening socket when there are no file descriptors.
const REST_NS: u64 = 10_000_000;

struct Connection<T> {
    socket: T,
    generation: u32,
    reader: RequestReader,
    /// The peer has said so little that its protocol is not known.
    is_new: bool,
    /// Of HTTP/2.
    h2: Option<Box<ServerConnection>>,
    /// Bytes of a request that is not complete.
    kept: Vec<u8>,
    /// Bytes of responses that the kernel has not taken, and how many of them it has.
    unsent: Vec<u8>,
    unsent_from: usize,
    /// Responses among them.
    unsent_responses: u64,
    /// Requests whose responses are delayed.
    delayed: u32,
    /// The connection ends after what is unsent.
    closes: bool,
    /// What the epoll set watches.
    watched: EventFlags,
}

impl<T> Connection<T> {
    /// True when a request or a response is on its way.
    fn is_within(&self) -> bool {
        let streams = self.h2.as_ref().is_some_and(|h2| !h2.is_idle());
        !self.kept.is_empty() || self.delayed > 0 || streams
    }

    /// True when no further request is taken, with responses of so many bytes.
    fn is_full(&self, response_bytes: usize) -> bool {
        let delayed = response_bytes.saturating_mul(self.delayed as usize);
        self.closes || self.unsent.len().saturating_add(delayed) >= MOST_WAITING_BYTES
    }
}

/// A request that waits for its response.
#[derive(Debug, Clone, Copy)]
enum Request {
    One(Incoming),
    /// On this stream of HTTP/2.
    Stream(u32),
}

/// Where the threads of a backend listen.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) addresses: Vec<SocketAddr>,
    /// Several threads have a socket at each address.
    pub(super) shared: bool,
}

pub(super) struct Worker<T: Transport> {
    config: Arc<BackendConfig>,
    shown: Arc<Shown>,
    absence: Arc<Absence>,
    place: Arc<Place>,
    is_away: bool,
    /// It is back, and no request has come yet by a new connection.
    awaits_request: bool,
    /// Generation of the last connection from before its return: requests of those that it kept do not show that anyone sends it new ones.
    returned_generation: u32,
    /// When it tries to come back, after it could not.
    return_again_ns: u64,
    epoll: OwnedFd,
    listeners: Vec<OwnedFd>,
    connections: Vec<Option<Connection<T>>>,
    free: Vec<u32>,
    generation: u32,
    responses: Responses,
    /// Delayed responses, with the time at which they are due, connection and its generation.
    delayed: VecDeque<(u64, u32, u32, Request)>,
    /// Streams of the requests of HTTP/2 that were read last.
    asked: Vec<u32>,
    counts: BackendCounters,
    settings: T::Settings,
    rooms: Rooms,
    wire: WireBytes,
    /// Time until which listening sockets rest; 0: they do not.
    resting_until: u64,
    next_stall: u64,
}

impl<T: Transport> Worker<T> {
    pub(super) fn new(
        Common { config, absence, place }: Common,
        shown: Arc<Shown>,
        listeners: Vec<OwnedFd>,
        settings: T::Settings,
    ) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &shown.wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        for (number, listener) in listeners.iter().enumerate() {
            epoll::add(&epoll, listener, EventData::new_u64(number as u64), EventFlags::IN)?;
        }
        let next_stall = config.stall.map_or(u64::MAX, |stall| monotonic_ns() + nanoseconds(stall.every));
        Ok(Self {
            responses: Responses::new(&config),
            config,
            shown,
            absence,
            place,
            is_away: false,
            awaits_request: false,
            returned_generation: 0,
            return_again_ns: 0,
            epoll,
            listeners,
            connections: Vec::new(),
            free: Vec::new(),
            generation: 0,
            delayed: VecDeque::new(),
            asked: Vec::new(),
            counts: BackendCounters::default(),
            settings,
            rooms: T::rooms(),
            wire: WireBytes::default(),
            resting_until: 0,
            next_stall,
        })
    }

    pub(super) fn run(mut self) {
        self.shown.thread.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
        let mut events = Vec::with_capacity(EVENTS);
        while !self.shown.stop.load(Ordering::Relaxed) {
            events.clear();
            let timeout = self.time_limit();
            let ready = epoll::wait(&self.epoll, events.spare_capacity_mut(), timeout.as_ref())
                .map_or(&mut [][..], |(ready, _)| ready);
            self.stall();
            for event in ready {
                let data = event.data.u64();
                match data {
                    WAKE => {
                        let _ = rustix::io::read(&self.shown.wake, &mut [0; 8]);
                    }
                    data if data < CONNECTIONS => self.accept(data as usize),
                    data => self.note(data, event.flags),
                }
            }
            self.answer_delayed();
            self.end_rest();
            self.leave_or_return();
            self.publish();
        }
        self.publish();
    }

    fn publish(&mut self) {
        self.counts.wire_read_bytes = self.wire.read;
        self.counts.wire_written_bytes = self.wire.written;
        self.shown.counters.publish(&self.counts);
    }

    /// Does nothing at all while it is time for that.
    fn stall(&mut self) {
        let Some(stall) = self.config.stall else { return };
        if monotonic_ns() < self.next_stall {
            return;
        }
        self.next_stall += nanoseconds(stall.every).max(1);
        let ends = monotonic_ns() + nanoseconds(stall.length);
        // The end is not stalled.
        while monotonic_ns() < ends && !self.shown.stop.load(Ordering::Relaxed) {
            let left = ends.saturating_sub(monotonic_ns());
            std::thread::sleep(Duration::from_nanos(left.min(10_000_000)));
        }
    }

    fn time_limit(&self) -> Option<Timespec> {
        let delayed = self.delayed.front().map_or(u64::MAX, |(due, ..)| *due);
        let rest = if self.resting_until > 0 { self.resting_until } else { u64::MAX };
        let move_ns = match (self.absence.planned(), self.is_away) {
            (Some((_, until)), true) => until.max(self.return_again_ns),
            (Some((from, until)), false) if until > monotonic_ns() => from,
            (None, true) => self.return_again_ns,
            (_, false) => u64::MAX,
        };
        let next = delayed.min(rest).min(self.next_stall).min(move_ns);
        (next != u64::MAX).then(|| {
            let ns = next.saturating_sub(monotonic_ns()).min(1_000_000_000_000);
            Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
        })
    }

    fn accept(&mut self, listener: usize) {
        let Some(listener) = self.listeners.get(listener) else { return };
        // Those who wait are not many more than events of one look: others have their turn in between.
        for _ in 0..EVENTS {
            match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => {
                    let _ = sockopt::set_tcp_nodelay(&socket, true);
                    self.generation = self.generation.wrapping_add(1);
                    let at = self.free.pop().unwrap_or_else(|| {
                        self.connections.push(None);
                        self.connections.len() as u32 - 1
                    });
                    let data = token(at, self.generation);
                    self.counts.connections += 1;
                    if self.is_away {
                        self.absence.connected(monotonic_ns());
                    }
                    let added = epoll::add(&self.epoll, &socket, EventData::new_u64(data), REQUESTS);
                    let wrapped = T::over(socket, &self.settings);
                    let (Ok(()), Ok(socket)) = (added, wrapped) else {
                        self.free.push(at);
                        continue;
                    };
                    self.counts.open += 1;
                    self.connections[at as usize] = Some(Connection {
                        socket,
                        generation: self.generation,
                        reader: RequestReader::default(),
                        is_new: true,
                        h2: None,
                        kept: Vec::new(),
                        unsent: Vec::new(),
                        unsent_from: 0,
                        unsent_responses: 0,
                        delayed: 0,
                        closes: false,
                        watched: REQUESTS,
                    });
                }
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => return self.rest(),
                Err(Errno::AGAIN) => return,
                // A connection that ended while it waited.
                Err(_) => {}
            }
        }
    }

    /// Leaves waiting connections where they are, instead of asking for them again and again.
    fn rest(&mut self) {
        self.resting_until = monotonic_ns() + REST_NS;
        for listener in &self.listeners {
            let _ = epoll::delete(&self.epoll, listener);
        }
    }

    fn end_rest(&mut self) {
        if self.resting_until == 0 || monotonic_ns() < self.resting_until {
            return;
        }
        self.resting_until = 0;
        self.listen_again();
    }

    fn listen_again(&self) {
        for (number, listener) in self.listeners.iter().enumerate() {
            let _ = epoll::add(&self.epoll, listener, EventData::new_u64(number as u64), EventFlags::IN);
        }
    }

    fn note(&mut self, data: u64, flags: EventFlags) {
        let (at, generation) = (data as u32 - CONNECTIONS as u32, (data >> 32) as u32);
        let known = self.connections.get(at as usize).and_then(Option::as_ref);
        if known.is_none_or(|connection| connection.generation != generation) {
            return;
        }
        let goes_on = if flags.contains(EventFlags::OUT) { self.go_on(at) } else { self.read(at) };
        if !goes_on {
            self.close(at);
        }
    }

    fn close(&mut self, at: u32) {
        if let Some(connection) = self.connections.get_mut(at as usize)
            && connection.take().is_some()
        {
            self.counts.open -= 1;
            self.free.push(at);
        }
    }

    /// Reads requests, and answers them. False when the connection is over.
    fn read(&mut self, at: u32) -> bool {
        let Some(connection) = self.connections.get_mut(at as usize).and_then(Option::as_mut) else {
            return true;
        };
        let got = connection.socket.recv(&mut self.rooms, &mut self.wire);
        self.counts.read_bytes += got.bytes as u64;
        if got.bytes > 0 {
            connection.kept.extend_from_slice(&self.rooms.plain[..got.bytes]);
            if !self.go_on(at) {
                return false;
            }
        }
        let Some(end) = got.end else { return true };
        let Some(connection) = self.connections.get(at as usize).and_then(Option::as_ref) else {
            return false;
        };
        if connection.socket.session().is_some_and(Session::is_handshaking) {
            self.counts.tls_failed += 1;
        } else {
            let within = connection.is_within();
            self.counts.broken += u64::from(within || matches!(end, End::Broken(_) | End::Fault));
        }
        false
    }

    /// Answers requests that were read, as far as there is room, and watches for what comes next. False when the
    /// connection is over.
    fn go_on(&mut self, at: u32) -> bool {
        loop {
            if !self.send(at) {
                return false;
            }
            let Some(connection) = self.connections.get(at as usize).and_then(Option::as_ref) else {
                return true;
            };
            if !connection.unsent.is_empty() {
                return self.watch(at, EventFlags::OUT);
            }
            if self.send_streams(at) {
                continue;
            }
            let Some(connection) = self.connections.get(at as usize).and_then(Option::as_ref) else {
                return true;
            };
            if connection.is_full(self.responses.bytes()) {
                // The next request is taken when a delayed response has been sent.
                return self.watch(at, EventFlags::empty());
            }
            match self.take(at) {
                None => return false,
                Some(true) => {}
                Some(false) => return self.watch(at, REQUESTS),
            }
        }
    }

    /// Takes requests of a connection. `None` when it is over; false when there is no whole one, or no room for its response.
    fn take(&mut self, at: u32) -> Option<bool> {
        let Some(connection) = self.connections.get_mut(at as usize).and_then(Option::as_mut) else {
            return Some(false);
        };
        if connection.is_new || connection.h2.is_some() {
            match connection.is_http2() {
                None => return Some(false),
                Some(true) => return self.take_frames(at),
                Some(false) => {}
            }
        }
        let (mut from, mut any) = (0, false);
        while from < connection.kept.len() && !connection.is_full(self.responses.bytes()) {
            match connection.reader.read(&connection.kept[from..]) {
                Ok((taken, Some(request))) => {
                    let keep_alive = request.keep_alive && !connection.socket.is_worn();
                    let request = Incoming { keep_alive, ..request };
                    from += taken;
                    any = true;
                    self.counts.requests += 1;
                    let later = connection.generation.wrapping_sub(self.returned_generation);
                    if self.awaits_request && later.cast_signed() > 0 {
                        self.awaits_request = false;
                        self.absence.first_request(monotonic_ns());
                    }
                    connection.closes = !request.keep_alive;
                    if let Some(delay) = self.config.delay {
                        let due = monotonic_ns() + nanoseconds(delay);
                        connection.delayed += 1;
                        self.delayed.push_back((due, at, connection.generation, Request::One(request)));
                    } else {
                        connection.unsent.extend_from_slice(self.responses.to(request));
                        connection.unsent_responses += 1;
                    }
                }
                Ok((taken, None)) => {
                    from += taken;
                    break;
                }
                Err(_) => {
                    self.counts.malformed += 1;
                    return None;
                }
            }
        }
        connection.kept.drain(..from);
        Some(any)
    }

    fn answer_delayed(&mut self) {
        let now = if self.delayed.is_empty() { return } else { monotonic_ns() };
        while let Some((_, at, generation, request)) =
            self.delayed.front().copied().filter(|(due, ..)| *due <= now)
        {
            self.delayed.pop_front();
            let connection = self.connections.get_mut(at as usize).and_then(Option::as_mut);
            if let Some(connection) = connection.filter(|connection| connection.generation == generation) {
                connection.delayed -= 1;
                match request {
                    Request::One(request) => {
                        connection.unsent.extend_from_slice(self.responses.to(request));
                        connection.unsent_responses += 1;
                    }
                    Request::Stream(stream) => connection.release(stream, &self.responses),
                }
                if !self.go_on(at) {
                    self.close(at);
                }
            }
        }
    }

    /// Sends what the kernel takes. False when the connection is over.
    fn send(&mut self, at: u32) -> bool {
        let Some(connection) = self.connections.get_mut(at as usize).and_then(Option::as_mut) else {
            return true;
        };
        while connection.unsent_from < connection.unsent.len() {
            match connection.socket.send(&connection.unsent[connection.unsent_from..], &mut self.wire) {
                Ok(count) => {
                    self.counts.written_bytes += count as u64;
                    connection.unsent_from += count;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => {
                    self.counts.broken += 1;
                    return false;
                }
            }
        }
        connection.unsent.clear();
        connection.unsent_from = 0;
        self.counts.answered += std::mem::take(&mut connection.unsent_responses);
        let goes_on = !connection.closes || connection.delayed > 0;
        if !goes_on {
            connection.socket.close(&mut self.wire);
        }
        goes_on
    }

    fn watch(&mut self, at: u32, flags: EventFlags) -> bool {
        let Some(connection) = self.connections.get_mut(at as usize).and_then(Option::as_mut) else {
            return true;
        };
        if connection.watched == flags {
            return true;
        }
        connection.watched = flags;
        let data = token(at, connection.generation);
        epoll::modify(&self.epoll, &connection.socket, EventData::new_u64(data), flags).is_ok()
    }
}

/// Number of a connection in the epoll set.
fn token(at: u32, generation: u32) -> u64 {
    (u64::from(at) + CONNECTIONS) | (u64::from(generation) << 32)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
