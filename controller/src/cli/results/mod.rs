//! `results`: what earlier runs left.

mod compare;
mod export;
mod look;
mod upload;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Ending, RESULTS};

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
    /// Judge an experiment by another: better, worse, the same, or more repeats are needed
    #[command(after_help = compare::EXAMPLES)]
    Compare(compare::CompareArgs),
    /// Write results in the forms that notebooks and spreadsheets read
    Export(export::ExportArgs),
    /// Hand an experiment to Weights & Biases
    #[command(after_help = upload::EXAMPLES)]
    Upload(upload::UploadArgs),
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
        ResultsCommand::List { place } => look::list(&place.results, place.json)?,
        ResultsCommand::Show { id, place } => look::show(&place.results, &id, place.json)?,
    }
    Ok(Ending::Done)
}
