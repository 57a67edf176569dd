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

#[cfg(test)]
mod tests {
    use linerate_wire::streams::Protocol;

    use super::super::account::tests::{received, report, result, says, sent, trial};
    use super::super::outcome::Role;
    use super::*;
    use crate::spec::Directions;

    const OMIT_S: u64 = 1;

    fn moved(bytes: u64, seconds: f64) -> Moved {
        Moved::within(Some(bytes), Some(seconds))
    }

    #[test]
    fn a_sender_counts_what_it_sent_after_the_omitted_beginning() {
        let spec = trial(Protocol::Tcp, Directions::Reverse);
        let own = report(Some(sent(90_000, 0)), None);
        let mut test = result(Role::Server, spec, own, Some(says(58_000, 0, 0)));
        test.directions[0].figures.sending_s = Some(3.0);
        let before = StreamCounters { bytes: 30_000, ..StreamCounters::default() };
        let sums = Sums::counted(OMIT_S, &test.directions[0], &[(0, before)]);
        assert_eq!(sums.sent, Moved { bytes: Some(60_000), bps: Some(240_000.0), seconds: Some(2.0) });
        // Its client counts likewise, and tells its own time.
        assert_eq!((sums.received, sums.packets), (moved(58_000, 1.0), None));
    }

    #[test]
    fn a_receiver_counts_what_came_after_the_omitted_beginning_over_the_senders_time_at_least() {
        let spec = trial(Protocol::Udp, Directions::Forward);
        let own = report(None, Some(received(90_000, 90)));
        let mut test = result(Role::Server, spec, own, Some(says(66_000, 66, 0)));
        let before = StreamCounters { bytes: 30_000, datagrams: 30, missing: 4, ..StreamCounters::default() };
        for (over_s, seconds) in [(3.0, 2.0), (1.5, 1.0)] {
            let figures = &mut test.directions[0].figures;
            figures.received_over_s = Some(over_s);
            let udp = figures.udp.as_mut().unwrap();
            (udp.sent, udp.lost) = (Some(100), Some(10));
            let sums = Sums::counted(OMIT_S, &test.directions[0], &[(0, before)]);
            assert_eq!((sums.sent, sums.received), (moved(66_000, 1.0), moved(60_000, seconds)));
            // Of 100 datagrams 34 were omitted, and 4 of the 10 lost ones were among them.
            assert_eq!(
                (sums.packets, sums.lost, sums.lost_percent()),
                (Some(66), Some(6), Some(600.0 / 66.0))
            );
        }
    }

    #[test]
    fn a_test_that_ended_before_the_omission_has_counted_nothing() {
        for (directions, own) in [
            (Directions::Forward, report(None, Some(received(90_000, 90)))),
            (Directions::Reverse, report(Some(sent(90_000, 90)), None)),
        ] {
            let mut test = result(Role::Server, trial(Protocol::Udp, directions), own, None);
            test.omit_s = OMIT_S;
            let sums = Sums::counted(OMIT_S, &test.directions[0], &omitted(&test));
            let own = if directions == Directions::Forward { sums.received } else { sums.sent };
            assert_eq!(own, Moved { bytes: Some(0), bps: None, seconds: Some(0.0) });
            assert_eq!(sums.packets.unwrap_or(0), 0);
        }
    }

    #[test]
    fn a_test_without_omission_omits_nothing() {
        let own = report(None, Some(received(90_000, 90)));
        let test = result(Role::Server, trial(Protocol::Udp, Directions::Forward), own, None);
        assert!(omitted(&test).is_empty());
    }
}
