//! Validation of recorded results: experiments are checked against their manifest and their own arithmetic,
//! directories of older kits' npz files for the arrays that readers need.

mod experiment;
mod flows;
mod http;
mod kit;
mod search;
mod streams;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::store::manifest::MANIFEST_FILE;
use crate::store::{self, DOCUMENT_FILE, SUMMARY_FILE, StoreError, is_id};

pub use self::kit::End;

/// Name of the array with the end time of each row of an npz file, in nanoseconds.
pub const TIME_KEY: &str = "time_ns";

/// Kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The file is truncated.
    Torn,
    /// The file's content differs from what was recorded.
    WrongChecksum,
    /// A recorded file is missing.
    MissingFile,
    /// The file exists and cannot be read or parsed.
    Unreadable,
    /// The experiment has no checksums.
    NoManifest,
    /// The experiment has not ended, or was killed.
    Unfinished,
    /// A trial that is in neither the summary nor the manifest.
    Unlisted,
    /// Fewer samples than the trial's duration and interval, or the option, require.
    TooFewSamples,
    /// A sample is not later than the previous one.
    NonMonotonicTime,
    /// A counter that only grows is smaller than in the previous sample.
    CounterWentBack,
    /// Sent packets differ from received plus lost packets.
    Miscounted,
    /// The summary differs from the trial's own file.
    Contradiction,
    /// A key that readers need is missing.
    MissingKey,
    /// An array is not one-dimensional, or does not hold numbers.
    WrongForm,
    /// A value is NaN or infinite.
    NotANumber,
    /// Arrays of one file have different numbers of values.
    UnequalLengths,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Torn => "torn",
            Reason::WrongChecksum => "wrong checksum",
            Reason::MissingFile => "missing file",
            Reason::Unreadable => "unreadable",
            Reason::NoManifest => "no manifest",
            Reason::Unfinished => "unfinished",
            Reason::Unlisted => "unlisted",
            Reason::TooFewSamples => "too few samples",
            Reason::NonMonotonicTime => "non-monotonic time",
            Reason::CounterWentBack => "counter went back",
            Reason::Miscounted => "sent ≠ received + lost",
            Reason::Contradiction => "contradiction",
            Reason::MissingKey => "missing key",
            Reason::WrongForm => "wrong form",
            Reason::NotANumber => "not a number",
            Reason::UnequalLengths => "unequal lengths",
        })
    }
}

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, relative to the target.
    pub path: String,
    /// Kind of the problem.
    pub reason: Reason,
    /// The details.
    pub detail: String,
}

impl Problem {
    fn new(path: impl Into<String>, reason: Reason, detail: impl Into<String>) -> Self {
        Self { path: path.into(), reason, detail: detail.into() }
    }
}

/// Result of the validation of one experiment, or of one directory of an older kit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Validation {
    /// The experiment or directory; in JSON with U+FFFD for what is not UTF-8.
    #[serde(serialize_with = "lossy")]
    pub target: PathBuf,
    /// True when there are no problems.
    pub valid: bool,
    /// Number of files read.
    pub files: usize,
    /// The problems, by file.
    pub problems: Vec<Problem>,
}

impl Validation {
    fn new(target: &Path, files: usize, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        Self { target: target.to_owned(), valid: problems.is_empty(), files, problems }
    }
}

fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// Validates `target`: an experiment of `results` by its id, the directory of an experiment, or a directory
/// with npz files of an older kit. `samples` is the required number of samples; by default, an experiment's
/// document gives it for each trial.
///
/// # Errors
/// When there is nothing of that name to check.
pub fn validate(results: &Path, target: &str, samples: Option<u64>) -> Result<Validation, StoreError> {
    let below = results.join(target);
    if is_id(target) && !below.exists() && !Path::new(target).exists() {
        return Err(store::missing(results, target));
    }
    let directory = if is_id(target) && below.is_dir() { below } else { PathBuf::from(target) };
    let of_experiment = directory.file_name().and_then(|name| name.to_str()).is_some_and(is_id);
    let has_npz = || kit::npz_files(&directory).map(|files| !files.is_empty());
    let ours = [SUMMARY_FILE, DOCUMENT_FILE, MANIFEST_FILE].iter().any(|name| directory.join(name).exists());
    if ours || (of_experiment && !has_npz()?) {
        experiment::check(&directory, samples)
    } else {
        kit::check(&directory, samples.unwrap_or(1))
    }
}

/// Validates every experiment of `results`.
///
/// # Errors
/// When the directory cannot be read.
pub fn validate_all(results: &Path, samples: Option<u64>) -> Result<Vec<Validation>, StoreError> {
    store::list(results)?.iter().map(|(id, _)| experiment::check(&results.join(id), samples)).collect()
}

/// Fewest samples of a trial. An agent that waits for a CPU skips samples that are due meanwhile, and the others have
/// their true times: one in eight may be missing, and one of a few. The last one never is: it is taken at the end.
fn fewest_samples(duration_s: f64, interval_s: f64) -> u64 {
    let due = (duration_s / interval_s) as u64;
    let skipped = (due / 8).max(1);
    due.min(1).max(due.saturating_sub(skipped))
}
