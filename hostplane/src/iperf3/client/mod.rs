//! A client of iperf3's servers: one test, from the first connection to both ends' results.

mod run;
mod streams;

use std::io;
use std::net::SocketAddr;

use linerate_hardware::CpuSet;
use linerate_traffic::safety::{Ceilings, UnsafeStreams};
use linerate_wire::streams::SpecError;

pub(crate) use self::run::run;
use super::link::LinkError;
use crate::client::Family;
use crate::result::interval::Interval;
use crate::spec::TrialSpec;
use crate::streams::pool::PoolError;
use crate::streams::socket::{Place, SocketError};

/// What a client is to do.
#[derive(Debug)]
pub(crate) struct Request {
    /// Name or address of the server.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) family: Family,
    pub(crate) place: Place,
    /// The trial. With UDP, 0 bytes per datagram stand for as many as the path's MTU admits.
    pub(crate) spec: TrialSpec,
    pub(crate) ceilings: Ceilings,
    pub(crate) cpus: Option<CpuSet>,
}

/// Who watches a test.
pub(crate) trait Watcher {
    /// The test starts.
    fn starts(&mut self, spec: &TrialSpec, server: SocketAddr);
    /// An interval has ended.
    fn interval(&mut self, interval: &Interval);
}

/// Error: there is no test.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("nothing listens at {0}\n  remedy: start a server there: iperf3 -s -p {port}", port = .0.port())]
    NothingListens(SocketAddr),
    #[error(transparent)]
    Reach(crate::client::ClientError),
    #[error("{address}: {error}\n  remedy: see whether a server of iperf3 listens there (iperf3 -s)")]
    Link { address: SocketAddr, error: LinkError },
    #[error(
        "{0} is busy with another client's test, or does not admit this one\n  remedy: try again later; a stock iperf3 serves one at a time"
    )]
    Busy(SocketAddr),
    #[error("{address} refuses: {reason}")]
    Denied { address: SocketAddr, reason: String },
    #[error("{0} gave the test up before it began")]
    Terminated(SocketAddr),
    #[error("{address}: stream {number} of UDP was not answered within {seconds} s\n  remedy: see whether a firewall drops UDP on port {port}", port = .address.port())]
    NoAnswer { address: SocketAddr, number: u32, seconds: u64 },
    #[error("{address}: stream {number} cannot be opened: {error}")]
    Stream { address: SocketAddr, number: u32, error: io::Error },
    #[error("the test is refused: {0}")]
    Unsafe(#[from] UnsafeStreams),
    #[error("the test is not possible: {0}")]
    Spec(SpecError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error("no random number to be had: {0}")]
    Random(getrandom::Error),
    #[error("interrupted before the test began")]
    Interrupted,
}

impl From<crate::client::ClientError> for ClientError {
    fn from(error: crate::client::ClientError) -> Self {
        match error {
            crate::client::ClientError::Refused(address) => ClientError::NothingListens(address),
            other => ClientError::Reach(other),
        }
    }
}
