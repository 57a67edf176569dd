//! The table of trials: every result of the experiment.

use super::super::model::{Block, Cell, Column, Row, Section, Table, Tone};
use super::super::number::{count, figure, heading, mpps, percent, percent_of, things};
use super::super::source::{Source, Trial, TrialNames, tone};
use linerate_results::figures::table::FrameFigure;

/// Delays of a trial and the keys of their columns.
const DELAYS: [(&str, &FrameFigure); 4] = [
    ("p50", FrameFigure::named("latency_p50")),
    ("p99", FrameFigure::named("latency_p99")),
    ("p999", FrameFigure::named("latency_p999")),
    ("max", FrameFigure::named("latency_max")),
];

pub(super) fn section(source: &Source) -> Option<Section> {
    let trials = source.summary.matrix_trials();
    trials.clone().next()?;
    let mut blocks = vec![Block::Table(table(source))];
    if trials.clone().any(|trial| trial.offered_missed_intended) {
        blocks.push(Block::Text(
            "! marks an offered load that missed the intended one by more than 0.1 %: such a trial did not measure the intended load."
                .to_owned(),
        ));
    }
    if trials.clone().any(|trial| trial.latency_ns.is_none() && trial.round_trip_ns.is_none()) {
        blocks.push(Block::Text(
            "Trials without a delay: nothing arrived, or the clocks of both ends cannot be compared."
                .to_owned(),
        ));
    }
    Some(Section { id: "trials", title: "Trials", blocks })
}

fn table(source: &Source) -> Table {
    let mut columns = vec![Column::numbers("number", "#"), Column::words("profile", "profile")];
    let names = source.names();
    if names.has_repeats {
        columns.push(Column::numbers("repeat", "repeat"));
    }
    if names.has_pairs {
        columns.push(Column::words("pair", "pair"));
    }
    columns.extend([
        Column::words("verdict", "verdict"),
        Column::numbers("frame_size", "frame B"),
        Column::numbers("flows", "flows"),
        Column::numbers("intended_pps", "intended Mpps"),
        Column::numbers("offered_pps", "offered Mpps"),
        Column::numbers("received_pps", "received Mpps"),
        Column::numbers("line_rate_share", "of line rate %"),
        Column::numbers("sent_packets", "sent"),
        Column::numbers("lost_packets", "lost"),
        Column::numbers("loss", "loss %"),
    ]);
    for (index, (key, delay)) in DELAYS.iter().enumerate() {
        let title = heading(delay);
        // The first one says what they are of.
        let title = if index == 0 { format!("{} {title}", source.delay_name()) } else { title };
        columns.push(Column::numbers(*key, title));
    }
    let rows: Vec<Row> = source.trials().map(|trial| row(source, &trial, names)).collect();
    Table { caption: things(rows.len(), "trial"), columns, rows }
}

fn row(source: &Source, trial: &Trial<'_>, names: TrialNames) -> Row {
    let figures = trial.figures;
    let mut cells: Vec<Cell> = vec![trial.number.to_string().into(), figures.profile.clone().into()];
    if names.has_repeats {
        cells.push(figures.repeat.to_string().into());
    }
    if names.has_pairs {
        cells.push(figures.pair.clone().into());
    }
    let missed = figures.offered_missed_intended;
    let lost = if figures.lost_packets > 0 { Tone::Bad } else { Tone::Neutral };
    let share = source.link_bps(&figures.pair).map_or("-".to_owned(), |link| {
        percent(figures.received_pps / figures.frame_size.line_rate_pps(link))
    });
    cells.extend([
        Cell::toned(figures.verdict.kind.to_string(), tone(figures.verdict.kind)),
        figures.frame_size.to_string().into(),
        count(figures.flows.into()).into(),
        figures.intended_pps.map_or("max".to_owned(), mpps).into(),
        Cell::toned(
            format!("{}{}", if missed { "! " } else { "" }, mpps(figures.offered_pps)),
            if missed { Tone::Warning } else { Tone::Neutral },
        ),
        mpps(figures.received_pps).into(),
        share.into(),
        count(figures.sent_packets).into(),
        Cell::toned(count(figures.lost_packets), lost),
        Cell::toned(percent_of(figures.lost_packets, figures.sent_packets), lost),
    ]);
    cells.extend(DELAYS.iter().map(|(_, delay)| figure(delay, figures).into()));
    Row { key: figures.trial.clone(), cells }
}
