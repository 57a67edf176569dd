//! An end's account of its streams.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::TcpInfo;
use crate::report::{FlowDelay, Latency};

/// An agent's account of its streams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamsReport {
    /// One entry per path, in the order of the work.
    pub paths: Vec<PathReport>,
    /// CPU time of the agent and its host.
    pub cpu: CpuUse,
}

/// One end's account of a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathReport {
    /// Number of the path.
    pub path: u32,
    /// Sending end; absent at a receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<SendingReport>,
    /// Receiving end; absent at a sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving: Option<ReceivingReport>,
    /// Remarks, each in one sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Why an end stopped sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SendingEnd {
    /// Its duration had passed.
    Duration,
    /// Its bytes were sent.
    Bytes,
    /// It was told to.
    Stopped,
    /// All of its streams had ended.
    Streams,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamEndKind {
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
pub struct StreamEnd {
    /// Kind of the end.
    pub kind: StreamEndKind,
    /// The reason in one sentence; absent for a complete stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl StreamEnd {
    /// The end of a stream of which everything was read.
    pub fn complete() -> Self {
        Self { kind: StreamEndKind::Complete, reason: None }
    }

    /// Another end.
    pub fn because(kind: StreamEndKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: Some(reason.into()) }
    }

    /// True when the stream ended in order.
    pub fn is_complete(&self) -> bool {
        self.kind == StreamEndKind::Complete
    }
}

impl fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.as_deref().unwrap_or("complete"))
    }
}

/// CPU time of one end in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CpuUse {
    /// Seconds of all threads of the process, from the start until the end's streams had ended.
    pub process_s: f64,
    /// Seconds of that period.
    pub elapsed_s: f64,
    /// True when the process had other trials at the same time: its CPU time is not this one's alone.
    pub shared: bool,
    /// The whole host in that period; null where the kernel does not report.
    pub host: Option<HostCpu>,
}

/// CPU time of a host in a trial, in seconds, summed over its CPUs. The kernel counts in steps of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct HostCpu {
    /// Number of CPUs.
    pub cpus: u32,
    /// All but idle.
    pub busy_s: f64,
    /// Interrupts and their deferred work, where packets are received.
    pub interrupts_s: f64,
}

/// The sending end of a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SendingReport {
    /// Seconds from the start to the end of sending.
    pub duration_s: f64,
    /// Why it ended.
    pub ended: SendingEnd,
    /// Units (bytes of TCP, datagrams of UDP) that were due and never sent.
    pub forgone: u64,
    /// Its streams, in the order of their numbers.
    pub streams: Vec<SentStream>,
}

/// One stream at its sender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SentStream {
    /// Number of the stream.
    pub stream: u32,
    /// Its address at this end, and the peer's as this end sees it; null when the socket has none any more.
    pub local: Option<SocketAddr>,
    /// See `local`.
    pub peer: Option<SocketAddr>,
    /// Bytes that the kernel accepted.
    pub bytes: u64,
    /// Of those, bytes that the peer's kernel acknowledged; null for UDP and where the kernel does not report.
    pub acked_bytes: Option<u64>,
    /// Datagrams that the kernel accepted; 0 for TCP.
    pub datagrams: u64,
    /// System calls that moved bytes.
    pub calls: u64,
    /// Times that the socket was full.
    pub full: u64,
    /// Seconds for which it was full.
    pub full_s: f64,
    /// Datagrams that this host's kernel dropped; not among those sent.
    pub refused: u64,
    /// Bytes that came back although the peer sends none.
    pub foreign_bytes: u64,
    /// Bytes of the send buffer, as the kernel counts them.
    pub buffer_bytes: Option<u64>,
    /// The CPU on which the kernel took this socket's last packet in its softirq; absent where it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incoming_cpu: Option<u32>,
    /// Congestion control; null for UDP.
    pub congestion: Option<String>,
    /// The kernel's account; null for UDP.
    pub tcp: Option<TcpInfo>,
    /// How it ended.
    pub end: StreamEnd,
}

/// The receiving end of a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceivingReport {
    /// Seconds from the start to the last arrival; null when nothing arrived.
    pub duration_s: Option<f64>,
    /// Seconds from the start to the first arrival; null when nothing arrived, absent from earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_s: Option<f64>,
    /// Delays of datagrams by the sender's clock as far as it is known here; null for TCP.
    pub latency: Option<Latency>,
    /// First copies too late to be told from duplicates.
    pub beyond_memory: u64,
    /// Extents of reordered datagrams (RFC 4737): their number, mean and largest.
    pub extents: (u64, f64, u32),
    /// Its streams, in the order of their numbers.
    pub streams: Vec<ReceivedStream>,
}

impl ReceivingReport {
    /// Seconds over which the received load is stated: those of sending, or from the first arrival to the last
    /// one where that is longer. So what did not arrive at the end counts as missing, and neither the delay of
    /// a path nor what waited in its queues changes the load. Null when both are unknown.
    pub fn load_time_s(&self, sending_s: Option<f64>) -> Option<f64> {
        let arriving_s = self.duration_s.map(|last_s| last_s - self.first_s.unwrap_or(0.0));
        sending_s.into_iter().chain(arriving_s).reduce(f64::max)
    }
}

/// One stream at its receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceivedStream {
    /// Number of the stream.
    pub stream: u32,
    /// Its address at this end, and the peer's as this end sees it; null when the socket has none any more.
    pub local: Option<SocketAddr>,
    /// See `local`.
    pub peer: Option<SocketAddr>,
    /// Bytes that the program read; UDP: of first copies.
    pub bytes: u64,
    /// Bytes that arrived in the kernel in order; null for UDP and where the kernel does not report.
    pub kernel_bytes: Option<u64>,
    /// First copies of datagrams; 0 for TCP.
    pub datagrams: u64,
    /// System calls that moved bytes.
    pub calls: u64,
    /// Further copies of datagrams.
    pub duplicates: u64,
    /// First copies that arrived after a later one (RFC 4737).
    pub reordered: u64,
    /// Largest extent of a reordered datagram.
    pub largest_extent: u32,
    /// Datagrams missing before the last one received.
    pub missing: u64,
    /// Datagrams that are not this trial's, or of another length.
    pub foreign: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full; null where it does not report, and
    /// for TCP.
    pub socket_drops: Option<u64>,
    /// Interarrival jitter (RFC 3550) at the end; null for TCP.
    pub jitter_ns: Option<f64>,
    /// Delays; null for TCP and when nothing arrived.
    pub delay_ns: Option<FlowDelay>,
    /// Bytes of the receive buffer, as the kernel counts them.
    pub buffer_bytes: Option<u64>,
    /// The CPU on which the kernel took this socket's last packet in its softirq; absent where it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incoming_cpu: Option<u32>,
    /// The kernel's account; null for UDP.
    pub tcp: Option<TcpInfo>,
    /// How it ended.
    pub end: StreamEnd,
}
