//! From a name to a server that has proved itself.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use linerate_agent::host::{boot_id, monotonic_ns};
use linerate_logging::terminal::escaped_line;
use linerate_wire::streams::{Protocol, StreamKey};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use super::{CONNECT_TIME, ClientError, ClockRelation, Family, Request};
use crate::control::link::{Link, LinkError};
use crate::control::message::{Hello, ToClient, ToServer, Welcome};
use crate::control::proof::{Nonces, is_nonce, matches, nonce};
use crate::control::{PROTOCOL, STEP_TIME, program};
use crate::exchange::connections::ports_words;
use crate::streams::socket::{Place, path_mtu, towards};

/// Readings of the server's clock; the one with the shortest round trip counts. On a long path they are fewer.
const PINGS: u32 = 16;
const FEWEST_PINGS: u32 = 4;
/// Time after which the fewest readings are enough.
const PINGS_TIME: Duration = Duration::from_millis(500);

/// A server that has proved itself.
pub(crate) struct Server {
    pub(crate) link: Link,
    pub(crate) address: SocketAddr,
    pub(crate) client: SocketAddr,
    pub(crate) welcome: Welcome,
    pub(crate) key: StreamKey,
    pub(crate) clock: ClockRelation,
}

/// Connects to the first address of the host that answers.
pub(crate) async fn connect(request: &Request) -> Result<Server, ClientError> {
    let (stream, address, client) =
        reach(&request.host, request.port, request.family, &request.place).await?;
    let mut link = Link::new(stream);
    let failed = |error: LinkError| ClientError::Link { address, error };
    let own = nonce().map_err(ClientError::Random)?;
    let hello = Hello { protocol: PROTOCOL, program: program(), nonce: own.clone() };
    link.send(&ToServer::Hello(hello)).await.map_err(failed)?;
    let challenge = match link.read(STEP_TIME).await.map_err(failed)? {
        ToClient::Challenge(challenge) => challenge,
        other => return Err(unexpected(address, other)),
    };
    let nonces = Nonces { client: own, server: challenge.nonce };
    let proved = is_nonce(&nonces.server) && matches(&nonces.of_server(&request.token), &challenge.proof);
    if !proved {
        return Err(ClientError::Token(address));
    }
    link.trust();
    link.send(&ToServer::Proof(nonces.of_client(&request.token))).await.map_err(failed)?;
    let welcome = match link.read(STEP_TIME).await.map_err(failed)? {
        ToClient::Welcome(welcome) => welcome,
        other => return Err(unexpected(address, other)),
    };
    let clock = compare_clocks(&mut link, address, &welcome).await?;
    Ok(Server { link, address, client, welcome, key: nonces.key(&request.token), clock })
}

/// The error of a line that is not the expected one.
pub(crate) fn unexpected(address: SocketAddr, line: ToClient) -> ClientError {
    match line {
        ToClient::Refused(reason) => ClientError::Denied { address, reason: escaped_line(&reason) },
        _ => ClientError::Link { address, error: LinkError::Foreign("an unexpected line".to_owned()) },
    }
}

/// Why streams are not there: the server's reason when it has refused them, else `error`. The server knows more than a
/// path that is silent.
pub(crate) async fn refused_or(link: &mut Link, address: SocketAddr, error: ClientError) -> ClientError {
    /// The reason was sent long before.
    const REFUSAL_TIME: Duration = Duration::from_millis(10);
    match link.read(REFUSAL_TIME).await {
        Ok(line @ ToClient::Refused(_)) => unexpected(address, line),
        _ => error,
    }
}

/// Connects to the first address of a host that answers; returns the server's and the client's address, too.
pub(crate) async fn reach(
    name: &str,
    port: u16,
    family: Family,
    place: &Place,
) -> Result<(TcpStream, SocketAddr, SocketAddr), ClientError> {
    let host = escaped_line(name);
    let unresolved = |reason: String| ClientError::Unresolved { host: host.clone(), reason };
    let found = lookup_host((name, port)).await;
    let found: Vec<SocketAddr> = found.map_err(|error| unresolved(error.to_string()))?.collect();
    let bound = place.address;
    let fits = |address: &SocketAddr| {
        family.admits(address.ip()) && bound.is_none_or(|own| own.is_ipv4() == address.is_ipv4())
    };
    let mut last = ClientError::OtherVersion { host: host.clone() };
    for address in found.into_iter().filter(fits) {
        let socket = towards(address, Protocol::Tcp, place)?;
        match open(socket, address).await {
            Ok(stream) => {
                let client = stream.local_addr();
                let client = client.map_err(|error| ClientError::Unreachable { address, error })?;
                return Ok((stream, address, client));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Makes a connection with a socket.
pub(crate) async fn open(socket: OwnedFd, address: SocketAddr) -> Result<TcpStream, ClientError> {
    let socket = TcpSocket::from_std_stream(socket.into());
    match timeout(CONNECT_TIME, socket.connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(ClientError::Refused(address))
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
            Err(ClientError::NoPort { address, ports: ports_words() })
        }
        Ok(Err(error)) => Err(ClientError::Unreachable { address, error }),
        Err(_) => {
            let error = std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("no answer within {} s", CONNECT_TIME.as_secs()),
            );
            Err(ClientError::Unreachable { address, error })
        }
    }
}

/// Largest payload of a datagram that fits the path's MTU as the kernel knows it, and an Ethernet frame.
pub(crate) fn datagram_bytes(address: SocketAddr, place: &Place) -> Result<u32, ClientError> {
    /// MTU of Ethernet.
    const ETHERNET_MTU: u32 = 1500;
    let headers = if address.is_ipv6() { 48 } else { 28 };
    Ok(path_mtu(address, place)?.clamp(576, ETHERNET_MTU) - headers)
}

/// Compares the clocks by round trips of control lines.
async fn compare_clocks(
    link: &mut Link,
    address: SocketAddr,
    welcome: &Welcome,
) -> Result<ClockRelation, ClientError> {
    let failed = |error: LinkError| ClientError::Link { address, error };
    let mut best: Option<(u64, i64)> = None;
    let began_ns = monotonic_ns();
    for number in 0..PINGS {
        let before_ns = monotonic_ns();
        if number >= FEWEST_PINGS && u128::from(before_ns - began_ns) > PINGS_TIME.as_nanos() {
            break;
        }
        link.send(&ToServer::Ping(number)).await.map_err(failed)?;
        let pong = match link.read(STEP_TIME).await.map_err(failed)? {
            ToClient::Pong(pong) if pong.number == number => pong,
            other => return Err(unexpected(address, other)),
        };
        let round_trip_ns = monotonic_ns().saturating_sub(before_ns);
        let middle_ns = before_ns + round_trip_ns / 2;
        let ahead_ns = pong.now_ns.wrapping_sub(middle_ns).cast_signed();
        if best.is_none_or(|(shortest, _)| round_trip_ns < shortest) {
            best = Some((round_trip_ns, ahead_ns));
        }
    }
    let (round_trip_ns, ahead_ns) = best.unwrap_or_default();
    let own = boot_id();
    // A time namespace may shift the clock of a kernel: the difference must be one that the round trip explains.
    let same = !own.is_empty() && own == welcome.boot_id && ahead_ns.unsigned_abs() <= round_trip_ns;
    Ok(ClockRelation {
        same,
        server_ahead_ns: if same { 0 } else { ahead_ns },
        uncertainty_ns: if same { 0 } else { round_trip_ns / 2 },
        round_trip_ns,
    })
}
