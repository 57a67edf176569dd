//! File of a trial's samples: each is written as it arrives, so that memory does not depend on their number.

use std::io::{BufWriter, Write};
use std::path::Path;

use linerate_results::store::error::at;
use linerate_results::store::{StoreError, UNFINISHED};
use serde::Serialize;
use tempfile::NamedTempFile;

/// A file in progress.
#[derive(Debug)]
pub(super) struct SampleFile {
    file: BufWriter<NamedTempFile>,
    error: Option<std::io::Error>,
}

impl SampleFile {
    /// An empty file in `directory`.
    pub(super) fn new(directory: &Path) -> Result<Self, StoreError> {
        let file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory);
        let file = file.map_err(at("create a file in", directory))?;
        Ok(Self { file: BufWriter::new(file), error: None })
    }

    /// Appends a line. The first error is told by [`Self::finish`].
    pub(super) fn add(&mut self, line: &impl Serialize) {
        if self.error.is_none() {
            let written = serde_json::to_writer(&mut self.file, line).map_err(std::io::Error::from);
            self.error = written.and_then(|()| self.file.write_all(b"\n")).err();
        }
    }

    /// The whole file.
    ///
    /// # Errors
    /// When a sample could not be written.
    pub(super) fn finish(self, directory: &Path) -> Result<NamedTempFile, StoreError> {
        let failed = |reason| at("write samples in", directory)(reason);
        match self.error {
            Some(error) => Err(failed(error)),
            None => self.file.into_inner().map_err(|error| failed(error.into_error())),
        }
    }
}
