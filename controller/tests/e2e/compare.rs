//! Comparisons of recorded runs that need no CPU to themselves, and what they share with those that do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use linerate::schema::SchemaOf;
use linerate_report::compare::{Comparison, Outcome, Overall};
use linerate_results::summary::{Status, Summary};

use crate::support::{Bench, stderr};

pub(crate) fn record(bench: &Bench, rate: &str, repeats: u32) -> (PathBuf, Summary) {
    let spec = format!(
        "  traffic: {{frameSizes: [64], flows: [10], flowMode: sd, rates: [{rate}]}}
  trial: {{duration: 400ms, sampleInterval: 200ms, repeats: {repeats}}}
"
    );
    let head = "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nmetadata: {name: compared}\n";
    let document = format!("{head}spec:\n  local: {{hugepages: never}}\n{spec}");
    fs::write(bench.path("experiment.yaml"), document).unwrap();
    let output = bench.run(&["--json", "--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary: Summary = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((summary.status, summary.trials.len()), (Status::Complete, repeats as usize));
    (bench.path("results").join(&summary.experiment.id), summary)
}

/// Renames a run's results as if they had another load.
pub(crate) fn under_the_name_of(directory: &Path, from: &str, to: &str) {
    let path = directory.join("summary.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace(&format!("_{from}_rate_"), &format!("_{to}_rate_"))).unwrap();
}

pub(crate) fn compare(a: &Path, b: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linerate"));
    command.args(["results", "compare"]).args([a, b]).args(options).output().unwrap()
}

pub(crate) fn verdict(output: &Output) -> (Option<i32>, Overall, Outcome) {
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(output)));
    let schema = serde_json::to_value(SchemaOf::Comparison.schema()).unwrap();
    assert!(jsonschema::is_valid(&schema, &value), "{value}");
    let comparison: Comparison = serde_json::from_value(value).unwrap();
    assert_eq!(comparison.compared.len(), 1);
    (output.status.code(), comparison.verdict, comparison.compared[0].verdict)
}

/// Also on a busy machine, whose loads deviate and scatter: a fortieth of the load is worse, and one repeat
/// does not suffice.
#[test]
fn a_large_difference_shows_through_any_scatter() {
    let bench = Bench::new("");
    let (first, _) = record(&bench, "20kpps", 6);
    let (slower, _) = record(&bench, "500pps", 6);
    under_the_name_of(&slower, "500pps", "20kpps");
    let (once, _) = record(&bench, "20kpps", 1);
    let rate = ["--json", "--metric", "offered_pps"];
    assert_eq!(verdict(&compare(&first, &slower, &rate)), (Some(1), Overall::Regression, Outcome::Worse));
    assert_eq!(verdict(&compare(&first, &first, &rate)).0, Some(0));
    assert_eq!(verdict(&compare(&first, &once, &rate)), (Some(0), Overall::CannotTell, Outcome::CannotTell));
}

#[test]
fn what_cannot_be_compared_is_named() {
    let bench = Bench::new("");
    let nowhere = bench.path("nowhere");
    for (options, code, part) in [
        (&["1f3c09aa", "7b21e0d4"][..], 1, "1f3c09aa: there is no such experiment"),
        (&[nowhere.to_str().unwrap(), "7b21e0d4"], 1, "neither the id of an experiment"),
        (&["1f3c09aa"], 2, "<B>"),
        (&["1f3c09aa", "7b21e0d4", "--metric", "speed"], 2, "received_pps"),
        (&["1f3c09aa", "7b21e0d4", "--confidence", "100%"], 2, "from 50% to below 100%"),
        (&["1f3c09aa", "7b21e0d4", "--threshold", "loss=1%"], 2, "'loss' is not a metric"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linerate"));
        let output = command.args(["results", "compare"]).args(options).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}
