//! Many pairs at a glance: a heat map of pairs and profiles.

use std::collections::BTreeMap;

use super::super::model::{Block, Cell, Column, Row, Section, Table};
use super::super::source::Source;
use crate::summary::TrialSummary;

pub(super) fn section(source: &Source) -> Option<Section> {
    let pairs = source.pairs();
    if pairs.len() < 2 || source.summary.trials.is_empty() {
        return None;
    }
    let mut columns: Vec<String> = Vec::new();
    let mut found: BTreeMap<(&str, usize), f64> = BTreeMap::new();
    for trial in &source.summary.trials {
        let name = column_name(source, trial);
        let index = columns.iter().position(|column| *column == name).unwrap_or_else(|| {
            columns.push(name);
            columns.len() - 1
        });
        found.insert((trial.pair.as_str(), index), delivered(trial));
    }
    let mut heads = vec![Column::words("pair", "pair")];
    heads.extend(columns.iter().map(|name| Column::numbers(name.clone(), name.clone())));
    let rows = pairs
        .iter()
        .map(|pair| {
            let mut cells: Vec<Cell> = vec![(*pair).into()];
            cells.extend(
                (0..columns.len())
                    .map(|index| found.get(&(*pair, index)).map_or("-".into(), |share| cell(*share))),
            );
            Row { key: (*pair).to_owned(), cells }
        })
        .collect();
    let table = Table {
        caption:
            "Received load in percent of the intended one; of the offered one for trials as fast as possible"
                .to_owned(),
        columns: heads,
        rows,
    };
    Some(Section { id: "matrix", title: "Pairs and profiles", blocks: vec![Block::Table(table)] })
}

fn column_name(source: &Source, trial: &TrialSummary) -> String {
    if source.has_repeats() { format!("{} #{}", trial.profile, trial.repeat) } else { trial.profile.clone() }
}

/// Received load as a share of what was asked for.
fn delivered(trial: &TrialSummary) -> f64 {
    let asked = trial.intended_pps.unwrap_or(trial.offered_pps);
    if asked > 0.0 { trial.received_pps / asked } else { 0.0 }
}

/// Rounded down: what is not whole must not look it.
fn cell(share: f64) -> Cell {
    let percent = (share * 10_000.0 + 1e-6).floor() / 100.0;
    Cell { text: format!("{percent:.2}"), heat: Some(share.clamp(0.0, 1.0)), ..Cell::default() }
}
