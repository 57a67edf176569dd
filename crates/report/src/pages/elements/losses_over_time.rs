//! When packets of a trial were lost.

use super::super::chart::{Axis, Chart, Mark, Series, range};
use super::super::model::Block;
use super::super::number::{count, things};
use super::super::source::{Source, Trial};
use linerate_results::store::record::TrialRecord;
use linerate_results::summary::LossTimes;
use linerate_wire::loss::LossTimeline;

/// Most intervals that are drawn; of more, neighbours are merged.
const MOST_INTERVALS: u64 = 150;
/// Losses within such a share of the trial, or a smaller one, are also drawn closely.
const CLOSE_SHARE: f64 = 0.1;

pub(super) fn blocks(_: &Source, trial: &Trial<'_>) -> Vec<Block> {
    trial.record.and_then(|record| of_record(record, trial.figures.duration_s)).into_iter().collect()
}

/// The charts of a trial's record; `None` when no losses with known times are in it.
pub(super) fn of_record(record: &TrialRecord, duration_s: f64) -> Option<Block> {
    let loss = record.loss.as_ref().filter(|loss| !loss.intervals.is_empty())?;
    Some(Block::Charts(charts(loss, duration_s)))
}

/// The times of losses in one sentence.
pub(super) fn told(times: &LossTimes) -> String {
    let LossTimes { first_ns, last_ns, placed_packets, unplaced_packets, intervals, .. } = times;
    let second = |ns: u64| format!("{:.4} s", ns as f64 / 1e9);
    let unplaced = match (unplaced_packets, &times.reason) {
        (0, _) => String::new(),
        (packets, Some(reason)) => format!("{} packets at an unknown time: {reason}", count(*packets)),
        (packets, None) => format!("{} at an unknown time", things(*packets as usize, "packet")),
    };
    let Some((first, last)) = first_ns.zip(*last_ns) else { return unplaced };
    let text = format!(
        "{} from {} to {} after the start of sending, in {} of {} ms",
        things(*placed_packets as usize, "packet"),
        second(first),
        second(last),
        things(*intervals, "interval"),
        times.interval_ns / 1_000_000,
    );
    if unplaced.is_empty() { text } else { format!("{text}; {unplaced}") }
}

fn charts(loss: &LossTimeline, duration_s: f64) -> Vec<Chart> {
    let numbers = || loss.intervals.iter().map(|(interval, _)| *interval);
    let (first, end) =
        (numbers().min().unwrap_or(0), numbers().max().map_or(0, |last| last.saturating_add(1)));
    let interval_s = loss.interval_ns as f64 / 1e9;
    let until = ((duration_s / interval_s).ceil() as u64).max(end);
    let note = (loss.unplaced_packets > 0)
        .then(|| format!("{} lost at an unknown time.", things(loss.unplaced_packets as usize, "packet")));
    let whole = chart(loss, (0, until), ("Packets lost over time", "start of sending, s", 1.0), note);
    let span_s = (end - first) as f64 * interval_s;
    let close = (span_s <= CLOSE_SHARE * duration_s).then(|| {
        let title = format!("Packets lost from {:.3} s on", first as f64 * interval_s);
        let axis = format!("{:.3} s, ms", first as f64 * interval_s);
        chart(loss, (first, end), (&title, &axis, 1e3), None)
    });
    [Some(whole), close].into_iter().flatten().collect()
}

/// Packets lost in the intervals from `from` to `to`, with its title, the zero of its axis, and units of that
/// per second.
fn chart(
    loss: &LossTimeline,
    (from, to): (u64, u64),
    (title, zero, per_second): (&str, &str, f64),
    note: Option<String>,
) -> Chart {
    let merged = (to - from).div_ceil(MOST_INTERVALS).max(1);
    let unit = loss.interval_ns as f64 / 1e9 * per_second;
    let mut drawn: Vec<(u64, u64)> = Vec::new();
    for (interval, packets) in &loss.intervals {
        let at = (interval - from) / merged;
        match drawn.last_mut() {
            Some(last) if last.0 == at => last.1 = last.1.saturating_add(*packets),
            _ => drawn.push((at, *packets)),
        }
    }
    let mut points = vec![(0.0, 0.0)];
    for (at, packets) in drawn {
        let begin = at * merged;
        let end = begin.saturating_add(merged).min(to - from) as f64 * unit;
        let begin = begin as f64 * unit;
        points.extend([(begin, 0.0), (begin, packets as f64), (end, packets as f64), (end, 0.0)]);
    }
    let end = (to - from) as f64 * unit;
    points.push((end, 0.0));
    let (_, highest) = range(points.iter().map(|point| point.1)).unwrap_or((0.0, 1.0));
    let interval_ms = merged as f64 * loss.interval_ns as f64 / 1e6;
    Chart {
        title: title.to_owned(),
        x: Axis::from_zero(format!("time since {zero}"), end),
        y: Axis::from_zero(format!("packets lost in {interval_ms} ms"), highest),
        series: vec![Series::new("lost", Mark::Line, points)],
        note,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(intervals: Vec<(u64, u64)>, unplaced_packets: u64) -> LossTimeline {
        let ends = intervals.first().zip(intervals.last()).map(|(first, last)| (first.0, last.0 + 1));
        LossTimeline {
            interval_ns: 10_000_000,
            first_ns: ends.map(|ends| ends.0 * 10_000_000),
            last_ns: ends.map(|ends| ends.1 * 10_000_000),
            intervals,
            unplaced_packets,
            ..LossTimeline::default()
        }
    }

    #[test]
    fn a_short_outage_is_drawn_in_the_trial_and_closely() {
        let charts = charts(&loss((300..305).map(|at| (at, 100)).collect(), 3), 10.0);
        let [whole, close] = &charts[..] else { panic!("{charts:?}") };
        assert_eq!((whole.x.to, close.x.to), (10.0, 50.0));
        // 7 intervals are merged to draw 1,000.
        assert_eq!(whole.y.label, "packets lost in 70 ms");
        assert_eq!(close.y.label, "packets lost in 10 ms");
        let highest = |chart: &Chart| chart.series[0].range().unwrap().1;
        assert_eq!((highest(whole), highest(close)), (400.0, 100.0));
        assert_eq!(whole.note.as_deref(), Some("3 packets lost at an unknown time."));
    }

    #[test]
    fn losses_throughout_are_drawn_once() {
        let charts = charts(&loss((0..100).map(|at| (at, 1)).collect(), 0), 1.0);
        assert_eq!(charts.len(), 1);
        assert!(charts[0].series[0].points.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn intervals_in_any_order_and_of_any_number_are_drawn() {
        let drawn = charts(&loss(vec![(304, 1), (300, 2)], 0), 100.0);
        let [_, close] = &drawn[..] else { panic!("{drawn:?}") };
        assert_eq!((close.title.as_str(), close.x.to), ("Packets lost from 3.000 s on", 50.0));
        let last = LossTimeline { intervals: vec![(u64::MAX, 1), (0, 1)], ..loss(vec![], 0) };
        assert_eq!(charts(&last, 1.0).len(), 1);
    }

    #[test]
    fn times_are_told_in_words() {
        let told = |timeline: &LossTimeline| told(&LossTimes::from(timeline));
        assert_eq!(
            told(&loss(vec![(300, 7), (304, 1)], 2)),
            "8 packets from 3.0000 s to 3.0500 s after the start of sending, in 2 intervals of 10 ms; 2 packets at an unknown time"
        );
        let unknown = LossTimeline { reason: Some("no packet arrived".into()), ..loss(vec![], 9) };
        assert_eq!(told(&unknown), "9 packets at an unknown time: no packet arrived");
    }
}
