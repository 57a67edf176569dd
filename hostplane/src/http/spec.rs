//! What is asked for.

use std::net::SocketAddr;
use std::path::PathBuf;

use hugepage_check::cpu_set::CpuSet;
use linerate_http::request::Request;
use linerate_http::response::NamedBy;
use linerate_traffic::profile::StageRates;
use serde::Serialize;

use crate::streams::socket::Place;

/// Most connections of a trial.
pub(crate) const MOST_CONNECTIONS: u32 = 1_000_000;
/// Most worker threads.
pub(crate) const MOST_THREADS: u32 = 1024;
/// Most requests per second that can be asked for.
pub(crate) const MOST_PER_SECOND: f64 = 1e8;
/// Most requests that may wait for a free connection.
pub(crate) const MOST_PENDING: u32 = 10_000_000;
/// Most names of backends that are told apart; what others answer is counted together.
pub(crate) const MOST_BACKENDS: usize = 1024;

/// Times between the requests of an open loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    /// Equal at a steady rate.
    #[default]
    Constant,
    /// Exponentially distributed, as of many independent users.
    Poisson,
}

/// When requests are sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum HttpLoad {
    /// Closed loop: each connection sends a request when the response to its last one has come.
    Closed,
    /// Open loop: requests are due at their times, whatever connections do.
    Open {
        /// Requests per second over time, all workers together; the last rate persists.
        stages: Vec<StageRates>,
        arrivals: Arrivals,
        /// Start of the random numbers of Poisson arrivals: the same seed, the same times.
        seed: u64,
    },
}

/// A trial of HTTP requests to one address.
#[derive(Debug, Clone)]
pub(crate) struct HttpSpec {
    /// The request: each one is the same.
    pub(crate) request: Request,
    /// Where connections go.
    pub(crate) address: SocketAddr,
    /// Where they come from.
    pub(crate) place: Place,
    /// With TLS when there is a configuration.
    pub(crate) tls: Option<Tls>,
    /// Connections, distributed over the workers; at least one each.
    pub(crate) connections: u32,
    /// Worker threads; those without a connection are left out.
    pub(crate) threads: u32,
    /// A CPU for each worker, in turn. Workers that have a CPU of their own wait for the last 50 µs before a
    /// request in a loop, because waking up takes as long.
    pub(crate) cpus: Option<CpuSet>,
    pub(crate) load: HttpLoad,
    /// Time of sending; null: until it is stopped.
    pub(crate) duration_ms: Option<u64>,
    /// Requests that are intended, at most.
    pub(crate) requests: Option<u64>,
    /// False: each request has a connection of its own.
    pub(crate) keep_alive: bool,
    /// Longest time from a request's start on its connection to the last byte of its response. Requests under
    /// way when the time of sending ends are waited for as long.
    pub(crate) timeout_ms: u64,
    /// Requests that wait at most when all connections are busy, all workers together; further ones are skipped.
    pub(crate) most_pending: u32,
    /// What tells backends apart.
    pub(crate) named_by: NamedBy,
    /// Largest body of a response.
    pub(crate) most_body_bytes: u64,
    /// Most requests per second within any 10 ms, which ceilings set.
    pub(crate) most_per_second: Option<f64>,
}

/// TLS of a trial's connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The name that the server's certificate must have.
    pub(crate) name: String,
    /// PEM files of authorities; empty: those of the host.
    pub(crate) authorities: Vec<PathBuf>,
    /// True: any certificate will do.
    pub(crate) insecure: bool,
}

/// Error: a trial cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("{what} {value} is outside {least}…{most}")]
    Outside { what: &'static str, value: String, least: f64, most: f64 },
    #[error(
        "{threads} threads have no connection each: there are {connections}; fewer threads or more connections"
    )]
    Idle { threads: u32, connections: u32 },
    #[error(
        "{asked} connections need {needed} open files, and this process may have {allowed}\n  remedy: fewer connections, or a higher limit \
         (ulimit -n)"
    )]
    Descriptors { asked: u32, needed: u64, allowed: u64 },
    #[error(
        "the ceiling of {most:.0} requests per second within any 10 ms does not admit {threads} threads\n  remedy: fewer threads (-t 1)"
    )]
    Ceiling { most: f64, threads: u32 },
    #[error(transparent)]
    Pool(#[from] crate::streams::pool::PoolError),
    #[error("a worker cannot be started: {0}")]
    Start(#[from] std::io::Error),
    #[error("TLS: {0}")]
    Tls(String),
}
