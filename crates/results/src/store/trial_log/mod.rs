//! Log of an experiment's trials: `trials.jsonl`, one JSON object a line. It is the authoritative record; the
//! summary is derived from it.
//!
//! A line is appended and synced before an agent's report is acknowledged, so storing a trial costs the same
//! however many there are. Lines are never changed. A resumed run writes a new log with the trials that it
//! keeps. A truncated last line is not part of the log. Any other invalid line is damage: [`derive()`] fails,
//! [`derive_readable`] skips the line.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checksum::FileSum;
use crate::http::HttpTrialSummary;
use crate::planned::PlannedRecord;
use crate::streams::StreamsTrialSummary;
use crate::summary::{
    Aggregate, ExperimentInfo, Overhead, SearchSummary, Status, Summary, TrialFailure, TrialSummary, WarmUp,
};

pub use self::read::{Derived, derive, derive_readable};
pub use self::write::TrialLog;

/// File name, in the experiment's directory.
pub const TRIAL_LOG_FILE: &str = "trials.jsonl";
/// Name of the file's schema.
pub const TRIAL_LOG_SCHEMA: &str = "linerate.dev/trials/v1alpha1";

/// A line of the log: an object with one field, the kind of record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogRecord {
    /// The result of a trial of streams.
    Streams(Box<PlannedRecord<StreamsTrialSummary>>),
    /// The result of a trial of HTTP.
    Http(Box<PlannedRecord<HttpTrialSummary>>),
    /// The fields of the summary other than its lists. It is the first line; a later head replaces it.
    Head(Box<Head>),
    /// The result of a trial on one pair.
    Result(Box<ResultRecord>),
    /// A failed trial on one pair.
    Failure(Box<FailureRecord>),
    /// The end of a trial on all pairs.
    TrialEnd(Box<TrialEnd>),
    /// A search; it takes the place of an earlier record of it.
    Search(Box<SearchSummary>),
    /// All searches so far; no earlier record of a search counts. It is empty, and the records of each follow: only
    /// older programs write searches here, with a list that grows at the end of each search.
    Searches(Vec<SearchSummary>),
    /// The recovery of a lost pair.
    Recovery(String),
}

/// The summary without its lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`TRIAL_LOG_SCHEMA`].
    pub schema: String,
    /// Document, platform and programs.
    pub experiment: ExperimentInfo,
    /// Status of the experiment.
    pub status: Status,
    /// Why it is not complete; null when it is complete or running.
    pub reason: Option<String>,
    /// Warm-up, per pair and direction.
    pub warm_up: Vec<WarmUp>,
    /// Time beyond the trials' own sending so far.
    pub overhead: Overhead,
}

/// The result of a trial on one pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultRecord {
    /// Number of the trial in the plan, from 1.
    pub number: u32,
    /// Hash of the trial's determinants; null if an older record had none.
    pub key: Option<String>,
    /// The stored files, by path relative to the log.
    pub files: BTreeMap<String, FileSum>,
    /// The figures.
    pub result: TrialSummary,
}

/// A failed trial on one pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// Number of the trial in the plan, from 1.
    pub number: u32,
    /// Hash of the trial's determinants.
    pub key: Option<String>,
    /// The stored files, by path relative to the log.
    pub files: BTreeMap<String, FileSum>,
    /// The reason, with the last counters.
    pub failure: TrialFailure,
}

/// The end of a trial on all pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialEnd {
    /// Number of the trial in the plan, from 1.
    pub number: u32,
    /// All pairs together; null if there is a single result, or a failure.
    pub aggregate: Option<Aggregate>,
    /// Time beyond the trials' own sending so far.
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
