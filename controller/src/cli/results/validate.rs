//! `results validate`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::output::print;
use super::super::{Ending, RESULTS};
use linerate_results::validate::{validate, validate_all};

const EXAMPLES: &str = "\
Examples:
  All experiments:
    linerate results validate
  One experiment, for a program to read:
    linerate results validate 1f3c09aa --json
  A directory with an older kit's npz files, with 12 samples each:
    linerate results validate /data/old/3b9d11f0 --samples 12

Exit codes: 0 all is well, 1 something is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ValidateArgs {
    /// Ids of experiments, or directories [default: every experiment]
    #[arg(value_name = "ID|DIR")]
    targets: Vec<String>,
    /// Required number of samples [default: that of the experiment's document; 1 for other npz files]
    #[arg(long, value_name = "NUMBER")]
    samples: Option<u64>,
    /// Directory of the results
    #[arg(long, value_name = "DIR", default_value = RESULTS)]
    results: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ValidateArgs) -> anyhow::Result<Ending> {
    let verdicts = if args.targets.is_empty() {
        validate_all(&args.results, args.samples)?
    } else {
        let each = args.targets.iter().map(|target| validate(&args.results, target, args.samples));
        each.collect::<Result<Vec<_>, _>>()?
    };
    let valid = verdicts.iter().all(|verdict| verdict.valid);
    if args.json {
        print(&json!({ "valid": valid, "targets": verdicts }).to_string())?;
    } else {
        for verdict in &verdicts {
            let place = verdict.target.display();
            if verdict.valid {
                print(&format!("{place}: valid, {} files", verdict.files))?;
            }
            for problem in &verdict.problems {
                print(&format!("{place}: {}: {}: {}", problem.path, problem.reason, problem.detail))?;
            }
        }
        if verdicts.is_empty() {
            print(&format!("no experiments in {}", args.results.display()))?;
        }
    }
    Ok(if valid { Ending::Done } else { Ending::Failed })
}
