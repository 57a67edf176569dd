//! `results`: commands on recorded results.

mod care;
mod compare;
mod export;
mod look;
mod plots;
mod report;
mod upload;
mod validate;

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) use self::export::say_left_out;
use super::{Ending, RESULTS};

const REPORT_EXAMPLES: &str = "\
Examples:
  A page to open in a browser: linerate-1f3c09aa.html
    linerate results report 1f3c09aa
  The page, Markdown, and an article for pdflatex, in a directory of their own
    linerate results report 1f3c09aa --format html,md,latex --to reports
  A workbook for a spreadsheet program
    linerate results report 1f3c09aa --format xlsx";

#[derive(Debug, Subcommand)]
pub(super) enum ResultsCommand {
    /// List the experiments
    #[command(after_help = "Example:\n  linerate results list --results /data/results")]
    List {
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Show the result of one experiment
    #[command(
        after_help = "Examples:\n  linerate results show 1f3c09aa --json\n  linerate results show 1f3c09aa --series rx_pps,rx_missed"
    )]
    Show {
        /// The experiment's 8 hexadecimal digits
        id: String,
        /// Samples to draw, by their key in exported files, or `all` [default: rates of both ends]
        #[arg(long, value_name = "KEY", value_delimiter = ',')]
        series: Vec<String>,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Compare an experiment with a baseline: better, worse, the same, or more repeats are needed
    #[command(after_help = compare::EXAMPLES)]
    Compare(compare::CompareArgs),
    /// Export results in formats for notebooks and spreadsheets
    Export(export::ExportArgs),
    /// Upload an experiment to Weights & Biases
    #[command(after_help = upload::EXAMPLES)]
    Upload(upload::UploadArgs),
    /// Check that results are complete and unchanged
    Validate(validate::ValidateArgs),
    /// List complete and missing trials
    Scan(care::ScanArgs),
    /// Remove experiments
    Purge(care::PurgeArgs),
    /// Archive experiments
    Backup(care::BackupArgs),
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
        ResultsCommand::Compare(args) => return compare::run(&args),
        ResultsCommand::Export(args) => return export::run(&args),
        ResultsCommand::Upload(args) => return upload::run(&args),
        ResultsCommand::Validate(args) => return validate::run(&args),
        ResultsCommand::Scan(args) => return care::scan(&args),
        ResultsCommand::Purge(args) => return care::purge(&args),
        ResultsCommand::Backup(args) => return care::backup(&args),
        ResultsCommand::List { place } => look::list(&place.results, place.json)?,
        ResultsCommand::Show { id, series, place } => look::show(&place.results, &id, &series, place.json)?,
        ResultsCommand::Report(args) => report::write(&args)?,
    }
    Ok(Ending::Done)
}
