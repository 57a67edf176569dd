//! How bytes of messages get onto a socket and off it: as they are, or by TLS. Workers are compiled for each.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use linerate_http::tls::client::ClientTls;
use linerate_http::tls::fault::Fault;
use linerate_http::tls::server::ServerTls;
use linerate_http::tls::session::{self, PLAIN_BYTES_MORE, Session};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};

/// Bytes of messages that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of the wire that are read at once by TLS.
const WIRE_BYTES: usize = READ_BYTES - PLAIN_BYTES_MORE;

/// Room of a worker for what is read.
#[derive(Debug)]
pub(super) struct Rooms {
    /// What was read.
    pub(super) plain: Box<[u8]>,
    /// What it was on the wire; empty without TLS.
    wire: Box<[u8]>,
}

/// Bytes on the wire of connections with TLS.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WireBytes {
    pub(super) read: u64,
    pub(super) written: u64,
}

/// What was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Got {
    /// Bytes in [`Rooms::plain`]; with TLS there may be none although something came.
    pub(super) bytes: usize,
    /// There was no more to read. False, too, when something came and there is nothing to show for it.
    pub(super) drained: bool,
    /// Nothing comes after these bytes, and why.
    pub(super) end: Option<End>,
}

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The peer closed the connection.
    Closed,
    /// The connection was closed without TLS being closed: whether something is missing is not known.
    Truncated,
    /// The system call failed.
    Broken(Errno),
    /// TLS cannot go on: [`Transport::fault`] says why.
    Fault,
}

/// A socket with a connection.
pub(super) trait Transport: AsFd + Sized {
    /// True when there is something to agree on before the first message.
    const SHAKES_HANDS: bool;
    /// What all connections of a worker have in common.
    type Settings;

    /// Room for reading.
    fn rooms() -> Rooms;

    /// Wraps a socket.
    fn over(socket: OwnedFd, settings: &Self::Settings) -> Result<Self, Fault>;

    /// Writes the beginning of a message; returns how many of its bytes the kernel took. After
    /// [`Errno::AGAIN`] the same bytes are to be given again.
    fn send(&mut self, bytes: &[u8], wire: &mut WireBytes) -> Result<usize, Errno>;

    /// Reads once.
    fn recv(&mut self, rooms: &mut Rooms, wire: &mut WireBytes) -> Got;

    /// The session of TLS.
    fn session(&self) -> Option<&Session> {
        None
    }

    /// True when so much was sent that the connection is to end after what is under way.
    #[inline]
    fn is_worn(&self) -> bool {
        false
    }

    /// Sends what a handshake has to say.
    fn flush(&mut self, _wire: &mut WireBytes) -> Result<(), Errno> {
        Ok(())
    }

    /// Why TLS cannot go on, once.
    fn fault(&mut self) -> Option<Fault> {
        None
    }

    /// Tells the peer that nothing more comes, as far as it can be told at once.
    fn close(&mut self, _wire: &mut WireBytes) {}
}

/// Messages as they are.
#[derive(Debug)]
pub(super) struct Plain(OwnedFd);

impl AsFd for Plain {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Transport for Plain {
    const SHAKES_HANDS: bool = false;
    type Settings = ();

    fn rooms() -> Rooms {
        Rooms { plain: vec![0; READ_BYTES].into_boxed_slice(), wire: Box::default() }
    }

    fn over(socket: OwnedFd, (): &()) -> Result<Self, Fault> {
        Ok(Self(socket))
    }

    #[inline]
    fn send(&mut self, bytes: &[u8], _: &mut WireBytes) -> Result<usize, Errno> {
        send(&self.0, bytes, SendFlags::NOSIGNAL)
    }

    #[inline]
    fn recv(&mut self, rooms: &mut Rooms, _: &mut WireBytes) -> Got {
        read(&self.0, &mut rooms.plain)
    }
}

/// Messages by TLS.
#[derive(Debug)]
pub(super) struct Tls {
    socket: OwnedFd,
    state: TlsState,
}

/// TLS of a connection.
#[derive(Debug)]
struct TlsState {
    session: Session,
    fault: Option<Fault>,
    closed: bool,
}

/// The settings of the end that this program is.
#[derive(Debug, Clone)]
pub(super) enum TlsEnd {
    Client(ClientTls),
    Server(ServerTls),
}

impl TlsState {
    fn new(settings: &TlsEnd) -> Result<Self, Fault> {
        let session = match settings {
            TlsEnd::Client(client) => client.connect()?,
            TlsEnd::Server(server) => server.accept()?,
        };
        Ok(Self { session, fault: None, closed: false })
    }

    fn send(&mut self, socket: &OwnedFd, bytes: &[u8], wire: &mut WireBytes) -> Result<usize, Errno> {
        self.session.encrypt(bytes);
        self.flush(socket, wire)?;
        Ok(self.session.left())
    }

    fn recv(&mut self, socket: &OwnedFd, rooms: &mut Rooms, wire: &mut WireBytes) -> Got {
        let mut got = read(socket, &mut rooms.wire);
        if got.end == Some(End::Closed) && !self.closed {
            got.end = Some(End::Truncated);
        }
        if got.bytes == 0 {
            return got;
        }
        wire.read += got.bytes as u64;
        let decrypted = self.session.decrypt(&rooms.wire[..got.bytes], &mut rooms.plain);
        got.bytes = decrypted.bytes;
        // Nothing to show for it: there may be more, or the end, which an edge-triggered socket tells once.
        got.drained &= got.bytes > 0;
        match decrypted.end {
            None => {}
            Some(session::End::Closed) => {
                self.closed = true;
                got.end = Some(End::Closed);
            }
            Some(session::End::Fault(fault)) => {
                self.fault = Some(fault);
                got.end = Some(End::Fault);
            }
        }
        // Answers of TLS itself, such as an alert; when they cannot leave now, they do with the next message.
        if self.session.wants_write() {
            let _ = self.flush(socket, wire);
        }
        got
    }

    fn flush(&mut self, socket: &OwnedFd, wire: &mut WireBytes) -> Result<(), Errno> {
        while self.session.wants_write() {
            match self.session.write(&mut Outgoing(socket)) {
                Ok(bytes) => wire.written += bytes as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        }
        Ok(())
    }

    fn close(&mut self, socket: &OwnedFd, wire: &mut WireBytes) {
        if !self.session.is_handshaking() && self.fault.is_none() {
            self.session.close();
            let _ = self.flush(socket, wire);
        }
    }
}

fn rooms_of_tls() -> Rooms {
    Rooms { plain: vec![0; READ_BYTES].into_boxed_slice(), wire: vec![0; WIRE_BYTES].into_boxed_slice() }
}

impl AsFd for Tls {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Transport for Tls {
    const SHAKES_HANDS: bool = true;
    type Settings = TlsEnd;

    fn rooms() -> Rooms {
        rooms_of_tls()
    }

    fn over(socket: OwnedFd, settings: &TlsEnd) -> Result<Self, Fault> {
        Ok(Self { socket, state: TlsState::new(settings)? })
    }

    fn send(&mut self, bytes: &[u8], wire: &mut WireBytes) -> Result<usize, Errno> {
        self.state.send(&self.socket, bytes, wire)
    }

    fn recv(&mut self, rooms: &mut Rooms, wire: &mut WireBytes) -> Got {
        self.state.recv(&self.socket, rooms, wire)
    }

    fn session(&self) -> Option<&Session> {
        Some(&self.state.session)
    }

    fn is_worn(&self) -> bool {
        self.state.session.is_worn()
    }

    fn flush(&mut self, wire: &mut WireBytes) -> Result<(), Errno> {
        self.state.flush(&self.socket, wire)
    }

    fn fault(&mut self) -> Option<Fault> {
        self.state.fault.take()
    }

    fn close(&mut self, wire: &mut WireBytes) {
        self.state.close(&self.socket, wire);
    }
}

/// First byte of a connection with TLS: the type of a record with a handshake (RFC 8446, section 5.1). No request begins with it.
const HANDSHAKE: u8 = 22;

/// Messages by TLS or as they are: the first byte of the peer tells.
#[derive(Debug)]
pub(super) struct Either {
    socket: OwnedFd,
    /// Until something has come.
    undecided: Option<TlsEnd>,
    tls: Option<Box<TlsState>>,
    fault: Option<Fault>,
}

impl Either {
    /// Looks at the first byte; what is to be told when there is none.
    fn decide(&mut self) -> Option<Got> {
        let settings = self.undecided.as_ref()?;
        let mut first = [0; 1];
        match recv(&self.socket, &mut first, RecvFlags::PEEK) {
            Ok((_, 0)) => Some(Got { bytes: 0, drained: true, end: Some(End::Closed) }),
            Ok(_) => {
                if first == [HANDSHAKE] {
                    match TlsState::new(settings) {
                        Ok(state) => self.tls = Some(Box::new(state)),
                        Err(fault) => {
                            self.fault = Some(fault);
                            return Some(Got { bytes: 0, drained: true, end: Some(End::Fault) });
                        }
                    }
                }
                self.undecided = None;
                None
            }
            Err(Errno::AGAIN) => Some(Got { bytes: 0, drained: true, end: None }),
            Err(Errno::INTR) => Some(Got { bytes: 0, drained: false, end: None }),
            Err(errno) => Some(Got { bytes: 0, drained: true, end: Some(End::Broken(errno)) }),
        }
    }
}

impl AsFd for Either {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Transport for Either {
    const SHAKES_HANDS: bool = true;
    type Settings = TlsEnd;

    fn rooms() -> Rooms {
        rooms_of_tls()
    }

    fn over(socket: OwnedFd, settings: &TlsEnd) -> Result<Self, Fault> {
        Ok(Self { socket, undecided: Some(settings.clone()), tls: None, fault: None })
    }

    fn send(&mut self, bytes: &[u8], wire: &mut WireBytes) -> Result<usize, Errno> {
        match &mut self.tls {
            None => send(&self.socket, bytes, SendFlags::NOSIGNAL),
            Some(tls) => tls.send(&self.socket, bytes, wire),
        }
    }

    fn recv(&mut self, rooms: &mut Rooms, wire: &mut WireBytes) -> Got {
        if let Some(nothing) = self.decide() {
            return nothing;
        }
        match &mut self.tls {
            None => read(&self.socket, &mut rooms.plain),
            Some(tls) => tls.recv(&self.socket, rooms, wire),
        }
    }

    fn session(&self) -> Option<&Session> {
        self.tls.as_ref().map(|tls| &tls.session)
    }

    fn is_worn(&self) -> bool {
        self.session().is_some_and(Session::is_worn)
    }

    fn flush(&mut self, wire: &mut WireBytes) -> Result<(), Errno> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => tls.flush(&self.socket, wire),
        }
    }

    fn fault(&mut self) -> Option<Fault> {
        self.fault.take().or_else(|| self.tls.as_mut()?.fault.take())
    }

    fn close(&mut self, wire: &mut WireBytes) {
        if let Some(tls) = &mut self.tls {
            tls.close(&self.socket, wire);
        }
    }
}

/// A socket as rustls writes to it.
struct Outgoing<'a>(&'a OwnedFd);

impl io::Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    /// A flight of a handshake has several records, which are to leave in one packet.
    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut nothing = SendAncillaryBuffer::default();
        Ok(sendmsg(self.0, parts, &mut nothing, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[inline]
fn read(socket: &OwnedFd, room: &mut [u8]) -> Got {
    match recv(socket, &mut *room, RecvFlags::empty()) {
        Ok((_, 0)) => Got { bytes: 0, drained: true, end: Some(End::Closed) },
        Ok((_, bytes)) => Got { bytes, drained: bytes < room.len(), end: None },
        Err(Errno::AGAIN) => Got { bytes: 0, drained: true, end: None },
        Err(Errno::INTR) => Got { bytes: 0, drained: false, end: None },
        Err(errno) => Got { bytes: 0, drained: true, end: Some(End::Broken(errno)) },
    }
}
