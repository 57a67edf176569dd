//! Many pairs at a glance: a heat map of profiles and pairs.

use std::collections::BTreeMap;

use super::super::model::{Block, Cell, Column, Row, Section, Table};
use super::super::number::things;
use super::super::source::Source;
use crate::summary::TrialSummary;

/// Pairs beside one another at most: as many as fit on a page.
const MOST_COLUMNS: usize = 16;

pub(super) fn section(source: &Source) -> Option<Section> {
    let pairs = source.pairs();
    if pairs.len() < 2 || source.summary.trials.is_empty() {
        return None;
    }
    let mut profiles: Vec<String> = Vec::new();
    let mut found: BTreeMap<(usize, &str), f64> = BTreeMap::new();
    for trial in &source.summary.trials {
        let name = profile(source, trial);
        let index = profiles.iter().position(|known| *known == name).unwrap_or_else(|| {
            profiles.push(name);
            profiles.len() - 1
        });
        found.insert((index, trial.pair.as_str()), delivered(trial));
    }
    let mut blocks = vec![Block::Text(
        "Received load in percent of the intended one; of the offered one in trials as fast as possible."
            .to_owned(),
    )];
    blocks.extend(pairs.chunks(MOST_COLUMNS).map(|pairs| {
        let mut columns = vec![Column::words("profile", "profile")];
        columns.extend(pairs.iter().map(|pair| Column::numbers(*pair, *pair)));
        let rows = profiles.iter().enumerate().map(|(index, name)| {
            let cells =
                pairs.iter().map(|pair| found.get(&(index, *pair)).map_or("-".into(), |share| cell(*share)));
            Row { key: name.clone(), cells: std::iter::once(name.clone().into()).chain(cells).collect() }
        });
        Block::Table(Table { caption: things(pairs.len(), "pair"), columns, rows: rows.collect() })
    }));
    Some(Section { id: "matrix", title: "Profiles and pairs", blocks })
}

fn profile(source: &Source, trial: &TrialSummary) -> String {
    if source.has_repeats() { format!("{} #{}", trial.profile, trial.repeat) } else { trial.profile.clone() }
}

/// Received load as a share of what was asked for. A trial holds whole packets: less than one missing is none missing.
fn delivered(trial: &TrialSummary) -> f64 {
    let asked = trial.intended_pps.unwrap_or(trial.offered_pps);
    let missing_packets = (asked - trial.received_pps) * trial.duration_s;
    match missing_packets {
        ..1.0 => 1.0,
        _ => trial.received_pps / asked,
    }
}

/// Rounded down: what is not whole must not look it.
fn cell(share: f64) -> Cell {
    let percent = (share * 10_000.0 + 1e-6).floor() / 100.0;
    Cell { text: format!("{percent:.2}"), heat: Some(share.clamp(0.0, 1.0)), ..Cell::default() }
}
