//! The connections of a trial: how far they lie apart, and the worst ones.

use linerate_results::streams::{CONNECTION_FIGURES, ConnectionSummary, Figure, Spread, worst_first};

use super::super::super::model::{Block, Cell, Column, Row, Table, Tone};
use super::super::super::number::{count, things};
use super::super::super::source::limit_tone;
use crate::streams::StreamsDetail;
use crate::streams::number::{figure, heading, of_unit};

/// Most connections of a table; exports have all.
const MOST_ROWS: usize = 20;

pub(super) fn blocks(detail: &StreamsDetail) -> Vec<Block> {
    let all = &detail.connections;
    let mut blocks = Vec::new();
    if all.len() > MOST_ROWS {
        blocks.push(Block::Table(spread(all)));
    }
    if !all.is_empty() {
        blocks.push(Block::Table(worst(detail)));
    }
    blocks
}

/// Figures that a connection has.
fn known(all: &[ConnectionSummary]) -> Vec<&'static Figure<ConnectionSummary>> {
    CONNECTION_FIGURES.iter().filter(|figure| all.iter().any(|one| (figure.of)(one).is_some())).collect()
}

fn spread(all: &[ConnectionSummary]) -> Table {
    let columns = vec![
        Column::words("figure", "of a connection"),
        Column::numbers("known", "known of"),
        Column::numbers("min", "least"),
        Column::numbers("p50", "median"),
        Column::numbers("mean", "mean"),
        Column::numbers("max", "most"),
    ];
    let row = |figure: &&Figure<ConnectionSummary>| {
        let values: Vec<f64> = all.iter().filter_map(figure.of).collect();
        let known = count(values.len() as u64);
        let Spread { min, p50, mean, max } = Spread::of(values.into_iter())?;
        let show = |value| Cell::from(of_unit(figure.unit, value));
        let cells = vec![heading(figure).into(), known.into(), show(min), show(p50), show(mean), show(max)];
        Some(Row { key: figure.name.to_owned(), cells })
    };
    let rows = known(all).iter().filter_map(row).collect();
    Table { caption: format!("{}: how far they lie apart", things(all.len(), "connection")), columns, rows }
}

fn worst(detail: &StreamsDetail) -> Table {
    let all = &detail.connections;
    let figures = known(all);
    let mut columns = vec![Column::words("connection", "connection"), Column::words("alive", "alive")];
    columns.extend(figures.iter().map(|figure| Column::numbers(figure.name, heading(figure))));
    columns.extend([
        Column::numbers("from_cpu_s_per_gbit", "sending agent's CPU s/Gbit"),
        Column::numbers("to_cpu_s_per_gbit", "receiving agent's CPU s/Gbit"),
        Column::words("verdict", "verdict"),
        Column::words("evidence", "why"),
    ]);
    let row = |one: &ConnectionSummary| {
        let alive = if one.alive { ("yes", Tone::Neutral) } else { ("silent", Tone::Bad) };
        let mut cells = vec![one.connection.clone().into(), Cell::toned(alive.0, alive.1)];
        cells.extend(figures.iter().map(|of| Cell::toned(figure(of, one), tone(of, one))));
        cells.extend([&one.from, &one.to].map(|agent| {
            let seconds = detail.cpu_s_per_gbit.get(agent);
            Cell::from(seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.3}")))
        }));
        let why = one.reasons.first().unwrap_or(&one.verdict.evidence).clone();
        cells.push(Cell::toned(one.verdict.kind.to_string(), limit_tone(one.verdict.kind)));
        cells.push(Cell::toned(why, if one.complete { Tone::Neutral } else { Tone::Bad }));
        Row { key: one.connection.clone(), cells }
    };
    let caption = match all.len() {
        few @ ..=MOST_ROWS => format!("{}, worst first", things(few, "connection")),
        many => format!(
            "{MOST_ROWS} of {}, worst first; linerate results export --format csv writes all",
            things(many, "connection")
        ),
    };
    let rows = worst_first(all).into_iter().take(MOST_ROWS).map(row).collect();
    Table { caption, columns, rows }
}

fn tone(figure: &Figure<ConnectionSummary>, one: &ConnectionSummary) -> Tone {
    let is_lost = figure.name.starts_with("lost_") && one.lost_datagrams.is_some_and(|lost| lost > 0);
    if is_lost { Tone::Bad } else { Tone::Neutral }
}
