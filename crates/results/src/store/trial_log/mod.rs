//! The log of an experiment's trials: `trials.jsonl`, one JSON object a line. It is the record; the summary is derived from it.
//!
//! A line is appended and synced before an agent's report is acknowledged, so storing a trial costs the same however many there are. Lines
//! are never changed. A run that is taken up again writes the log anew, with the trials that it keeps. A last line that a sudden end cut
//! short is not part of the log.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::manifest::FileSum;
use crate::summary::{
    Aggregate, ExperimentInfo, Overhead, Status, Summary, TrialFailure, TrialSummary, WarmUp,
};

pub use self::read::{Derived, derive};
pub use self::write::TrialLog;

/// The file, in the experiment's directory.
pub const TRIAL_LOG_FILE: &str = "trials.jsonl";
/// Name of this form.
pub const TRIAL_LOG_SCHEMA: &str = "linerate.dev/trials/v1alpha1";

/// A line of the log: an object with one field, the kind of record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogRecord {
    /// What the summary says beside its lists. It is the first line; a later one takes the place of an earlier one.
    Head(Box<Head>),
    /// The result of a trial on one pair.
    Result(Box<ResultRecord>),
    /// A trial that could not be finished on one pair.
    Failure(Box<FailureRecord>),
    /// A trial has ended on all pairs.
    TrialEnd(Box<TrialEnd>),
    /// A lost pair was brought back.
    Recovery(String),
}

/// The summary without its lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`TRIAL_LOG_SCHEMA`].
    pub schema: String,
    /// What is run, where, by which programs.
    pub experiment: ExperimentInfo,
    /// How far it came.
    pub status: Status,
    /// Why it is not complete; null when it is, or still runs.
    pub reason: Option<String>,
    /// Traffic before the first trial, per pair and direction.
    pub warm_up: Vec<WarmUp>,
    /// Time beyond the trials' own duration so far.
    pub overhead: Overhead,
}

/// The result of a trial on one pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultRecord {
    /// Number of the trial in the plan, from 1.
    pub number: u32,
    /// Hash of what determines the trial; null where an older record had none.
    pub key: Option<String>,
    /// The files that were stored, by their path relative to the log.
    pub files: BTreeMap<String, FileSum>,
    /// The figures.
    pub result: TrialSummary,
}

/// A trial that could not be finished on one pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// Number of the trial in the plan, from 1.
    pub number: u32,
    /// Hash of what determines the trial.
    pub key: Option<String>,
    /// The files that were stored, by their path relative to the log.
    pub files: BTreeMap<String, FileSum>,
    /// Why, with the last counters.
    pub failure: TrialFailure,
}

/// The end of a trial on all pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialEnd {
    /// Number of the trial in the plan, from 1.
    pub number: u32,
    /// All pairs together; null where there is one result, or a failure.
    pub aggregate: Option<Aggregate>,
    /// Time beyond the trials' own duration so far.
    pub overhead: Overhead,
}

impl Head {
    /// The head of a summary.
    pub fn of(summary: &Summary) -> Self {
        Self {
            schema: TRIAL_LOG_SCHEMA.to_owned(),
            experiment: summary.experiment.clone(),
            status: summary.status,
            reason: summary.reason.clone(),
            warm_up: summary.warm_up.clone(),
            overhead: summary.overhead,
        }
    }
}
