//! Repeats of trials of streams: mean, standard deviation, confidence interval.

use linerate_results::streams::{STREAMS_FIGURES, StreamsTrialSummary};

use super::super::super::model::{Block, Cell, Column, Row, Table};
use super::super::super::number::things;
use crate::compare::streams_group;
use crate::streams::number::{heading, of_unit};

const CONFIDENCE: f64 = 0.95;

pub(super) fn blocks(trials: &[StreamsTrialSummary]) -> Vec<Block> {
    let mut repeated: Vec<Vec<&StreamsTrialSummary>> = Vec::new();
    for trial in trials {
        match repeated.iter_mut().find(|one| one[0].profile == trial.profile) {
            Some(same) => same.push(trial),
            None => repeated.push(vec![trial]),
        }
    }
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
    ];
    let caption = format!(
        "{}: mean, standard deviation (n − 1) and Student's 95 % interval of the mean",
        things(repeated.len(), "repeated profile")
    );
    let rows = repeated.iter().flat_map(|trials| rows(trials)).collect();
    vec![Block::Table(Table { caption, columns, rows })]
}

fn rows(trials: &[&StreamsTrialSummary]) -> Vec<Row> {
    let compared = STREAMS_FIGURES.iter().filter(|figure| figure.more_is_better.is_some());
    let row = |figure: &linerate_results::streams::Figure<StreamsTrialSummary>| {
        let group = streams_group(trials, figure)?;
        let interval = group.interval(CONFIDENCE);
        let show = |value: Option<f64>| -> Cell {
            value.map_or("-".to_owned(), |value| of_unit(figure.unit, value)).into()
        };
        Some(Row {
            key: format!("{}/{}", trials[0].profile, figure.name),
            cells: vec![
                trials[0].profile.clone().into(),
                heading(figure).into(),
                group.repeats.to_string().into(),
                show(Some(group.mean)),
                show(group.standard_deviation),
                show(interval.map(|interval| interval.lower.max(0.0))),
                show(interval.map(|interval| interval.upper)),
            ],
        })
    };
    compared.filter_map(row).collect()
}
