//! Measures of streams at an instant, cumulative since the start.

use serde::{Deserialize, Serialize};

/// Measures of all paths of an agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StreamsMeasures {
    /// One entry per path, in the order of the work.
    pub paths: Vec<PathMeasures>,
}

/// Measures of one path at one of its ends.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PathMeasures {
    /// Number of the path.
    pub path: u32,
    /// Sending end; absent at a receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<SentSample>,
    /// Receiving end; absent at a sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<ReceivedSample>,
}

/// Sending end of a path at an instant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SentSample {
    /// Bytes that the kernel accepted.
    pub bytes: u64,
    /// Datagrams that the kernel accepted; 0 for TCP.
    pub datagrams: u64,
    /// Segments sent again; absent for UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u64>,
    /// Each TCP stream; empty where they are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<TcpPoint>,
}

/// One sending TCP stream at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TcpPoint {
    /// Number of the stream.
    pub stream: u32,
    /// Bytes that the kernel accepted.
    pub bytes: u64,
    /// Segments sent again.
    pub retransmits: u32,
    /// Smoothed round-trip time, in microseconds.
    pub rtt_us: u32,
    /// Its mean deviation, in microseconds.
    pub rttvar_us: u32,
    /// Congestion window, in bytes.
    pub cwnd_bytes: u64,
    /// Most recent delivery rate, in bytes per second.
    pub delivery_rate: Option<u64>,
    /// Time with payload under way, in microseconds.
    pub busy_us: Option<u64>,
    /// Of that, time in which the receiver's window was the limit.
    pub window_limited_us: Option<u64>,
    /// Of that, time in which the send buffer was the limit.
    pub buffer_limited_us: Option<u64>,
}

/// Receiving end of a path at an instant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReceivedSample {
    /// Bytes that the program read; UDP: of first copies.
    pub bytes: u64,
    /// First copies of datagrams; 0 for TCP.
    pub datagrams: u64,
    /// Further copies.
    pub duplicates: u64,
    /// First copies that arrived after a later one (RFC 4737).
    pub reordered: u64,
    /// Datagrams missing before the last one received.
    pub missing: u64,
    /// Delays of first copies, added up, in nanoseconds.
    pub delay_sum_ns: u64,
    /// Largest jitter of a stream (RFC 3550), in nanoseconds.
    pub jitter_ns: u64,
    /// Streams whose bytes moved since the last sample.
    pub alive: u32,
    /// Bytes of each stream; empty where they are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stream_bytes: Vec<u64>,
}
