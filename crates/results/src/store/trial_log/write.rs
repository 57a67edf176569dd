//! Appending to the log.

use std::fs::File;
use std::io::{Error, Write};
use std::path::{Path, PathBuf};

use super::{LogRecord, TRIAL_LOG_FILE};
use crate::store::atomic::replace_file;
use crate::store::enclosed::Enclosed;
use crate::store::error::at;
use crate::store::{StoreError, inner};

/// The log of a run, open for appending.
#[derive(Debug)]
pub struct TrialLog {
    path: PathBuf,
    file: File,
    /// Length of the complete lines in bytes.
    whole: u64,
    /// True while a partial line may follow them.
    has_rest: bool,
}

impl TrialLog {
    /// Starts a log with `records`, replaces an existing one, and opens it for appending.
    ///
    /// # Errors
    /// When it cannot be written; an existing log then remains.
    pub fn begin(directory: &Path, records: &[LogRecord]) -> Result<Self, StoreError> {
        let path = directory.join(TRIAL_LOG_FILE);
        let lines = lines(&path, records)?;
        replace_file(directory, TRIAL_LOG_FILE, &lines)?;
        let file = Enclosed::open(directory)?.append(&inner(directory, TRIAL_LOG_FILE)?)?;
        Ok(Self { path, file, whole: lines.len() as u64, has_rest: false })
    }

    /// Appends `records` and syncs them to disk.
    ///
    /// # Errors
    /// When they cannot be written; then the log has none of them.
    pub fn append(&mut self, records: &[LogRecord]) -> Result<(), StoreError> {
        let lines = lines(&self.path, records)?;
        let written = self.cut_rest().and_then(|()| self.file.write_all(&lines));
        match written.and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.whole += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.has_rest = true;
                let _ = self.cut_rest();
                Err(at("append to", &self.path)(error))
            }
        }
    }

    /// Simulates a write that failed halfway and could not be undone.
    #[cfg(test)]
    pub(super) fn leave_rest(&mut self, part: &[u8]) {
        let _ = self.file.write_all(part);
        self.has_rest = true;
    }

    /// Removes the partial line of a failed write; a later line must not be appended to it.
    fn cut_rest(&mut self) -> Result<(), Error> {
        if self.has_rest {
            self.file.set_len(self.whole)?;
            self.has_rest = false;
        }
        Ok(())
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
