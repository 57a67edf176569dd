//! Human-readable reports of experiments: one model, several formats.
//!
//! `elements` turn the store's data ([`source`]) into sections of blocks ([`model`]); a renderer per format
//! turns blocks into text. Elements do not depend on formats, and renderers do not depend on elements, so
//! each new one is a single file.

pub mod chart;
mod elements;
#[cfg(test)]
mod elements_tests;
pub mod heat_map;
mod html;
mod latex;
mod markdown;
pub mod model;
pub(crate) mod number;
pub mod source;
#[cfg(test)]
mod tests;
mod xlsx;

use linerate_results::summary::Summary;
use model::Report;
use source::Source;
pub use xlsx::{WorkbookError, workbook};

/// What a report can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum ReportFormat {
    /// One self-contained page
    Html,
    /// Markdown, with tables
    #[value(alias = "markdown")]
    Md,
    /// An article for pdflatex
    #[value(alias = "tex")]
    Latex,
    /// A workbook: the trials, and the report's tables
    Xlsx,
}

impl ReportFormat {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ReportFormat::Html => "html",
            ReportFormat::Md => "md",
            ReportFormat::Latex => "latex",
            ReportFormat::Xlsx => "xlsx",
        }
    }

    /// Name of the file for the experiment `id`.
    pub fn file_name(self, id: &str) -> String {
        let ending = match self {
            ReportFormat::Html => "html",
            ReportFormat::Md => "md",
            ReportFormat::Latex => "tex",
            ReportFormat::Xlsx => "xlsx",
        };
        format!("linerate-{id}.{ending}")
    }

    /// The report in this format; `summary` is the experiment's.
    ///
    /// # Errors
    /// When a text is too long for a workbook's cell.
    pub fn render(self, report: &Report, summary: &Summary) -> Result<Vec<u8>, WorkbookError> {
        Ok(match self {
            ReportFormat::Html => html::render(report).into_bytes(),
            ReportFormat::Md => markdown::render(report).into_bytes(),
            ReportFormat::Latex => latex::render(report).into_bytes(),
            ReportFormat::Xlsx => workbook(summary, report)?,
        })
    }
}

/// The report of an experiment.
pub fn report(source: &Source) -> Report {
    elements::report(source)
}
