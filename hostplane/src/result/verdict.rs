//! Verdict on a direction: what limited its streams. Pure.

use linerate_wire::streams::{
    CpuEvidence, DatagramEvidence, SegmentEvidence, StreamsEvidence, StreamsVerdict, bit_rate,
};

use super::{DirectionResult, Parts};
use crate::streams::report::EndReport;

pub(crate) use linerate_wire::streams::{StreamsLimit as VerdictKind, StreamsVerdict as Verdict};

/// A rate in bits per second, for people.
pub(crate) fn rate(bps: f64) -> String {
    bit_rate(bps)
}

/// Judges a direction by its loss first, then by its load.
pub(crate) fn judge(parts: &Parts<'_>, result: &DirectionResult) -> StreamsVerdict {
    StreamsEvidence {
        protocol: parts.spec.protocol,
        datagram_bytes: parts.spec.block_bytes,
        intended_bps: result.intended_bps,
        offered_bps: result.offered_bps,
        received_bytes: result.received_bytes,
        incomplete: result.streams.iter().find_map(|stream| stream.reason.as_deref()),
        sending_s: result.sending_s,
        received_over_s: result.received_over_s,
        full_s: result.full_s,
        forgone: result.forgone,
        datagrams: result.udp.as_ref().map(|udp| DatagramEvidence {
            sent: udp.sent,
            refused: udp.refused,
            lost: udp.lost,
            socket_drops: udp.socket_drops,
        }),
        segments: result.tcp.as_ref().map(|tcp| SegmentEvidence {
            retransmits: tcp.retransmits,
            retransmit_share: tcp.retransmit_share,
            busy_share: tcp.busy_share,
            window_limited_share: tcp.window_limited_share,
            buffer_limited_share: tcp.buffer_limited_share,
            ..parts.sending().map(SegmentEvidence::of).unwrap_or_default()
        }),
        send_buffer_bytes: parts.sending().and_then(|sending| sending.streams.first()?.buffer_bytes),
        receive_buffer_bytes: parts.receiving().and_then(|receiving| receiving.streams.first()?.buffer_bytes),
        sender: cpu(parts.sender),
        receiver: cpu(parts.receiver),
    }
    .verdict()
}

fn cpu(report: Option<&EndReport>) -> CpuEvidence<'_> {
    report
        .map(|report| CpuEvidence { workers: &report.workers, throttling: report.throttling.as_ref() })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
