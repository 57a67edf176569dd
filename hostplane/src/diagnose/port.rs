//! Whether a TCP port of a node answers: Calico's BGP port 179.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use linerate_wire::streams::Protocol;
use serde::Serialize;
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::streams::socket::{Place, towards};

/// BGP (RFC 4271).
pub(crate) const BGP_PORT: u16 = 179;
/// Time for an answer: three attempts of the kernel.
const ANSWER_TIME: Duration = Duration::from_millis(3500);

/// How a port answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PortState {
    /// A program listens there.
    Open,
    /// The host answers that nobody listens.
    Refused,
    /// No answer, or one of the network that forbids it.
    Filtered,
    /// The question could not be asked.
    Unknown,
}

/// A port, and how it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PortProbe {
    pub(crate) address: SocketAddr,
    pub(crate) state: PortState,
    /// What the kernel said.
    pub(crate) reason: Option<String>,
    /// True when the user named the node, and expects an answer.
    pub(crate) asked_for: bool,
}

/// Asks the BGP port of a node: its address, whose own port does not count. A link-local address has its interface.
pub(crate) async fn ask(node: SocketAddr, asked_for: bool, place: &Place) -> PortProbe {
    let mut address = node;
    address.set_port(BGP_PORT);
    let connected = async {
        let socket = towards(address, Protocol::Tcp, place).map_err(io::Error::other)?;
        TcpSocket::from_std_stream(socket.into()).connect(address).await
    };
    let (state, reason) = match timeout(ANSWER_TIME, connected).await {
        Ok(Ok(_)) => (PortState::Open, None),
        Ok(Err(error)) => (state_of(error.kind()), Some(error.to_string())),
        Err(_) => (PortState::Filtered, Some(format!("no answer within {} s", ANSWER_TIME.as_secs_f64()))),
    };
    PortProbe { address, state, reason, asked_for }
}

fn state_of(kind: io::ErrorKind) -> PortState {
    match kind {
        io::ErrorKind::ConnectionRefused => PortState::Refused,
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            PortState::Filtered
        }
        _ => PortState::Unknown,
    }
}
