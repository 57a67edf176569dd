//! Locks. A run holds a lock on its experiment's directory, so that the experiment is not removed or taken
//! for ended meanwhile. The kernel releases the lock when the process ends, in whatever way.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::error::{StoreError, at};

/// Locks an experiment's directory until the file is dropped.
pub(crate) fn hold(directory: &Path) -> Result<File, StoreError> {
    let file = File::open(directory).map_err(at("lock", directory))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        // A file system without locks does not prevent a run.
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(error) => Err(at("lock", directory)(error.into())),
    }
}

/// Waits for the exclusive lock on the shared parts of a results directory; the lock is held until the file
/// is dropped.
pub fn alone(results: &Path) -> Result<File, StoreError> {
    let file = File::open(results).map_err(at("lock", results))?;
    match file.lock() {
        Err(error) if error.kind() != std::io::ErrorKind::Unsupported => Err(at("lock", results)(error)),
        _ => Ok(file),
    }
}

/// True while a run uses the experiment's directory.
pub fn is_in_use(directory: &Path) -> Result<bool, StoreError> {
    let file = File::open(directory).map_err(at("read", directory))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(true),
        _ => Ok(false),
    }
}
