//! What one end of a trial reports: samples while it runs, and an account at its end.

use std::fmt;
use std::net::SocketAddr;

use linerate_wire::report::{FlowDelay, Latency};
use linerate_wire::time::{Throttling, WorkerTime};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::tcp_info::TcpInfo;

/// Why an end stopped sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SendingEnd {
    /// Its duration had passed.
    Duration,
    /// Its bytes were sent.
    Bytes,
    /// It was told to.
    Stopped,
    /// All of its streams had ended.
    Streams,
}

impl fmt::Display for SendingEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendingEnd::Duration => "its duration had passed",
            SendingEnd::Bytes => "its bytes were sent",
            SendingEnd::Stopped => "it was stopped",
            SendingEnd::Streams => "its streams had ended",
        })
    }
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StreamEndKind {
    /// In order: what was sent was read, and both ends know it.
    Complete,
    /// The peer, or something on the path, reset the connection.
    Reset,
    /// The receiver closed its side before the sender had finished.
    ClosedEarly,
    /// Nothing moved any more, and it was given up.
    Stalled,
    /// The trial was given up.
    GivenUp,
    /// The kernel refused to go on.
    Failed,
}

/// How a stream ended, with the reason where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamEnd {
    pub(crate) kind: StreamEndKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl StreamEnd {
    pub(crate) fn complete() -> Self {
        Self { kind: StreamEndKind::Complete, reason: None }
    }

    pub(crate) fn closed_early() -> Self {
        Self {
            kind: StreamEndKind::ClosedEarly,
            reason: Some("the receiver closed its side before the sender had finished".to_owned()),
        }
    }

    pub(crate) fn stalled(reason: String) -> Self {
        Self { kind: StreamEndKind::Stalled, reason: Some(reason) }
    }

    pub(crate) fn given_up(reason: &str) -> Self {
        Self { kind: StreamEndKind::GivenUp, reason: Some(reason.to_owned()) }
    }

    pub(crate) fn failed(reason: String) -> Self {
        Self { kind: StreamEndKind::Failed, reason: Some(reason) }
    }

    /// The end that an error of the system means.
    pub(crate) fn broken(errno: Errno) -> Self {
        match errno {
            Errno::CONNRESET => Self {
                kind: StreamEndKind::Reset,
                reason: Some("the connection was reset by the peer or on the path".to_owned()),
            },
            Errno::PIPE => Self {
                kind: StreamEndKind::Reset,
                reason: Some("the connection was closed while this end was sending".to_owned()),
            },
            Errno::TIMEDOUT => Self {
                kind: StreamEndKind::Stalled,
                reason: Some(
                    "the peer acknowledged nothing until the kernel gave the connection up".to_owned(),
                ),
            },
            other => Self::failed(other.to_string()),
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.kind == StreamEndKind::Complete
    }
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
}

/// Sending side of a sample.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct SentSample {
    pub(crate) bytes: u64,
    pub(crate) datagrams: u64,
    /// Segments sent again; absent for UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retransmits: Option<u64>,
    /// Each TCP stream, where there are not too many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) streams: Vec<TcpPoint>,
}

/// One sending TCP stream at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct TcpPoint {
    pub(crate) stream: u32,
    pub(crate) bytes: u64,
    pub(crate) retransmits: u32,
    pub(crate) rtt_us: u32,
    pub(crate) rttvar_us: u32,
    /// Congestion window in bytes.
    pub(crate) cwnd_bytes: u64,
    /// Bytes per second.
    pub(crate) delivery_rate: Option<u64>,
    pub(crate) busy_us: Option<u64>,
    pub(crate) window_limited_us: Option<u64>,
    pub(crate) buffer_limited_us: Option<u64>,
}

/// Receiving side of a sample.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct ReceivedSample {
    pub(crate) bytes: u64,
    pub(crate) datagrams: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    /// Datagrams missing before the last one received.
    pub(crate) missing: u64,
    pub(crate) delay_sum_ns: u64,
    /// Largest jitter of a stream, in nanoseconds.
    pub(crate) jitter_ns: u64,
    /// Streams whose bytes moved since the last sample.
    pub(crate) alive: u32,
    /// Bytes of each stream, where there are not too many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stream_bytes: Vec<u64>,
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

/// CPU time of one end in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct CpuUse {
    /// Seconds of all threads of the process, from the start until the end's streams had ended.
    pub(crate) process_s: f64,
    /// Seconds of that period.
    pub(crate) elapsed_s: f64,
    /// True when the process had other trials at the same time: its CPU time is not this one's alone.
    pub(crate) shared: bool,
    /// The whole host in that period; null where the kernel does not report it.
    pub(crate) host: Option<HostCpu>,
}

/// CPU time of a host in a trial, in seconds, summed over its CPUs. The kernel counts in steps of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct HostCpu {
    pub(crate) cpus: u32,
    /// All but idle.
    pub(crate) busy_s: f64,
    /// Interrupts and their deferred work, where packets are received.
    pub(crate) interrupts_s: f64,
}

/// The sending side of an end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SendingReport {
    /// Seconds from the start to the end of sending.
    pub(crate) duration_s: f64,
    pub(crate) ended: SendingEnd,
    /// Units (bytes of TCP, datagrams of UDP) that were due and never sent.
    pub(crate) forgone: u64,
    pub(crate) streams: Vec<SentStream>,
}

/// One stream at its sender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SentStream {
    pub(crate) stream: u32,
    /// Its address at this end, and the peer's as this end sees it; null when the socket has none any more.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    /// Bytes of payload that the kernel accepted.
    pub(crate) bytes: u64,
    /// Of those, bytes that the peer's kernel acknowledged; null for UDP and where the kernel does not tell.
    pub(crate) acked_bytes: Option<u64>,
    pub(crate) datagrams: u64,
    /// System calls.
    pub(crate) calls: u64,
    /// Times that the socket was full.
    pub(crate) full: u64,
    /// Seconds for which it was full.
    pub(crate) full_s: f64,
    /// Datagrams that this host's kernel dropped; not among those sent.
    pub(crate) refused: u64,
    /// Bytes that came back although the peer sends none.
    pub(crate) foreign_bytes: u64,
    /// Bytes of the send buffer, as the kernel counts them.
    pub(crate) buffer_bytes: Option<u64>,
    /// Congestion control; null for UDP.
    pub(crate) congestion: Option<String>,
    /// The kernel's account; null for UDP.
    pub(crate) tcp: Option<TcpInfo>,
    pub(crate) end: StreamEnd,
}

/// The receiving side of an end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReceivingReport {
    /// Seconds from the start to the last arrival; null when nothing arrived.
    pub(crate) duration_s: Option<f64>,
    /// Delays of datagrams by the sender's clock as far as it is known here; null for TCP.
    pub(crate) latency: Option<Latency>,
    /// First copies too late to be told from duplicates.
    pub(crate) beyond_memory: u64,
    /// Extents of reordered datagrams (RFC 4737): their number, mean and largest.
    pub(crate) extents: (u64, f64, u32),
    pub(crate) streams: Vec<ReceivedStream>,
}

/// One stream at its receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReceivedStream {
    pub(crate) stream: u32,
    /// Its address at this end, and the peer's as this end sees it; null when the socket has none any more.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    /// Bytes of payload that the program read; UDP: of first copies.
    pub(crate) bytes: u64,
    /// Bytes of payload that arrived in the kernel in order; null for UDP and where the kernel does not tell.
    pub(crate) kernel_bytes: Option<u64>,
    pub(crate) datagrams: u64,
    pub(crate) calls: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    pub(crate) largest_extent: u32,
    /// Datagrams missing before the last one received.
    pub(crate) missing: u64,
    pub(crate) foreign: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full; null where it does not tell, and
    /// for TCP.
    pub(crate) socket_drops: Option<u64>,
    pub(crate) jitter_ns: Option<f64>,
    pub(crate) delay_ns: Option<FlowDelay>,
    /// Bytes of the receive buffer, as the kernel counts them.
    pub(crate) buffer_bytes: Option<u64>,
    /// The kernel's account; null for UDP.
    pub(crate) tcp: Option<TcpInfo>,
    pub(crate) end: StreamEnd,
}
