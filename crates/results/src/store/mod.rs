//! Store of results: one directory per experiment; every file in it is written atomically.
//!
//! ```text
//! results/<id>/trials.jsonl            the log of the trials: a line is appended when one has ended
//!              summary.json            the summary, derived from the log: at the end, and occasionally before
//!              experiment.yaml         the document in force
//!              environment.json        the environment of the run
//!              manifest.json           a checksum of every file, at the end
//!              <node>_cmdline.txt      the kernel's command line
//!              tx0.log rx0.log         the agents' logs
//!              tx0-rx0/<profile>/trial.json         reports, samples, histogram
//!              tx0-rx0/<profile>/flows.csv          every flow, if the experiment asks for them
//!              streams/<profile>/trial.json         of a trial of streams: reports of all connections
//!              streams/<profile>/samples.jsonl      and the agents' samples
//!              tx0-rx0/<profile>/incomplete.json    instead of trial.json, if the trial was not finished
//! ```

pub mod atomic;
pub mod checksum;
pub mod enclosed;
pub mod environment;
pub mod error;
pub mod inner_path;
pub mod json;
pub mod lock;
pub mod manifest;
pub mod record;
mod recorded;
pub mod report;
pub(crate) mod resume;
#[cfg(test)]
mod tests;
pub mod trial_log;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use self::atomic::{replace_file, sync_directory};
use self::checksum::FileSum;
use self::enclosed::Enclosed;
pub use self::enclosed::UNFINISHED;
use self::environment::{ENVIRONMENT_FILE, Environment};
pub use self::error::StoreError;
use self::error::at;
use self::inner_path::InnerPath;
use self::record::TrialRecord;
pub use self::recorded::Recorded;
pub use self::resume::{Earlier, Found};
use self::trial_log::{LogRecord, TrialLog, derive};
use crate::planned::{PlannedResult, SAMPLES_FILE};
use crate::summary::Summary;

/// File with the summary of an experiment.
pub const SUMMARY_FILE: &str = "summary.json";
/// File with the document in force.
pub const DOCUMENT_FILE: &str = "experiment.yaml";
/// File with the flows of a trial.
pub const FLOWS_FILE: &str = "flows.csv";
/// Largest JSON file in bytes: a summary of a million results has about 8 GB, other files far less.
pub const MOST_JSON_BYTES: u64 = 16 << 30;
/// Largest text file in bytes.
pub const MOST_TEXT_BYTES: u64 = 64 << 20;
/// Attempts to find an unused id; each fails with a probability below 10⁻⁹.
const ID_ATTEMPTS: usize = 16;

/// One experiment's directory.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    id: String,
    /// True when a trial may replace one that an earlier run left unfinished.
    resumed: bool,
    /// Held lock: marks the experiment as in use.
    _lock: File,
}

impl Store {
    /// Creates a directory with a new id below `results`, which is created if missing.
    ///
    /// # Errors
    /// When the directory cannot be created or written.
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

    /// The experiment's id: 8 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The experiment's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Path of the summary.
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

    /// Checks that `bytes` bytes are free.
    ///
    /// # Errors
    /// When fewer are free. A file system that does not report its free space counts as large enough.
    pub fn has_room(&self, bytes: u64) -> Result<(), StoreError> {
        let Ok(space) = rustix::fs::statvfs(&self.directory) else { return Ok(()) };
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if free >= bytes {
            return Ok(());
        }
        let reason = format!(
            "the flows of the trials that are left take {bytes} bytes, and {free} are free; free some space, give another place with --results, or leave \
             trial.allFlows out"
        );
        let reason = std::io::Error::new(ErrorKind::StorageFull, reason);
        Err(at("write every flow to", &self.directory)(reason))
    }

    /// Writes the summary.
    ///
    /// # Errors
    /// When it cannot be written; the old one then remains.
    pub fn write_summary(&self, summary: &Summary) -> Result<(), StoreError> {
        replace_file(&self.directory, SUMMARY_FILE, &json(summary, &self.directory)?)
    }

    /// Starts the log of the trials with `records`; replaces an existing log.
    ///
    /// # Errors
    /// When it cannot be written; an existing log then remains.
    pub fn begin_log(&self, records: &[LogRecord]) -> Result<TrialLog, StoreError> {
        TrialLog::begin(&self.directory, records)
    }

    /// Writes the experiment's environment.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_environment(&self, environment: &Environment) -> Result<(), StoreError> {
        replace_file(&self.directory, ENVIRONMENT_FILE, &json(environment, &self.directory)?)
    }

    /// Stores a trial under its pair and `place`, as `trial.json` if it has a result, with the file of its
    /// flows if there is one.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it is then visible.
    pub fn add_trial(
        &self,
        place: &str,
        record: &TrialRecord,
        flows: Option<NamedTempFile>,
    ) -> Result<Filed, StoreError> {
        let name = if record.result.is_some() { "trial.json" } else { "incomplete.json" };
        let directory = format!("{}/{place}", record.pair);
        let bytes = json(record, &self.directory)?;
        let path = format!("{directory}/{name}");
        let mut files = BTreeMap::from([(path.clone(), FileSum::of_bytes(&bytes))]);
        if let Some(flows) = &flows {
            files.insert(format!("{directory}/{FLOWS_FILE}"), FileSum::of(flows.path())?);
        }
        let flows = flows.map(|file| (FLOWS_FILE, file));
        let place = inner(&self.directory, &directory)?;
        Enclosed::open(&self.directory)?.add_directory(&place, (name, &bytes), flows, self.resumed)?;
        Ok(Filed { path, files })
    }

    /// Stores the record of a planned trial and its samples in `directory`, relative to the summary; a trial that is
    /// run again takes the place of the earlier one.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it is then visible.
    pub fn add_planned_trial<R: PlannedResult>(
        &self,
        directory: &str,
        record: &R::Record,
        samples: NamedTempFile,
    ) -> Result<Filed, StoreError> {
        let name = if R::in_record(record).is_some() { "trial.json" } else { "incomplete.json" };
        let bytes =
            serde_json::to_vec(record).map_err(|error| at("write to", &self.directory)(error.into()))?;
        let path = format!("{directory}/{name}");
        let files = BTreeMap::from([
            (path.clone(), FileSum::of_bytes(&bytes)),
            (format!("{directory}/{SAMPLES_FILE}"), FileSum::of(samples.path())?),
        ]);
        let place = inner(&self.directory, directory)?;
        let samples = Some((SAMPLES_FILE, samples));
        Enclosed::open(&self.directory)?.add_directory(&place, (name, &bytes), samples, true)?;
        Ok(Filed { path, files })
    }
}

/// A stored trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filed {
    /// Path of its record, relative to the summary.
    pub path: String,
    /// Checksums of its files, by path relative to the summary.
    pub files: BTreeMap<String, FileSum>,
}

fn json(value: &impl Serialize, directory: &Path) -> Result<Vec<u8>, StoreError> {
    json::pretty(value).map_err(|error| at("write to", directory)(error.into()))
}

/// A path below `directory`.
fn inner(directory: &Path, path: &str) -> Result<InnerPath, StoreError> {
    InnerPath::parse(path).map_err(|error| {
        // The reason contains the path, with control characters escaped.
        at("use", directory)(std::io::Error::new(ErrorKind::InvalidInput, error))
    })
}

/// Reads a JSON file of the experiment in `directory`; `None` when it does not exist.
///
/// # Errors
/// When it cannot be read, or Linerate cannot have written it: the field, and the reason.
pub fn read_json<T: DeserializeOwned>(directory: &Path, path: &str) -> Result<Option<T>, StoreError> {
    let path = inner(directory, path)?;
    let enclosed = match Enclosed::open(directory) {
        Err(error) if error.reason.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let Some(bytes) = enclosed.read(&path, MOST_JSON_BYTES)? else { return Ok(None) };
    json::parse(&bytes).map(Some).map_err(|error| at("read", &enclosed.place(&path))(error.into()))
}

/// Reads a text file of the experiment in `directory`; `None` when it does not exist.
///
/// # Errors
/// When it exists and cannot be read.
pub fn read_text(directory: &Path, name: &str) -> Result<Option<String>, StoreError> {
    let path = inner(directory, name)?;
    let enclosed = Enclosed::open(directory)?;
    let Some(bytes) = enclosed.read(&path, MOST_TEXT_BYTES)? else { return Ok(None) };
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|error| at("read", &enclosed.place(&path))(std::io::Error::other(error.utf8_error())))
}

/// Reads the summary of the experiment `id` below `results`. During a run, and after a run was killed, it is
/// derived from the log of the trials.
///
/// # Errors
/// When it does not exist or is not a summary.
pub fn load(results: &Path, id: &str) -> Result<Summary, StoreError> {
    let directory = results.join(id);
    let written: Option<Summary> = read_json(&directory, SUMMARY_FILE)?;
    match written {
        Some(ended) if ended.has_ended() => Ok(ended),
        running => match derive(&directory)? {
            Some(derived) => Ok(derived.summary),
            // Older experiments have no log.
            None => running.ok_or_else(|| missing(results, id)),
        },
    }
}

/// Error: there is no experiment with that id, or it has no summary.
pub fn missing(results: &Path, id: &str) -> StoreError {
    let directory = results.join(id);
    let reason = if directory.is_dir() {
        "it has no summary.json: the run was killed before its first trial, or this is no experiment"
    } else {
        "there is no such experiment; `linerate results list` names those that are there, --results another place"
    };
    at("read", &directory)(std::io::Error::other(reason))
}

/// Error: the log of a started run is missing.
pub fn missing_log(directory: &Path) -> StoreError {
    let path = directory.join(trial_log::TRIAL_LOG_FILE);
    at("read", &path)(std::io::Error::other("it is not there any more, or its first line is not"))
}

/// Reads the record of a trial of the experiment `id`; `trial` is its path relative to the summary, as the
/// summary gives it.
///
/// # Errors
/// When it does not exist, is not a record, or is outside of the experiment's directory.
pub fn load_trial(results: &Path, id: &str, trial: &str) -> Result<TrialRecord, StoreError> {
    let directory = results.join(id);
    read_json(&directory, trial)?
        .ok_or_else(|| at("read", &directory.join(trial))(ErrorKind::NotFound.into()))
}

/// Writes a report into `directory`, which is created if missing; replaces a file of that name. Returns the
/// report's path.
///
/// # Errors
/// When it cannot be written; an old file then remains.
pub fn write_report(directory: &Path, name: &str, content: &[u8]) -> Result<PathBuf, StoreError> {
    let write = || {
        fs::create_dir_all(directory).map_err(at("create", directory))?;
        replace_file(directory, name, content)
    };
    write().map_err(|error| error.chosen_by("--to"))?;
    Ok(directory.join(name))
}

/// An experiment of a results directory: its id, and its summary or why that cannot be read.
pub type Listed = (String, Result<Summary, StoreError>);

/// The experiments below `results`, by id.
///
/// # Errors
/// When the directory cannot be read.
pub fn list(results: &Path) -> Result<Vec<Listed>, StoreError> {
    let ids = ids(results)?.into_iter();
    Ok(ids.map(|id| (id.clone(), load(results, &id))).collect())
}

/// The ids of the experiments below `results`, in order.
///
/// # Errors
/// When the directory cannot be read.
pub fn ids(results: &Path) -> Result<Vec<String>, StoreError> {
    let mut ids = Vec::new();
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
            ids.push(id.to_owned());
        }
    }
    ids.sort();
    Ok(ids)
}

/// True for 8 hexadecimal digits in lower case.
pub fn is_id(name: &str) -> bool {
    name.len() == 8 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
