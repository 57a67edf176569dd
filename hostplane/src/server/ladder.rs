//! The server's part in a search for the path's MTU: it answers datagrams, each way whole or not at all.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use linerate_traffic::limit::Limit;
use linerate_traffic::safety::PacketLoad;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout_at};

use super::Context;
use super::trial::Meeting;
use crate::control::link::{Conversation, Link};
use crate::control::message::{ToClient, ToServer};
use crate::diagnose::ladder::{LADDER_PATH, LONGEST_BYTES, MOST_TIME, Rung};
use crate::sys::sockopt;

/// Time between two answers: a search is no load.
const PAUSE: Duration = Duration::from_millis(10);

/// Refuses a search that the ceilings forbid.
pub(super) fn check(context: &Context, client: IpAddr) -> Result<(), String> {
    /// A long frame of Ethernet.
    const PACKET_BYTES: f64 = 9018.0;
    let load = PacketLoad { packets_per_second: Some(1.0 / PAUSE.as_secs_f64()), packet_bytes: PACKET_BYTES };
    let limit = Limit { duration_ms: Some(MOST_TIME.as_millis() as u64), packets: None };
    context.ceilings.check_streams(&load, &limit, Some(client)).map_err(|error| error.to_string())
}

/// Answers until the client has ended its connection, or the time is over.
pub(super) async fn serve(context: &Context, mut link: Link, meeting: Meeting) {
    let limit = Instant::now() + MOST_TIME;
    let mut arrivals = context.door.expect(meeting.key, LADDER_PATH, 1, meeting.local);
    if link.send(&ToClient::Ready).await.is_err() {
        return;
    }
    let mut conversation: Conversation<ToServer> = link.listen();
    let arrived = tokio::select! {
        arrived = timeout_at(limit, arrivals.queue.recv()) => arrived.ok().flatten().and_then(Result::ok),
        _ = conversation.next() => None,
    };
    let Some(socket) = arrived.and_then(|arrived| ready(arrived.socket, meeting)) else { return };
    let mut room = vec![0; LONGEST_BYTES];
    loop {
        let received = tokio::select! {
            received = timeout_at(limit, socket.recv(&mut room)) => received,
            _ = conversation.next() => return,
        };
        match received {
            Ok(Ok(bytes)) => {
                answer(&socket, meeting, &room[..bytes]).await;
                sleep(PAUSE).await;
            }
            // The path reports that an earlier answer was too long.
            Ok(Err(_)) => {}
            Err(_) => return,
        }
    }
}

fn ready(socket: OwnedFd, meeting: Meeting) -> Option<UdpSocket> {
    let made = sockopt::set_whole(&socket, meeting.local.is_ipv6())
        .and_then(|()| UdpSocket::from_std(socket.into()));
    made.inspect_err(|error| tracing::warn!(%error, "a search for the path's MTU cannot be served")).ok()
}

async fn answer(socket: &UdpSocket, meeting: Meeting, bytes: &[u8]) {
    if let Some(rung) = Rung::read(&meeting.key, bytes) {
        // What is longer than the interface's MTU is refused here: the client waits in vain, as for any other loss.
        let _ = socket.send(&rung.answer(&meeting.key)).await;
    }
}
