//! Repeats of whole searches: their mean, how far they lie apart, and what is left out of it.

use super::super::super::chart::{Axis, Chart, Mark, Series, range};
use super::super::super::model::{Block, Cell, Column, Row, Table};
use super::super::super::number::count;
use super::caption::caption;
use crate::compare::{Group, Interval};
use crate::search::{GoalResult, Repeats, label, mean, short_percent};

const CONFIDENCE: f64 = 0.95;
/// Most names on the axis of a chart.
const MOST_NAMES: usize = 12;

/// The searches of one profile for one goal.
struct Spread<'s> {
    name: &'s str,
    goal: String,
    results: Vec<GoalResult<'s>>,
    group: Option<Group>,
}

impl Spread<'_> {
    fn interval(&self) -> Option<Interval> {
        self.group?.interval(CONFIDENCE)
    }
}

pub(super) fn blocks(all: &[Repeats<'_>], names: &[String]) -> Vec<Block> {
    if all.iter().all(|repeats| repeats.searches.len() < 2) {
        return Vec::new();
    }
    let each = all.iter().zip(names).flat_map(|(repeats, name)| {
        repeats.goals().into_iter().filter_map(move |goal| {
            let results = repeats.of_goal(goal);
            let goal = label(&results.first()?.goal.goal);
            Some(Spread { name, goal, group: mean(&results), results })
        })
    });
    let spreads: Vec<Spread<'_>> = each.collect();
    let mut goals: Vec<&str> = Vec::new();
    for spread in &spreads {
        if !goals.contains(&spread.goal.as_str()) {
            goals.push(&spread.goal);
        }
    }
    let of_goal = |goal: &str| spreads.iter().filter(|spread| spread.goal == goal).collect::<Vec<_>>();
    let charts: Vec<Chart> = goals.iter().filter_map(|goal| chart(goal, &of_goal(goal))).collect();
    let mut blocks = vec![Block::Table(table(&spreads))];
    if !charts.is_empty() {
        blocks.push(Block::Charts(charts));
    }
    blocks
}

fn table(spreads: &[Spread<'_>]) -> Table {
    let columns = vec![
        Column::words("search", "search of"),
        Column::words("goal", "goal"),
        Column::numbers("regular", "regular searches"),
        Column::numbers("left_out", "irregular, left out"),
        Column::numbers("mean", "mean pps"),
        Column::numbers("standard_deviation", "standard deviation pps"),
        Column::numbers("lower", "95 % from pps"),
        Column::numbers("upper", "to pps"),
        Column::numbers("resolution", "resolution pps"),
    ];
    let pps = |value: Option<f64>| -> Cell {
        value.map_or("-".to_owned(), |value| count(value.max(0.0).round() as u64)).into()
    };
    let row = |spread: &Spread<'_>| {
        let (group, interval) = (spread.group, spread.interval());
        let regular = group.map_or(0, |group| group.repeats);
        Row {
            key: format!("{}/{}", spread.name, spread.goal),
            cells: vec![
                spread.name.into(),
                spread.goal.clone().into(),
                regular.to_string().into(),
                (spread.results.len() - regular).to_string().into(),
                pps(group.map(|group| group.mean)),
                pps(group.and_then(|group| group.standard_deviation)),
                pps(interval.map(|interval| interval.lower)),
                pps(interval.map(|interval| interval.upper)),
                pps(group.map(|group| group.resolution)),
            ],
        }
    };
    let caption =
        "Conditional throughput of repeated searches; the resolution is the goal's width".to_owned();
    Table { caption, columns, rows: spreads.iter().map(row).collect() }
}

/// Each search as a dot, by its deviation from the mean, with the interval of the mean.
fn chart(goal: &str, spreads: &[&Spread<'_>]) -> Option<Chart> {
    let deviation = |value: f64, mean: f64| 100.0 * (value / mean - 1.0);
    let (mut regular, mut irregular, mut intervals) = (Vec::new(), Vec::new(), Vec::new());
    let mut widest: f64 = 0.0;
    for (place, spread) in spreads.iter().enumerate() {
        let Some(group) = spread.group.filter(|group| group.mean > 0.0) else { continue };
        let x = place as f64;
        for one in &spread.results {
            let Some(value) = one.value_pps() else { continue };
            let points = if one.is_regular() { &mut regular } else { &mut irregular };
            points.push((x, deviation(value, group.mean)));
        }
        let interval = spread.interval();
        intervals.extend(interval.into_iter().flat_map(|interval| {
            [interval.lower, interval.upper].map(|end| (x, deviation(end, group.mean)))
        }));
        widest = widest.max(group.resolution / group.mean);
    }
    let (low, high) = range(regular.iter().chain(&irregular).chain(&intervals).map(|point| point.1))?;
    let names: Vec<String> = spreads.iter().map(|spread| spread.name.to_owned()).collect();
    let x = Axis::of_things("search of", &names, MOST_NAMES);
    let mean = Series::new("mean", Mark::Theory, vec![(x.from, 0.0), (x.to, 0.0)]);
    let mut series = vec![Series::new("regular search", Mark::Points, regular)];
    if !irregular.is_empty() {
        series.push(Series::new("irregular, not in the mean", Mark::Hollow, irregular));
    }
    series.push(Series::new("95 % interval of the mean", Mark::Segments, intervals));
    series.push(mean);
    let results: Vec<GoalResult<'_>> =
        spreads.iter().flat_map(|spread| spread.results.iter().copied()).collect();
    let note = format!(
        "One search is one dot. Its width of at most {} % is a resolution; the spread of the dots shows how well searches repeat. {}",
        short_percent(widest),
        caption(&results)
    );
    Some(Chart {
        title: format!("{goal} of repeated searches"),
        x,
        y: Axis::between("deviation from the mean, %", low.min(0.0), high.max(0.0)),
        series,
        note: Some(note),
    })
}
