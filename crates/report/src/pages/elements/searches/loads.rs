//! Charts of one search: loss over load, and the way to the result.

use linerate_results::search::SearchedTrial;
use linerate_results::summary::{GoalSummary, SearchSummary};
use linerate_search::Goal;

use linerate_search::classify::{LoadClass, classify};

use super::super::super::chart::{Axis, Chart, Mark, Series, range};
use super::super::super::number::short;
use super::caption::caption;
use crate::search::{GoalResult, found, label};

/// Ratio of the highest to the lowest load from which the axis is logarithmic.
const WIDE: f64 = 10.0;
/// Trials at the beginning of a search that may lie far from its result.
const FIRST_TRIALS: usize = 3;
/// How far beyond all later loads an early one must lie to be left out of the axis.
const FAR: f64 = 1.5;

/// Loss of every trial that counts over its load, with the bounds and losses of the goals; `None` when all have
/// the same load.
pub(super) fn over_loads(search: &SearchSummary, trials: &[SearchedTrial<'_>]) -> Option<Chart> {
    let full_ns = search.goals.iter().map(|one| Goal::from(&one.goal).final_duration_ns).min()?;
    let loads: Vec<f64> = trials.iter().filter(|trial| trial.is_counted()).map(load_mpps).collect();
    let (first, last, far) = shown(&loads).filter(|(first, last, _)| first < last)?;
    let (mut long, mut short_ones, mut unsent) = (Vec::new(), Vec::new(), Vec::new());
    for trial in trials.iter().filter(|trial| trial.is_counted() && load_mpps(trial) <= last) {
        let measured = &trial.measurement;
        let points = match (trial.is_short_of_load(), measured.duration_ns >= full_ns) {
            (true, _) => &mut unsent,
            (false, true) => &mut long,
            (false, false) => &mut short_ones,
        };
        points.push((load_mpps(trial), 100.0 * measured.selection_loss().ratio()));
    }
    let goals = search.goals.iter().map(|one| 100.0 * one.goal.loss_ratio);
    let losses = long.iter().chain(&short_ones).chain(&unsent).map(|point| point.1).chain(goals);
    let (least, most) = range(losses.filter(|loss| *loss > 0.0)).unwrap_or((0.01, 100.0));
    let x = load_axis(first, last);
    let y = Axis::log_with_zero("lost, % of packets", least, most);
    let mut series = Vec::new();
    for (name, mark, mut points) in [
        ("full-length trial", Mark::Points, long),
        ("short trial", Mark::Hollow, short_ones),
        ("offered less than intended; what was not sent counts as lost", Mark::Points, unsent),
    ] {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        series.push(Series::new(name, mark, points));
    }
    for one in &search.goals {
        let name = label(&one.goal);
        let found = &one.conclusion;
        let bounds = [found.effective_lower_bound_pps, found.relevant_upper_bound_pps].into_iter().flatten();
        let ends = bounds.flat_map(|load| [(load as f64 / 1e6, y.from), (load as f64 / 1e6, y.to)]);
        series.push(Series::new(format!("{name} bounds"), Mark::Segments, ends.collect()));
        if one.goal.loss_ratio > 0.0 {
            let goal = 100.0 * one.goal.loss_ratio;
            let points = vec![(x.from, goal), (x.to, goal)];
            series.push(Series::new(format!("{name} goal"), Mark::Theory, points));
        }
    }
    let note = format!("{}{}", caption(&found(search).collect::<Vec<_>>()), beyond(far, &loads));
    Some(Chart { title: "Loss over load".to_owned(), x, y, series, note: Some(note) })
}

/// The load of each trial in the order of the search, by what was then known of the load, and the bounds as
/// they closed in.
pub(super) fn path(search: &SearchSummary, one: &GoalSummary, trials: &[SearchedTrial<'_>]) -> Option<Chart> {
    let criterion = Goal::from(&one.goal).criterion();
    let mut known = search.no_trials();
    let (mut lower, mut upper, mut open, mut repeated) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut low_line, mut high_line) = (Vec::new(), Vec::new());
    let counted: Vec<_> = trials.iter().filter(|trial| trial.is_counted()).collect();
    let loads: Vec<f64> = counted.iter().map(|trial| load_mpps(trial)).collect();
    let (from, to, far) = shown(&loads).filter(|(from, to, _)| from < to)?;
    for (trial, load) in counted.iter().zip(&loads) {
        let is_evidence = known.add(trial.measurement);
        let number = f64::from(trial.place.ordinal);
        let bounds = known.bounds(&criterion);
        for (line, bound) in [(&mut low_line, bounds.lower), (&mut high_line, bounds.upper)] {
            line.extend(bound.map(|pps| (number, pps as f64 / 1e6)).filter(|point| point.1 <= to));
        }
        if *load > to {
            continue;
        }
        let points = match classify(known.at(trial.measurement.load_pps), &criterion) {
            _ if !is_evidence => &mut repeated,
            LoadClass::Lower => &mut lower,
            LoadClass::Upper => &mut upper,
            LoadClass::Undecided => &mut open,
        };
        points.push((number, *load));
    }
    let last = counted.last().map_or(1, |trial| trial.place.ordinal);
    let y = if to / from.max(1e-9) > WIDE {
        Axis::log("Mpps", from.max(1e-6), to)
    } else {
        Axis::between("Mpps", from, to)
    };
    let series = [
        ("lower bound", Mark::Points, lower),
        ("upper bound", Mark::Points, upper),
        ("not decided", Mark::Points, open),
        ("no evidence, repeated", Mark::Hollow, repeated),
        ("highest lower bound", Mark::Line, steps(low_line)),
        ("lowest upper bound", Mark::Line, steps(high_line)),
    ];
    let series = series.into_iter();
    let note = format!("{}{}", caption(&[GoalResult { search, goal: one }]), beyond(far, &loads));
    Some(Chart {
        title: format!("Search for {}", label(&one.goal)),
        x: Axis::from_zero("trial of the search", f64::from(last)),
        y,
        series: series.map(|(name, mark, points)| Series::new(name, mark, points)).collect(),
        note: Some(note),
    })
}

/// Lowest and highest load to draw, and how many early trials lie above that.
fn shown(loads: &[f64]) -> Option<(f64, f64, usize)> {
    let (low, high) = range(loads.iter().copied())?;
    let later = range(loads.iter().skip(FIRST_TRIALS).copied());
    match later {
        Some((from, to)) if high > FAR * to => {
            let inside = loads.iter().copied().filter(|load| *load <= FAR * to);
            let (low, high) = range(inside).unwrap_or((from, to));
            Some((low, high, loads.iter().filter(|load| **load > FAR * to).count()))
        }
        _ => Some((low, high, 0)),
    }
}

/// What is said of trials beyond the axis of a chart.
fn beyond(far: usize, loads: &[f64]) -> String {
    let most = short(loads.iter().copied().fold(0.0, f64::max));
    match far {
        0 => String::new(),
        1 => format!(" One of the first trials lies beyond this chart, at {most} Mpps."),
        _ => format!(" {far} of the first trials lie beyond this chart, up to {most} Mpps."),
    }
}

fn load_mpps(trial: &SearchedTrial<'_>) -> f64 {
    trial.measurement.load_pps as f64 / 1e6
}

/// A bound over the trials as steps: it changes at a trial and stays until the next.
fn steps(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut line: Vec<(f64, f64)> = Vec::with_capacity(2 * points.len());
    for point in points {
        if let Some(before) = line.last().copied().filter(|before| before.1 != point.1) {
            line.push((point.0, before.1));
        }
        line.push(point);
    }
    line
}

fn load_axis(first: f64, last: f64) -> Axis {
    let label = "load of each sender, Mpps";
    if first > 0.0 && last / first > WIDE {
        Axis::log(label, first, last)
    } else {
        Axis::between(label, first, last)
    }
}
