//! Formatting of numbers and findings, the same in tables and progress lines.

use linerate_results::summary::TrialSummary;

/// A load in millions of packets per second.
pub(super) fn mpps(pps: f64) -> String {
    format!("{:.6}", pps / 1e6)
}

/// A time in microseconds.
pub(super) fn microseconds(ns: f64) -> String {
    format!("{:.1}", ns / 1e3)
}

/// Both loads, if the offered one missed the intended one.
pub(super) fn missed_load(trial: &TrialSummary) -> Option<String> {
    let intended = trial.intended_pps.filter(|_| trial.offered_missed_intended)?;
    let deviation = 100.0 * (trial.offered_pps - intended) / intended;
    Some(format!(
        "offered {} of {} Mpps intended ({deviation:+.3} %)",
        mpps(trial.offered_pps),
        mpps(intended)
    ))
}
