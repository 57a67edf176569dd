//! Derivation of the summary and the checksums from the log.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read};
use std::path::Path;

use super::{FailureRecord, Head, LogRecord, ResultRecord, TRIAL_LOG_FILE, TrialEnd};
use crate::store::atomic::at;
use crate::store::enclosed::Enclosed;
use crate::store::manifest::FileSum;
use crate::store::{StoreError, inner, json};
use crate::summary::{Aggregate, SchemaName, Summary, TrialFailure, TrialSummary};

/// Longest line in bytes; a trial on one pair takes a few thousand.
const LONGEST_LINE: u64 = 64 << 20;

/// Content of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// The summary so far.
    pub summary: Summary,
    /// Checksums of the trials' files, by path relative to the log.
    pub sums: BTreeMap<String, FileSum>,
    /// True when the last line is truncated; its content was not acknowledged to the agents.
    pub torn: bool,
}

/// Reads the log of the experiment in `directory`; `None` when there is none, or when its first line is
/// truncated.
///
/// # Errors
/// When it cannot be read, or a line before the last is invalid: the line, and the reason.
pub fn derive(directory: &Path) -> Result<Option<Derived>, StoreError> {
    let path = directory.join(TRIAL_LOG_FILE);
    let enclosed = match Enclosed::open(directory) {
        Err(error) if error.reason.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let Some(file) = enclosed.open_file(&inner(directory, TRIAL_LOG_FILE)?, u64::MAX)? else {
        return Ok(None);
    };
    let mut derivation = Derivation::default();
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut unreadable: Option<String> = None;
    for number in 1_u64.. {
        line.clear();
        let read =
            (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(at("read", &path))?;
        if read == 0 {
            break;
        }
        let record = if line.ends_with(b"\n") {
            json::parse::<LogRecord>(&line).map_err(|error| error.to_string())
        } else if read as u64 == LONGEST_LINE {
            Err(format!("it is longer than {LONGEST_LINE} bytes"))
        } else {
            Err("it ends too early".to_owned())
        };
        match (record, &unreadable) {
            // A complete line follows, so this line was not truncated by a crash.
            (Ok(_), Some(why)) => {
                return Err(at("read", &path)(Error::new(ErrorKind::InvalidData, why.clone())));
            }
            (Ok(record), None) => derivation.add(record),
            (Err(why), None) => unreadable = Some(format!("line {number}: {why}")),
            (Err(_), Some(_)) => {}
        }
    }
    Ok(derivation.finish(unreadable.is_some()))
}

#[derive(Default)]
struct Derivation {
    head: Option<Head>,
    results: Vec<(u32, TrialSummary)>,
    failures: Vec<(u32, TrialFailure)>,
    aggregates: Vec<(u32, Aggregate)>,
    recoveries: Vec<String>,
    sums: BTreeMap<String, FileSum>,
}

impl Derivation {
    fn add(&mut self, record: LogRecord) {
        match record {
            LogRecord::Head(head) => self.head = Some(*head),
            LogRecord::Result(record) => {
                let ResultRecord { number, files, result, .. } = *record;
                self.results.push((number, result));
                self.sums.extend(files);
            }
            LogRecord::Failure(record) => {
                let FailureRecord { number, files, failure, .. } = *record;
                self.failures.push((number, failure));
                self.sums.extend(files);
            }
            LogRecord::TrialEnd(end) => {
                let TrialEnd { number, aggregate, overhead } = *end;
                self.aggregates.extend(aggregate.map(|aggregate| (number, aggregate)));
                if let Some(head) = &mut self.head {
                    head.overhead = overhead;
                }
            }
            LogRecord::Recovery(what) => self.recoveries.push(what),
        }
    }

    fn finish(self, torn: bool) -> Option<Derived> {
        let Head { experiment, status, reason, warm_up, overhead, .. } = self.head?;
        let summary = Summary {
            schema: SchemaName::V1Alpha1,
            experiment,
            status,
            reason,
            warm_up,
            trials: in_order(self.results),
            aggregates: in_order(self.aggregates),
            failures: self.failures.into_iter().map(|(_, failure)| failure).collect(),
            recoveries: self.recoveries,
            overhead,
        };
        Some(Derived { summary, sums: self.sums, torn })
    }
}

/// Sorts by the plan; records of one trial keep their order.
fn in_order<T>(mut numbered: Vec<(u32, T)>) -> Vec<T> {
    numbered.sort_by_key(|(number, _)| *number);
    numbered.into_iter().map(|(_, value)| value).collect()
}
