//! A recorded experiment on disk, for exports, checks and reports.

use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::enclosed::Enclosed;
use super::error::at;
use super::record::TrialRecord;
use super::{StoreError, inner, is_id, load, read_json, read_text};
use crate::planned::PlannedResult;
use crate::streams::{StreamsTrialRecord, StreamsTrialSummary};
use crate::summary::Summary;

/// A recorded experiment on disk.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its directory.
    pub directory: PathBuf,
    /// Its summary.
    pub summary: Summary,
}

impl Recorded {
    /// Opens the experiment `id` below `results`.
    ///
    /// # Errors
    /// When `id` is not an id, or the summary does not exist or cannot be read.
    pub fn open(results: &Path, id: &str) -> Result<Self, StoreError> {
        if !is_id(id) {
            let reason = "an id is 8 hexadecimal digits; see `linerate results list`";
            return Err(at("read", &results.join(id))(std::io::Error::other(reason)));
        }
        Ok(Self { directory: results.join(id), summary: load(results, id)? })
    }

    /// Reads the trials with a result, in the order in which they ran.
    pub fn trials(&self) -> impl Iterator<Item = Result<TrialRecord, StoreError>> {
        self.summary.trials.iter().map(|trial| self.trial(&trial.trial))
    }

    /// Reads a trial's file by its path relative to the summary.
    ///
    /// # Errors
    /// When it does not exist, cannot be read, or is outside of the experiment's directory.
    pub fn trial(&self, path: &str) -> Result<TrialRecord, StoreError> {
        read_json(&self.directory, path)?
            .ok_or_else(|| at("read", &self.directory.join(path))(ErrorKind::NotFound.into()))
    }

    /// Reads the file of a planned trial by its path relative to the summary.
    ///
    /// # Errors
    /// As of [`Recorded::trial`].
    pub fn planned_trial<R: PlannedResult>(&self, path: &str) -> Result<R::Record, StoreError> {
        read_json(&self.directory, path)?
            .ok_or_else(|| at("read", &self.directory.join(path))(ErrorKind::NotFound.into()))
    }

    /// Reads the file of a trial of streams; as of [`Recorded::planned_trial`].
    ///
    /// # Errors
    /// As of [`Recorded::trial`].
    pub fn streams_trial(&self, path: &str) -> Result<StreamsTrialRecord, StoreError> {
        self.planned_trial::<StreamsTrialSummary>(path)
    }

    /// Passes every sample of a planned trial to `each`, in the order of the file; `path` is relative to the summary.
    ///
    /// # Errors
    /// When the file does not exist, cannot be read, or has a line that Linerate cannot have written.
    pub fn samples<S: DeserializeOwned>(
        &self,
        path: &str,
        mut each: impl FnMut(S),
    ) -> Result<(), StoreError> {
        let place = self.directory.join(path);
        let inner = inner(&self.directory, path)?;
        let file = Enclosed::open(&self.directory)?
            .open_file(&inner, u64::MAX)?
            .ok_or_else(|| at("read", &place)(ErrorKind::NotFound.into()))?;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(at("read", &place))?;
            each(serde_json::from_str(&line).map_err(|error| at("read", &place)(error.into()))?);
        }
        Ok(())
    }

    /// Reads a text file of the experiment; `None` when it does not exist.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    pub fn text(&self, name: &str) -> Result<Option<String>, StoreError> {
        read_text(&self.directory, name)
    }
}
