//! The account of a stream at both of its ends.

use super::{Protocol, ReceivedStream, SegmentEvidence, SendingReport, SentStream, TcpInfo};

/// Why the account of a stream is not complete; `None` when it is. Complete are streams of TCP whose bytes written,
/// acknowledged and received are equal, and those of UDP of which no more datagrams were received than sent.
pub fn gap(
    protocol: Protocol,
    sent: Option<&SentStream>,
    received: Option<&ReceivedStream>,
) -> Option<String> {
    let (Some(sent), Some(received)) = (sent, received) else {
        return Some("the account of one end is missing".to_owned());
    };
    match protocol {
        Protocol::Tcp => tcp_gap(sent, received),
        Protocol::Udp => udp_gap(sent, received),
    }
}

fn tcp_gap(sent: &SentStream, received: &ReceivedStream) -> Option<String> {
    let mut reasons: Vec<String> =
        [&sent.end, &received.end].into_iter().filter_map(|end| end.reason.clone()).collect();
    reasons.dedup();
    let acked = sent.acked_bytes.unwrap_or(received.bytes);
    if sent.bytes != acked || acked != received.bytes {
        let unread = received.kernel_bytes.map_or(0, |bytes| bytes.saturating_sub(received.bytes));
        let mut counts = format!(
            "{} bytes were written, {acked} acknowledged and {} read by the receiver",
            sent.bytes, received.bytes
        );
        if unread > 0 {
            counts.push_str(&format!("; {unread} lay unread in its kernel"));
        }
        reasons.push(counts);
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

fn udp_gap(sent: &SentStream, received: &ReceivedStream) -> Option<String> {
    if received.datagrams > sent.datagrams {
        return Some(format!(
            "{} datagrams received of {} sent: the path duplicates datagrams beyond recognition, and loss is unknown",
            received.datagrams, sent.datagrams
        ));
    }
    sent.end.reason.clone().or_else(|| received.end.reason.clone())
}

impl SegmentEvidence {
    /// TCP's figures of a sender.
    pub fn of(sending: &SendingReport) -> Self {
        let infos = || sending.streams.iter().filter_map(|stream| stream.tcp.as_ref());
        let sum = |of: fn(&TcpInfo) -> Option<u64>| {
            infos().map(of).try_fold(0_u64, |sum, one| sum.checked_add(one?))
        };
        let stream_us = sending.duration_s * 1e6 * infos().count().max(1) as f64;
        let share = |us: Option<u64>| {
            us.filter(|_| stream_us > 0.0).map(|us| (us as f64 / stream_us).clamp(0.0, 1.0))
        };
        let retransmits: u64 = infos().map(|info| u64::from(info.retransmits)).sum();
        let segments = sum(|info| info.data_segments_out.map(u64::from)).filter(|segments| *segments > 0);
        Self {
            retransmits,
            min_rtt_us: infos().filter_map(|info| info.min_rtt_us).min(),
            retransmit_share: segments.map(|segments| retransmits as f64 / segments as f64),
            busy_share: share(sum(|info| info.busy_us)),
            window_limited_share: share(sum(|info| info.window_limited_us)),
            buffer_limited_share: share(sum(|info| info.buffer_limited_us)),
            window_of_busy: sum(|info| info.window_limited_us)
                .zip(sum(|info| info.busy_us).filter(|busy| *busy > 0))
                .map(|(window, busy)| window as f64 / busy as f64),
        }
    }
}
