//! Selection of the samples that become rows of exported columns.
//!
//! An end is sampled at intervals until it has nothing more to count, and once more at its end. The last
//! interval is therefore cut short where sending ends, or stretched by the drain, in which nothing arrives.
//! As rates, such intervals would weigh as much as others in every mean. Rows therefore cover the window in
//! which packets were sent or arrived: intervals before it, and fragments at its ends, are merged with the
//! neighbouring row. The last row ends with the window, and has the counters read after the drain.

use linerate_wire::report::LatencySummary;

use linerate_results::store::record::{TimedSample, TrialRecord};

/// Time in which packets were sent or arrived, on the axis of an end's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
}

impl Window {
    /// Window of sending: from the transmitter's start to its last packet. Without a result, it ends with the
    /// samples.
    pub(super) fn of_sending(record: &TrialRecord) -> Self {
        let duration_s = record.result.as_ref().map(|result| result.duration_s);
        let end_ns = duration_s.map_or(i64::MAX, |seconds| (1e9 * seconds).round() as i64);
        Self { start_ns: 0, end_ns }
    }

    /// Window of receipt: from the first packet's arrival to the last one's, which is the window of sending,
    /// later by the packets' delay. If the clocks cannot be compared, the receiver's own samples show when
    /// arrivals began.
    pub(super) fn of_receipt(record: &TrialRecord) -> Self {
        let sending = Self::of_sending(record);
        let result = record.result.as_ref();
        if result.is_some_and(|result| result.clock.one_way_valid) {
            return sending.later(result.and_then(|result| result.latency_ns));
        }
        let start_ns = first_arrival_ns(&record.samples.rx).unwrap_or(0);
        Self { start_ns, end_ns: sending.end_ns.saturating_add(start_ns) }
    }

    /// The window, later by the packets' delay: the smallest delay for the first packet, the median for the
    /// last, because an extreme delay of few packets must not move the end.
    pub(super) fn later(self, times: Option<LatencySummary>) -> Self {
        let Some(times) = times else { return self };
        let by = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
        Self {
            start_ns: self.start_ns.saturating_add(by(times.min)),
            end_ns: self.end_ns.saturating_add(by(times.p50)),
        }
    }
}

/// Arrival of the first packet, extrapolated from the rate between the first two samples with packets.
fn first_arrival_ns(samples: &[TimedSample]) -> Option<i64> {
    let packets = |sample: &TimedSample| sample.receive.map_or(0, |receive| receive.packets);
    let first = samples.iter().position(|sample| packets(sample) > 0)?;
    let (one, next) = (&samples[first], samples.get(first + 1)?);
    let more = packets(next).checked_sub(packets(one)).filter(|more| *more > 0)?;
    let took_ns = next.at_ns.saturating_sub(one.at_ns) as f64 * packets(one) as f64 / more as f64;
    let before = first.checked_sub(1).map_or(0, |index| samples[index].at_ns);
    Some(one.at_ns.saturating_sub(took_ns.round() as i64).clamp(before.min(one.at_ns), one.at_ns))
}

/// Indices of the samples that end a row, in order. The last sample is always one of them, because it has the
/// counters after the drain.
pub(super) fn rows(samples: &[TimedSample], window: Window) -> Vec<usize> {
    let Some(last) = samples.len().checked_sub(1) else { return Vec::new() };
    let mut intervals: Vec<i64> =
        samples.windows(2).map(|pair| pair[1].at_ns.saturating_sub(pair[0].at_ns)).collect();
    intervals.push(samples[0].at_ns.saturating_sub(window.start_ns));
    intervals.sort_unstable();
    let least = intervals[intervals.len() / 2] / 2;
    let end_ns = window.end_ns.min(samples[last].at_ns);
    let within = |index: &usize| {
        let at_ns = samples[*index].at_ns;
        at_ns.saturating_sub(window.start_ns) >= least && end_ns.saturating_sub(at_ns) >= least
    };
    (0..last).filter(within).chain([last]).collect()
}

#[cfg(test)]
mod tests {
    use linerate_wire::counters::ReceiveCounters;

    use super::*;

    const MS: i64 = 1_000_000;

    fn sample((at_ms, packets): (i64, u64)) -> TimedSample {
        TimedSample {
            at_ns: at_ms * MS,
            transmit: None,
            receive: Some(ReceiveCounters { packets, ..ReceiveCounters::default() }),
            queue_frames: vec![],
            port: None,
            host: None,
        }
    }

    #[test]
    fn rows_are_whole_intervals_within_the_window() {
        for (times_ms, (start_ms, end_ms), expected) in [
            // The last sample comes just after the end of sending.
            (&[100, 200, 300, 400, 500][..], (0, 500), &[0, 1, 2, 3, 4][..]),
            (&[100, 200, 300, 400, 500, 501], (0, 500), &[0, 1, 2, 3, 5]),
            (&[100, 200, 300, 400, 500, 600, 700], (0, 500), &[0, 1, 2, 3, 6]),
            // Sending ends in the middle of an interval.
            (&[100, 200, 300, 330], (0, 330), &[0, 1, 3]),
            (&[100, 200, 300, 370], (0, 370), &[0, 1, 2, 3]),
            // Packets take 300 ms.
            (&[100, 200, 300, 400, 500, 600, 700, 800, 1000], (300, 800), &[3, 4, 5, 6, 8]),
            (&[5], (0, 5), &[0]),
            (&[], (0, 5), &[]),
        ] {
            let samples: Vec<TimedSample> = times_ms.iter().map(|at_ms| sample((*at_ms, 0))).collect();
            let window = Window { start_ns: start_ms * MS, end_ns: end_ms * MS };
            assert_eq!(rows(&samples, window), expected, "{times_ms:?} {start_ms}…{end_ms}");
        }
    }

    #[test]
    fn the_first_arrival_follows_from_the_rate_after_it() {
        for (samples, first_ms) in [
            (&[(100, 50), (200, 150), (300, 250)][..], Some(50)),
            (&[(100, 0), (200, 0), (300, 70), (400, 170)], Some(230)),
            (&[(100, 500), (200, 600)], Some(0)),
            (&[(100, 0), (200, 500), (300, 600)], Some(100)),
            (&[(100, 5)], None),
            (&[(100, 0), (200, 0)], None),
        ] {
            let samples: Vec<TimedSample> = samples.iter().copied().map(sample).collect();
            assert_eq!(first_arrival_ns(&samples), first_ms.map(|ms: i64| ms * MS));
        }
    }
}
