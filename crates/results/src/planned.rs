//! Results of trials that are all known in advance, of any kind of traffic through the kernel's sockets: how the log, the
//! store and a resumed run take them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::checksum::FileSum;
use crate::store::trial_log::LogRecord;
use crate::summary::Summary;

/// File with the samples of a trial, beside its record.
pub const SAMPLES_FILE: &str = "samples.jsonl";

/// Result of a trial in a summary.
pub trait PlannedResult: Clone + PartialEq {
    /// The trial's own file.
    type Record: Serialize + DeserializeOwned;

    /// The results of this kind in a summary.
    fn all(summary: &Summary) -> &Vec<Self>;
    /// Label within the experiment: the profile's name and the repeat.
    fn label(&self) -> (String, u32);
    /// True when all of the trial was counted.
    fn is_complete(&self) -> bool;
    /// Seconds of sending.
    fn duration_s(&self) -> f64;
    /// Paths of the record and of the samples, relative to the summary.
    fn files(&self) -> [&String; 2];
    /// The result in the trial's own file.
    fn in_record(record: &Self::Record) -> Option<&Self>;
    /// The line of the log.
    fn logged(record: PlannedRecord<Self>) -> LogRecord;
}

/// The result of a trial in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedRecord<R> {
    /// The trial's number, from 1, in the order of the plan.
    pub number: u32,
    /// The trial's key.
    pub key: String,
    /// Checksums of its files, by path relative to the summary.
    pub files: BTreeMap<String, FileSum>,
    /// The figures.
    pub result: R,
}
