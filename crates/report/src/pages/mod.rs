//! Reports of experiments for people: one model, several formats.
//!
//! `elements` make sections of blocks ([`model`]) from what the store has ([`source`]); a renderer per format turns blocks into text.
//! An element knows no format and a renderer knows no element, so a new one of either is one file.

pub mod chart;
mod elements;
#[cfg(test)]
mod elements_tests;
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

    /// The report in this format; `summary` is what it is of.
    ///
    /// # Errors
    /// When a text is longer than a workbook's cell takes.
    pub fn render(self, report: &Report, summary: &Summary) -> Result<Vec<u8>, WorkbookError> {
        Ok(match self {
            Format::Html => html::render(report).into_bytes(),
            Format::Md => markdown::render(report).into_bytes(),
            Format::Latex => latex::render(report).into_bytes(),
            Format::Xlsx => workbook(summary, report)?,
        })
    }
}

/// Makes the report of an experiment.
pub fn report(source: &Source) -> Report {
    elements::report(source)
}
