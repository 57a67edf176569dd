//! Experiments of HTTP beyond the matrix: a backend that goes and comes back, and the search for the highest rate.

use linerate_results::summary::{SearchEnd, Status};

use super::{LOOPBACK, assert_validates, bench, run};
use crate::support::stderr;

#[test]
fn what_an_absent_backend_costs_is_counted() {
    let bench = bench(
        "  http:
    backends: [2]
    connections: [4]
    rates: [400]
    churn: {after: 300ms, for: 300ms}
  trial: {duration: 1s, sampleInterval: 100ms}
",
    );
    let output = run(&bench, &[&LOOPBACK[..], &["--quiet"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    let trial = &summary.http[0];
    assert!(trial.complete, "{:?}", trial.reasons);
    let churn = trial.churn.as_ref().unwrap();
    assert_eq!(churn.backend, "b1");
    let (left, returned) = (churn.left_s.unwrap(), churn.returned_s.unwrap());
    assert!(left >= 0.3 && returned >= left && returned >= 0.6, "{churn:?}");
    // Each request of a connection to it fails while nobody listens, and each failure is placed before it or after.
    let errors = churn.errors.unwrap() + churn.errors_before.unwrap();
    assert_eq!(errors, trial.requests.failures(), "{churn:?} {:?}", trial.requests);
    assert!(churn.errors.unwrap() > 0 && churn.error_ms.unwrap() > 0, "{churn:?}");
    assert!(churn.first_request_ms.is_some_and(|ms| ms >= 0.0), "{churn:?}");
    assert!(churn.cut_connections > 0, "{churn:?}");
    assert_validates(&bench);
}

#[test]
fn the_highest_rate_is_searched_for_and_a_resumed_run_has_nothing_left() {
    let bench = bench(
        "  http:
    connections: [8]
    timeout: 20s
    search:
      min: 20
      max: 200
      p99: 10s
      goals: [{name: quick, width: 20%, initialDuration: 200ms, duration: 200ms, sum: 200ms, precedingTargets: 0}]
  trial: {sampleInterval: 100ms}
",
    );
    let output = run(&bench, &[&LOOPBACK[..], &["--quiet"]].concat());
    let summary = bench.summary().unwrap();
    assert_eq!(summary.status, Status::Complete, "{}", stderr(&output));
    assert_eq!(summary.experiment.planned_trials, summary.http.len());
    let [search] = summary.http_searches.as_slice() else { panic!("{:?}", summary.http_searches) };
    assert_eq!((search.ended, search.trials as usize), (SearchEnd::Finished, summary.http.len()));
    // A search whose highest rate is met has not found the limit.
    let code = Some(if search.is_regular() { 0 } else { 3 });
    assert_eq!(output.status.code(), code, "{search:?}: {}", stderr(&output));
    assert_eq!(search.search, "direct_1_backends_8_connections_search");
    // A busy machine may carry less; then the rates around the limit are trials of the search.
    let goal = &search.goals[0];
    let tried = |rate: Option<u64>| {
        rate.is_none_or(|rate| summary.http.iter().any(|trial| trial.intended_per_s == Some(rate as f64)))
    };
    assert!(tried(goal.requests_per_s) && tried(goal.missing_requests_per_s), "{search:?}");
    if summary.http[0].requests.answered == 40 {
        assert_eq!((goal.requests_per_s, summary.http.len()), (Some(200), 1), "{search:?}");
        assert_eq!(code, Some(3), "{search:?}");
    }
    assert_validates(&bench);
    let again = run(&bench, &[&LOOPBACK[..], &["--quiet", "--resume"]].concat());
    assert_eq!(again.status.code(), code, "{}", stderr(&again));
    assert_eq!(bench.summary().unwrap(), summary);
}
