//! Requests and responses: round-trip times, how many a second, and how fast connections are made.
//!
//! Each stream has a thread of its own at both ends, so that no other stream's work is part of its times. A
//! request is answered, or it is lost; one that is under way when its stream is broken off is neither, and unknown:
//! requests = responses + lost + unknown.

mod answer;
pub(crate) mod connections;
pub(crate) mod outcome;
mod pace;
pub(crate) mod probe;
pub(crate) mod result;
pub(crate) mod run;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Formatter};

use linerate_measure::histogram::TickHistogram;
use linerate_wire::report::Distribution;
use linerate_wire::streams::CpuUse;
use serde::{Deserialize, Serialize};

/// Most streams of a trial: each has a thread at both ends.
pub(crate) const MOST_STREAMS: u32 = 256;
/// Bytes of a request or response of UDP, at least: a number and a tag.
pub(crate) const LEAST_DATAGRAM: u32 = 16;
/// Most bytes of one.
const MOST_BYTES: u32 = 1 << 20;
/// Most bytes of one of UDP.
const MOST_DATAGRAM: u32 = 65_000;
/// Most requests per second that can be asked for.
const MOST_PER_SECOND: f64 = 1e7;

/// What is exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ExchangeKind {
    /// Requests on TCP connections that stay (TCP_RR).
    Tcp,
    /// Requests in datagrams (UDP_RR).
    Udp,
    /// A TCP connection for each request (TCP_CRR).
    Connect,
}

/// A trial of requests and responses.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExchangeSpec {
    pub(crate) kind: ExchangeKind,
    pub(crate) streams: u32,
    pub(crate) request_bytes: u32,
    pub(crate) response_bytes: u32,
    /// Requests per second, all streams together; null: each stream sends the next request when the response has
    /// come.
    pub(crate) per_second: Option<f64>,
    /// Time of sending requests; null: until the client ends.
    pub(crate) duration_ms: Option<u64>,
    /// True when the client closes connections first, and its ports rest for a minute.
    #[serde(default)]
    pub(crate) client_closes: bool,
}

impl Display for ExchangeSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ExchangeKind::Tcp => "tcp",
            ExchangeKind::Udp => "udp",
            ExchangeKind::Connect => "a TCP connection each",
        };
        let Self { streams, request_bytes, response_bytes, .. } = self;
        write!(f, "{kind}, streams: {streams}, bytes: {request_bytes} and {response_bytes}")?;
        if let Some(rate) = self.per_second {
            write!(f, ", {rate}/s")?;
        }
        if let Some(ms) = self.duration_ms {
            write!(f, ", {} s", ms as f64 / 1e3)?;
        }
        Ok(())
    }
}

impl ExchangeSpec {
    /// Checks what is asked for; the error names the value.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (least, most) = match self.kind {
            ExchangeKind::Udp => (LEAST_DATAGRAM, MOST_DATAGRAM),
            _ => (1, MOST_BYTES),
        };
        for (name, bytes) in [("request", self.request_bytes), ("response", self.response_bytes)] {
            if !(least..=most).contains(&bytes) {
                return Err(format!("a {name} of {bytes} bytes is outside {least}…{most}"));
            }
        }
        if !(1..=MOST_STREAMS).contains(&self.streams) {
            return Err(format!("{} streams are outside 1…{MOST_STREAMS}", self.streams));
        }
        match self.per_second {
            Some(rate) if !(rate > 0.0 && rate <= MOST_PER_SECOND) => {
                Err(format!("{rate} requests per second are outside 0…{MOST_PER_SECOND}"))
            }
            _ => Ok(()),
        }
    }
}

/// The server's account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerExchange {
    /// Whole requests that were read.
    pub(crate) requests: u64,
    /// Responses that its kernel took.
    pub(crate) responses: u64,
    /// Time from a request's arrival in the server's kernel to the departure of its response from there; null
    /// when the kernel took no times.
    pub(crate) kernel: Option<Distribution>,
    pub(crate) cpu: CpuUse,
    /// Why streams ended early, each once.
    pub(crate) failures: Vec<String>,
}

/// A distribution of times that were recorded in nanoseconds; `None` when there are none.
pub(crate) fn distribution(histogram: &TickHistogram) -> Option<Distribution> {
    histogram.read(1_000_000_000)
}
