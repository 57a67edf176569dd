//! The kernel's account of a TCP connection.

use serde::{Deserialize, Serialize};

/// A TCP connection as its kernel counts it (`TCP_INFO`). What an older kernel does not count is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TcpInfo {
    /// Smoothed round-trip time, in microseconds.
    pub rtt_us: u32,
    /// Its mean deviation, in microseconds.
    pub rttvar_us: u32,
    /// Smallest round-trip time, in microseconds.
    pub min_rtt_us: Option<u32>,
    /// Congestion window, in segments.
    pub cwnd_segments: u32,
    /// Payload of a segment, in bytes.
    pub mss: u32,
    /// MTU of the path.
    pub pmtu: u32,
    /// Segments sent again, in all.
    pub retransmits: u32,
    /// Segments sent and not acknowledged.
    pub unacked_segments: u32,
    /// Window that the receiver advertised last, in bytes.
    pub peer_window_bytes: Option<u32>,
    /// Payload that the peer's kernel acknowledged, and 1 for SYN and 1 for FIN.
    pub bytes_acked: Option<u64>,
    /// Payload that arrived in order, and 1 for FIN.
    pub bytes_received: Option<u64>,
    /// Payload sent, copies included.
    pub bytes_sent: Option<u64>,
    /// Payload sent again.
    pub bytes_retransmitted: Option<u64>,
    /// Payload in the send buffer that was never sent.
    pub unsent_bytes: Option<u32>,
    /// Segments sent, pure acknowledgements included.
    pub segments_out: Option<u32>,
    /// Segments received, likewise.
    pub segments_in: Option<u32>,
    /// Segments with payload sent.
    pub data_segments_out: Option<u32>,
    /// Segments with payload received.
    pub data_segments_in: Option<u32>,
    /// Most recent delivery rate, in bytes per second.
    pub delivery_rate: Option<u64>,
    /// Time with payload to send or to be acknowledged, in microseconds.
    pub busy_us: Option<u64>,
    /// Of that, time in which the receiver's window was the limit.
    pub window_limited_us: Option<u64>,
    /// Of that, time in which the send buffer was the limit.
    pub buffer_limited_us: Option<u64>,
    /// Segments that arrived out of order.
    pub out_of_order: Option<u32>,
    /// Reorderings that the sender noticed.
    pub reorderings: Option<u32>,
    /// Copies that the receiver reported.
    pub duplicates_reported: Option<u32>,
    /// Milliseconds since the last acknowledgement arrived.
    pub since_ack_ms: u32,
}
