//! Sockets of a trial's streams at the client.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use linerate_wire::streams::{Protocol, StreamKey, StreamsSpec};
use tokio::io::AsyncWriteExt;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::ClientError;
use super::connect::open;
use crate::streams::header::{HEADER_BYTES, Header};
use crate::streams::socket::{Place, SocketError, prepare_connection, prepare_stream, towards};

/// Connections that are made at the same time.
const AT_ONCE: usize = 128;
/// Time between two requests for a stream of datagrams, and until they are given up.
const HELLO_INTERVAL: Duration = Duration::from_millis(100);
const HELLO_TIME: Duration = Duration::from_secs(5);

/// Streams to be opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) to: SocketAddr,
    /// Key and path in the headers.
    pub(crate) name: (StreamKey, u32),
    pub(crate) spec: &'a StreamsSpec,
    /// Number of streams, of all directions.
    pub(crate) streams: u32,
    pub(crate) place: &'a Place,
    /// Highest load that ceilings admit, in bytes per second.
    pub(crate) ceiling_bytes: Option<f64>,
}

/// Opens all streams of a path; each one has its number. `sends` tells which ones this end sends. Must run in a
/// local set.
pub(crate) async fn open_all(
    opening: &Opening<'_>,
    sends: impl Fn(u32) -> bool,
) -> Result<Vec<(u32, OwnedFd)>, ClientError> {
    let Opening { to, name: (key, path), spec, streams, place, ceiling_bytes } = *opening;
    raise_descriptor_limit(streams)?;
    let mut sockets = Vec::new();
    let mut waiting = JoinSet::new();
    for number in 0..streams {
        if waiting.len() >= AT_ONCE {
            sockets.extend(next(&mut waiting, to).await?);
        }
        let socket = towards(to, spec.protocol, place)?;
        let header = Header { key, path, stream: number, answer: false }.to_bytes();
        match spec.protocol {
            Protocol::Tcp => {
                prepare_connection(&socket, &spec.sockets)?;
                waiting.spawn_local(async move { Ok((number, Some(connection(socket, to, header).await?))) });
            }
            Protocol::Udp => {
                waiting.spawn_local(async move { Ok((number, datagrams(socket, to, header).await?)) });
            }
        }
    }
    while !waiting.is_empty() {
        sockets.extend(next(&mut waiting, to).await?);
    }
    if sockets.len() < streams as usize {
        let (answered, streams) = (sockets.len(), streams as usize);
        return Err(ClientError::DatagramsLost {
            address: to,
            answered,
            streams,
            seconds: HELLO_TIME.as_secs(),
        });
    }
    for (number, socket) in &sockets {
        prepare_stream(socket, spec, sends(*number), to.ip(), ceiling_bytes)?;
    }
    Ok(sockets)
}

type Opened = Result<(u32, Option<OwnedFd>), ClientError>;

/// The next stream that is open; `None` when the server did not answer.
async fn next(
    waiting: &mut JoinSet<Opened>,
    address: SocketAddr,
) -> Result<Option<(u32, OwnedFd)>, ClientError> {
    let Some(done) = waiting.join_next().await else { return Ok(None) };
    let failed = |error| ClientError::Unreachable { address, error: std::io::Error::other(error) };
    let (number, socket) = done.map_err(failed)??;
    Ok(socket.map(|socket| (number, socket)))
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
