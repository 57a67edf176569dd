//! The kernel's account of a TCP connection (`TCP_INFO`).
//!
//! The fields are read by their offsets in the kernel's `struct tcp_info`; an older kernel returns fewer bytes,
//! and what it does not have is `None`.

use std::io;
use std::os::fd::AsFd;

use linerate_wire::streams::TcpInfo;

use crate::sys::sockopt;

/// Bytes that are asked for; the kernel returns at most as many as it has.
const ROOM: usize = 512;

/// The account of a socket.
///
/// # Errors
/// When the socket is none of TCP.
pub(crate) fn tcp_info(fd: impl AsFd) -> io::Result<TcpInfo> {
    let mut bytes = [0; ROOM];
    let length = sockopt::tcp_info(fd, &mut bytes)?;
    Ok(parse(&bytes[..length.min(ROOM)]))
}

fn parse(bytes: &[u8]) -> TcpInfo {
    let four = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let eight = |at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
    TcpInfo {
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
        let (sent, received) = (tcp_info(&sender).unwrap(), tcp_info(&receiver).unwrap());
        assert_eq!(sent.bytes_acked, Some(12_345 + 2), "{sent:?}");
        assert_eq!(received.bytes_received, Some(12_345 + 1), "{received:?}");
        assert!(sent.mss > 500 && sent.cwnd_segments > 0 && sent.rtt_us > 0, "{sent:?}");
        assert_eq!((sent.bytes_sent, sent.bytes_retransmitted), (Some(12_345), Some(0)));
    }

    #[test]
    fn what_an_older_kernel_does_not_have_is_unknown() {
        let mut bytes = vec![0; 104];
        bytes[68] = 7;
        let old = parse(&bytes);
        assert_eq!((old.rtt_us, old.bytes_acked, old.busy_us, old.peer_window_bytes), (7, None, None, None));
    }
}
