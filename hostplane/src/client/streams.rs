//! Sockets of a trial's streams at the client.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::ClientError;
use super::connect::{Server, open};
use crate::control::link::LinkError;
use crate::spec::{Direction, Protocol, StreamsSpec};
use crate::streams::header::{HEADER_BYTES, Header};
use crate::streams::socket::{Place, SocketError, prepare_connection, prepare_stream, towards};

/// Connections that are made at the same time.
const AT_ONCE: usize = 128;
/// Time between two requests for a stream of datagrams, and until they are given up.
const HELLO_INTERVAL: Duration = Duration::from_millis(100);
const HELLO_TIME: Duration = Duration::from_secs(5);

/// Opens all streams of a trial; each one has its number. `ceiling_bytes` is the highest load that ceilings
/// admit, in bytes per second.
pub(super) async fn open_all(
    server: &Server,
    spec: &StreamsSpec,
    place: &Place,
    ceiling_bytes: Option<f64>,
) -> Result<Vec<(u32, OwnedFd)>, ClientError> {
    raise_descriptor_limit(spec.total_streams())?;
    let mut sockets = Vec::new();
    let (mut waiting, mut answered) = (JoinSet::new(), 0);
    let address = server.address;
    for number in 0..spec.total_streams() {
        if waiting.len() >= AT_ONCE && spec.protocol == Protocol::Tcp {
            sockets.push(next(&mut waiting, address).await?);
        }
        let socket = towards(address, spec.protocol, place)?;
        let header = Header { key: server.key, stream: number, answer: false }.to_bytes();
        match spec.protocol {
            Protocol::Tcp => {
                prepare_connection(&socket, &spec.sockets)?;
                waiting.spawn_local(
                    async move { Ok((number, Some(connection(socket, address, header).await?))) },
                );
            }
            Protocol::Udp => {
                waiting.spawn_local(async move { Ok((number, datagrams(socket, address, header).await?)) });
            }
        }
    }
    while let Some(done) = waiting.join_next().await {
        let (number, socket) = joined(done, address)?;
        if let Some(socket) = socket {
            answered += 1;
            sockets.push((number, socket));
        }
    }
    if spec.protocol == Protocol::Udp && answered < spec.total_streams() as usize {
        let streams = spec.total_streams() as usize;
        return Err(ClientError::DatagramsLost { address, answered, streams, seconds: HELLO_TIME.as_secs() });
    }
    for (number, socket) in &sockets {
        let sends = spec.direction_of(*number) == Some(Direction::Forward);
        prepare_stream(socket, spec, sends, address.ip(), ceiling_bytes)?;
    }
    Ok(sockets)
}

type Opened = Result<(u32, Option<OwnedFd>), ClientError>;

fn joined(
    done: Result<Opened, tokio::task::JoinError>,
    address: SocketAddr,
) -> Result<(u32, Option<OwnedFd>), ClientError> {
    done.map_err(|error| ClientError::Unreachable { address, error: std::io::Error::other(error) })?
}

async fn next(waiting: &mut JoinSet<Opened>, address: SocketAddr) -> Result<(u32, OwnedFd), ClientError> {
    let closed = || ClientError::Link { address, error: LinkError::Closed };
    let (number, socket) = joined(waiting.join_next().await.ok_or_else(closed)?, address)?;
    Ok((number, socket.ok_or_else(closed)?))
}

/// Raises the limit of open files as far as this user may, and refuses more streams than that.
fn raise_descriptor_limit(streams: u32) -> Result<(), ClientError> {
    const SPARE: u64 = 64;
    let needed = u64::from(streams) + SPARE;
    match crate::streams::raise_descriptor_limit() {
        Some(limit) if limit < needed => {
            let reason = format!(
                "{streams} streams need {needed} file descriptors, and this process may have {limit}"
            );
            Err(ClientError::Socket(SocketError::NoDescriptor(std::io::Error::other(reason))))
        }
        _ => Ok(()),
    }
}

async fn connection(
    socket: OwnedFd,
    address: SocketAddr,
    header: [u8; HEADER_BYTES],
) -> Result<OwnedFd, ClientError> {
    let mut stream = open(socket, address).await?;
    let failed = |error| ClientError::Unreachable { address, error };
    stream.write_all(&header).await.map_err(failed)?;
    stream.into_std().map(OwnedFd::from).map_err(failed)
}

/// Asks for a stream of datagrams until the server answers; `None` when it does not.
async fn datagrams(
    socket: OwnedFd,
    address: SocketAddr,
    header: [u8; HEADER_BYTES],
) -> Result<Option<OwnedFd>, ClientError> {
    let failed = |error| ClientError::Unreachable { address, error };
    rustix::net::connect(&socket, &address).map_err(|errno| failed(errno.into()))?;
    let socket = UdpSocket::from_std(socket.into()).map_err(failed)?;
    let mut room = [0; HEADER_BYTES + 1];
    let limit = Instant::now() + HELLO_TIME;
    while Instant::now() < limit {
        // An error tells of an earlier datagram that was dropped or refused on the path.
        let _ = socket.send(&header).await;
        let Ok(received) = timeout(HELLO_INTERVAL, socket.recv(&mut room)).await else { continue };
        match received {
            Ok(bytes) => {
                let answer = Header::from_bytes(&room[..bytes]).filter(|answer| answer.answer);
                if answer.is_some_and(|answer| header.ends_with(&answer.key.0)) {
                    return socket.into_std().map(OwnedFd::from).map(Some).map_err(failed);
                }
            }
            Err(_) => tokio::time::sleep(HELLO_INTERVAL).await,
        }
    }
    Ok(None)
}
