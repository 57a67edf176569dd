//! The door of a program: one port at which streams arrive, TCP and UDP.
//!
//! Whoever awaits streams tells the door the key and the path in their headers. A connection that begins with
//! such a header, and the socket of a client that sends one as a datagram, are handed over. A socket of
//! datagrams is bound to the same port and connected to its client: the kernel hands all further datagrams of
//! that client to it.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linerate_wire::streams::StreamKey;
use rustix::net::{SocketType, bind, listen};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::streams::header::{HEADER_BYTES, Header};
use crate::streams::socket::{SocketError, canonical, datagrams_from, unbound};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// Error: the door cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}\n  remedy: {remedy}")]
pub(crate) struct ListenError {
    address: SocketAddr,
    error: io::Error,
    remedy: &'static str,
}

/// A stream that has arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// Its number.
    pub(crate) stream: u32,
    pub(crate) socket: OwnedFd,
}

/// A stream, or why this end has no socket for one.
pub(crate) type Arrival = Result<Arrived, SocketError>;

/// Streams that somebody awaits.
#[derive(Debug)]
struct Awaited {
    arrivals: UnboundedSender<Arrival>,
    /// Number of streams.
    streams: u32,
    /// Address of this end that the datagrams come to; the port is the door's.
    local: SocketAddr,
    /// Streams that have arrived.
    arrived: BTreeSet<u32>,
    /// True when any number of connections may come, with any numbers.
    any: bool,
}

type Name = (StreamKey, u32);

/// A table of awaited streams. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door {
    awaited: Arc<Mutex<HashMap<Name, Awaited>>>,
}

/// Streams that are awaited until this is dropped.
#[derive(Debug)]
pub(crate) struct Arrivals {
    door: Door,
    name: Name,
    pub(crate) queue: UnboundedReceiver<Arrival>,
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.door.table().remove(&self.name);
    }
}

impl Door {
    fn table(&self) -> MutexGuard<'_, HashMap<Name, Awaited>> {
        // The table stays whole whatever happens to its user.
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Awaits the streams of a path: their headers have this key and path. `local` is the address of this end
    /// that the other end uses.
    pub(crate) fn expect(&self, key: StreamKey, path: u32, streams: u32, local: SocketAddr) -> Arrivals {
        self.await_streams((key, path), streams, local, false)
    }

    /// Awaits any number of connections.
    pub(crate) fn expect_any(&self, key: StreamKey, path: u32, local: SocketAddr) -> Arrivals {
        self.await_streams((key, path), u32::MAX, local, true)
    }

    fn await_streams(&self, name: Name, streams: u32, local: SocketAddr, any: bool) -> Arrivals {
        let (arrivals, queue) = unbounded_channel();
        let awaited = Awaited { arrivals, streams, local, arrived: BTreeSet::new(), any };
        self.table().insert(name, awaited);
        Arrivals { door: self.clone(), name, queue }
    }

    /// Hands a connection over. False when nobody awaits it.
    pub(crate) fn hand_over(&self, header: Header, socket: OwnedFd) -> bool {
        let mut table = self.table();
        match table.get_mut(&header.name()).filter(|awaited| awaited.admits(header)) {
            Some(awaited) => {
                awaited.note(header.stream);
                // Whoever awaited it may be gone.
                awaited.arrivals.send(Ok(Arrived { stream: header.stream, socket })).is_ok()
            }
            None => false,
        }
    }

    /// Makes the socket of a client that asks for a stream of datagrams, and answers it.
    fn answer(&self, header: Header, from: SocketAddr) {
        let mut table = self.table();
        let Some(awaited) = table.get_mut(&header.name()).filter(|awaited| awaited.admits(header)) else {
            return;
        };
        match datagrams_from(awaited.local, canonical(from)) {
            Ok(socket) => {
                // An answer that is lost is asked for again, and given by the stream's worker.
                let _ = rustix::net::send(&socket, &header.answered(), rustix::net::SendFlags::DONTWAIT);
                awaited.note(header.stream);
                let _ = awaited.arrivals.send(Ok(Arrived { stream: header.stream, socket }));
            }
            Err(error) => {
                tracing::warn!(%error, "a stream of datagrams cannot be accepted");
                // Whoever awaited it may be gone.
                let _ = awaited.arrivals.send(Err(error));
            }
        }
    }
}

impl Awaited {
    fn note(&mut self, stream: u32) {
        if !self.any {
            self.arrived.insert(stream);
        }
    }

    fn admits(&self, header: Header) -> bool {
        !header.answer && header.stream < self.streams && !self.arrived.contains(&header.stream)
    }
}

/// A listener for connections and a socket for datagrams on one address and port; port 0 takes a free one. All addresses (`[::]`) are
/// those of IPv4 where the kernel has no IPv6.
pub(crate) fn open(address: SocketAddr) -> Result<(TcpListener, UdpSocket), ListenError> {
    let failed = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there; end it, or choose another port",
            io::ErrorKind::AddrNotAvailable => "give an address of this host (`ip address` lists them)",
            io::ErrorKind::PermissionDenied => "choose a port of 1024 or more",
            _ => "choose another address",
        };
        ListenError { address, error, remedy }
    };
    let bound = |kind: SocketType, address: SocketAddr| -> io::Result<OwnedFd> {
        let (fd, address) = unbound(address, kind)?;
        bind(&fd, &address)?;
        Ok(fd)
    };
    let tcp = bound(SocketType::STREAM, address).map_err(failed)?;
    listen(&tcp, BACKLOG).map_err(|errno| failed(errno.into()))?;
    let listener = TcpListener::from_std(tcp.into()).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let udp = bound(SocketType::DGRAM, address).map_err(failed)?;
    Ok((listener, UdpSocket::from_std(udp.into()).map_err(failed)?))
}

/// The header at the beginning of a stream's connection; `None` when it is a control connection.
pub(crate) async fn first_bytes(stream: &mut TcpStream) -> io::Result<Option<Header>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !Header::begins(first[0]) {
        return Ok(None);
    }
    let mut bytes = [0; HEADER_BYTES];
    stream.read_exact(&mut bytes).await?;
    let header = Header::from_bytes(&bytes);
    header.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a header of another version"))
}

/// Answers the datagrams that ask for streams. Others are dropped.
pub(crate) async fn hear(door: Door, socket: UdpSocket) {
    let mut room = [0; 2 * HEADER_BYTES];
    loop {
        match socket.recv_from(&mut room).await {
            Ok((bytes, from)) => {
                if let Some(header) = Header::from_bytes(&room[..bytes]) {
                    door.answer(header, from);
                }
            }
            // The network reports that an earlier answer did not arrive.
            Err(error) => tracing::debug!(%error, "a datagram could not be received"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_handed_over_once_to_whoever_awaits_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let socket = || OwnedFd::from(std::net::TcpStream::connect(local).unwrap());
        let (door, key) = (Door::default(), StreamKey([7; 16]));
        let mut arrivals = door.expect(key, 3, 2, local);
        let header = |path, stream| Header { key, path, stream, answer: false };
        assert!(!door.hand_over(header(4, 0), socket()), "another path");
        assert!(!door.hand_over(header(3, 2), socket()), "a stream too many");
        assert!(!door.hand_over(Header { answer: true, ..header(3, 0) }, socket()));
        assert!(door.hand_over(header(3, 1), socket()));
        assert!(!door.hand_over(header(3, 1), socket()), "the same again");
        assert_eq!(arrivals.queue.try_recv().unwrap().unwrap().stream, 1);
        drop(arrivals);
        assert!(!door.hand_over(header(3, 0), socket()), "nobody awaits it any more");
    }
}
