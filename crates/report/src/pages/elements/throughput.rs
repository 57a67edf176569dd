//! Throughput over frame size, with the link's theoretical limit.

use std::collections::{BTreeMap, BTreeSet};

use super::super::chart::{Axis, Chart, Mark, Scale, Series, Tick, range};
use super::super::model::{Block, Section};
use super::super::number::{bit_rate, short, things};
use super::super::source::Source;

/// Ratio of the largest to the smallest load from which the axis is logarithmic.
pub(super) const WIDE: f64 = 20.0;
/// Most series besides the theoretical one.
const MOST_SERIES: usize = 6;

/// Load of frames of one size: in Mpps, and in Gbit/s on the wire.
pub(super) type Load = (f64, f64);

pub(super) fn section(source: &Source) -> Option<Section> {
    let best = best_loads(source);
    let sizes: BTreeSet<u64> = best.values().flat_map(|loads| loads.keys().copied()).collect();
    let x = size_axis(&sizes)?;
    let speed = source.summary.matrix_trials().filter_map(|trial| source.link_bps(&trial.pair)).min();
    let mut charts = Vec::new();
    charts
        .extend(chart(&best, &x, speed, "Throughput over frame size", "received load, Mpps", |load| load.0));
    charts.extend(chart(
        &best,
        &x,
        speed,
        "Use of the wire over frame size",
        "received load on the wire, Gbit/s",
        |load| load.1,
    ));
    let mut note = "The highest received load of each frame size, of any pair, rate and repeat.".to_owned();
    if speed.is_some() {
        note.push_str(" Line rate is link speed over (frame size + 20 B) × 8: frame sizes include the check sequence, and the 20 B are preamble, start delimiter and gap.");
    }
    if best.len() > MOST_SERIES {
        note.push_str(&format!(" The first {MOST_SERIES} numbers of flows are drawn."));
    }
    Some(Section {
        id: "throughput",
        title: "Throughput",
        blocks: vec![Block::Charts(charts), Block::Text(note)],
    })
}

/// The highest load of each number of flows and each frame size.
fn best_loads(source: &Source) -> BTreeMap<u32, BTreeMap<u64, Load>> {
    let mut best: BTreeMap<u32, BTreeMap<u64, Load>> = BTreeMap::new();
    for trial in source.summary.matrix_trials() {
        let size = in_tenths(trial.frame_size.mean_bytes());
        let load = best.entry(trial.flows).or_default().entry(size).or_default();
        if trial.received_pps / 1e6 >= load.0 {
            *load = (trial.received_pps / 1e6, trial.received_pps * trial.frame_size.mean_wire_bits() / 1e9);
        }
    }
    best
}

fn chart(
    best: &BTreeMap<u32, BTreeMap<u64, Load>>,
    x: &Axis,
    speed: Option<u64>,
    title: &str,
    label: &str,
    figure: fn(Load) -> f64,
) -> Option<Chart> {
    let drawn = best.iter().take(MOST_SERIES);
    let mut series: Vec<Series> = drawn
        .map(|(flows, loads)| {
            let points = loads.iter().map(|(size, load)| (*size as f64 / 10.0, figure(*load))).collect();
            Series::new(things(*flows as usize, "flow"), Mark::Dotted, points)
        })
        .collect();
    series.extend(speed.map(|speed| line_rate(speed, x, figure)));
    let loads = series.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    let (low, high) = range(loads.filter(|load| *load > 0.0))?;
    let y = if high / low > WIDE { Axis::log(label, low, high) } else { Axis::from_zero(label, high) };
    Some(Chart { title: title.to_owned(), x: x.clone(), y, series, note: None })
}

/// The line rate of a link over frame size, by a figure of the load in Mpps and in Gbit/s on the wire.
pub(super) fn line_rate(speed: u64, x: &Axis, figure: fn(Load) -> f64) -> Series {
    // The curve is not straight, so it needs more points than the measured sizes.
    let points = (0..=40).map(|step| x.from * (x.to / x.from).powf(f64::from(step) / 40.0));
    let points = points.map(|bytes| (bytes, figure((line_rate_mpps(speed, bytes), speed as f64 / 1e9))));
    Series::new(format!("line rate at {}", bit_rate(speed)), Mark::Theory, points.collect())
}

/// Line rate in millions of frames per second. Preamble, start delimiter and gap are added here;
/// `frame_bytes` includes the check sequence.
fn line_rate_mpps(link_bps: u64, frame_bytes: f64) -> f64 {
    let overhead = f64::from(linerate_traffic::frame::WIRE_OVERHEAD_BYTES);
    link_bps as f64 / ((frame_bytes + overhead) * 8.0) / 1e6
}

/// Size in tenths of a byte: mean sizes of mixes are fractions, but keys must be whole.
pub(super) fn in_tenths(bytes: f64) -> u64 {
    (bytes * 10.0).round() as u64
}

/// Axis with the measured sizes as ticks, unless they lie too close together.
pub(super) fn size_axis(sizes: &BTreeSet<u64>) -> Option<Axis> {
    let (first, last) = (*sizes.first()? as f64 / 10.0, *sizes.last()? as f64 / 10.0);
    let (from, to) = (first * 0.85, last * 1.15);
    let mut axis = Axis { label: "frame size, B".to_owned(), scale: Scale::Log, from, to, ticks: Vec::new() };
    let mut before = f64::NEG_INFINITY;
    for size in sizes.iter().map(|size| *size as f64 / 10.0) {
        if axis.place(size) - before > 0.08 {
            before = axis.place(size);
            axis.ticks.push(Tick { at: size, label: short(size) });
        }
    }
    Some(axis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_traffic::frame::FrameSize;

    #[test]
    fn overhead_is_counted_once() {
        assert_eq!((line_rate_mpps(10_000_000_000, 64.0) * 1e6) as u64, 14_880_952);
        let size = FrameSize::new(1518).unwrap();
        let difference = line_rate_mpps(25_000_000_000, 1518.0) * 1e6 - size.line_rate_pps(25_000_000_000);
        assert!(difference.abs() < 1e-6, "{difference}");
    }
}
