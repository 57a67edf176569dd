//! The kernel's account of a TCP connection (`TCP_INFO`).
//!
//! The fields are read by their offsets in the kernel's `struct tcp_info`; an older kernel returns fewer bytes,
//! and what it does not have is `None`.

use std::io;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use crate::sys::sockopt;

/// Bytes that are asked for; the kernel returns at most as many as it has.
const ROOM: usize = 512;

/// A TCP connection as its kernel counts it. Times that the kernel keeps in microseconds stay so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct TcpInfo {
    /// Smoothed round-trip time, in microseconds.
    pub(crate) rtt_us: u32,
    /// Its mean deviation, in microseconds.
    pub(crate) rttvar_us: u32,
    /// Smallest round-trip time, in microseconds.
    pub(crate) min_rtt_us: Option<u32>,
    /// Congestion window, in segments.
    pub(crate) cwnd_segments: u32,
    /// Payload of a segment, in bytes.
    pub(crate) mss: u32,
    /// MTU of the path.
    pub(crate) pmtu: u32,
    /// Segments sent again, in all.
    pub(crate) retransmits: u32,
    /// Segments sent and not acknowledged.
    pub(crate) unacked_segments: u32,
    /// Window that the receiver advertised last, in bytes.
    pub(crate) peer_window_bytes: Option<u32>,
    /// Payload that the peer's kernel acknowledged, and 1 for SYN and 1 for FIN.
    pub(crate) bytes_acked: Option<u64>,
    /// Payload that arrived in order, and 1 for FIN.
    pub(crate) bytes_received: Option<u64>,
    /// Payload sent, copies included.
    pub(crate) bytes_sent: Option<u64>,
    /// Payload sent again.
    pub(crate) bytes_retransmitted: Option<u64>,
    /// Payload in the send buffer that was never sent.
    pub(crate) unsent_bytes: Option<u32>,
    /// Segments sent, pure acknowledgements included.
    pub(crate) segments_out: Option<u32>,
    /// Segments received, likewise.
    pub(crate) segments_in: Option<u32>,
    /// Segments with payload sent.
    pub(crate) data_segments_out: Option<u32>,
    /// Segments with payload received.
    pub(crate) data_segments_in: Option<u32>,
    /// Most recent delivery rate, in bytes per second.
    pub(crate) delivery_rate: Option<u64>,
    /// Time with payload to send or to be acknowledged, in microseconds.
    pub(crate) busy_us: Option<u64>,
    /// Of that, time in which the receiver's window was the limit.
    pub(crate) window_limited_us: Option<u64>,
    /// Of that, time in which the send buffer was the limit.
    pub(crate) buffer_limited_us: Option<u64>,
    /// Segments that arrived out of order.
    pub(crate) out_of_order: Option<u32>,
    /// Reorderings that the sender noticed.
    pub(crate) reorderings: Option<u32>,
    /// Copies that the receiver reported.
    pub(crate) duplicates_reported: Option<u32>,
    /// Milliseconds since the last acknowledgement arrived.
    pub(crate) since_ack_ms: u32,
}

impl TcpInfo {
    /// The account of a socket.
    ///
    /// # Errors
    /// When the socket is none of TCP.
    pub(crate) fn of(fd: impl AsFd) -> io::Result<Self> {
        let mut bytes = [0; ROOM];
        let length = sockopt::tcp_info(fd, &mut bytes)?;
        Ok(Self::parse(&bytes[..length.min(ROOM)]))
    }

    fn parse(bytes: &[u8]) -> Self {
        let four = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
        let eight = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
        Self {
            rtt_us: four(68).unwrap_or(0),
            rttvar_us: four(72).unwrap_or(0),
            // The kernel's value for "not measured".
            min_rtt_us: four(148).filter(|us| *us != u32::MAX),
            cwnd_segments: four(80).unwrap_or(0),
            mss: four(16).unwrap_or(0),
            pmtu: four(60).unwrap_or(0),
            retransmits: four(100).unwrap_or(0),
            unacked_segments: four(24).unwrap_or(0),
            peer_window_bytes: four(228),
            bytes_acked: eight(120),
            bytes_received: eight(128),
            bytes_sent: eight(200),
            bytes_retransmitted: eight(208),
            unsent_bytes: four(144),
            segments_out: four(136),
            segments_in: four(140),
            data_segments_out: four(156),
            data_segments_in: four(152),
            delivery_rate: eight(160),
            busy_us: eight(168),
            window_limited_us: eight(176),
            buffer_limited_us: eight(184),
            out_of_order: four(224),
            reorderings: four(220),
            duplicates_reported: four(216),
            since_ack_ms: four(56).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_account_is_exact_to_the_byte() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        sender.write_all(&[1; 12_345]).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
        let mut arrived = Vec::new();
        receiver.read_to_end(&mut arrived).unwrap();
        drop(receiver.shutdown(Shutdown::Write));
        assert_eq!(sender.read(&mut [0]).unwrap(), 0);
        let (sent, received) = (TcpInfo::of(&sender).unwrap(), TcpInfo::of(&receiver).unwrap());
        assert_eq!(sent.bytes_acked, Some(12_345 + 2), "{sent:?}");
        assert_eq!(received.bytes_received, Some(12_345 + 1), "{received:?}");
        assert!(sent.mss > 500 && sent.cwnd_segments > 0 && sent.rtt_us > 0, "{sent:?}");
        assert_eq!((sent.bytes_sent, sent.bytes_retransmitted), (Some(12_345), Some(0)));
    }

    #[test]
    fn what_an_older_kernel_does_not_have_is_unknown() {
        let mut bytes = vec![0; 104];
        bytes[68] = 7;
        let old = TcpInfo::parse(&bytes);
        assert_eq!((old.rtt_us, old.bytes_acked, old.busy_us, old.peer_window_bytes), (7, None, None, None));
    }
}
