//! The table of results: a row for each search and goal.

use super::super::super::model::{Block, Cell, Column, Row, Table, Tone};
use super::super::super::number::{count, percent, short};
use crate::search::{GoalResult, Repeats, found, label, limiter};

pub(super) fn blocks(all: &[Repeats<'_>], names: &[String]) -> Vec<Block> {
    let mut blocks = vec![Block::Table(table(all, names))];
    let results = || all.iter().flat_map(|repeats| repeats.searches.iter().flat_map(|search| found(search)));
    let loaded = all.iter().map(|repeats| repeats.first().paths).max().unwrap_or(1);
    if loaded > 1 {
        blocks.push(Block::Text(
            "Loads are those of one sender in one direction; multiplied by the column \"paths\", they are those of all."
                .to_owned(),
        ));
    }
    if results().any(|one| !one.is_regular() && one.value_pps().is_some()) {
        blocks.push(Block::Text(
            "≥ marks an irregular result: the path carries at least this much, and what it carries beyond is not known. Irregular results enter no mean."
                .to_owned(),
        ));
    }
    blocks
}

fn table(all: &[Repeats<'_>], names: &[String]) -> Table {
    let columns = vec![
        Column::words("search", "search of"),
        Column::numbers("number", "#"),
        Column::words("goal", "goal"),
        Column::numbers("conditional_throughput_pps", "conditional throughput pps"),
        Column::numbers("line_rate_share", "of line rate (L1) %"),
        Column::numbers("l2_bps", "L2 Gbit/s"),
        Column::numbers("l1_bps", "L1 Gbit/s"),
        Column::numbers("relevant_lower_bound_pps", "lower bound pps"),
        Column::numbers("relevant_upper_bound_pps", "upper bound pps"),
        Column::numbers("width", "width %"),
        Column::words("regular", "regular"),
        Column::words("limited_by", "limited by"),
        Column::numbers("paths", "paths"),
        Column::numbers("trials", "trials"),
        Column::numbers("elapsed_s", "time s"),
    ];
    let each = all.iter().zip(names).flat_map(|(repeats, name)| {
        repeats.searches.iter().flat_map(move |search| found(search).map(move |one| row(name, &one)))
    });
    Table { caption: "Results of searches".to_owned(), columns, rows: each.collect() }
}

fn row(name: &str, one: &GoalResult<'_>) -> Row {
    let (search, found) = (one.search, &one.goal.conclusion);
    let judged = if one.is_regular() { Tone::Neutral } else { Tone::Warning };
    let toned = |text: String| Cell::toned(text, judged);
    let load = |load: Option<u64>| load.map_or("-".to_owned(), count);
    // A relevant lower bound needs an upper one.
    let lower = match (found.relevant_lower_bound_pps, found.effective_lower_bound_pps) {
        (None, Some(effective)) => format!("effective {}", count(effective)),
        (lower, _) => load(lower),
    };
    Row {
        key: format!("{}/{}/{}/{}", search.profile, search.subject(), search.number, one.goal.goal.name),
        cells: vec![
            name.into(),
            search.number.to_string().into(),
            label(&one.goal.goal).into(),
            toned(one.marked(|value| Some(count(value.round() as u64)))),
            toned(one.marked(|value| one.of_line_rate(value).map(percent))),
            toned(one.marked(|value| Some(format!("{:.6}", one.l2_bps(value) / 1e9)))),
            toned(one.marked(|value| Some(format!("{:.6}", one.l1_bps(value) / 1e9)))),
            lower.into(),
            load(found.relevant_upper_bound_pps).into(),
            one.width().map_or("-".to_owned(), percent).into(),
            toned(if one.is_regular() { "yes" } else { "no" }.to_owned()),
            found.limited_by.map_or("not known", limiter).into(),
            search.paths.to_string().into(),
            count(search.trials.into()).into(),
            short((10.0 * search.elapsed_s).round() / 10.0).into(),
        ],
    }
}
