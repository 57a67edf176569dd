//! Round trips: where packets were lost, on the way there or back.

use super::super::model::{Block, Cell, Column, Row, Section, Table, Tone};
use super::super::number::{count, things};
use super::super::source::{Source, Trial, TrialNames};

pub(super) fn section(source: &Source) -> Option<Section> {
    let names = source.names();
    let rows: Vec<Row> = source.trials().filter_map(|trial| row(names, &trial)).collect();
    if rows.is_empty() {
        return None;
    }
    let columns = vec![
        Column::numbers("number", "#"),
        Column::words("profile", "trial"),
        Column::numbers("sent_packets", "sent"),
        Column::numbers("reflector_received", "at the far end"),
        Column::numbers("lost_there", "lost there"),
        Column::numbers("reflector_dropped", "not taken back"),
        Column::numbers("reflector_sent", "sent back"),
        Column::numbers("lost_back", "lost back"),
        Column::numbers("received_packets", "came back"),
        Column::numbers("reflector_missed", "missed by the far port"),
        Column::numbers("reflector_nombuf", "without a buffer"),
    ];
    let table = Table { caption: things(rows.len(), "round trip"), columns, rows };
    let text = "The far end sends back what arrives. Lost there: sent, and not arrived at the far end. Not taken back: arrived, and refused by its \
                port. Lost back: sent back, and not arrived. The last two columns are the far port's own counters."
        .to_owned();
    Some(Section {
        id: "round-trips",
        title: "There and back",
        blocks: vec![Block::Table(table), Block::Text(text)],
    })
}

fn row(names: TrialNames, trial: &Trial<'_>) -> Option<Row> {
    let figures = trial.figures;
    let reflector = figures.reflector?;
    let judged = |number: u64| -> Cell {
        Cell::toned(count(number), if number > 0 { Tone::Bad } else { Tone::Neutral })
    };
    let of_port = |number: Option<u64>| number.map_or("-".into(), judged);
    let cells = vec![
        trial.number.to_string().into(),
        names.name(figures).into(),
        count(figures.sent_packets).into(),
        count(reflector.received_packets).into(),
        judged(figures.sent_packets.saturating_sub(reflector.received_packets)),
        judged(reflector.dropped_packets),
        count(reflector.sent_packets).into(),
        judged(reflector.sent_packets.saturating_sub(figures.received_packets)),
        count(figures.received_packets).into(),
        of_port(reflector.port.map(|port| port.rx_missed)),
        of_port(reflector.port.map(|port| port.rx_nombuf)),
    ];
    Some(Row { key: figures.trial.clone(), cells })
}
