//! Repeats of trials: mean, standard deviation, confidence interval of each figure.

use linerate_results::streams::Figure;

use super::super::model::{Block, Cell, Column, Row, Table};
use super::super::number::things;
use crate::compare::Group;
use crate::grouping::by_key;
use crate::streams::number::{heading, of_unit};

const CONFIDENCE: f64 = 0.95;

/// Table of the profiles that were run several times; none without such. `profile` names a trial's profile, and `group`
/// gathers a figure of its repeats.
pub(super) fn blocks<T>(
    trials: &[T],
    figures: &[Figure<T>],
    profile: fn(&T) -> &str,
    group: fn(&[&T], &Figure<T>) -> Option<Group>,
) -> Vec<Block> {
    let mut repeated = by_key(trials, profile);
    repeated.retain(|trials| trials.len() > 1);
    if repeated.is_empty() {
        return Vec::new();
    }
    let columns = vec![
        Column::words("profile", "profile"),
        Column::words("metric", "metric"),
        Column::numbers("repeats", "repeats"),
        Column::numbers("mean", "mean"),
        Column::numbers("standard_deviation", "standard deviation"),
        Column::numbers("lower", "95 % from"),
        Column::numbers("upper", "to"),
        Column::words("halves", "halves agree"),
    ];
    let caption = format!(
        "{}: mean, standard deviation (n − 1) and Student's 95 % interval of the mean",
        things(repeated.len(), "repeated profile")
    );
    let compared = || figures.iter().filter(|figure| figure.more_is_better.is_some());
    // Whether the first half of the repeats says what the second one says.
    let agree = |trials: &[&T], figure: &Figure<T>| {
        let (first, second) = trials.split_at(trials.len() / 2);
        let agree = group(first, figure)
            .zip(group(second, figure))
            .and_then(|(first, second)| first.agrees_with(&second, CONFIDENCE));
        agree.map_or("-", |agree| if agree { "yes" } else { "no" }).to_owned()
    };
    let row = |trials: &[&T], figure: &Figure<T>| {
        let group = group(trials, figure)?;
        let name = profile(trials[0]);
        let interval = group.interval(CONFIDENCE);
        let show = |value: Option<f64>| -> Cell {
            value.map_or("-".to_owned(), |value| of_unit(figure.unit, value)).into()
        };
        Some(Row {
            key: format!("{name}/{}", figure.name),
            cells: vec![
                name.to_owned().into(),
                heading(figure).into(),
                group.repeats.to_string().into(),
                show(Some(group.mean)),
                show(group.standard_deviation),
                show(interval.map(|interval| interval.lower.max(0.0))),
                show(interval.map(|interval| interval.upper)),
                agree(trials, figure).into(),
            ],
        })
    };
    let rows = repeated.iter().flat_map(|trials| compared().filter_map(|figure| row(trials, figure)));
    let text = "Halves agree when the 95 % interval of the first half of the repeats contains the mean of the second, and the other way round.";
    vec![Block::Table(Table { caption, columns, rows: rows.collect() }), Block::Text(text.to_owned())]
}
