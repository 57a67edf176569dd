//! Appending to the log.

use std::fs::File;
use std::io::{Error, Write};
use std::path::{Path, PathBuf};

use super::{LogRecord, TRIAL_LOG_FILE};
use crate::store::atomic::{at, replace_file};
use crate::store::enclosed::Enclosed;
use crate::store::{StoreError, inner};

/// The log of a run, open for appending.
#[derive(Debug)]
pub struct TrialLog {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    whole: u64,
}

impl TrialLog {
    /// Begins a log with `records` in the place of one that is there, and opens it for appending.
    ///
    /// # Errors
    /// When it cannot be written; one that was there is then still there.
    pub fn begin(directory: &Path, records: &[LogRecord]) -> Result<Self, StoreError> {
        let path = directory.join(TRIAL_LOG_FILE);
        let lines = lines(&path, records)?;
        replace_file(directory, TRIAL_LOG_FILE, &lines)?;
        let file = Enclosed::open(directory)?.append(&inner(directory, TRIAL_LOG_FILE)?)?;
        Ok(Self { path, file, whole: lines.len() as u64 })
    }

    /// Appends `records` and has them on the disk.
    ///
    /// # Errors
    /// When they cannot be written; none of them is then in the log.
    pub fn append(&mut self, records: &[LogRecord]) -> Result<(), StoreError> {
        let lines = lines(&self.path, records)?;
        match self.file.write_all(&lines).and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.whole += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A later line must not be joined to the part of this one that was written.
                let _ = self.file.set_len(self.whole);
                Err(at("append to", &self.path)(error))
            }
        }
    }
}

fn lines(path: &Path, records: &[LogRecord]) -> Result<Vec<u8>, StoreError> {
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, record)
            .map_err(|error| at("write to", path)(Error::from(error)))?;
        lines.push(b'\n');
    }
    Ok(lines)
}
