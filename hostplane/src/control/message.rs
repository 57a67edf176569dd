//! The messages.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::diagnose::view::HostView;
use crate::exchange::{ExchangeSpec, ServerExchange};
use crate::spec::TrialSpec;
use crate::streams::report::{EndReport, EndSample, SentCounts};

/// From the client to the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ToServer {
    /// The first line.
    Hello(Hello),
    /// Answer to the challenge.
    Proof(String),
    /// Asks for the server's clock.
    Ping(u32),
    /// Asks for a trial.
    Trial(Box<TrialSpec>),
    /// Asks for a trial of requests and responses.
    Exchange(ExchangeSpec),
    /// Asks what the server sees of its host; may be repeated.
    Observe,
    /// Asks for a search for the path's MTU; the last request of a connection.
    Ladder,
    /// Both ends start at an instant.
    Start(Start),
    /// The server is to end its sending.
    Stop,
    /// The client has ended its sending.
    Ended(SentCounts),
    /// The client is still there.
    Alive,
}

/// From the server to the client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ToClient {
    /// Answer to the hello.
    Challenge(Challenge),
    /// The client has proved itself.
    Welcome(Welcome),
    /// The server does not do what was asked, with the reason; it closes the connection.
    Refused(String),
    /// The server's clock.
    Pong(Pong),
    /// The trial is accepted; the server awaits its streams.
    Accepted(Accepted),
    /// The server's account of requests and responses; the last line.
    Exchanged(Box<ServerExchange>),
    /// What the server sees.
    Observed(Box<Observed>),
    /// All streams have arrived.
    Ready,
    /// Measures at the end of an interval.
    Sample(Box<EndSample>),
    /// The server has ended its sending.
    Ended(SentCounts),
    /// The server's account; the last line.
    Report(Box<EndReport>),
    /// The server is still there.
    Alive,
}

/// Beginning of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Version of the messages.
    pub(crate) protocol: u32,
    /// The program and its version.
    pub(crate) program: String,
    /// Random number of the client, in hexadecimal digits.
    pub(crate) nonce: String,
}

/// The server's proof, and its demand for one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Challenge {
    pub(crate) protocol: u32,
    pub(crate) program: String,
    /// Random number of the server, in hexadecimal digits.
    pub(crate) nonce: String,
    /// Proof that the server knows the token.
    pub(crate) proof: String,
}

/// What a client needs to know of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// Boot id of the server's kernel; equal to the client's on one host. Empty when unknown.
    pub(crate) boot_id: String,
    /// Name of the server's host; null when unknown.
    pub(crate) host: Option<String>,
    /// Release of its kernel; null when unknown.
    pub(crate) kernel: Option<String>,
    /// Workers of the server.
    pub(crate) workers: u32,
}

/// The server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pong {
    /// Number of the ping.
    pub(crate) number: u32,
    /// The server's raw monotonic clock, in nanoseconds.
    pub(crate) now_ns: u64,
}

/// What a server sees of its host and of the client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Observed {
    /// The client's address as it arrives.
    pub(crate) client: SocketAddr,
    /// The address at which it arrives.
    pub(crate) server: SocketAddr,
    /// CPUs with a worker of their own; empty when the scheduler places the workers.
    pub(crate) workers: Vec<u32>,
    pub(crate) view: HostView,
}

/// Acceptance of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accepted {
    /// Tag in the probes of datagrams.
    pub(crate) tag: u16,
}

/// The common start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Instant on the server's raw monotonic clock, in nanoseconds.
    pub(crate) at_ns: u64,
    /// The client's clock less the server's.
    pub(crate) client_ahead_ns: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Directions, tcp_spec};

    #[test]
    fn lines_have_a_stable_form() {
        for (line, text) in [
            (ToServer::Stop, r#""stop""#),
            (ToServer::Ping(3), r#"{"ping":3}"#),
            (
                ToServer::Start(Start { at_ns: 5, client_ahead_ns: -2 }),
                r#"{"start":{"at_ns":5,"client_ahead_ns":-2}}"#,
            ),
            (
                ToServer::Trial(Box::new(TrialSpec {
                    directions: Directions::Both,
                    interval_ms: 500,
                    server_cpu: None,
                    each: tcp_spec(),
                })),
                concat!(
                    r#"{"trial":{"directions":"both","interval_ms":500,"protocol":"tcp","streams":1,"load":"max","duration_ms":1000,"#,
                    r#""bytes":null,"block_bytes":131072,"sockets":{"congestion":null,"window_bytes":null,"mss":null,"dscp":null,"#,
                    r#""kernel_pacing":false,"gso":null,"gro":false,"skip_copy":false}}}"#
                ),
            ),
        ] {
            assert_eq!(serde_json::to_string(&line).unwrap(), text);
            assert_eq!(serde_json::from_str::<ToServer>(text).unwrap(), line);
        }
        let accepted = ToClient::Accepted(Accepted { tag: 9 });
        assert_eq!(serde_json::to_string(&accepted).unwrap(), r#"{"accepted":{"tag":9}}"#);
    }
}
