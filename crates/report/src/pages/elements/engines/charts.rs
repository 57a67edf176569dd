//! Pictures over loads: what was sent, received and lost, interrupts, softirqs and the use of cores.

use std::collections::{BTreeMap, BTreeSet};

use linerate_results::engines::EngineRow;

use super::super::super::chart::{Axis, Chart, Mark, Series};
use super::super::super::heat_map::{HeatMap, STEPS, Sides, Spot};
use super::super::super::number::{short, things};

/// Ratio of the largest to the smallest load above which their axis is logarithmic.
const WIDE: f64 = 20.0;
/// Most heat maps of one report.
const MOST_MAPS: usize = 12;

/// Title, quantity and value of a picture.
type Picture = (&'static str, &'static str, fn(&EngineRow<'_>) -> Option<f64>);

const PICTURES: [Picture; 7] = [
    ("TX bounded", "offered in Mpps", |row| Some(row.offered_pps? / 1e6)),
    ("RX bounded", "received in Mpps", |row| Some(row.received_pps? / 1e6)),
    ("Drops", "lost in %", |row| Some(row.loss_share()? * 100.0)),
    ("IRQ", "interrupts/s of the node", |row| row.per_second(|host| host.interrupts)),
    ("Softirq of received packets", "NET_RX/s of the node", |row| row.per_second(|host| host.net_rx)),
    ("Softirq of sent packets", "NET_TX/s of the node", |row| row.per_second(|host| host.net_tx)),
    ("Core use", "use of all CPUs in %", |row| Some(row.figures.host.as_ref()?.busy_share? * 100.0)),
];

/// Trials of one frame size and number of flows, in the order of their loads, by engine and cores.
type Curves<'r, 's> = BTreeMap<String, Vec<&'r EngineRow<'s>>>;

/// The pictures of each frame size and number of flows that has several loads.
pub(super) fn charts(rows: &[EngineRow<'_>]) -> Vec<Chart> {
    let mut charts = Vec::new();
    for ((size, flows), curves) in places(rows) {
        let of = format!("{size}-byte frames, {}", things(flows as usize, "flow"));
        charts.extend(PICTURES.iter().filter_map(|picture| chart(picture, &of, &curves)));
    }
    charts
}

/// The use of every CPU over loads, a map for each engine, frame size and number of flows with several loads; and the
/// number of maps that are left out.
pub(super) fn maps(rows: &[EngineRow<'_>]) -> (Vec<HeatMap>, usize) {
    let mut maps = Vec::new();
    for ((size, flows), curves) in places(rows) {
        let flows = things(flows as usize, "flow");
        maps.extend(
            curves.iter().filter_map(|(engine, rows)| map(&format!("{engine}, {size} B, {flows}"), rows)),
        );
    }
    let left_out = maps.len().saturating_sub(MOST_MAPS);
    maps.truncate(MOST_MAPS);
    (maps, left_out)
}

fn places<'r, 's>(rows: &'r [EngineRow<'s>]) -> BTreeMap<(String, u32), Curves<'r, 's>> {
    let many_cores = rows.iter().any(|row| row.figures.cores != rows[0].figures.cores);
    let mut places: BTreeMap<(String, u32), Curves<'r, 's>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.intended_pps.is_some()) {
        let curves = places.entry((row.frame_size().label(), row.flows)).or_default();
        curves.entry(name(row, many_cores)).or_default().push(row);
    }
    for curve in places.values_mut().flat_map(BTreeMap::values_mut) {
        curve.sort_by(|a, b| a.intended_pps.unwrap_or(0.0).total_cmp(&b.intended_pps.unwrap_or(0.0)));
    }
    let loads = |curves: &Curves<'_, '_>| {
        let loads = curves.values().flatten().filter_map(|row| row.intended_pps);
        loads.map(f64::to_bits).collect::<BTreeSet<u64>>().len()
    };
    places.retain(|_, curves| loads(curves) > 1);
    places
}

/// Name of the curve that a trial belongs to.
fn name(row: &EngineRow<'_>, many_cores: bool) -> String {
    match many_cores {
        true => format!("{} on {}", row.name(), things(row.figures.cores as usize, "core")),
        false => row.name(),
    }
}

fn chart((title, quantity, of): &Picture, place: &str, curves: &Curves<'_, '_>) -> Option<Chart> {
    let mpps = |row: &EngineRow<'_>| row.intended_pps.map(|pps| pps / 1e6);
    let points = |rows: &[&EngineRow<'_>]| {
        rows.iter().filter_map(|row| mpps(row).zip(of(row))).collect::<Vec<(f64, f64)>>()
    };
    let series: Vec<Series> = curves
        .iter()
        .map(|(name, rows)| Series::new(name, Mark::Dotted, points(rows)))
        .filter(|series| !series.points.is_empty())
        .collect();
    let all = || series.iter().flat_map(|series| &series.points);
    let most = all().map(|point| point.1).fold(0.0, f64::max);
    let (from, to) =
        all().fold((f64::MAX, 0.0_f64), |(from, to), (load, _)| (from.min(*load), to.max(*load)));
    if series.is_empty() {
        return None;
    }
    let label = "intended load in Mpps";
    let x = if to > WIDE * from { Axis::log(label, from, to) } else { Axis::from_zero(label, to) };
    let y = Axis::from_zero(*quantity, most);
    Some(Chart { title: format!("{title}: {place}"), x, y, series, note: None })
}

fn map(of: &str, rows: &[&EngineRow<'_>]) -> Option<HeatMap> {
    let known: Vec<_> = rows.iter().filter_map(|row| Some((row, row.figures.host.as_ref()?))).collect();
    let cpus: BTreeSet<u32> =
        known.iter().flat_map(|(_, host)| host.cpus.iter().map(|cpu| cpu.cpu)).collect();
    if known.len() < 2 || cpus.is_empty() {
        return None;
    }
    let spot = |busy: Option<f64>| Spot {
        text: busy.map_or_else(|| "-".to_owned(), |busy| format!("{:.0}", 100.0 * busy)),
        step: busy.map(step),
    };
    let cells: Vec<Vec<Option<Spot>>> = known
        .iter()
        .map(|(_, host)| {
            let of_cpu = |cpu: &u32| host.cpus.iter().find(|one| one.cpu == *cpu).map(|one| spot(one.busy));
            cpus.iter().map(of_cpu).collect()
        })
        .collect();
    let steps: BTreeSet<usize> = cells.iter().flatten().flatten().filter_map(|spot| spot.step).collect();
    let share = |step: usize| 100.0 * (STEPS - step) as f64 / STEPS as f64;
    let legend = steps.into_iter().map(|step| {
        (step, format!("{} to {} %", short(share(step + 1).round()), short(share(step).round())))
    });
    Some(HeatMap {
        title: format!("Use of each CPU in %: {of}"),
        summary: format!("{} over {}", things(cpus.len(), "CPU"), things(known.len(), "load")),
        sides: Sides::LOADS,
        rows: known
            .iter()
            .map(|(row, _)| format!("{} Mpps", short(row.intended_pps.unwrap_or(0.0) / 1e6)))
            .collect(),
        columns: cpus.iter().map(|cpu| format!("CPU {cpu}")).collect(),
        cells,
        legend: legend.collect(),
    })
}

/// Step of a CPU's use: 0 where it had no time left.
fn step(busy: f64) -> usize {
    (((1.0 - busy.clamp(0.0, 1.0)) * STEPS as f64) as usize).min(STEPS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_without_time_left_is_the_worst() {
        assert_eq!([1.0, 0.9, 0.5, 0.0, -1.0].map(step), [0, 0, 3, 5, 5]);
    }
}
