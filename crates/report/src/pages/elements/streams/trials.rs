//! Tables of trials: rates, delays and CPU time; then the account in bytes, datagrams and segments.

use linerate_results::streams::{BoundedDelay, Figure, STREAMS_FIGURES, StreamsTrialSummary, StreamsUnit};

use super::super::super::model::{Block, Cell, Column, Row, Table, Tone};
use super::super::super::number::things;
use super::super::super::source::limit_tone;
use crate::streams::number::{figure, heading};

pub(super) fn blocks(trials: &[StreamsTrialSummary]) -> Vec<Block> {
    if trials.is_empty() {
        return Vec::new();
    }
    let (counts, rates): (Vec<_>, Vec<_>) = STREAMS_FIGURES.iter().partition(|figure| is_count(figure.unit));
    let caption = things(trials.len(), "trial");
    let mut blocks = vec![
        Block::Table(table(format!("{caption}: rates, times and CPU"), trials, &rates)),
        Block::Table(table(format!("{caption}: the account"), trials, &counts)),
        Block::Text(
            "A dash stands for what does not apply or is not known. CPU is in seconds per gigabit of payload."
                .to_owned(),
        ),
    ];
    blocks.extend(trials.iter().filter_map(bounded_delay).map(Block::Text));
    blocks
}

/// The delay between two clocks with its bound.
fn bounded_delay(trial: &StreamsTrialSummary) -> Option<String> {
    let BoundedDelay { delay, uncertainty_ns } = trial.bounded_delay_ns.as_ref()?;
    let us = |ns: u64| ns as f64 / 1e3;
    Some(format!(
        "{}: one-way delay between machines: median {:.1} µs, 99th percentile {:.1} µs, each ±{:.1} µs, which is how well their clocks could be compared.",
        trial.profile,
        us(delay.p50),
        us(delay.p99),
        us(*uncertainty_ns)
    ))
}

fn is_count(unit: StreamsUnit) -> bool {
    matches!(unit, StreamsUnit::Bytes | StreamsUnit::Datagrams | StreamsUnit::Segments)
}

fn table(caption: String, trials: &[StreamsTrialSummary], figures: &[&Figure<StreamsTrialSummary>]) -> Table {
    let known: Vec<_> =
        figures.iter().filter(|figure| trials.iter().any(|trial| (figure.of)(trial).is_some())).collect();
    let mut columns = vec![Column::words("profile", "profile"), Column::words("verdict", "verdict")];
    columns.extend(known.iter().map(|figure| Column::numbers(figure.name, heading(figure))));
    let row = |trial: &StreamsTrialSummary| {
        let kind = trial.verdict.kind;
        let mut cells = vec![trial.profile.clone().into(), Cell::toned(kind.to_string(), limit_tone(kind))];
        cells.extend(known.iter().map(|one| Cell::toned(figure(one, trial), tone(one, trial))));
        Row { key: trial.trial.clone(), cells }
    };
    Table { caption, columns, rows: trials.iter().map(row).collect() }
}

fn tone(figure: &Figure<StreamsTrialSummary>, trial: &StreamsTrialSummary) -> Tone {
    let is_silent = figure.name == "connections_alive" && trial.connections_alive < trial.connections;
    let is_lost = figure.name.starts_with("lost_") && trial.lost_datagrams.is_some_and(|lost| lost > 0);
    if is_silent || is_lost { Tone::Bad } else { Tone::Neutral }
}
