//! Throughput over frame size, beside what the link could carry.

use std::collections::{BTreeMap, BTreeSet};

use super::super::chart::{Axis, Chart, Mark, Series, range};
use super::super::model::{Block, Section};
use super::super::number::{bit_rate, short, things};
use super::super::source::Source;

/// From this ratio on between the largest and the smallest load, the axis is logarithmic.
const WIDE: f64 = 20.0;
/// Series that are drawn at most beside the theoretical one.
const MOST_SERIES: usize = 6;

pub(super) fn section(source: &Source) -> Option<Section> {
    let mut flows: BTreeMap<u32, BTreeMap<u64, f64>> = BTreeMap::new();
    let mut sizes = BTreeSet::new();
    for trial in &source.summary.trials {
        let size = in_tenths(trial.frame_size.mean_bytes());
        sizes.insert(size);
        let best = flows.entry(trial.flows).or_default().entry(size).or_insert(0.0);
        *best = best.max(trial.received_pps);
    }
    let (first, last) = (*sizes.first()?, *sizes.last()?);
    let place = |size: u64| size as f64 / 10.0;
    let drawn = flows.iter().take(MOST_SERIES);
    let mut series: Vec<Series> = drawn
        .map(|(flows, best)| {
            let points = best.iter().map(|(size, pps)| (place(*size), pps / 1e6)).collect();
            Series::new(things(*flows as usize, "flow"), Mark::Dotted, points)
        })
        .collect();
    let speed = source.summary.trials.iter().filter_map(|trial| source.link_bps(&trial.pair)).min();
    let x = size_axis(&sizes, first, last);
    if let Some(speed) = speed {
        // The curve is bent: more points than the sizes that were measured.
        let points = (0..=40).map(|step| x.from * (x.to / x.from).powf(f64::from(step) / 40.0));
        let points = points.map(|bytes| (bytes, line_rate_mpps(speed, bytes))).collect();
        series.push(Series::new(format!("line rate at {}", bit_rate(speed)), Mark::Theory, points));
    }
    let (low, high) =
        range(series.iter().flat_map(|s| s.points.iter().map(|point| point.1)).filter(|y| *y > 0.0))?;
    let label = "received load, Mpps";
    let y = if high / low > WIDE { Axis::log(label, low, high) } else { Axis::from_zero(label, high) };
    let mut note = "The highest received load of each frame size, of any pair, rate and repeat.".to_owned();
    if speed.is_some() {
        note.push_str(
            " Line rate: link speed over (frame size + 20 B) × 8; frame sizes include the check sequence.",
        );
    }
    if flows.len() > MOST_SERIES {
        note.push_str(&format!(" The first {MOST_SERIES} numbers of flows."));
    }
    let chart = Chart { title: "Throughput over frame size".to_owned(), x, y, series, note: Some(note) };
    Some(Section { id: "throughput", title: "Throughput", blocks: vec![Block::Charts(vec![chart])] })
}

/// Millions of frames per second that fill a link. Preamble, start delimiter and gap are added once; the size has the check sequence.
fn line_rate_mpps(link_bps: u64, frame_bytes: f64) -> f64 {
    let overhead = f64::from(linerate_protocol::frame::WIRE_OVERHEAD_BYTES);
    link_bps as f64 / ((frame_bytes + overhead) * 8.0) / 1e6
}

/// Mean sizes of mixtures are fractions; as keys they are whole.
fn in_tenths(bytes: f64) -> u64 {
    (bytes * 10.0).round() as u64
}

fn size_axis(sizes: &BTreeSet<u64>, first: u64, last: u64) -> Axis {
    let (from, to) = (first as f64 / 10.0, last as f64 / 10.0);
    let mut axis = Axis::log("frame size, B", from, to);
    (axis.from, axis.to) = (from * 0.9, to * 1.1);
    axis.ticks.clear();
    // Sizes that lie too close together to be named both.
    let mut before = f64::NEG_INFINITY;
    for size in sizes.iter().map(|size| *size as f64 / 10.0) {
        if axis.place(size) - before > 0.08 {
            before = axis.place(size);
            axis.ticks.push(super::super::chart::Tick { at: size, label: short(size) });
        }
    }
    axis
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_protocol::frame::FrameSize;

    #[test]
    fn overhead_is_counted_once() {
        assert_eq!((line_rate_mpps(10_000_000_000, 64.0) * 1e6) as u64, 14_880_952);
        let size = FrameSize::new(1518).unwrap();
        assert_eq!(line_rate_mpps(25_000_000_000, 1518.0) * 1e6, size.line_rate_pps(25_000_000_000));
    }
}
