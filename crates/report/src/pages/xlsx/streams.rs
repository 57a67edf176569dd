//! Trials of streams on the sheets of a workbook.

use rust_xlsxwriter::{Format, Worksheet, XlsxError};

use linerate_results::streams::{STREAMS_FIGURES, StreamsTrialSummary};
use linerate_results::summary::Summary;
use linerate_wire::streams::bit_rate;

use super::place;
use crate::streams::number::{of_unit, unit};

/// The sheet of trials, under this name: every figure in its own unit.
///
/// # Errors
/// When a text is too long for a cell.
pub(super) fn trials(sheet: &mut Worksheet, summary: &Summary, name: &str) -> Result<(), XlsxError> {
    let bold = Format::new().set_bold();
    sheet.set_name(name)?.set_freeze_panes(1, 0)?;
    let titles = ["profile", "transport", "rate", "verdict"];
    let titles = titles.into_iter().chain(STREAMS_FIGURES.iter().map(|figure| figure.name));
    for (column, title) in (0..).zip(titles) {
        sheet.write_with_format(0, column, title, &bold)?;
    }
    for (row, trial) in (1..).zip(&summary.streams) {
        let words = [
            trial.profile.clone(),
            trial.transport.to_string(),
            trial.rate.clone(),
            trial.verdict.kind.to_string(),
        ];
        for (column, word) in (0..).zip(words) {
            sheet.write(row, column, word)?;
        }
        for (column, figure) in (4..).zip(STREAMS_FIGURES) {
            if let Some(value) = (figure.of)(trial) {
                sheet.write(row, column, value)?;
            }
        }
    }
    Ok(())
}

/// The rows of the sheet `Report` from `row` on; returns the row after them.
///
/// # Errors
/// When a text is too long for a cell.
pub(super) fn report(
    sheet: &mut Worksheet,
    summary: &Summary,
    mut row: u32,
    wrapped: &Format,
) -> Result<u32, XlsxError> {
    let place = place(summary, summary.experiment.streams_agents.iter().map(|agent| agent.node.as_str()));
    for trial in &summary.streams {
        let texts = [
            (0, format!("{} repeat {}", trial.profile, trial.repeat)),
            (1, observed(trial)),
            (3, place.clone()),
            (4, trial.intended_bps.map_or_else(|| "as fast as possible".to_owned(), bit_rate)),
            (6, format!("{}: {}", trial.verdict.kind, trial.verdict.evidence)),
        ];
        for (column, text) in texts {
            sheet.write_with_format(row, column, text, wrapped)?;
        }
        row += 1;
    }
    Ok(row)
}

/// Every figure of the trial that has a value, in words.
fn observed(trial: &StreamsTrialSummary) -> String {
    let figures = STREAMS_FIGURES.iter().filter_map(|figure| {
        let value = of_unit(figure.unit, (figure.of)(trial)?);
        Some(format!("{} {value} {}", figure.heading, unit(figure.unit)).trim_end().to_owned())
    });
    figures.collect::<Vec<_>>().join(", ")
}
