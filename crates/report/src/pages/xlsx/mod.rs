//! Workbook: the columns of the older kits' reports, all figures on a second sheet, and the report's tables
//! on further sheets.

mod flows;
mod sections;
mod streams;

use std::collections::HashSet;
use std::time::SystemTime;

use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError};

use crate::export::search;
use crate::pages::model::Report;
use crate::pages::number::short;
use crate::search::{found, label};
use linerate_results::figures::table::{FIGURES, FrameFigure};
use linerate_results::summary::{Summary, TrialSummary};

/// The workbook cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the trials do not go into a workbook: {0}")]
pub struct WorkbookError(#[from] XlsxError);

const REPORT_COLUMNS: [(&str, f64); 7] = [
    ("Test Description", 48.0),
    ("Observed Statistics", 60.0),
    ("Rate (%)", 10.0),
    ("VM / TCA TKG", 24.0),
    ("SLA Target", 24.0),
    ("Reference TCA/TGK", 28.0),
    ("Conclusion", 60.0),
];

/// Most nodes that are named in a cell.
const MOST_NODES: usize = 32;

/// The workbook of an experiment; `sections` is its report.
///
/// # Errors
/// When a text is too long for a cell, or the workbook cannot be written, which does not happen in memory.
pub fn workbook(summary: &Summary, sections: &Report) -> Result<Vec<u8>, WorkbookError> {
    let mut workbook = Workbook::new();
    // The date is the experiment's, so that repeated exports are identical.
    let began = humantime::parse_rfc3339(&summary.experiment.started_at)
        .ok()
        .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_secs() as i64);
    let properties = DocProperties::new()
        .set_title(format!("{} {}", summary.experiment.name, summary.experiment.id))
        .set_creation_datetime(&ExcelDateTime::from_timestamp(began)?);
    workbook.set_properties(&properties);
    report(workbook.add_worksheet(), summary)?;
    let both = !summary.trials.is_empty() && !summary.streams.is_empty();
    if summary.streams.is_empty() || both {
        trials(workbook.add_worksheet(), summary)?;
    }
    if !summary.streams.is_empty() {
        let name = if both { "Trials of streams" } else { "Trials" };
        streams::trials(workbook.add_worksheet(), summary, name)?;
    }
    flows::add(&mut workbook, summary)?;
    sections::add(&mut workbook, sections)?;
    Ok(workbook.save_to_buffer()?)
}

fn report(sheet: &mut Worksheet, summary: &Summary) -> Result<(), XlsxError> {
    let bold = Format::new().set_bold().set_text_wrap();
    let wrapped = Format::new().set_text_wrap();
    sheet.set_name("Report")?.set_freeze_panes(1, 0)?;
    for (column, (title, width)) in (0..).zip(REPORT_COLUMNS) {
        sheet.set_column_width(column, width)?.write_with_format(0, column, title, &bold)?;
    }
    let place = place(summary, summary.experiment.agents.iter().map(|agent| agent.node.as_str()));
    let mut row = 1;
    for trial in summary.matrix_trials() {
        let texts = [
            (0, description(trial)),
            (1, observed(trial)),
            (3, place.clone()),
            (4, target(trial)),
            (5, reference(summary, trial)),
            (6, format!("{}: {}", trial.verdict.kind, trial.verdict.evidence)),
        ];
        for (column, text) in texts {
            sheet.write_with_format(row, column, text, &wrapped)?;
        }
        match summary.percent_of_line_rate(trial) {
            Some(percent) => sheet.write(row, 2, percent)?,
            None if trial.intended_pps.is_none() => sheet.write_blank(row, 2, &wrapped)?,
            None => sheet.write(row, 2, "link speed unknown")?,
        };
        row += 1;
    }
    row = streams::report(sheet, summary, row, &wrapped)?;
    for one in summary.searches.iter().flat_map(found) {
        let texts = [
            (0, format!("{}, {}", one.search.name(), label(&one.goal.goal))),
            (1, one.clause()),
            (3, place.clone()),
            (4, format!("highest load with a loss of at most {} %", short(100.0 * one.goal.goal.loss_ratio))),
            (5, one.search.line_rate_pps.map_or_else(unknown_line_rate, line_rate)),
            (6, if one.is_regular() { "regular".to_owned() } else { format!("irregular: {}", one.why()) }),
        ];
        for (column, text) in texts {
            sheet.write_with_format(row, column, text, &wrapped)?;
        }
        match one.value_pps().and_then(|value| one.of_line_rate(value)) {
            Some(share) => sheet.write(row, 2, 100.0 * share)?,
            None => sheet.write_blank(row, 2, &wrapped)?,
        };
        row += 1;
    }
    Ok(())
}

/// The platform and the names of the agents' nodes, each once and as many as a cell has room for.
fn place<'s>(summary: &'s Summary, nodes: impl Iterator<Item = &'s str>) -> String {
    let mut known = HashSet::new();
    let nodes: Vec<&str> = nodes.filter(|node| known.insert(*node)).collect();
    let mut place =
        format!("{} {}", summary.experiment.platform, nodes[..nodes.len().min(MOST_NODES)].join(", "));
    if nodes.len() > MOST_NODES {
        place.push_str(&format!(" and {} more", nodes.len() - MOST_NODES));
    }
    place.trim_end().to_owned()
}

fn description(trial: &TrialSummary) -> String {
    format!("{} {} repeat {}", trial.profile, trial.pair, trial.repeat)
}

fn observed(trial: &TrialSummary) -> String {
    let mut text = format!(
        "TX {:.6} Mpps, RX {:.6} Mpps, sent {}, received {}, lost {}",
        trial.offered_pps / 1e6,
        trial.received_pps / 1e6,
        trial.sent_packets,
        trial.received_packets,
        trial.lost_packets
    );
    if let Some(latency) = &trial.latency_ns {
        text.push_str(&format!(", delay p50 {} ns, p99 {} ns", latency.p50, latency.p99));
    }
    if let Some(times) = &trial.round_trip_ns {
        text.push_str(&format!(", round trip p50 {} ns, p99 {} ns", times.p50, times.p99));
    }
    text
}

fn target(trial: &TrialSummary) -> String {
    trial
        .intended_pps
        .map_or_else(|| "as fast as possible".to_owned(), |pps| format!("{:.6} Mpps, loss 0", pps / 1e6))
}

fn reference(summary: &Summary, trial: &TrialSummary) -> String {
    summary.line_rate_pps(trial).map_or_else(unknown_line_rate, line_rate)
}

fn line_rate(pps: f64) -> String {
    format!("line rate {:.6} Mpps", pps / 1e6)
}

fn unknown_line_rate() -> String {
    "line rate unknown".to_owned()
}

fn trials(sheet: &mut Worksheet, summary: &Summary) -> Result<(), XlsxError> {
    let figures: Vec<&FrameFigure> = FIGURES.iter().filter(|figure| figure.is_column).collect();
    let bold = Format::new().set_bold();
    sheet.set_name("Trials")?.set_freeze_panes(1, 0)?;
    let titles = ["profile", "pair", "frame_size", "verdict"]
        .into_iter()
        .chain(figures.iter().map(|figure| figure.name))
        .chain(search::COLUMNS.into_iter().filter(|_| search::has_searches(summary)));
    for (column, title) in (0..).zip(titles) {
        sheet.write_with_format(0, column, title, &bold)?;
    }
    for (row, trial) in (1..).zip(&summary.trials) {
        let words = [
            trial.profile.clone(),
            trial.pair.clone(),
            trial.frame_size.label(),
            trial.verdict.kind.to_string(),
        ];
        for (column, word) in (0..).zip(words) {
            sheet.write(row, column, word)?;
        }
        for (column, figure) in (4..).zip(&figures) {
            if let Some(value) = (figure.of)(trial) {
                sheet.write(row, column, value)?;
            }
        }
        if let Some(place) = search::Place::of(trial) {
            let column = 4 + figures.len() as u16;
            sheet.write(row, column, place.number)?;
            sheet.write(row, column + 1, place.ordinal)?;
            sheet.write(row, column + 2, place.purpose)?;
            if let Some(load_pps) = place.load_pps {
                sheet.write(row, column + 3, load_pps as f64)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_results::fixtures::summary;
    use linerate_results::summary::Status;

    #[test]
    fn each_node_is_named_once_and_the_names_fit_into_a_cell() {
        let summary = summary(Status::Complete);
        let place = |nodes: &[&str]| place(&summary, nodes.iter().copied());
        assert_eq!(place(&["n1", "n2", "n1", "n2"]), "local n1, n2");
        assert_eq!(place(&[]), "local");
        let names: Vec<String> = (0..140).map(|number| format!("{number}{}", "n".repeat(250))).collect();
        let many = place(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(many.len() < 32_767 && many.ends_with(" and 108 more"), "{many}");
    }
}
