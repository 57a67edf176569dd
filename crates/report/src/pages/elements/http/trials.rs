//! Tables of trials: rates and times; then the account.

use linerate_results::http::{HTTP_FIGURES, HttpTrialSummary};
use linerate_results::streams::{Figure, StreamsUnit};

use super::super::super::model::{Block, Cell, Column, Row, Table, Tone};
use super::super::super::number::things;
use super::tone;
use crate::streams::number::{figure, heading};

pub(super) fn blocks(trials: &[HttpTrialSummary]) -> Vec<Block> {
    let is_count = |figure: &&Figure<HttpTrialSummary>| figure.unit == StreamsUnit::Requests;
    let (counts, rates): (Vec<_>, Vec<_>) = HTTP_FIGURES.iter().partition(is_count);
    let caption = things(trials.len(), "trial");
    vec![
        Block::Table(table(format!("{caption}: rates, times and CPU"), trials, &rates)),
        Block::Table(table(format!("{caption}: the account"), trials, &counts)),
        Block::Text("A dash stands for what does not apply or is not known.".to_owned()),
    ]
}

fn table(caption: String, trials: &[HttpTrialSummary], figures: &[&Figure<HttpTrialSummary>]) -> Table {
    let known: Vec<_> =
        figures.iter().filter(|figure| trials.iter().any(|trial| (figure.of)(trial).is_some())).collect();
    let mut columns = vec![
        Column::words("profile", "profile"),
        Column::words("target", "target"),
        Column::words("protocol", "protocol"),
        Column::words("verdict", "verdict"),
    ];
    columns.extend(known.iter().map(|figure| Column::numbers(figure.name, heading(figure))));
    let row = |trial: &HttpTrialSummary| {
        let kind = trial.verdict.kind;
        let mut cells = vec![
            trial.profile.clone().into(),
            trial.target.clone().into(),
            trial.protocol.to_string().into(),
            Cell::toned(kind.to_string(), tone(kind)),
        ];
        cells.extend(known.iter().map(|one| Cell::toned(figure(one, trial), harm(one, trial))));
        Row { key: trial.trial.clone(), cells }
    };
    Table { caption, columns, rows: trials.iter().map(row).collect() }
}

/// Judgement of a cell.
fn harm(figure: &Figure<HttpTrialSummary>, trial: &HttpTrialSummary) -> Tone {
    let harms = ["error_ratio", "skipped_requests", "failed_requests", "unfinished_requests"];
    let is_bad = harms.contains(&figure.name) && (figure.of)(trial).is_some_and(|value| value > 0.0);
    if is_bad { Tone::Bad } else { Tone::Neutral }
}
