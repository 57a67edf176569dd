//! Comparisons of recorded runs: a real difference, no difference, and too few repeats.

use std::path::PathBuf;

use linerate_report::compare::{Outcome, Overall};

use crate::compare::{compare, record, under_the_name_of, verdict};
use crate::support::{Bench, not_run, stderr, stdout};

const ATTEMPTS: usize = 5;
/// Largest deviation from the intended load on a busy machine, as a share of it: less than half of the
/// verdicts' threshold.
const NEAR: f64 = 0.08;

/// A run with this load and number of repeats; returns its directory. `None` when the machine repeatedly was
/// too busy to send evenly: then runs of the same load do differ.
fn recorded(bench: &Bench, rate: &str, repeats: u32) -> Option<PathBuf> {
    (0..ATTEMPTS).find_map(|_| {
        let (directory, summary) = record(bench, rate, repeats);
        let is_near = |trial: &linerate_results::summary::TrialSummary| {
            let intended = trial.intended_pps.unwrap();
            (trial.offered_pps - intended).abs() < NEAR * intended
        };
        summary.trials.iter().all(is_near).then_some(directory)
    })
}

#[test]
fn recorded_runs_get_the_expected_verdict() {
    let bench = Bench::with_cpus("");
    // A load that any machine sends evenly, because the comparison is tested, not the machine.
    let runs = [("500pps", 5), ("500pps", 5), ("250pps", 5), ("500pps", 1)];
    let runs: Option<Vec<_>> = runs.iter().map(|(rate, repeats)| recorded(&bench, rate, *repeats)).collect();
    let Some([first, second, slower, once]) = runs.and_then(|runs| <[PathBuf; 4]>::try_from(runs).ok())
    else {
        return not_run(
            "recorded_runs_get_the_expected_verdict",
            "this machine is too busy to send 500 packets per second evenly",
        );
    };
    under_the_name_of(&slower, "250pps", "500pps");
    let rate = ["--json", "--metric", "received_pps", "--threshold", "20%"];

    let (worse, better) = (compare(&first, &slower, &rate), compare(&slower, &first, &rate));
    assert_eq!(verdict(&worse), (Some(1), Overall::Regression, Outcome::Worse));
    assert!(stderr(&worse).contains("different intended loads"), "{}", stderr(&worse));
    assert_eq!(verdict(&better), (Some(0), Overall::NoRegression, Outcome::Better));
    assert_eq!(verdict(&compare(&first, &second, &rate)), (Some(0), Overall::NoRegression, Outcome::Same));

    let undecided = compare(&first, &once, &rate);
    assert_eq!(verdict(&undecided), (Some(0), Overall::CannotTell, Outcome::CannotTell));
    assert!(
        stderr(&undecided).contains("warning: some verdicts are `cannot tell`"),
        "{}",
        stderr(&undecided)
    );
    let strict = compare(&first, &once, &[&rate[..], &["--strict"]].concat());
    assert_eq!(verdict(&strict), (Some(1), Overall::CannotTell, Outcome::CannotTell));

    let table = stdout(&compare(&first, &once, &["--metric", "received_pps"]));
    assert!(table.contains("run at least 3 of each"), "{table}");
    let table = stdout(&compare(&first, &slower, &[]));
    for part in ["received_pps Mpps", "lost_ratio %", "latency_p99 µs", "worse: 3 metrics compared: "] {
        assert!(table.contains(part), "{part} in {table}");
    }
}
