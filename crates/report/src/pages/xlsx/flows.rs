//! Sheet of the worst flows of each trial.

use rust_xlsxwriter::{Format, Workbook, XlsxError};

use linerate_results::summary::{FlowSummary, Summary, TrialSummary};

/// Rows of a sheet, less the header and a last line.
const MOST_ROWS: usize = 1_048_574;

const WORDS: [&str; 3] = ["profile", "pair", "header"];
const FIGURES: [&str; 12] = [
    "repeat",
    "rank",
    "flow",
    "sent_packets",
    "received_packets",
    "lost_packets",
    "duplicate_packets",
    "reordered_packets",
    "delay_mean_ns",
    "delay_max_ns",
    "round_trip_mean_ns",
    "round_trip_max_ns",
];

/// Adds the sheet if a trial has several flows.
///
/// # Errors
/// When a text is too long for a cell.
pub(super) fn add(workbook: &mut Workbook, summary: &Summary) -> Result<(), XlsxError> {
    let rows = || {
        let several = summary.trials.iter().filter(|trial| trial.flows > 1);
        several.flat_map(|trial| (1..).zip(&trial.worst_flows).map(move |(rank, flow)| (trial, rank, flow)))
    };
    if rows().next().is_none() {
        return Ok(());
    }
    let sheet = workbook.add_worksheet().set_name("Worst flows")?.set_freeze_panes(1, 0)?;
    let bold = Format::new().set_bold();
    for (column, title) in (0..).zip(WORDS.into_iter().chain(FIGURES)) {
        sheet.write_with_format(0, column, title, &bold)?;
    }
    for (row, (trial, rank, flow)) in (1..).zip(rows().take(MOST_ROWS)) {
        let words = [trial.profile.clone(), trial.pair.clone(), header(flow)];
        for (column, word) in (0..).zip(words) {
            sheet.write(row, column, word)?;
        }
        for (column, figure) in (3..).zip(figures(trial, rank, flow)) {
            if let Some(value) = figure {
                sheet.write(row, column, value as f64)?;
            }
        }
    }
    if let Some(left @ 1..) = rows().count().checked_sub(MOST_ROWS) {
        sheet.write(MOST_ROWS as u32 + 1, 0, format!("{left} more do not fit on the sheet"))?;
    }
    Ok(())
}

fn header(flow: &FlowSummary) -> String {
    let fields: Vec<String> =
        flow.header.iter().map(|(field, value)| format!("{} {value}", field.name())).collect();
    fields.join(", ")
}

fn figures(trial: &TrialSummary, rank: u64, flow: &FlowSummary) -> [Option<u64>; 12] {
    [
        Some(trial.repeat.into()),
        Some(rank),
        Some(flow.flow.into()),
        flow.sent_packets,
        Some(flow.received_packets),
        Some(flow.lost_packets),
        Some(flow.duplicate_packets),
        Some(flow.reordered_packets),
        flow.delay_ns.map(|delay| delay.mean),
        flow.delay_ns.map(|delay| delay.max),
        flow.round_trip_ns.map(|times| times.mean),
        flow.round_trip_ns.map(|times| times.max),
    ]
}
