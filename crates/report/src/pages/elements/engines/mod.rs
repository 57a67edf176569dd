//! Engines: what the kernel's path costs, then the trials of all engines in one table, then rates over loads.

mod charts;

use std::collections::BTreeMap;

use linerate_results::engines::{
    Coefficient, Correlation, EngineFigures, EngineRow, FEWEST_TRIALS, comparison, correlations, rows,
};

use super::super::model::{Block, Cell, Column, Row, Section, Table, Tone};
use super::super::number::{count, mpps, percent, things};
use super::super::source::Source;

pub(super) fn section(source: &Source) -> Option<Section> {
    let rows = rows(&source.summary);
    if rows.is_empty() {
        return None;
    }
    let told = comparison(&rows);
    let mut blocks: Vec<Block> = told.into_iter().map(Block::Text).collect();
    blocks.push(Block::Table(table(&rows)));
    let (charts, (maps, left_out)) = (charts::charts(&rows), charts::maps(&rows));
    if !charts.is_empty() {
        blocks.push(Block::Charts(charts));
    }
    if !maps.is_empty() {
        blocks.push(Block::Maps(maps));
    }
    if left_out > 0 {
        let more = things(left_out, "map");
        blocks.push(Block::Text(format!("{more} of CPUs left out here; the trials' files have every CPU.")));
    }
    blocks.extend(correlated(&rows).map(Block::Table));
    blocks.push(Block::Text(
        "Every engine carried the same frames between two agents of one machine; sent = received + lost. Agents that poll hold their CPUs \
         all the time, whatever the load: how much of it they had packets to handle stands beside it. Softirqs are those of all of the \
         node's CPUs, which the kernel counts in steps of 10 ms; traffic of others is in them, and most kernels \
         count those inside a system call in the agents' time as well, so the two are not added. Each counter on the way explains at most \
         the losses that the ones before it left."
            .to_owned(),
    ));
    Some(Section { id: "engines", title: "Engines", blocks })
}

fn table(rows: &[EngineRow<'_>]) -> Table {
    let columns = vec![
        Column::words("engine", "engine"),
        Column::numbers("frame_size", "size"),
        Column::numbers("flows", "flows"),
        Column::numbers("cores", "cores"),
        Column::numbers("repeat", "repeat"),
        Column::numbers("intended_pps", "intended Mpps"),
        Column::numbers("offered_pps", "offered Mpps"),
        Column::numbers("received_pps", "received Mpps"),
        Column::numbers("sent_packets", "sent"),
        Column::numbers("received_packets", "received"),
        Column::numbers("lost_packets", "lost"),
        Column::numbers("loss_ratio", "lost %"),
        Column::numbers("agents_cpu_s_per_million", "agents CPU s per million"),
        Column::numbers("working_cpu_s_per_million", "of it working"),
        Column::numbers("softirq_cpu_s_per_million", "softirq CPU s per million"),
        Column::words("verdict", "verdict"),
        Column::words("losses", "lost in"),
    ];
    Table { caption: things(rows.len(), "trial"), columns, rows: rows.iter().map(row).collect() }
}

fn row(row: &EngineRow<'_>) -> Row {
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), count);
    let rate = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), mpps);
    let per_million = |seconds: Option<f64>| {
        row.per_million(seconds).map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.3}"))
    };
    let parts = row.figures.losses.iter();
    let places: Vec<String> = parts
        .map(|part| format!("{} {} ({})", count(part.packets), part.place.words(), part.evidence))
        .collect();
    let lost = if row.lost.is_some_and(|lost| lost > 0) { Tone::Bad } else { Tone::Neutral };
    let share = row.loss_share().map_or_else(|| "-".to_owned(), percent);
    let cells: Vec<Cell> = vec![
        row.name().into(),
        row.frame_size().label().into(),
        row.flows.to_string().into(),
        row.cores().into(),
        row.repeat.to_string().into(),
        row.intended_pps.map_or_else(|| "max".to_owned(), mpps).into(),
        rate(row.offered_pps).into(),
        rate(row.received_pps).into(),
        number(row.sent).into(),
        number(row.received).into(),
        Cell::toned(number(row.lost), lost),
        share.into(),
        per_million(row.figures.agents_cpu_s).into(),
        per_million(row.figures.working_cpu_s).into(),
        per_million(row.figures.softirq_cpu_s).into(),
        row.limit.to_string().into(),
        places.join("; ").into(),
    ];
    let EngineFigures { profile, cores, .. } = row.figures;
    Row { key: format!("{} {cores} {profile} {}", row.name(), row.repeat), cells }
}

/// Correlations of the trials of an engine that differ in their load alone; `None` when there are too few.
fn correlated(rows: &[EngineRow<'_>]) -> Option<Table> {
    let mut alike: BTreeMap<(String, String), Vec<&EngineRow<'_>>> = BTreeMap::new();
    for row in rows {
        let cores = things(row.figures.cores as usize, "core");
        let of = format!("{} B, {}, {cores}", row.frame_size().label(), things(row.flows as usize, "flow"));
        alike.entry((row.name(), of)).or_default().push(row);
    }
    let coefficient = |one: Coefficient| format!("{:+.2} ({:+.2}…{:+.2})", one.value, one.low, one.high);
    let of = |(engine, trials): &(String, String), one: Correlation| Row {
        key: format!("{engine} {trials} {}", one.quantity),
        cells: vec![
            engine.clone().into(),
            trials.clone().into(),
            one.quantity.to_owned().into(),
            one.trials.to_string().into(),
            coefficient(one.pearson).into(),
            coefficient(one.spearman).into(),
        ],
    };
    let found = alike
        .iter()
        .flat_map(|(key, rows)| correlations(rows).into_iter().map(|one| of(key, one)).collect::<Vec<_>>());
    let rows: Vec<Row> = found.collect();
    let columns = vec![
        Column::words("engine", "engine"),
        Column::words("of", "trials of"),
        Column::words("quantity", "goes with the offered load"),
        Column::numbers("trials", "trials"),
        Column::numbers("pearson", "Pearson (95 %)"),
        Column::numbers("spearman", "Spearman (95 %)"),
    ];
    let caption = format!(
        "Correlations over trials that differ in their load alone, of at least {FEWEST_TRIALS} loads; intervals are those of as many points as loads"
    );
    (!rows.is_empty()).then_some(Table { caption, columns, rows })
}
