//! The account of a direction: what was sent, what arrived, and why the two differ. Pure.

use linerate_wire::report::Reordering;
use linerate_wire::streams::{Protocol, ReceivedStream, SegmentEvidence, SendingReport, SentStream, gap};

use super::{Parts, StreamResult, TcpResult, UdpResult, delays};
use crate::client::ClockRelation;

/// Each TCP stream: complete when written = acknowledged = received.
pub(super) fn tcp_streams(parts: &Parts<'_>, first: u32) -> Vec<StreamResult> {
    each(parts, first, |sent, received| gap(Protocol::Tcp, sent, received))
}

/// Each UDP stream: complete when the datagrams sent and received are known, and no more were received.
pub(super) fn udp_streams(parts: &Parts<'_>, first: u32) -> Vec<StreamResult> {
    each(parts, first, |sent, received| gap(Protocol::Udp, sent, received))
}

fn each(
    parts: &Parts<'_>,
    first: u32,
    reason: impl Fn(Option<&SentStream>, Option<&ReceivedStream>) -> Option<String>,
) -> Vec<StreamResult> {
    let sent = parts.sending().map(|sending| sending.streams.as_slice()).unwrap_or_default();
    let received = parts.receiving().map(|receiving| receiving.streams.as_slice()).unwrap_or_default();
    // Reports have the streams in the order of their numbers.
    let find = |number: u32| {
        let sent = sent.binary_search_by_key(&number, |stream| stream.stream).ok().map(|at| &sent[at]);
        let received =
            received.binary_search_by_key(&number, |stream| stream.stream).ok().map(|at| &received[at]);
        (sent, received)
    };
    (first..first + parts.spec.streams)
        .map(|stream| {
            let (sent, received) = find(stream);
            let reason = reason(sent, received);
            StreamResult {
                stream,
                complete: reason.is_none(),
                reason,
                sent: sent.cloned(),
                received: received.cloned(),
            }
        })
        .collect()
}

/// TCP's figures of the sender.
pub(super) fn stream_bytes(sending: &SendingReport, rtt_us: Option<(u32, f64, u32)>) -> TcpResult {
    let segments = SegmentEvidence::of(sending);
    TcpResult {
        acked_bytes: sending.streams.iter().try_fold(0, |sum: u64, stream| Some(sum + stream.acked_bytes?)),
        retransmits: segments.retransmits,
        retransmit_share: segments.retransmit_share,
        congestion: sending.streams.iter().find_map(|stream| stream.congestion.clone()),
        busy_share: segments.busy_share,
        window_limited_share: segments.window_limited_share,
        buffer_limited_share: segments.buffer_limited_share,
        rtt_us,
    }
}

/// UDP's figures of both ends.
pub(super) fn datagrams(parts: &Parts<'_>, clock: Option<&ClockRelation>) -> UdpResult {
    let spec = parts.spec;
    let (sending, receiving) = (parts.sending(), parts.receiving());
    let sent = sending.map(|sending| sending.streams.iter().map(|stream| stream.datagrams).sum::<u64>());
    let streams = receiving.map(|receiving| receiving.streams.as_slice());
    let sum = |of: fn(&ReceivedStream) -> u64| streams.map(|streams| streams.iter().map(of).sum::<u64>());
    let received = sum(|stream| stream.datagrams);
    let lost = sent.zip(received).and_then(|(sent, received)| sent.checked_sub(received));
    let rate = |datagrams: Option<u64>, seconds: Option<f64>| {
        datagrams
            .zip(seconds.filter(|seconds| *seconds > 0.0))
            .map(|(number, seconds)| number as f64 / seconds)
    };
    let sending_s = sending.map(|sending| sending.duration_s);
    let latency = receiving.and_then(|receiving| receiving.latency.as_ref());
    let (delay_ns, delay_note) = latency.map(|latency| delays(latency, clock)).unwrap_or_default();
    let reordered = sum(|stream| stream.reordered);
    let jitters: Vec<f64> = streams
        .unwrap_or_default()
        .iter()
        .filter(|stream| stream.datagrams > 1)
        .filter_map(|stream| stream.jitter_ns)
        .collect();
    UdpResult {
        datagram_bytes: spec.block_bytes,
        intended_pps: spec.load.datagrams_per_second(spec.block_bytes),
        offered_pps: rate(sent, sending_s),
        received_pps: rate(received, receiving.and_then(|receiving| receiving.load_time_s(sending_s))),
        sent,
        refused: sending.map(|sending| sending.streams.iter().map(|stream| stream.refused).sum()),
        received,
        lost,
        loss_share: lost.zip(sent.filter(|sent| *sent > 0)).map(|(lost, sent)| lost as f64 / sent as f64),
        socket_drops: streams.and_then(|streams| {
            streams.iter().try_fold(0, |sum: u64, stream| Some(sum + stream.socket_drops?))
        }),
        duplicates: sum(|stream| stream.duplicates),
        reordered,
        reordering: receiving.zip(reordered.filter(|number| *number > 0)).map(|(receiving, packets)| {
            let (extents, extent_mean, extent_max) = receiving.extents;
            Reordering { packets, extents, extent_mean, extent_max }
        }),
        foreign: sum(|stream| stream.foreign),
        beyond_memory: receiving.map(|receiving| receiving.beyond_memory),
        delay_ns,
        delay_note,
        delay_variation_ns: latency.filter(|latency| latency.negative == 0).map(|latency| latency.variation),
        delay_variation_note: latency.filter(|latency| latency.negative > 0).map(|latency| {
            format!(
                "{} datagrams arrived before they were sent, as the two clocks tell: how much delays differ is not known",
                latency.negative
            )
        }),
        jitter_ns: (!jitters.is_empty()).then(|| {
            let most = jitters.iter().copied().fold(0.0, f64::max);
            (jitters.iter().sum::<f64>() / jitters.len() as f64, most)
        }),
        delay_histogram: latency
            .filter(|_| clock.is_some_and(|clock| clock.same))
            .map(|latency| latency.histogram.clone())
            .unwrap_or_default(),
    }
}
