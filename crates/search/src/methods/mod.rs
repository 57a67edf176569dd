//! Other benchmarks than the search for a throughput: those of RFC 2544 with RFC 9004, of ITU-T Y.1564, and
//! long trials at one load.
//!
//! Each is a machine like [`Search`](crate::Search): it says which trial comes next, takes its outcome, and
//! concludes. It has no clock and no I/O, and the same outcomes give the same trials. Decisions use integers
//! only. A conclusion lists how its trials deviate from the standard.

mod back_to_back;
mod latency;
mod loss_curve;
mod recovery;
mod service;
mod soak;
mod spec;
mod trial;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use back_to_back::{
    BackToBack, BackToBackConclusion, BackToBackSpec, BurstSearch, BurstStatus, LossVerification,
};
pub use latency::{LatencyAt, LatencyConclusion, LatencyShares, LatencySpec, USUAL_SHARES_PPB};
pub use loss_curve::{CurvePoint, LossCurve, LossCurveConclusion, LossCurveSpec, Partial};
pub use recovery::{Recovery, RecoveryConclusion, RecoverySpec, RecoveryTime, RecoveryTrial};
pub use service::{
    Criteria, Criterion, Finding, ServiceConclusion, ServiceRates, ServiceSpec, ServiceStep, ServiceTest,
    StepKind, StepVerdict, USUAL_STEPS_PPB,
};
pub use soak::{Soak, SoakConclusion, SoakSpec};
pub use spec::MethodSpec;
pub use trial::{Delays, LossSpan, MethodTrial, PathRates, TrialLoad, TrialOutcome};

/// A way in which the trials were not those of a standard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deviation {
    /// The standard and its section.
    pub standard: String,
    /// What it asks for, and what was done, in one sentence.
    pub text: String,
}

impl Deviation {
    fn new(standard: &str, text: impl Into<String>) -> Self {
        Self { standard: standard.to_owned(), text: text.into() }
    }
}

/// Waits of RFC 2544, section 23, in nanoseconds: for the path to learn, for residual frames, and at rest before
/// the next trial.
pub const RFC2544_WAITS_NS: [u64; 3] = [2 * SECOND_NS, 2 * SECOND_NS, 5 * SECOND_NS];
pub(crate) const SECOND_NS: u64 = 1_000_000_000;
/// Trial duration of RFC 2544, section 24, in nanoseconds.
pub const RFC2544_TRIAL_NS: u64 = 60 * SECOND_NS;

/// Deviations that all trials of a method share: waits of a fixed time, and a duration below that of RFC 2544.
fn common_deviations(duration_ns: u64) -> Vec<Deviation> {
    let mut deviations = vec![Deviation::new(
        "RFC 2544, section 23",
        "waits of 2 s for learning, 2 s for residual frames and 5 s of rest: trials end when their packets have arrived or nothing arrives any more",
    )];
    if duration_ns < RFC2544_TRIAL_NS {
        deviations.push(Deviation::new(
            "RFC 2544, section 24",
            format!("trials of at least 60 s: these take {}", seconds(duration_ns)),
        ));
    }
    deviations
}

/// A time in seconds, as text.
fn seconds(ns: u64) -> String {
    format!("{} s", ns as f64 / SECOND_NS as f64)
}

/// A share of so many parts per billion, in percent, as text.
fn percent(ppb: u64) -> String {
    format!("{} %", ppb as f64 / (crate::PPB / 100) as f64)
}

/// A share of a load, rounded down to whole packets per second.
fn share_of(load_pps: u64, ppb: u64) -> u64 {
    let pps = u128::from(load_pps) * u128::from(ppb) / u128::from(crate::PPB);
    u64::try_from(pps).unwrap_or(u64::MAX)
}

/// Why a method cannot run: a parameter out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{method}: {problem}")]
pub struct MethodError {
    /// The method.
    pub method: &'static str,
    /// What is wrong, and what is allowed.
    pub problem: &'static str,
}

/// The first rule that does not hold.
fn check(method: &'static str, rules: &[(bool, &'static str)]) -> Result<(), MethodError> {
    match rules.iter().find(|(holds, _)| !holds) {
        Some((_, problem)) => Err(MethodError { method, problem }),
        None => Ok(()),
    }
}

/// A benchmark of any kind.
#[derive(Debug, Clone)]
pub enum Method {
    /// RFC 2544, section 26.2.
    Latency(LatencyShares),
    /// RFC 2544, section 26.3.
    LossCurve(LossCurve),
    /// RFC 2544, section 26.4, and RFC 9004.
    BackToBack(BackToBack),
    /// RFC 2544, section 26.5.
    Recovery(Recovery),
    /// ITU-T Y.1564.
    Service(ServiceTest),
    /// A long trial at one load.
    Soak(Soak),
}

/// Result of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "camelCase")]
pub enum Conclusion {
    /// RFC 2544, section 26.2.
    Latency(LatencyConclusion),
    /// RFC 2544, section 26.3.
    LossCurve(LossCurveConclusion),
    /// RFC 2544, section 26.4, and RFC 9004.
    BackToBack(BackToBackConclusion),
    /// RFC 2544, section 26.5.
    Recovery(RecoveryConclusion),
    /// ITU-T Y.1564.
    Service(ServiceConclusion),
    /// A long trial at one load.
    Soak(SoakConclusion),
}

impl Method {
    /// The next trial; `None` when there are enough.
    pub fn next(&self) -> Option<MethodTrial> {
        match self {
            Self::Latency(method) => method.next(),
            Self::LossCurve(method) => method.next(),
            Self::BackToBack(method) => method.next(),
            Self::Recovery(method) => method.next(),
            Self::Service(method) => method.next(),
            Self::Soak(method) => method.next(),
        }
    }

    /// Takes the outcome of the trial that [`next`](Self::next) asked for.
    pub fn record(&mut self, outcome: TrialOutcome) {
        match self {
            Self::Latency(method) => method.record(outcome),
            Self::LossCurve(method) => method.record(outcome),
            Self::BackToBack(method) => method.record(&outcome),
            Self::Recovery(method) => method.record(outcome),
            Self::Service(method) => method.record(outcome),
            Self::Soak(method) => method.record(outcome),
        }
    }

    /// The result so far.
    pub fn conclusion(&self) -> Conclusion {
        match self {
            Self::Latency(method) => Conclusion::Latency(method.conclusion()),
            Self::LossCurve(method) => Conclusion::LossCurve(method.conclusion()),
            Self::BackToBack(method) => Conclusion::BackToBack(method.conclusion()),
            Self::Recovery(method) => Conclusion::Recovery(method.conclusion()),
            Self::Service(method) => Conclusion::Service(method.conclusion()),
            Self::Soak(method) => Conclusion::Soak(method.conclusion()),
        }
    }
}
