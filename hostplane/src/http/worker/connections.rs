//! Connections: made, established, closed.

use std::fmt::Display;
use std::io;
use std::os::fd::AsFd;

use linerate_agent::host::monotonic_ns;
use linerate_http::response::ResponseReader;
use linerate_http::tls::fault::FaultKind;
use linerate_wire::streams::Protocol;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::super::tally::{Failure, NO_BACKEND};
use super::super::transport::{End, Got, Transport};
use super::requests::READS;
use super::{Phase, Worker};
use crate::streams::socket::{SocketError, towards};

/// Connections of a worker that are being made at the same time before the start: no listening socket's queue
/// overflows.
const AT_ONCE: u32 = 64;
/// First and longest rest of a connection of a closed loop that could not be made.
const REST_NS: u64 = 1_000_000;
const LONGEST_REST: u8 = 7;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is no socket.
    Empty,
    Connecting,
    /// Established, while TLS is agreed on.
    Handshaking,
    /// Established, while HTTP/2 has not been told of the server's settings.
    Greeting,
    /// Ready, without a request.
    Idle,
    /// With a request.
    Busy,
    /// The peer said that it will close.
    Closing,
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    Local,
    Reset,
    ClosedEarly,
    Timeout,
    Malformed,
    TooLarge,
    StreamReset,
    StreamRefused,
    Tls(FaultKind),
}

/// A request on a connection. Times are nanoseconds of the raw monotonic clock; 0: not yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) intended_ns: u64,
    pub(super) written_ns: u64,
    pub(super) first_byte_ns: u64,
    /// Bytes that the kernel accepted.
    pub(super) sent: usize,
}

/// A connection, or the place of one.
#[derive(Debug)]
pub(super) struct Slot<T> {
    pub(super) socket: Option<T>,
    pub(super) state: State,
    pub(super) asked: Option<Asked>,
    pub(super) reader: ResponseReader,
    /// Bytes of a head that is not complete.
    pub(super) kept: Vec<u8>,
    /// Responses on this connection.
    pub(super) answered: u32,
    /// Number of the socket, so that events of an earlier one are told.
    pub(super) generation: u32,
    pub(super) last_backend: u32,
    pub(super) connect_ns: u64,
    /// The peer has closed its side.
    pub(super) hung_up: bool,
    /// Why the kernel took no more of what was to be written.
    pub(super) write_error: Option<Errno>,
    /// It has more to read, and waits for its turn.
    pub(super) again: bool,
    address: usize,
    /// Failures in a row.
    failures: u8,
    was_connected: bool,
}

impl<T> Slot<T> {
    pub(super) fn new(address: usize) -> Self {
        Self {
            socket: None,
            state: State::Empty,
            asked: None,
            reader: ResponseReader::default(),
            kept: Vec::new(),
            answered: 0,
            generation: 0,
            last_backend: NO_BACKEND,
            connect_ns: 0,
            hung_up: false,
            write_error: None,
            again: false,
            address,
            failures: 0,
            was_connected: false,
        }
    }
}

impl<T: Transport> Slot<T> {
    /// Nothing more can be written. What the peer said before is still to be read, and the end, too.
    pub(super) fn broke_in_writing(&mut self, errno: Errno) {
        self.hung_up = true;
        // After a regular end of the peer's side that is no news.
        self.write_error = Some(errno).filter(|errno| *errno != Errno::PIPE);
    }

    /// How the connection ended, given how reading ended: the kernel tells the error of a socket once, and after a
    /// failed write reading ends like a connection that the peer has closed.
    pub(super) fn end_of(&self, read: End) -> End {
        match (read, self.write_error) {
            // TLS has a close of its own, and it has come then.
            (End::Closed, Some(errno)) if !T::SHAKES_HANDS => End::Broken(errno),
            (End::Truncated, Some(errno)) => End::Broken(errno),
            _ => read,
        }
    }
}

impl<T: Transport> Worker<T> {
    /// Makes connections before the start, some at a time. True when there are more to make now.
    pub(super) fn connect_more(&mut self, now: u64) {
        // A connection for one request is made when the request is due; with TLS the first one is made before, so
        // that a certificate that proves nothing ends the trial, and not every request.
        let alone = self.spec.requests_per_connection == Some(1);
        let all = if alone { usize::from(T::SHAKES_HANDS) } else { self.slots.len() };
        while self.connecting < AT_ONCE && self.next_slot < all {
            let at = self.next_slot;
            self.next_slot += 1;
            self.connect(at, now);
        }
        if self.connecting == 0 && self.next_slot >= all && self.phase == Phase::Arming {
            self.phase = Phase::Armed;
            self.shown.ready.store(true, std::sync::atomic::Ordering::Release);
        }
    }

    /// Begins to connect. False when that failed at once; then the connection's request has failed, too.
    pub(super) fn connect(&mut self, at: usize, now: u64) -> bool {
        let Some(slot) = self.slots.get_mut(at) else { return false };
        let Some(to) = self.spec.addresses.get(slot.address) else { return false };
        slot.connect_ns = now;
        slot.generation = slot.generation.wrapping_add(1);
        let data = at as u64 | u64::from(slot.generation) << 32;
        let made = towards(*to, Protocol::Tcp, &self.spec.place).map_err(refusal).and_then(|socket| {
            sockopt::set_tcp_nodelay(&socket, true).map_err(of_errno)?;
            match rustix::net::connect(&socket, to) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(errno) => return Err(of_errno(errno)),
            }
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&self.epoll, &socket, EventData::new_u64(data), flags).map_err(of_errno)?;
            T::over(socket, &self.settings)
                .map_err(|fault| (Kind::Tls(fault.kind), io::Error::other(fault.to_string())))
        });
        if slot.asked.is_none() {
            self.connecting += 1;
        }
        match made {
            Ok(socket) => {
                slot.socket = Some(socket);
                slot.state = State::Connecting;
                slot.hung_up = false;
                slot.write_error = None;
                slot.answered = 0;
                if slot.asked.is_none() {
                    self.deadlines.set(at, now);
                }
                true
            }
            Err((kind, error)) => {
                self.cannot_connect(at, kind, &error, now);
                false
            }
        }
    }

    /// A connection could not be made.
    pub(super) fn cannot_connect(&mut self, at: usize, kind: Kind, error: &dyn Display, now: u64) {
        self.counts.connect_failures += 1;
        let Some(slot) = self.slots.get_mut(at) else { return };
        slot.failures = (slot.failures + 1).min(LONGEST_REST);
        let to = self.spec.addresses.get(slot.address).map_or_else(String::new, ToString::to_string);
        self.tally.first_failure.get_or_insert_with(|| Failure {
            words: format!("no connection to {to}: {error}"),
            remedy: match kind {
                Kind::Tls(kind) => Some(kind.remedy()),
                Kind::Malformed | Kind::ClosedEarly | Kind::Reset if self.h2.is_some() => {
                    Some("see whether the server speaks HTTP/2 on this port; without --http2 it is asked by HTTP/1.1")
                }
                _ => None,
            },
        });
        if let Kind::Tls(kind) = kind {
            self.tally.tls.count(kind);
        }
        if slot.asked.is_some() {
            return self.fail(at, kind, now);
        }
        self.connecting = self.connecting.saturating_sub(1);
        self.close(at);
        if self.h2.is_some() {
            self.fail_waiting(at, kind, now);
        } else {
            self.vacate(at, now);
        }
    }

    /// Looks how an attempt to connect ended.
    pub(super) fn look_at_connection(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let Some(socket) = &slot.socket else { return };
        let now = monotonic_ns();
        match sockopt::socket_error(socket) {
            Ok(Ok(())) if meets_itself(socket) => {
                let (kind, error) = of_errno(Errno::CONNREFUSED);
                self.cannot_connect(at, kind, &error, now);
            }
            Ok(Ok(())) => {
                self.tally.times.connect.record(now.wrapping_sub(slot.connect_ns).cast_signed());
                if T::SHAKES_HANDS {
                    slot.state = State::Handshaking;
                    slot.connect_ns = now;
                    self.shake_hands(at);
                } else {
                    self.established(at, now);
                }
            }
            Ok(Err(errno)) | Err(errno) => {
                let (kind, error) = of_errno(errno);
                self.cannot_connect(at, kind, &error, now);
            }
        }
    }

    /// A connection can be used.
    pub(super) fn established(&mut self, at: usize, now: u64) {
        if self.h2.is_some() {
            return self.greet(at, now);
        }
        self.count_connected(at);
        let Some(slot) = self.slots.get_mut(at) else { return };
        if slot.asked.is_some() {
            slot.state = State::Busy;
            self.write(at);
        } else {
            self.connecting = self.connecting.saturating_sub(1);
            slot.state = State::Idle;
            self.deadlines.clear(at);
            self.vacate(at, now);
        }
    }

    /// Counts a connection that can be used.
    pub(super) fn count_connected(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        self.counts.connected += 1;
        self.counts.reconnected += u64::from(std::mem::replace(&mut slot.was_connected, true));
        slot.failures = 0;
    }

    /// Closes the socket, if there is one.
    pub(super) fn close(&mut self, at: usize) {
        self.deadlines.clear(at);
        self.closing.clear(at);
        let Some(slot) = self.slots.get_mut(at) else { return };
        if let Some(socket) = &mut slot.socket
            && !slot.hung_up
        {
            socket.close(&mut self.wire);
        }
        // The epoll set forgets a socket that is closed.
        slot.socket = None;
        slot.state = State::Empty;
        slot.reader.reset();
        slot.kept = Vec::new();
    }

    /// Time until which a connection rests that could not be made, in a closed loop; 0: it need not.
    pub(super) fn rest_until(&self, at: usize, now: u64) -> u64 {
        let at = self.h2.as_ref().map_or(at, |h2| h2.link_of(at));
        let failures = self.slots.get(at).map_or(0, |slot| slot.failures);
        if failures == 0 || self.schedule.is_some() { 0 } else { now + (REST_NS << (failures - 1)) }
    }

    /// Something came on a connection without a request.
    pub(super) fn read_idle(&mut self, at: usize) {
        let Some(got) = self.read_unasked(at) else { return };
        if got.bytes > 0 {
            self.counts.unsolicited += 1;
        } else {
            self.counts.closed_idle += 1;
        }
        // The slot stays among the free ones: its next request finds it without a connection.
        self.close(at);
    }

    /// Reads where nothing is asked for; `None`: nothing came, or nothing but what TLS says to itself.
    pub(super) fn read_unasked(&mut self, at: usize) -> Option<Got> {
        for _ in 0..READS {
            let slot = self.slots.get_mut(at)?;
            let got = slot.socket.as_mut()?.recv(&mut self.rooms, &mut self.wire);
            if got.bytes > 0 || got.end.is_some() {
                slot.hung_up |= got.end.is_some();
                return Some(got);
            }
            if got.drained {
                return None;
            }
        }
        self.come_back(at);
        None
    }
}

/// True when a socket has found its own port, where nobody listens: both ends are the same one.
fn meets_itself(socket: &impl AsFd) -> bool {
    match (rustix::net::getsockname(socket), rustix::net::getpeername(socket)) {
        (Ok(own), Ok(peer)) => peer.is_some_and(|peer| own == peer),
        _ => false,
    }
}

/// What an error of a system call means for a connection.
fn of_errno(errno: Errno) -> (Kind, io::Error) {
    let kind = match errno {
        Errno::ADDRNOTAVAIL | Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN => {
            Kind::Local
        }
        // The limit of an epoll set, and a firewall of this host.
        Errno::NOSPC | Errno::PERM => Kind::Local,
        _ => Kind::Connect,
    };
    (kind, errno.into())
}

fn refusal(error: SocketError) -> (Kind, io::Error) {
    match error {
        SocketError::NoDescriptor(error) => (Kind::Local, error),
        other => (Kind::Local, io::Error::other(other)),
    }
}
