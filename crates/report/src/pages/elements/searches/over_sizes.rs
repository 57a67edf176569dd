//! What was found over frame size, with line rate.

use std::collections::BTreeMap;

use super::super::super::chart::{Axis, Chart, Mark, Series, range};
use super::super::super::model::Block;
use super::super::super::number::things;
use super::super::throughput::{Load, WIDE, in_tenths, line_rate, size_axis};
use super::caption::caption;
use crate::search::{GoalResult, Repeats, found, label, mean};

/// Most series besides line rate.
const MOST_SERIES: usize = 6;

/// The loads of one goal, by frame size in tenths of a byte.
#[derive(Debug, Default)]
struct Curve {
    name: String,
    /// Means of regular results.
    regular: BTreeMap<u64, Load>,
    /// Irregular results.
    irregular: Vec<(u64, Load)>,
}

pub(super) fn blocks(all: &[Repeats<'_>]) -> Vec<Block> {
    let curves = curves(all);
    let size = |repeats: &Repeats<'_>| in_tenths(repeats.first().frame_size.mean_bytes());
    let sizes = all.iter().map(size).collect();
    let speeds = all.iter().filter_map(|repeats| {
        let search = repeats.first();
        Some((search.line_rate_pps? * search.frame_size.mean_wire_bits()).round() as u64)
    });
    let speed = speeds.min();
    let Some(x) = size_axis(&sizes).filter(|_| sizes.len() > 1) else { return Vec::new() };
    let results: Vec<GoalResult<'_>> =
        all.iter().flat_map(|repeats| repeats.searches.iter().flat_map(|search| found(search))).collect();
    let mut note = format!(
        "Conditional throughput of one sender in one direction; of several searches, the mean of the regular ones. {}",
        caption(&results)
    );
    if curves.len() > MOST_SERIES {
        note.push_str(&format!(" The first {MOST_SERIES} of {} are drawn.", things(curves.len(), "curve")));
    }
    let charts = [
        chart(&curves, speed, &x, &note, "Found over frame size", "Mpps", |load| load.0),
        chart(&curves, speed, &x, &note, "Found on the wire over frame size", "L1 Gbit/s", |load| load.1),
    ];
    let charts: Vec<Chart> = charts.into_iter().flatten().collect();
    if charts.is_empty() { Vec::new() } else { vec![Block::Charts(charts)] }
}

/// A curve for each goal and, where there are several, number of flows and path.
fn curves(all: &[Repeats<'_>]) -> Vec<Curve> {
    let several = |of: &dyn Fn(&Repeats<'_>) -> String| {
        all.first().is_some_and(|first| all.iter().any(|other| of(other) != of(first)))
    };
    let flows = |repeats: &Repeats<'_>| things(repeats.first().flows as usize, "flow");
    let path = |repeats: &Repeats<'_>| repeats.first().subject().to_owned();
    let (name_flows, name_path) = (several(&flows), several(&path));
    let mut curves: Vec<Curve> = Vec::new();
    for repeats in all {
        let size = in_tenths(repeats.first().frame_size.mean_bytes());
        for goal in repeats.goals() {
            let results = repeats.of_goal(goal);
            let [first, ..] = results[..] else { continue };
            let mut name = label(&first.goal.goal);
            for part in
                [name_flows.then(|| flows(repeats)), name_path.then(|| path(repeats))].into_iter().flatten()
            {
                name.push_str(&format!(", {part}"));
            }
            let index = curves.iter().position(|curve| curve.name == name).unwrap_or_else(|| {
                curves.push(Curve { name, ..Curve::default() });
                curves.len() - 1
            });
            let curve = &mut curves[index];
            let load = |value: f64| (value / 1e6, first.l1_bps(value) / 1e9);
            curve.regular.extend(mean(&results).map(|group| (size, load(group.mean))));
            let irregular = results.iter().filter(|one| !one.is_regular()).filter_map(GoalResult::value_pps);
            curve.irregular.extend(irregular.map(|value| (size, load(value))));
        }
    }
    curves
}

fn chart(
    curves: &[Curve],
    speed: Option<u64>,
    x: &Axis,
    note: &str,
    title: &str,
    label: &str,
    unit: fn(Load) -> f64,
) -> Option<Chart> {
    let at = |size: u64, load: Load| (size as f64 / 10.0, unit(load));
    let mut series = Vec::new();
    for curve in curves.iter().take(MOST_SERIES) {
        let points = curve.regular.iter().map(|(size, load)| at(*size, *load)).collect();
        series.push(Series::new(&curve.name, Mark::Dotted, points));
        if !curve.irregular.is_empty() {
            let points = curve.irregular.iter().map(|(size, load)| at(*size, *load)).collect();
            series.push(Series::new(format!("{}, irregular: at least", curve.name), Mark::Hollow, points));
        }
    }
    series.extend(speed.map(|speed| line_rate(speed, x, unit)));
    let loads = series.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    let (low, high) = range(loads.filter(|load| *load > 0.0))?;
    let y = if high / low > WIDE { Axis::log(label, low, high) } else { Axis::from_zero(label, high) };
    Some(Chart { title: title.to_owned(), x: x.clone(), y, series, note: Some(note.to_owned()) })
}
