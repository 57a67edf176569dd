//! `results export`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::output::{print, say, shown};
use super::super::{Ending, RESULTS};
use linerate_report::export::{ExportFormat, Exported, export};

const EXAMPLES: &str = "\
Examples:
  Every format, beside the trials:
    linerate results export 1f3c09aa
  For a notebook on another machine:
    linerate results export 1f3c09aa --format npz,parquet --to /tmp/notebook
  A trial of streams for tools that read iperf3's or k8s-netperf's results:
    linerate results export 1f3c09aa --as iperf3-json,k8s-netperf,perfdash
What is in the files: docs/results.md";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ExportArgs {
    /// The experiments' 8 hexadecimal digits
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Formats
    #[arg(long, visible_alias = "as", value_enum, value_delimiter = ',', default_value = "all")]
    format: Vec<ExportFormat>,
    /// Write to DIR/ID instead of beside the trials
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Directory of the results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    results: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ExportArgs) -> anyhow::Result<Ending> {
    let exported = export(&args.results, &args.ids, &args.format, args.to.as_deref())?;
    if args.json {
        let left_out =
            exported.left_out.iter().map(|(id, error)| json!({ "id": id, "error": error.to_string() }));
        let left_out: Vec<_> = left_out.collect();
        let written: Vec<_> = exported.written.iter().map(|path| shown(path)).collect();
        print(&json!({ "written": written, "left_out": left_out }).to_string())?;
    } else {
        for path in &exported.written {
            print(&shown(path))?;
        }
    }
    say_left_out(&exported);
    Ok(Ending::Done)
}

/// Names the experiments that the table of all experiments lacks.
pub(in crate::cli) fn say_left_out(exported: &Exported) {
    for (id, error) in &exported.left_out {
        say(&format!("note: the table of all experiments lacks {id}: {error}"));
    }
}
