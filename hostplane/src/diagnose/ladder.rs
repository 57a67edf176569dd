//! Search for the path's MTU, each way: datagrams that the network may not cut, longer and longer.
//!
//! The client asks with a datagram of one length and the server answers with one of another, so that only one
//! direction is tested at a time. Whether the kernel believes in a smaller MTU does not matter; what it learns
//! on the way (ICMP, "fragmentation needed") is told.

use std::net::SocketAddr;
use std::time::Duration;

use linerate_wire::streams::{Load, Protocol, SocketOptions, StreamKey, StreamsSpec};
use rustix::io::Errno;
use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use crate::client::connect::{Server, connect, unexpected};
use crate::client::streams::{Opening, open_all};
use crate::client::{ClientError, Request};
use crate::control::STEP_TIME;
use crate::control::message::{ToClient, ToServer};
use crate::streams::socket::path_mtu;
use crate::sys::sockopt;

/// Path in the header of the search's datagrams.
pub(crate) const LADDER_PATH: u32 = u32::MAX;
/// Longest payload of a datagram.
pub(crate) const LONGEST_BYTES: usize = 65_507;
/// Longest search.
pub(crate) const MOST_TIME: Duration = Duration::from_secs(60);
/// Bytes of a rung: key, number, and length of the answer.
const RUNG_BYTES: usize = 24;
/// Attempts with a length until it counts as too long, and the wait for each besides the round trip.
const ATTEMPTS: u32 = 3;
const WAIT: Duration = Duration::from_millis(150);
/// Attempts in a row that do not count because nothing at all came back: 3 s at a server that never answers.
const PATIENCE: u32 = 20;

/// A datagram of the search, without what fills it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rung {
    number: u32,
    /// Payload of the answer, in bytes.
    answer_bytes: u32,
}

impl Rung {
    /// The datagram with `bytes` of payload.
    fn filled(self, key: &StreamKey, bytes: usize) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(bytes.max(RUNG_BYTES));
        datagram.extend(key.0);
        datagram.extend(self.number.to_le_bytes());
        datagram.extend(self.answer_bytes.to_le_bytes());
        datagram.resize(bytes.max(RUNG_BYTES), 0);
        datagram
    }

    /// Reads a datagram; `None` when it is none of this search.
    pub(crate) fn read(key: &StreamKey, datagram: &[u8]) -> Option<Self> {
        let rest = datagram.strip_prefix(&key.0)?;
        let number = u32::from_le_bytes(*rest.first_chunk()?);
        let answer_bytes = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?);
        Some(Self { number, answer_bytes })
    }

    /// The answer that it asks for.
    pub(crate) fn answer(self, key: &StreamKey) -> Vec<u8> {
        self.filled(key, (self.answer_bytes as usize).min(LONGEST_BYTES))
    }
}

/// What was found. Lengths are those of IP packets, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Ladder {
    pub(crate) forward: Way,
    pub(crate) reverse: Way,
    /// MTU of the path from the client that its kernel has learnt.
    pub(crate) learnt_mtu: Option<u32>,
}

/// One direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Way {
    /// MTU of the sender's interface, where the search began; null when unknown: Ethernet's was taken.
    pub(crate) interface_mtu: Option<u32>,
    /// Longest packet that passes; null: not even the shortest did.
    pub(crate) passes: Option<u32>,
    /// Lengths that were tried, and whether they passed.
    pub(crate) tried: Vec<(u32, bool)>,
}

impl Way {
    /// True when a packet that the interface would send does not pass.
    pub(crate) fn is_narrow(&self) -> bool {
        self.tried.first().is_some_and(|(_, passed)| !passed)
    }
}

/// Searches. `interface_mtus`: of the client's and of the server's interface.
pub(crate) async fn climb(
    request: &Request,
    interface_mtus: (Option<u32>, Option<u32>),
) -> Result<Ladder, ClientError> {
    let Server { mut link, address, key, clock, .. } = connect(request).await?;
    let failed = |error| ClientError::Link { address, error };
    link.send(&ToServer::Ladder).await.map_err(failed)?;
    match link.read(STEP_TIME).await.map_err(failed)? {
        ToClient::Ready => {}
        other => return Err(unexpected(address, other)),
    }
    let spec = StreamsSpec {
        protocol: Protocol::Udp,
        streams: 1,
        load: Load::DatagramsPerSecond(1.0),
        duration_ms: Some(1),
        bytes: None,
        block_bytes: RUNG_BYTES as u32,
        sockets: SocketOptions::default(),
    };
    let opening = Opening {
        to: address,
        name: (key, LADDER_PATH),
        spec: &spec,
        streams: 1,
        place: &request.place,
        ceiling_bytes: None,
    };
    let (_, socket) =
        open_all(&opening, |_| true).await?.into_iter().next().ok_or(ClientError::Interrupted)?;
    let unreachable = |error| ClientError::Unreachable { address, error };
    sockopt::set_whole(&socket, address.is_ipv6()).map_err(unreachable)?;
    let socket = UdpSocket::from_std(socket.into()).map_err(unreachable)?;
    let wait = WAIT + 2 * Duration::from_nanos(clock.round_trip_ns);
    let mut climber =
        Climber { socket, key, wait, number: 0, patience: PATIENCE, room: vec![0; LONGEST_BYTES] };
    let headers = if address.is_ipv6() { 48 } else { 28 };
    let forward = search(&mut climber, address, interface_mtus.0, async |climber: &mut Climber, packet| {
        climber.asks(packet - headers, RUNG_BYTES as u32).await
    })
    .await;
    let reverse = search(&mut climber, address, interface_mtus.1, async |climber: &mut Climber, packet| {
        climber.asks(RUNG_BYTES as u32, packet - headers).await
    })
    .await;
    Ok(Ladder { forward, reverse, learnt_mtu: path_mtu(address, &request.place).ok() })
}

/// What came of an attempt.
enum Attempt {
    Answered,
    /// The short question behind it was answered: the server was there.
    Failed,
    /// Nothing came: a server that waits for its CPU, not the length, may be the reason.
    Silent,
}

struct Climber {
    socket: UdpSocket,
    key: StreamKey,
    wait: Duration,
    /// The latest question's.
    number: u32,
    /// Silent attempts in a row left that do not count.
    patience: u32,
    room: Vec<u8>,
}

impl Climber {
    /// True when a question of so many bytes of payload is answered with as many as asked for.
    async fn asks(&mut self, bytes: u32, answer_bytes: u32) -> bool {
        let first = self.number + 2;
        let mut failed = 0;
        while failed < ATTEMPTS {
            match self.attempt(first, bytes, answer_bytes).await {
                Attempt::Answered => {
                    self.patience = PATIENCE;
                    return true;
                }
                Attempt::Failed => {
                    self.patience = PATIENCE;
                    failed += 1;
                }
                Attempt::Silent if self.patience > 0 => self.patience -= 1,
                Attempt::Silent => failed += 1,
            }
        }
        false
    }

    /// Asks once, and asks for a short answer to a short question behind it. Questions have even numbers, those of this
    /// length from `first` on; the short ones are odd.
    async fn attempt(&mut self, first: u32, bytes: u32, answer_bytes: u32) -> Attempt {
        self.number += 2;
        if !self.send(Rung { number: self.number, answer_bytes }, bytes).await {
            return Attempt::Failed;
        }
        let behind = self.number + 1;
        self.send(Rung { number: behind, answer_bytes: RUNG_BYTES as u32 }, RUNG_BYTES as u32).await;
        let mut is_heard = false;
        let limit = Instant::now() + self.wait;
        while let Ok(received) = timeout_at(limit, self.socket.recv(&mut self.room)).await {
            let Ok(length) = received else { continue };
            let Some(answer) = Rung::read(&self.key, &self.room[..length]) else { continue };
            is_heard |= answer.number == behind;
            // An answer that is late for its attempt has passed, too.
            if answer.number >= first
                && answer.number.is_multiple_of(2)
                && length == (answer_bytes as usize).max(RUNG_BYTES)
            {
                return Attempt::Answered;
            }
        }
        if is_heard { Attempt::Failed } else { Attempt::Silent }
    }

    /// Sends a question of so many bytes of payload; false when the kernel holds it to be too long.
    async fn send(&self, question: Rung, bytes: u32) -> bool {
        let datagram = question.filled(&self.key, bytes as usize);
        // An error that waits at the socket tells of an earlier datagram; the next call is about this one.
        let mut sent = self.socket.send(&datagram).await;
        if sent.is_err() {
            sent = self.socket.send(&datagram).await;
        }
        sent.err().and_then(|error| error.raw_os_error()) != Some(Errno::MSGSIZE.raw_os_error())
    }
}

/// Finds the longest packet for which `passes` holds: first the interface's MTU, then by halves.
async fn search(
    climber: &mut Climber,
    address: SocketAddr,
    interface_mtu: Option<u32>,
    passes: impl AsyncFn(&mut Climber, u32) -> bool,
) -> Way {
    const ETHERNET_MTU: u32 = 1500;
    /// Longest packet of IP.
    const LONGEST_PACKET: u32 = 65_535;
    let shortest = if address.is_ipv6() { 1280 } else { 576 };
    let mut way = Way { interface_mtu, passes: None, tried: Vec::new() };
    let top = interface_mtu.unwrap_or(ETHERNET_MTU).clamp(shortest, LONGEST_PACKET);
    let mut next = Some(top);
    while let Some(packet) = next {
        let passed = passes(climber, packet).await;
        way.tried.push((packet, passed));
        next = next_length(&way.tried, shortest);
    }
    way.passes = way.tried.iter().filter(|(_, passed)| *passed).map(|(packet, _)| *packet).max();
    way
}

/// The length to be tried after these; `None` when the longest that passes is known.
fn next_length(tried: &[(u32, bool)], shortest: u32) -> Option<u32> {
    let failed = tried.iter().filter(|(_, passed)| !passed).map(|(packet, _)| *packet).min();
    let passed = tried.iter().filter(|(_, passed)| *passed).map(|(packet, _)| *packet).max();
    match (passed, failed) {
        (_, None) => None,
        (None, Some(failed)) => (failed > shortest).then_some(shortest),
        (Some(passed), Some(failed)) => (failed - passed > 1).then(|| passed.midpoint(failed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_the_longest_packet_in_few_steps() {
        for (mtu, top) in [(1500, 1500), (1450, 1500), (1499, 1500), (576, 1500), (1501, 9000), (8950, 9000)]
        {
            let mut tried = Vec::new();
            let mut next = Some(top);
            while let Some(packet) = next {
                tried.push((packet, packet <= mtu));
                next = next_length(&tried, 576);
            }
            let longest = tried.iter().filter(|(_, passed)| *passed).map(|(packet, _)| *packet).max();
            assert_eq!(longest, Some(mtu), "{tried:?}");
            assert!(tried.len() <= 17, "{tried:?}");
        }
        assert_eq!(next_length(&[(1500, false), (576, false)], 576), None, "nothing passes");
    }

    #[test]
    fn a_rung_belongs_to_its_search() {
        let (key, other) = (StreamKey([7; 16]), StreamKey([8; 16]));
        let rung = Rung { number: 3, answer_bytes: 1000 };
        let datagram = rung.filled(&key, 100);
        assert_eq!(datagram.len(), 100);
        assert_eq!(Rung::read(&key, &datagram), Some(rung));
        assert_eq!(Rung::read(&other, &datagram), None);
        assert_eq!(Rung::read(&key, &datagram[..20]), None);
        assert_eq!(rung.answer(&key).len(), 1000);
        let greedy = Rung { answer_bytes: u32::MAX, ..rung };
        assert_eq!(greedy.answer(&key).len(), LONGEST_BYTES);
    }
}
