//! Delay by percentile: every nine has the same width, so that the tail is visible.

use linerate_wire::report::LatencySummary;

use super::super::chart::{Axis, Chart, Mark, Series, range};
use super::super::model::{Block, Section};
use super::super::source::{Source, Trial, TrialNames};

/// Most trials in one chart that can be distinguished.
const TOGETHER: usize = 6;
/// Most points of a curve.
const MOST_POINTS: usize = 160;
/// Most trials that are named on an axis.
const MOST_NAMES: usize = 16;

pub(super) fn section(source: &Source) -> Option<Section> {
    let names = source.names();
    let curves: Vec<(usize, Series)> =
        source.trials().filter_map(|trial| Some((trial.number, curve(names, &trial)?))).collect();
    let mut charts: Vec<Chart> = by_trial(source).into_iter().collect();
    charts.extend(curves.chunks(TOGETHER).filter_map(|curves| {
        let (first, last) = (curves.first()?.0, curves.last()?.0);
        let title =
            if first == last { format!("trial {first}") } else { format!("trials {first} to {last}") };
        chart(source, format!("Delay of {title}"), curves.iter().map(|(_, series)| series.clone()).collect())
    }));
    if charts.is_empty() {
        return None;
    }
    let note = "Percentiles are upper bounds of histogram buckets of at most 1 % width. Each curve ends at the delay of the slowest packet.";
    let blocks = vec![Block::Charts(charts), Block::Text(note.to_owned())];
    Some(Section { id: "delay", title: "Delay", blocks })
}

/// The delay of one trial.
pub(super) fn blocks(source: &Source, trial: &Trial<'_>) -> Vec<Block> {
    let chart = curve(source.names(), trial)
        .and_then(|curve| chart(source, "Delay by percentile".to_owned(), vec![curve]));
    chart.map(|chart| Block::Charts(vec![chart])).into_iter().collect()
}

fn chart(source: &Source, title: String, series: Vec<Series>) -> Option<Chart> {
    let points = || series.iter().flat_map(|series| series.points.iter());
    let (_, furthest) = range(points().map(|point| point.0))?;
    let (low, high) = range(points().map(|point| point.1))?;
    let (x, y) = (Axis::of_percentiles(furthest), Axis::log(label(source), low, high));
    Some(Chart { title, x, y, series, note: None })
}

fn label(source: &Source) -> String {
    format!("{}, µs", source.delay_name())
}

/// Percentiles of all trials, from the summary.
fn by_trial(source: &Source) -> Option<Chart> {
    type Figure = fn(&LatencySummary) -> u64;
    let figures: [(&str, Figure); 4] =
        [("median", |d| d.p50), ("99 %", |d| d.p99), ("99.9 %", |d| d.p999), ("largest", |d| d.max)];
    let series: Vec<Series> = figures
        .into_iter()
        .map(|(name, figure)| {
            let points = source.trials().filter_map(|trial| {
                let delay = trial.delay()?;
                Some((trial.number as f64 - 1.0, micros(figure(delay))))
            });
            Series::new(name, Mark::Points, points.collect())
        })
        .collect();
    let (low, high) = range(series.iter().flat_map(|series| series.points.iter().map(|point| point.1)))?;
    let numbers: Vec<String> = source.trials().map(|trial| trial.number.to_string()).collect();
    Some(Chart {
        title: "Delay by trial".to_owned(),
        x: Axis::of_things("trial", &numbers, MOST_NAMES),
        y: Axis::log(label(source), low, high),
        series,
        note: None,
    })
}

/// Curve with a point per bucket: 1 / (1 − p) of the packets up to it, and its upper bound in µs. The last
/// bucket is placed at the last packet.
fn curve(names: TrialNames, trial: &Trial<'_>) -> Option<Series> {
    trial.delay()?;
    let latency = trial.received()?.receive.as_ref()?.latency.as_ref()?;
    let total: u64 = latency.histogram.iter().map(|bucket| bucket.1).fold(0, u64::saturating_add);
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut below: u64 = 0;
    let first = latency.histogram.first()?;
    points.push((1.0, micros(first.0)));
    for (bound, packets) in &latency.histogram {
        below = below.saturating_add(*packets);
        let beyond = (total - below).max(1);
        points.push((total as f64 / beyond as f64, micros(*bound)));
    }
    Some(Series::new(format!("{}: {}", trial.number, names.name(trial.figures)), Mark::Line, thin(points)))
}

/// Delay in µs. A logarithmic axis has no place for zero.
fn micros(ns: u64) -> f64 {
    ns.max(1) as f64 / 1e3
}

/// Removes points that coincide with others; first and last stay.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) else { return points };
    let across = last.0.ln().max(f64::MIN_POSITIVE) / MOST_POINTS as f64;
    let mut kept = vec![first];
    let mut before = first;
    for point in points {
        let is_wide = (point.0 / before.0).ln() >= across;
        let is_high = point.1 / before.1 >= 1.2;
        if is_wide || is_high || point == last {
            kept.push(point);
            before = point;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_both_ends_and_the_order() {
        let points: Vec<(f64, f64)> =
            (0..5000).map(|i| (1.0 + f64::from(i), 10.0 + f64::from(i) / 1e3)).collect();
        let thin = thin(points.clone());
        assert!(thin.len() <= MOST_POINTS + 2, "{}", thin.len());
        assert_eq!((thin.first(), thin.last()), (points.first(), points.last()));
        assert!(thin.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }
}
