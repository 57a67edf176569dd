//! Formatting of numbers and findings, the same in tables and progress lines.

use linerate_results::figures::table::{FrameFigure, FrameUnit};
use linerate_results::summary::TrialSummary;

/// A load in millions of packets per second.
pub(super) fn mpps(pps: f64) -> String {
    format!("{:.6}", pps / 1e6)
}

/// A time in microseconds.
pub(super) fn microseconds(ns: f64) -> String {
    format!("{:.1}", ns / 1e3)
}

/// A value of a figure, without unit.
pub(super) fn of_unit(unit: FrameUnit, value: f64) -> String {
    match unit {
        FrameUnit::PacketsPerSecond => mpps(value),
        FrameUnit::Share => format!("{:.4}", 100.0 * value),
        FrameUnit::Nanoseconds => microseconds(value),
        FrameUnit::Number | FrameUnit::Packets | FrameUnit::Seconds => value.to_string(),
    }
}

/// Unit of the values that [`of_unit`] prints.
pub(super) fn unit(unit: FrameUnit) -> &'static str {
    match unit {
        FrameUnit::PacketsPerSecond => "Mpps",
        FrameUnit::Share => "%",
        FrameUnit::Nanoseconds => "µs",
        FrameUnit::Seconds => "s",
        FrameUnit::Packets => "packets",
        FrameUnit::Number => "",
    }
}

/// A figure of a trial, without unit.
pub(super) fn figure(figure: &FrameFigure, trial: &TrialSummary) -> String {
    (figure.of)(trial).map_or("-".to_owned(), |value| of_unit(figure.unit, value))
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
