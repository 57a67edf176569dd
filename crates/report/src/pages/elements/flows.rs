//! Worst flows.

use super::super::model::{Block, Cell, Column, Row, Table, Tone};
use super::super::number::{count, microseconds};
use super::super::source::{Source, Trial};
use linerate_results::summary::FlowSummary;

pub(super) fn blocks(source: &Source, trial: &Trial<'_>) -> Vec<Block> {
    let flows = &trial.figures.worst_flows;
    if flows.is_empty() || trial.figures.flows < 2 {
        return Vec::new();
    }
    let columns = vec![
        Column::numbers("flow", "flow"),
        Column::words("header", "header"),
        Column::numbers("sent_packets", "sent"),
        Column::numbers("received_packets", "received"),
        Column::numbers("lost_packets", "lost"),
        Column::numbers("duplicate_packets", "duplicate"),
        Column::numbers("reordered_packets", "reordered"),
        Column::numbers("mean", format!("{} mean µs", source.delay_name())),
        Column::numbers("max", "max µs"),
    ];
    let rows = flows.iter().map(row).collect();
    vec![Block::Table(Table { caption: "The flows that fared worst, worst first".to_owned(), columns, rows })]
}

fn row(flow: &FlowSummary) -> Row {
    let header: Vec<String> =
        flow.header.iter().map(|(field, value)| format!("{} {value}", field.name())).collect();
    let delay = |figure: fn(&linerate_wire::report::FlowDelay) -> u64| -> Cell {
        flow.delay_ns
            .as_ref()
            .or(flow.round_trip_ns.as_ref())
            .map_or("-".to_owned(), |delay| microseconds(figure(delay)))
            .into()
    };
    let lost = if flow.lost_packets > 0 { Tone::Bad } else { Tone::Neutral };
    Row {
        key: flow.flow.to_string(),
        cells: vec![
            flow.flow.to_string().into(),
            header.join(", ").into(),
            flow.sent_packets.map_or("-".to_owned(), count).into(),
            count(flow.received_packets).into(),
            Cell::toned(count(flow.lost_packets), lost),
            count(flow.duplicate_packets).into(),
            count(flow.reordered_packets).into(),
            delay(|delay| delay.mean),
            delay(|delay| delay.max),
        ],
    }
}
