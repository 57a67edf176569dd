//! The client's end: asks a server for a trial, runs its own part of it, and gathers both accounts.

mod closing;
pub(crate) mod connect;
mod run;
pub(crate) mod streams;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use linerate_agent::token::Token;
use linerate_hardware::CpuSet;
use linerate_traffic::safety::{Ceilings, UnsafeStreams};
use linerate_wire::streams::SpecError;
use tokio::sync::watch;

pub(crate) use self::run::run;
use crate::control::link::LinkError;
use crate::control::message::Welcome;
use crate::spec::TrialSpec;
use crate::streams::pool::PoolError;
use crate::streams::report::{EndReport, EndSample};
use crate::streams::socket::{Place, SocketError};

/// Which version of IP a name is resolved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

impl Family {
    pub(crate) fn admits(self, address: IpAddr) -> bool {
        match self {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        }
    }
}

/// What a client is to do.
#[derive(Debug)]
pub(crate) struct Request {
    /// Name or address of the server.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) family: Family,
    pub(crate) place: Place,
    pub(crate) token: Token,
    /// The trial. With UDP, 0 bytes per datagram stand for as many as the path's MTU admits.
    pub(crate) spec: TrialSpec,
    pub(crate) ceilings: Ceilings,
    pub(crate) cpus: Option<CpuSet>,
}

/// Relation of the two ends' clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ClockRelation {
    /// True when both ends read the clock of one kernel.
    pub(crate) same: bool,
    /// The server's clock less the client's, in nanoseconds; 0 for the same clock.
    pub(crate) server_ahead_ns: i64,
    /// How far that may be off, either way.
    pub(crate) uncertainty_ns: u64,
    /// Shortest round trip of a control line.
    pub(crate) round_trip_ns: u64,
}

/// A trial that has been run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) spec: TrialSpec,
    pub(crate) server: SocketAddr,
    pub(crate) client: SocketAddr,
    pub(crate) welcome: Welcome,
    pub(crate) clock: ClockRelation,
    /// Start of the trial by the client's calendar, in seconds since 1970.
    pub(crate) began_unix_s: f64,
    /// The client's account.
    pub(crate) own: EndReport,
    /// The server's account; absent when it did not arrive.
    pub(crate) theirs: Option<EndReport>,
    /// Samples of the client, with those of the server at the same time.
    pub(crate) samples: Vec<(EndSample, Option<EndSample>)>,
    /// True when samples were left out: the oldest of a long trial.
    pub(crate) samples_left_out: u64,
    /// True when a signal ended it.
    pub(crate) interrupted: bool,
    /// Why there is no complete account, in words; absent when there is.
    pub(crate) failure: Option<String>,
}

/// Who watches a trial.
pub(crate) trait Observer {
    /// Both ends are ready; the trial starts.
    fn starts(&mut self, spec: &TrialSpec, server: SocketAddr, welcome: &Welcome);
    /// The streams start at this instant of the raw monotonic clock.
    fn begins(&mut self, _at_ns: u64) {}
    /// An interval has ended: the samples at its end, and those before. The server's may be missing.
    fn interval(&mut self, before: &Samples<'_>, now: &Samples<'_>);
}

/// Both ends' samples of an interval. One of them is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Samples<'a> {
    pub(crate) client: Option<&'a EndSample>,
    pub(crate) server: Option<&'a EndSample>,
}

/// Error: there is no trial.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("{host}: no address of this name: {reason}\n  remedy: {}", remedy_of_name(host))]
    Unresolved { host: String, reason: String },
    #[error(
        "{host}: no address of the version of IP that -4, -6 or --bind leaves\n  remedy: leave that option out, or give it for the version that {host} has"
    )]
    OtherVersion { host: String },
    #[error("nothing listens at {0}\n  remedy: start a server there: linerate-hostplane serve --listen {0}")]
    Refused(SocketAddr),
    #[error(
        "no connection to {address}: {error}\n  remedy: see whether the address is right, a route leads there, and no firewall drops the port"
    )]
    Unreachable { address: SocketAddr, error: io::Error },
    #[error(
        "no local port is free for a connection to {address}: {ports}\n  remedy: fewer streams, a wider range, or --bind with another address"
    )]
    NoPort { address: SocketAddr, ports: String },
    #[error("{address}: {error}\n  remedy: see whether `linerate-hostplane serve` listens there")]
    Link { address: SocketAddr, error: LinkError },
    #[error(
        "{0}: the server does not know this token\n  remedy: give both ends the same (--token-file or LINERATE_TOKEN)"
    )]
    Token(SocketAddr),
    #[error("{address} refuses: {reason}")]
    Denied { address: SocketAddr, reason: String },
    #[error(
        "datagrams do not get through to {address}: {answered} of {streams} streams were answered within {seconds} s\n  remedy: see whether \
         a firewall drops UDP on port {} in either direction",
        address.port()
    )]
    DatagramsLost { address: SocketAddr, answered: usize, streams: usize, seconds: u64 },
    #[error("the trial is refused: {0}")]
    Unsafe(#[from] UnsafeStreams),
    #[error("the trial is not possible: {0}")]
    Spec(SpecError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error("no random number to be had: {0}")]
    Random(getrandom::Error),
    #[error("interrupted before the trial began")]
    Interrupted,
}

/// What helps when the resolver knows no such name.
fn remedy_of_name(host: &str) -> String {
    let with_port = |name: &str, port: &str| format!("give the port by its option: {name} --port {port}");
    // Brackets part an address of IPv6 from a port.
    if let Ok(address) = host.parse::<SocketAddr>() {
        return with_port(&address.ip().to_string(), &address.port().to_string());
    }
    match host.split_once(':') {
        Some((name, port))
            if !name.is_empty() && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            with_port(name, port)
        }
        _ => format!("give an address, or see whether the name is right (getent hosts {host})"),
    }
}

/// Waits for the signal to end.
pub(crate) async fn interrupted(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Longest wait for a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_behind_a_name_has_its_option_and_an_address_of_ipv6_is_no_port() {
        for (host, expected) in [
            ("host:5201", Some("host --port 5201")),
            ("[2001:db8::1]:5201", Some("2001:db8::1 --port 5201")),
            ("2001:db8::g:1", None),
            ("2001:db8::1", None),
            ("::1", None),
            (":5201", None),
            ("host:", None),
            ("host", None),
        ] {
            let remedy = remedy_of_name(host);
            match expected {
                Some(expected) => assert_eq!(remedy, format!("give the port by its option: {expected}")),
                None => assert!(remedy.starts_with("give an address"), "{host}: {remedy}"),
            }
        }
    }
}
