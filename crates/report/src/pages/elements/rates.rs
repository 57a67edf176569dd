//! Sent and received rates over time.

use super::super::chart::{Axis, Chart, Mark, Series, range};
use super::super::model::Block;
use super::super::source::{Source, Trial};
use linerate_results::store::record::TimedSample;

/// Most intervals that are drawn; of more, neighbours are merged.
const MOST_INTERVALS: usize = 150;
/// Shortest interval in seconds that gives a meaningful rate.
const LEAST_INTERVAL_S: f64 = 0.01;

pub(super) fn blocks(_: &Source, trial: &Trial<'_>) -> Vec<Block> {
    chart(trial).map(|chart| Block::Charts(vec![chart])).into_iter().collect()
}

fn chart(trial: &Trial<'_>) -> Option<Chart> {
    let samples = &trial.record?.samples;
    let end_s = trial.figures.duration_s;
    let mut sent = counted(&samples.tx, end_s, |sample| sample.transmit.map(|counters| counters.packets));
    // Sending stops at the end, though the last sample may be later.
    sent.iter_mut().for_each(|count| count.0 = count.0.min(end_s));
    // In a round trip, the packets that came back count as received.
    let back = if trial.figures.direction.is_round_trip() { &samples.tx } else { &samples.rx };
    let received = counted(back, end_s, |sample| sample.receive.map(|counters| counters.packets));
    let series: Vec<Series> = [("TX", sent), ("RX", received)]
        .into_iter()
        .map(|(name, counts)| Series::new(name, Mark::Line, steps(&counts)))
        .filter(|series| !series.points.is_empty())
        .collect();
    let (_, highest) = range(series.iter().flat_map(|series| series.points.iter().map(|point| point.1)))?;
    Some(Chart {
        title: "TX and RX rate over time".to_owned(),
        x: Axis::from_zero("time since the start of sending, s", end_s),
        y: Axis::from_zero("Mpps", highest * 1.02),
        series,
        note: None,
    })
}

/// Time in seconds and cumulative packets, from the start of sending to the first sample at its end. A sample
/// much later is omitted, because the rate up to the end is then unknown.
pub(super) fn counted(
    samples: &[TimedSample],
    end_s: f64,
    packets: impl Fn(&TimedSample) -> Option<u64>,
) -> Vec<(f64, u64)> {
    let mut counts = vec![(0.0, 0)];
    for (at_s, packets) in
        samples.iter().filter_map(|sample| Some((sample.at_ns as f64 / 1e9, packets(sample)?)))
    {
        let before = counts.last().map_or(0.0, |count| count.0);
        let is_past = before >= end_s - LEAST_INTERVAL_S || at_s > end_s * 1.02 + LEAST_INTERVAL_S;
        if at_s - before >= LEAST_INTERVAL_S && !is_past {
            counts.push((at_s, packets));
        }
    }
    counts
}

/// Mean rate of each interval in Mpps, as steps from its begin to its end.
pub(super) fn steps(counts: &[(f64, u64)]) -> Vec<(f64, f64)> {
    let stride = counts.len().div_ceil(MOST_INTERVALS).max(1);
    let mut kept: Vec<(f64, u64)> = counts.iter().copied().step_by(stride).collect();
    if let Some(last) = counts.last().filter(|last| kept.last() != Some(last)) {
        kept.push(*last);
    }
    kept.windows(2)
        .flat_map(|pair| {
            let [(from, before), (to, after)] = [pair[0], pair[1]];
            let mpps = after.saturating_sub(before) as f64 / (to - from) / 1e6;
            [(from, mpps), (to, mpps)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_between_samples() {
        let counts = [(0.0, 0), (0.5, 500_000), (1.0, 500_000)];
        assert_eq!(steps(&counts), [(0.0, 1.0), (0.5, 1.0), (0.5, 0.0), (1.0, 0.0)]);
    }

    #[test]
    fn many_intervals_are_taken_together_without_losing_packets() {
        let counts: Vec<(f64, u64)> = (0..=1000).map(|i| (f64::from(i), 1000 * i as u64)).collect();
        let steps = steps(&counts);
        assert!(steps.len() <= 2 * (MOST_INTERVALS + 1), "{}", steps.len());
        let packets: f64 = steps.chunks(2).map(|level| level[0].1 * 1e6 * (level[1].0 - level[0].0)).sum();
        assert!((packets - 1_000_000.0).abs() < 1.0, "{packets}");
    }
}
