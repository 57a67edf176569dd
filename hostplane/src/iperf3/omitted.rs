//! A direction's sums in iperf3's form: without the beginning that a client omits. Pure.

use super::account::{Compared, TestResult};
use crate::result::{DirectionResult, StreamResult};
use crate::streams::counters::StreamCounters;

/// What one end moved, and in which time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Moved {
    pub(super) bytes: Option<u64>,
    pub(super) bps: Option<f64>,
    pub(super) seconds: Option<f64>,
}

/// Sums of a direction.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) sent: Moved,
    pub(super) received: Moved,
    /// UDP: datagrams sent, and those lost of them.
    pub(super) packets: Option<u64>,
    pub(super) lost: Option<u64>,
}

impl Moved {
    fn within(bytes: Option<u64>, seconds: Option<f64>) -> Self {
        let time = seconds.filter(|seconds| *seconds > 0.0);
        let bps = bytes.zip(time).map(|(bytes, seconds)| bytes as f64 * 8.0 / seconds);
        Self { bytes, bps, seconds }
    }
}

impl Sums {
    /// Those of a test of which everything counts.
    pub(super) fn whole(figures: &DirectionResult) -> Self {
        let (sent, received) = (figures.sent_bytes, figures.received_bytes);
        let udp = figures.udp.as_ref();
        Self {
            sent: Moved { bytes: sent, bps: figures.offered_bps, seconds: figures.sending_s },
            received: Moved { bytes: received, bps: figures.received_bps, seconds: figures.received_over_s },
            packets: udp.and_then(|udp| udp.sent),
            lost: udp.and_then(|udp| udp.lost),
        }
    }

    /// Those of a test at a server whose client omits a beginning; its own figures are without it.
    pub(super) fn counted(omit_s: u64, compared: &Compared, omitted: &[(u32, StreamCounters)]) -> Self {
        let figures = &compared.figures;
        let own = || figures.streams.iter().map(|stream| of_stream(omitted, stream.stream));
        let rest = |whole: Option<u64>, omitted: u64| whole.map(|whole| whole.saturating_sub(omitted));
        let later = |seconds: Option<f64>| seconds.map(|seconds| (seconds - omit_s as f64).max(0.0));
        let bytes = own().map(|counts| counts.bytes).sum();
        let told = compared.foreign.as_ref();
        let theirs = Moved::within(told.map(|told| told.bytes), told.and_then(|told| told.seconds));
        let sends = figures.streams.iter().any(|stream| stream.sent.is_some());
        let (sent, received) = if sends {
            (Moved::within(rest(figures.sent_bytes, bytes), later(figures.sending_s)), theirs)
        } else {
            // A sender of whole blocks may have sent the last one long before it ended.
            let over_s = later(figures.received_over_s).into_iter().chain(theirs.seconds).reduce(f64::max);
            (theirs, Moved::within(rest(figures.received_bytes, bytes), over_s))
        };
        let (datagrams, missing): (u64, u64) =
            own().fold((0, 0), |sum, counts| (sum.0 + counts.datagrams, sum.1 + counts.missing));
        let udp = figures.udp.as_ref();
        Self {
            sent,
            received,
            packets: rest(udp.and_then(|udp| udp.sent), datagrams + missing),
            lost: rest(udp.and_then(|udp| udp.lost), missing),
        }
    }

    /// Share of the datagrams that were lost, in per cent.
    pub(super) fn lost_percent(&self) -> Option<f64> {
        let packets = self.packets.filter(|packets| *packets > 0)?;
        Some(100.0 * self.lost? as f64 / packets as f64)
    }
}

/// What a stream counted in the omitted beginning.
pub(super) fn of_stream(omitted: &[(u32, StreamCounters)], stream: u32) -> StreamCounters {
    omitted.iter().find(|(number, _)| *number == stream).map(|(_, counts)| *counts).unwrap_or_default()
}

/// The counts of the omitted beginning: all of them in a test that ended before it had.
pub(super) fn omitted(result: &TestResult) -> Vec<(u32, StreamCounters)> {
    if result.omit_s == 0 {
        return Vec::new();
    }
    let streams = || result.directions.iter().flat_map(|direction| &direction.figures.streams);
    result
        .omitted
        .clone()
        .unwrap_or_else(|| streams().map(|stream| (stream.stream, counts(stream))).collect())
}

fn counts(stream: &StreamResult) -> StreamCounters {
    match (&stream.sent, &stream.received) {
        (Some(sent), _) => {
            StreamCounters { bytes: sent.bytes, datagrams: sent.datagrams, ..StreamCounters::default() }
        }
        (None, Some(received)) => StreamCounters {
            bytes: received.bytes,
            datagrams: received.datagrams,
            missing: received.missing,
            ..StreamCounters::default()
        },
        (None, None) => StreamCounters::default(),
    }
}
