//! What one end of a trial reports to the other: samples while it runs, and an account at its end.

use linerate_wire::streams::{
    CpuUse, ReceivedSample, ReceivingReport, SendingReport, SentSample, StreamEnd, StreamEndKind,
};
use linerate_wire::time::{Throttling, WorkerTime};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The end of a stream whose receiver closed its side too early.
pub(crate) fn closed_early() -> StreamEnd {
    let reason = "the receiver closed its side before the sender had finished";
    StreamEnd::because(StreamEndKind::ClosedEarly, reason)
}

/// The end that an error of the system means.
pub(crate) fn broken(errno: Errno) -> StreamEnd {
    let (kind, reason) = match errno {
        Errno::CONNRESET => (StreamEndKind::Reset, "the connection was reset by the peer or on the path"),
        Errno::PIPE => (StreamEndKind::Reset, "the connection was closed while this end was sending"),
        Errno::TIMEDOUT => {
            (StreamEndKind::Stalled, "the peer acknowledged nothing until the kernel gave the connection up")
        }
        other => return StreamEnd::because(StreamEndKind::Failed, other.to_string()),
    };
    StreamEnd::because(kind, reason)
}

/// Measures of one end at an instant, cumulative since the start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct EndSample {
    /// Number of the interval that ends here, from 1.
    pub(crate) index: u32,
    /// Time since the start, in nanoseconds.
    pub(crate) at_ns: u64,
    /// Sending side; absent at an end that only receives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<SentSample>,
    /// Receiving side; absent at an end that only sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) received: Option<ReceivedSample>,
    /// CPU time of the process since the start, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Time for which a CPU quota stopped the process since the start, in nanoseconds; absent without a quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) throttled_ns: Option<u64>,
    /// Set where the counts are newer than CPU time and delays: those of an end's account.
    #[serde(skip)]
    pub(crate) last_reading: Option<LastReading>,
}

/// What CPU time and sum of delays of a sample are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastReading {
    /// Time since the start, in nanoseconds.
    pub(crate) at_ns: u64,
    /// Datagrams received until then.
    pub(crate) datagrams: u64,
}

/// What an end has sent, per stream; the other end needs it to know what is lost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct SentCounts {
    /// Bytes per stream, in the order of their numbers.
    pub(crate) bytes: Vec<u64>,
    /// Datagrams per stream; empty for TCP.
    pub(crate) datagrams: Vec<u64>,
}

/// One end's account of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndReport {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sending: Option<SendingReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) receiving: Option<ReceivingReport>,
    /// Workers that had streams of the trial.
    pub(crate) workers: Vec<WorkerTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) throttling: Option<Throttling>,
    pub(crate) cpu: CpuUse,
    pub(crate) notes: Vec<String>,
}
