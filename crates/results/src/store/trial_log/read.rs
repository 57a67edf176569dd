//! Derivation of the summary and the checksums from the log.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Error, ErrorKind, Read};
use std::path::Path;

use super::{FailureRecord, Head, LogRecord, ResultRecord, TRIAL_LOG_FILE, TrialEnd};
use crate::http::{HttpSearchSummary, HttpTrialSummary};
use crate::planned::{PlannedRecord, PlannedResult};
use crate::store::checksum::FileSum;
use crate::store::enclosed::Enclosed;
use crate::store::error::at;
use crate::store::{StoreError, inner, json};
use crate::streams::StreamsTrialSummary;
use crate::summary::{Aggregate, SchemaName, SearchSummary, Summary, TrialFailure, TrialSummary};

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
    /// Invalid lines other than a truncated last one: line number and reason. Empty in what [`derive()`] returns.
    pub damaged: Vec<String>,
}

/// Reads the log of the experiment in `directory`; `None` when there is none, or when its first line is
/// truncated.
///
/// # Errors
/// When it cannot be read, or a complete line is invalid: the line, and the reason.
pub fn derive(directory: &Path) -> Result<Option<Derived>, StoreError> {
    let (derivation, torn, damaged) = read(directory)?;
    if let Some(first) = damaged.first() {
        let reason = format!("{first}; `linerate run --resume` keeps the trials that are whole");
        let error = Error::new(ErrorKind::InvalidData, reason);
        return Err(at("read", &directory.join(TRIAL_LOG_FILE))(error));
    }
    Ok(derivation.finish(torn, damaged))
}

/// Reads the log like [`derive()`], but skips invalid lines; `None` also when no line is a head.
///
/// # Errors
/// When the log cannot be read.
pub fn derive_readable(directory: &Path) -> Result<Option<Derived>, StoreError> {
    let (derivation, torn, damaged) = read(directory)?;
    Ok(derivation.finish(torn, damaged))
}

/// Reads all lines: their content, whether the last one is truncated, and which others are invalid.
///
/// A line is on disk before its content is acknowledged. A crash leaves a last line without a newline, or zeros
/// in its place where the file system had extended the file and not yet written it.
fn read(directory: &Path) -> Result<(Derivation, bool, Vec<String>), StoreError> {
    let path = directory.join(TRIAL_LOG_FILE);
    let enclosed = match Enclosed::open(directory) {
        Err(error) if error.reason.kind() == ErrorKind::NotFound => return Ok(Default::default()),
        opened => opened?,
    };
    let Some(file) = enclosed.open_file(&inner(directory, TRIAL_LOG_FILE)?, u64::MAX)? else {
        return Ok(Default::default());
    };
    let mut derivation = Derivation::default();
    let (mut damaged, mut zeros, mut torn) = (Vec::new(), Vec::new(), false);
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read =
            (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(at("read", &path))?;
        if read == 0 {
            break;
        }
        if !line.ends_with(b"\n") && (read as u64) < LONGEST_LINE {
            torn = true;
            break;
        }
        let record = if line.ends_with(b"\n") {
            json::parse::<LogRecord>(&line).map_err(|error| error.to_string())
        } else {
            Err(format!("it is longer than {LONGEST_LINE} bytes"))
        };
        match record {
            // A valid line follows, so a crash did not leave these zeros.
            Ok(record) => {
                damaged.append(&mut zeros);
                derivation.add(record);
            }
            Err(why) => {
                let list = if line.contains(&0) || !zeros.is_empty() { &mut zeros } else { &mut damaged };
                list.push(format!("line {number}: {why}"));
            }
        }
    }
    Ok((derivation, torn || !zeros.is_empty(), damaged))
}

#[derive(Default)]
struct Derivation {
    head: Option<Head>,
    results: Vec<(u32, TrialSummary)>,
    streams: ByLabel<StreamsTrialSummary>,
    http: ByLabel<HttpTrialSummary>,
    failures: Vec<(u32, TrialFailure)>,
    aggregates: Vec<(u32, Aggregate)>,
    searches: Searches,
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
            LogRecord::Streams(record) => {
                self.sums.extend(self.streams.put(*record));
            }
            LogRecord::Http(record) => self.sums.extend(self.http.put(*record)),
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
            LogRecord::Search(search) => self.searches.put(*search),
            LogRecord::Searches(searches) => {
                self.searches = Searches::default();
                searches.into_iter().for_each(|search| self.searches.put(search));
            }
            LogRecord::Recovery(what) => self.recoveries.push(what),
        }
    }

    fn finish(self, torn: bool, damaged: Vec<String>) -> Option<Derived> {
        let Head { experiment, status, reason, warm_up, overhead, .. } = self.head?;
        let http = in_order(self.http.into_numbered());
        let http_searches = HttpSearchSummary::all(experiment.http_search.as_ref(), &http);
        let summary = Summary {
            schema: SchemaName::V1Alpha1,
            experiment,
            status,
            reason,
            warm_up,
            trials: in_order(self.results),
            streams: in_order(self.streams.into_numbered()),
            http,
            http_searches,
            aggregates: in_order(self.aggregates),
            searches: self.searches.all,
            failures: self.failures.into_iter().map(|(_, failure)| failure).collect(),
            recoveries: self.recoveries,
            overhead,
        };
        Some(Derived { summary, sums: self.sums, torn, damaged })
    }
}

/// Searches in the order of their first records, each as its latest record has it.
#[derive(Default)]
struct Searches {
    all: Vec<SearchSummary>,
    /// Place of each search, by its profile, number and path.
    places: HashMap<(String, u32, Option<String>), usize>,
}

impl Searches {
    fn put(&mut self, search: SearchSummary) {
        let (profile, number, path) = search.key();
        let key = (profile.to_owned(), number, path.map(str::to_owned));
        let place = *self.places.entry(key).or_insert(self.all.len());
        match self.all.get_mut(place) {
            Some(earlier) => *earlier = search,
            None => self.all.push(search),
        }
    }
}

/// Results with their trials' numbers. A trial that was run again takes the place of the one that was not complete.
struct ByLabel<R> {
    /// In the order of the log; empty where another took the place.
    results: Vec<Option<(u32, R)>>,
    /// Place of the latest result of each trial.
    places: HashMap<(String, u32), usize>,
}

impl<R> Default for ByLabel<R> {
    fn default() -> Self {
        Self { results: Vec::new(), places: HashMap::new() }
    }
}

impl<R: PlannedResult> ByLabel<R> {
    /// Adds a result, and returns its files.
    fn put(&mut self, record: PlannedRecord<R>) -> BTreeMap<String, FileSum> {
        let earlier = self.places.insert(record.result.label(), self.results.len());
        if let Some(place) = earlier {
            self.results[place] = None;
        }
        self.results.push(Some((record.number, record.result)));
        record.files
    }

    fn into_numbered(self) -> Vec<(u32, R)> {
        self.results.into_iter().flatten().collect()
    }
}

/// Sorts by the plan; records of one trial keep their order.
fn in_order<T>(mut numbered: Vec<(u32, T)>) -> Vec<T> {
    numbered.sort_by_key(|(number, _)| *number);
    numbered.into_iter().map(|(_, value)| value).collect()
}
