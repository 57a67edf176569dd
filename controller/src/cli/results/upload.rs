//! `results upload`.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::super::Ending;
use super::super::output::print;
use super::PlaceArgs;
use linerate_report::upload::{PROJECT, upload};
use linerate_results::store::Recorded;

pub(super) const EXAMPLES: &str = "\
Examples:
  To the project dpdk-benchmarks, with the key of WANDB_API_KEY or `wandb login`:
    linerate results upload 1f3c09aa --to wandb
  By the SDK of a virtual environment, with a report, into a directory from which `wandb sync` uploads it later:
    WANDB_MODE=offline linerate results upload 1f3c09aa --to wandb --python venv/bin/python --report linerate-1f3c09aa.html

The run is named pktgen_run_ID. Keys, addresses and modes are those of the SDK: WANDB_API_KEY, WANDB_BASE_URL, WANDB_ENTITY, WANDB_MODE, WANDB_DIR.";

/// Who takes results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Destination {
    /// Weights & Biases, by its SDK for Python
    Wandb,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UploadArgs {
    /// The experiment's 8 hexadecimal digits
    id: String,
    /// Destination
    #[arg(long, value_enum)]
    to: Destination,
    /// Project at the destination
    #[arg(long, value_name = "NAME", default_value = PROJECT)]
    project: String,
    /// Python interpreter whose SDK is used
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// File of the experiment's report to upload with the run; the files of the experiment's directory are uploaded in any case
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn run(args: &UploadArgs) -> anyhow::Result<Ending> {
    let Destination::Wandb = args.to;
    if let Some(missing) = args.report.iter().find(|path| !path.is_file()) {
        bail!("--report {}: there is no such file", missing.display());
    }
    let recorded = Recorded::open(&args.place.results, &args.id)?;
    let uploaded = upload(&recorded, &args.project, &args.report, &args.python)?;
    if args.place.json {
        print(&serde_json::to_string(&uploaded)?)?;
        return Ok(Ending::Done);
    }
    let run = format!("{}/{}", uploaded.project, uploaded.run);
    let rows = uploaded.history_rows;
    print(&match &uploaded.url {
        Some(url) => format!("{run}: {rows} samples\n{url}"),
        None => {
            let directory = uploaded.directory.display();
            format!("{run}: {rows} samples, not sent yet\nwandb sync {directory}")
        }
    })?;
    Ok(Ending::Done)
}
