//! What a trial counted and measured.

use std::collections::BTreeMap;

use linerate_http::tls::session::Agreed;
use linerate_wire::report::Distribution;
use linerate_wire::streams::CpuUse;
use linerate_wire::time::{Throttling, WorkerTime};
use serde::Serialize;

use super::counters::HttpCounters;
use super::tally::Failure;
use super::verdict::HttpVerdict;

/// Counters of all workers at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HttpSample {
    /// Nanoseconds of the raw monotonic clock.
    pub(crate) at_ns: u64,
    /// Totals since the trial was armed.
    pub(crate) counters: HttpCounters,
    /// CPU time of this process since the start, in nanoseconds.
    pub(crate) cpu_ns: u64,
}

/// Times of requests, in nanoseconds. Null when nothing was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct HttpTimes {
    /// From the time at which a request was due to the last byte of its response: what a user waits who does not
    /// know of the server's state. Null in a closed loop, where requests are due when the server permits.
    pub(crate) corrected: Option<Distribution>,
    /// From the call that wrote the request's first byte to the last byte of its response.
    pub(crate) service: Option<Distribution>,
    /// From the call that wrote the request's first byte to the first byte of its response.
    pub(crate) first_byte: Option<Distribution>,
    /// From the time at which a request was due to when a connection was given it: the error of this program, and
    /// waiting for a connection; not the time in which a connection is made. Null in a closed loop.
    pub(crate) send_error: Option<Distribution>,
    /// Time for a connection to be made.
    pub(crate) connect: Option<Distribution>,
    /// From the established connection to the end of TLS's handshake.
    pub(crate) handshake: Option<Distribution>,
}

/// Responses of one backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BackendCount {
    /// The name that it gave.
    pub(crate) name: String,
    /// Whole responses.
    pub(crate) responses: u64,
}

/// Whole responses by the backend that sent them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct BackendCounts {
    /// By name; at most [`super::spec::MOST_BACKENDS`].
    pub(crate) named: Vec<BackendCount>,
    /// Responses with a name beyond that number.
    pub(crate) others: u64,
    /// Responses that named no backend.
    pub(crate) unnamed: u64,
}

/// Failed requests in a short time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct FailureBin {
    /// Beginning, in milliseconds after the start of the trial.
    pub(crate) at_ms: u64,
    /// Requests that failed, or were answered with 5xx.
    pub(crate) requests: u64,
}

/// When requests failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct FailureTimes {
    /// Width of a bin, in milliseconds.
    pub(crate) bin_ms: u64,
    /// Bins in which a request failed or was answered with 5xx, in order.
    pub(crate) bins: Vec<FailureBin>,
    /// Failures after the last bin that is kept.
    pub(crate) later: u64,
}

/// CPU of one worker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct HttpWorker {
    /// Its number.
    pub(crate) worker: u32,
    /// The CPU that it is pinned to; null: wherever the scheduler puts it.
    pub(crate) cpu: Option<u32>,
    /// Connections that it had.
    pub(crate) connections: u32,
    /// CPU time while it sent, in seconds.
    pub(crate) cpu_s: f64,
    /// Of it, the time spent looking at events until a request was due.
    pub(crate) spun_s: f64,
    /// What the scheduler did with it.
    pub(crate) time: WorkerTime,
}

/// What a trial counted and measured.
#[derive(Debug, Clone)]
pub(crate) struct HttpOutcome {
    /// Start, in seconds since 1970.
    pub(crate) began_unix_s: f64,
    /// Time of sending, in seconds: as asked, or until it was stopped or all requests were answered.
    pub(crate) sending_s: f64,
    /// From the start until the last worker ended.
    pub(crate) elapsed_s: f64,
    /// intended = sent + skipped, and sent = answered + failed + unfinished.
    pub(crate) counters: HttpCounters,
    pub(crate) times: HttpTimes,
    pub(crate) backends: BackendCounts,
    pub(crate) failure_times: FailureTimes,
    pub(crate) workers: Vec<HttpWorker>,
    pub(crate) cpu: CpuUse,
    pub(crate) throttling: Option<Throttling>,
    pub(crate) verdict: HttpVerdict,
    /// True when it was stopped before its end.
    pub(crate) interrupted: bool,
    /// Why counts are not complete: a worker that ended early. Empty in order.
    pub(crate) failures: Vec<String>,
    /// What the first handshake of TLS agreed on.
    pub(crate) agreed: Option<Agreed>,
    /// Handshakes that failed, by kind.
    pub(crate) handshakes_failed: BTreeMap<&'static str, u64>,
    /// The first failure of a connection.
    pub(crate) first_failure: Option<Failure>,
    /// Requests that servers of HTTP/2 permitted to be under way at the same time, all connections together.
    pub(crate) permitted: Option<u64>,
}

impl HttpOutcome {
    /// Seconds of sending of a trial that ended before its schedule; `None`: it had its time.
    pub(super) fn stopped_s(&self) -> Option<f64> {
        (self.interrupted || !self.failures.is_empty()).then_some(self.sending_s)
    }
}
