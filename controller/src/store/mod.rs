//! Where results are kept: one directory per experiment, in which nothing is ever half written.
//!
//! ```text
//! results/<id>/summary.json            rewritten whole after every trial
//!              experiment.yaml         the document in force
//!              environment.json        where and with what it was run
//!              manifest.json           a checksum of every file that no longer changes
//!              <node>_cmdline.txt      the kernel's command line
//!              tx0.log rx0.log         what the agents logged
//!              tx0-rx0/<profile>/trial.json         reports, samples, histogram
//!              tx0-rx0/<profile>/flows.csv          every flow, where the experiment asks for it
//!              tx0-rx0/<profile>/incomplete.json    in its place, when the trial could not be finished
//! ```

pub(crate) mod atomic;
pub mod environment;
pub(crate) mod lock;
pub mod manifest;
pub mod record;
mod recorded;
mod resume;
#[cfg(test)]
pub(crate) mod tests;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

pub use self::atomic::{StoreError, UNFINISHED};
use self::atomic::{add_directory, at, replace_file, sync_directory};
use self::environment::{ENVIRONMENT_FILE, Environment};
use self::record::TrialRecord;
pub use self::recorded::Recorded;
pub use self::resume::Earlier;
use crate::summary::Summary;

/// File with the result of an experiment.
pub const SUMMARY_FILE: &str = "summary.json";
/// File with the document in force.
pub const DOCUMENT_FILE: &str = "experiment.yaml";
/// File with every flow of a trial.
pub const FLOWS_FILE: &str = "flows.csv";
/// Attempts to find an unused id; each fails once in thousands of millions.
const ID_ATTEMPTS: usize = 16;

/// One experiment's directory.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    id: String,
    /// True when a trial may take the place of one that an earlier run did not finish.
    resumed: bool,
    /// While it is held, the experiment is known to be in use.
    _lock: File,
}

impl Store {
    /// Makes a directory of a new id below `results`, which is made when it is not there.
    ///
    /// # Errors
    /// When the place cannot be written to.
    pub fn create(results: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(results).map_err(at("create", results))?;
        let mut attempts = 0;
        loop {
            let mut bytes = [0; 4];
            getrandom::fill(&mut bytes).map_err(|error| {
                at("name a directory in", results)(std::io::Error::other(error.to_string()))
            })?;
            let id = format!("{:08x}", u32::from_be_bytes(bytes));
            let directory = results.join(&id);
            attempts += 1;
            match fs::create_dir(&directory) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists && attempts < ID_ATTEMPTS => {}
                Err(error) => return Err(at("create", &directory)(error)),
                Ok(()) => {
                    sync_directory(results)?;
                    let lock = lock::hold(&directory)?;
                    return Ok(Self { directory, id, resumed: false, _lock: lock });
                }
            }
        }
    }

    /// 8 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The experiment's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file that holds the result.
    pub fn summary_path(&self) -> PathBuf {
        self.directory.join(SUMMARY_FILE)
    }

    /// Writes a text file of the experiment.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_text(&self, name: &str, text: &str) -> Result<(), StoreError> {
        replace_file(&self.directory, name, text.as_bytes())
    }

    /// Makes sure that there is room for so many bytes.
    ///
    /// # Errors
    /// When there is less than that. A file system that does not tell is taken for large enough.
    pub fn has_room(&self, bytes: u64) -> Result<(), StoreError> {
        let Ok(space) = rustix::fs::statvfs(&self.directory) else { return Ok(()) };
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if free >= bytes {
            return Ok(());
        }
        let reason = format!("the flows of all trials take {bytes} bytes, and {free} are free");
        let reason = std::io::Error::new(ErrorKind::StorageFull, reason);
        Err(at("write every flow to", &self.directory)(reason))
    }

    /// Writes the result anew.
    ///
    /// # Errors
    /// When it cannot be written; the one before is then still there.
    pub fn write_summary(&self, summary: &Summary) -> Result<(), StoreError> {
        replace_file(&self.directory, SUMMARY_FILE, &json(summary, &self.directory)?)
    }

    /// Writes where and with what the experiment is run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_environment(&self, environment: &Environment) -> Result<(), StoreError> {
        replace_file(&self.directory, ENVIRONMENT_FILE, &json(environment, &self.directory)?)
    }

    /// Files a trial under its pair and `place`, as `trial.json` when it has a result, with a file of all its flows beside it where there is one.
    /// Returns the first file's path relative to the summary.
    ///
    /// # Errors
    /// When it cannot be written; no trace of it is then visible.
    pub fn add_trial(
        &self,
        place: &str,
        record: &TrialRecord,
        flows: Option<NamedTempFile>,
    ) -> Result<String, StoreError> {
        let name = if record.result.is_some() { "trial.json" } else { "incomplete.json" };
        let path = format!("{}/{place}", record.pair);
        let flows = flows.map(|file| (FLOWS_FILE, file));
        add_directory(&self.directory, &path, name, &json(record, &self.directory)?, flows, self.resumed)?;
        Ok(format!("{path}/{name}"))
    }
}

fn json(value: &impl Serialize, directory: &Path) -> Result<Vec<u8>, StoreError> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|error| at("write to", directory)(error.into()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads the result of the experiment `id` below `results`.
///
/// # Errors
/// When it is not there or is not a summary.
pub fn load(results: &Path, id: &str) -> Result<Summary, StoreError> {
    let path = results.join(id).join(SUMMARY_FILE);
    let bytes = fs::read(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => missing(results, id),
        _ => at("read", &path)(error),
    })?;
    serde_json::from_slice(&bytes).map_err(|error| at("read", &path)(error.into()))
}

/// There is no experiment of that id, or it has no result.
pub(crate) fn missing(results: &Path, id: &str) -> StoreError {
    let directory = results.join(id);
    let reason = if directory.is_dir() {
        "it has no summary.json: the run was killed before its first trial, or this is no experiment"
    } else {
        "there is no such experiment; `linerate results list` names those that are there, --results another place"
    };
    at("read", &directory)(std::io::Error::other(reason))
}

/// Reads the record of a trial of the experiment `id`; `trial` is its path relative to the summary, as the summary has it.
///
/// # Errors
/// When it is not there, is not a record, or would lie outside the experiment's directory.
pub fn load_trial(results: &Path, id: &str, trial: &str) -> Result<TrialRecord, StoreError> {
    let path = results.join(id).join(trial);
    if !Path::new(trial).components().all(|part| matches!(part, Component::Normal(_))) {
        let reason = "it lies outside the experiment's directory";
        return Err(at("read", &path)(std::io::Error::new(ErrorKind::InvalidInput, reason)));
    }
    let bytes = fs::read(&path).map_err(at("read", &path))?;
    serde_json::from_slice(&bytes).map_err(|error| at("read", &path)(error.into()))
}

/// Writes a report into `directory`, which is made when it is not there, in the place of one of that name. Returns its path.
///
/// # Errors
/// When it cannot be written; one that was there before is then still there.
pub fn write_report(directory: &Path, name: &str, content: &[u8]) -> Result<PathBuf, StoreError> {
    fs::create_dir_all(directory).map_err(at("create", directory))?;
    replace_file(directory, name, content)?;
    Ok(directory.join(name))
}

/// An experiment in a results directory: its id, and its result if that can be read.
pub type Listed = (String, Result<Summary, StoreError>);

/// The experiments below `results`, by id.
///
/// # Errors
/// When the directory cannot be read.
pub fn list(results: &Path) -> Result<Vec<Listed>, StoreError> {
    let mut listed = Vec::new();
    let entries = fs::read_dir(results).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            let reason = "it is not there; `linerate run` makes it, and --results names another one";
            at("read", results)(std::io::Error::other(reason))
        }
        _ => at("read", results)(error),
    })?;
    for entry in entries {
        let name = entry.map_err(at("read", results))?.file_name();
        if let Some(id) = name.to_str().filter(|name| is_id(name)) {
            listed.push((id.to_owned(), load(results, id)));
        }
    }
    listed.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(listed)
}

/// True for 8 hexadecimal digits in lower case.
pub fn is_id(name: &str) -> bool {
    name.len() == 8 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
