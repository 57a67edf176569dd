//! Durable directories and atomic writes of single files.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::path::Path;

use super::enclosed::Enclosed;
use super::error::{StoreError, at};
use super::inner_path::InnerPath;

/// Syncs a directory's entries to disk.
pub fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(at("sync", path))
}

/// Replaces a file atomically: readers see the old file or the new one.
pub fn replace_file(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let path = InnerPath::parse(name)
        .map_err(|error| at("write", &directory.join(name))(Error::new(ErrorKind::InvalidFilename, error)))?;
    Enclosed::open(directory)?.replace(&path, bytes)
}
