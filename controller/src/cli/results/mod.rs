//! `results`: what earlier runs left.

mod look;
mod report;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Ending, RESULTS};

const REPORT_EXAMPLES: &str = "\
Examples:
  A page to open in a browser: linerate-1f3c09aa.html
    linerate results report 1f3c09aa
  The page, Markdown, and an article for pdflatex, in a directory of their own
    linerate results report 1f3c09aa --format html,md,latex --to reports";

#[derive(Debug, Subcommand)]
pub(super) enum ResultsCommand {
    /// List the experiments
    #[command(after_help = "Example:\n  linerate results list --results /data/results")]
    List {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Show the result of one experiment
    #[command(after_help = "Example:\n  linerate results show 1f3c09aa --json")]
    Show {
        /// The experiment's 8 hexadecimal digits
        id: String,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Write a report of one experiment: verdicts, topology, tables and charts
    #[command(after_help = REPORT_EXAMPLES)]
    Report(Box<report::ReportArgs>),
}

#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// Directory of the results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    results: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn dispatch(command: ResultsCommand) -> anyhow::Result<Ending> {
    match command {
        ResultsCommand::List { place } => look::list(&place.results, place.json)?,
        ResultsCommand::Show { id, place } => look::show(&place.results, &id, place.json)?,
        ResultsCommand::Report(args) => report::write(&args)?,
    }
    Ok(Ending::Done)
}
