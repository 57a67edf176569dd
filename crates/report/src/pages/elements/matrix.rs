//! Heat map of profiles and pairs.

use std::collections::{BTreeMap, HashMap};

use super::super::model::{Block, Cell, Column, Row, Section, Table};
use super::super::number::{percent_of, things};
use super::super::source::{Source, TrialNames};
use linerate_results::summary::TrialSummary;

/// Most pairs in one table that fit on a page.
const MOST_COLUMNS: usize = 16;

pub(super) fn section(source: &Source) -> Option<Section> {
    let pairs = source.pairs();
    if pairs.len() < 2 || source.summary.matrix_trials().next().is_none() {
        return None;
    }
    let names = source.names();
    let mut profiles: Vec<String> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut found: BTreeMap<(usize, &str), &TrialSummary> = BTreeMap::new();
    for trial in source.summary.matrix_trials() {
        let index = *places.entry(profile(names, trial)).or_insert_with_key(|name| {
            profiles.push(name.clone());
            profiles.len() - 1
        });
        found.insert((index, trial.pair.as_str()), trial);
    }
    let table = |pairs: &[&str], what: &str, cell: fn(&TrialSummary) -> Cell| {
        let mut columns = vec![Column::words("profile", "profile")];
        columns.extend(pairs.iter().map(|pair| Column::numbers(*pair, *pair)));
        let rows = profiles.iter().enumerate().map(|(index, name)| {
            let cells =
                pairs.iter().map(|pair| found.get(&(index, *pair)).map_or("-".into(), |trial| cell(trial)));
            Row { key: name.clone(), cells: std::iter::once(name.clone().into()).chain(cells).collect() }
        });
        let caption = format!("{what}, {}", things(pairs.len(), "pair"));
        Block::Table(Table { caption, columns, rows: rows.collect() })
    };
    let mut blocks = vec![Block::Text(
        "Received load in percent of the intended one, of the offered one in trials as fast as possible; and loss in percent of the packets sent."
            .to_owned(),
    )];
    let parts = || pairs.chunks(MOST_COLUMNS);
    blocks.extend(parts().map(|pairs| table(pairs, "Received load in %", load)));
    blocks.extend(parts().map(|pairs| table(pairs, "Loss in %", loss)));
    Some(Section { id: "matrix", title: "Profiles and pairs", blocks })
}

fn profile(names: TrialNames, trial: &TrialSummary) -> String {
    if names.has_repeats { format!("{} #{}", trial.profile, trial.repeat) } else { trial.profile.clone() }
}

/// Received load as a share of the intended one. Trials have whole packets, so a difference of less than one
/// packet counts as none.
fn delivered(trial: &TrialSummary) -> f64 {
    let asked = trial.intended_pps.unwrap_or(trial.offered_pps);
    let missing_packets = (asked - trial.received_pps) * trial.duration_s;
    match missing_packets {
        ..1.0 => 1.0,
        _ => trial.received_pps / asked,
    }
}

fn loss(trial: &TrialSummary) -> Cell {
    let text = percent_of(trial.lost_packets, trial.sent_packets);
    let kept = 1.0 - trial.lost_packets as f64 / trial.sent_packets.max(1) as f64;
    Cell { text, heat: (trial.sent_packets > 0).then_some(kept), ..Cell::default() }
}

/// Cell with the load, rounded down, so that only a complete load shows 100 %.
fn load(trial: &TrialSummary) -> Cell {
    if trial.intended_pps.is_none() && trial.sent_packets == 0 {
        return "-".into();
    }
    let share = delivered(trial);
    let percent = (share * 10_000.0 + 1e-6).floor() / 100.0;
    Cell { text: format!("{percent:.2}"), heat: Some(share.clamp(0.0, 1.0)), ..Cell::default() }
}
