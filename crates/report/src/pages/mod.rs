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
pub enum Format {
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

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Html => "html",
            Format::Md => "md",
            Format::Latex => "latex",
            Format::Xlsx => "xlsx",
        }
    }

    /// Name of the file for the experiment `id`.
    pub fn file_name(self, id: &str) -> String {
        let ending = match self {
            Format::Html => "html",
            Format::Md => "md",
            Format::Latex => "tex",
            Format::Xlsx => "xlsx",
        };
        format!("linerate-{id}.{ending}")
    }

    /// The report in this format; `summary` is the experiment's.
    ///
    /// # Errors
    /// When a text is too long for a workbook's cell.
    pub fn render(self, report: &Report, summary: &Summary) -> Result<Vec<u8>, WorkbookError> {
        Ok(match self {
            Format::Html => html::render(report).into_bytes(),
            Format::Md => markdown::render(report).into_bytes(),
            Format::Latex => latex::render(report).into_bytes(),
            Format::Xlsx => workbook(summary, report)?,
        })
    }
}

/// The report of an experiment.
pub fn report(source: &Source) -> Report {
    elements::report(source)
}
