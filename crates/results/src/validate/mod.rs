//! Is what was recorded still what was measured? Experiments are checked against their manifest and their own arithmetic, directories of
//! older kits' npz files by what their readers need.

mod experiment;
mod flows;
mod kit;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::store::manifest::MANIFEST_FILE;
use crate::store::{self, DOCUMENT_FILE, SUMMARY_FILE, StoreError, is_id};

pub use self::kit::End;

/// Name of the array that says when each row of an npz file ends, in nanoseconds.
pub const TIME_KEY: &str = "time_ns";

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It ends too early.
    Torn,
    /// It is not what was recorded.
    WrongChecksum,
    /// It was recorded and is not there.
    MissingFile,
    /// It is there and cannot be read or understood.
    Unreadable,
    /// The experiment has no checksums.
    NoManifest,
    /// The experiment has not come to its end, or was killed before it could say so.
    Unfinished,
    /// A trial that the summary or the manifest does not know.
    Unlisted,
    /// Fewer samples than the trial's duration and interval call for, or than were asked for.
    TooFewSamples,
    /// A sample is not later than the one before.
    NonMonotonicTime,
    /// A counter that only grows is smaller than in the sample before.
    CounterWentBack,
    /// Packets sent are not those received and those lost.
    Miscounted,
    /// The summary says something else than the trial's own file.
    Contradiction,
    /// A key that readers need is not there.
    MissingKey,
    /// An array is not one-dimensional, or holds no numbers.
    WrongForm,
    /// A value is NaN or infinite.
    NotANumber,
    /// Arrays of one file do not have the same number of values.
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

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, below what was checked.
    pub path: String,
    /// What kind of problem.
    pub reason: Reason,
    /// The particulars.
    pub detail: String,
}

impl Problem {
    fn new(path: impl Into<String>, reason: Reason, detail: impl Into<String>) -> Self {
        Self { path: path.into(), reason, detail: detail.into() }
    }
}

/// What was found in one experiment, or in one directory of an older kit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What was checked.
    pub target: PathBuf,
    /// True when nothing is wrong.
    pub valid: bool,
    /// Files looked into.
    pub files: usize,
    /// What is wrong, by file.
    pub problems: Vec<Problem>,
}

impl Verdict {
    fn new(target: &Path, files: usize, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        Self { target: target.to_owned(), valid: problems.is_empty(), files, problems }
    }
}

/// Checks what `target` names: an experiment of `results` by its id, the directory of an experiment, or a directory with npz files of an
/// older kit. `samples` is how many samples there have to be; of an experiment's trials, the document tells when it is not given.
///
/// # Errors
/// When there is nothing of that name to check.
pub fn validate(results: &Path, target: &str, samples: Option<u64>) -> Result<Verdict, StoreError> {
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

/// Checks every experiment of `results`.
///
/// # Errors
/// When the directory cannot be read.
pub fn validate_all(results: &Path, samples: Option<u64>) -> Result<Vec<Verdict>, StoreError> {
    store::list(results)?.iter().map(|(id, _)| experiment::check(&results.join(id), samples)).collect()
}
