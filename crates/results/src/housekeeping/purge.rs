//! Removal of experiments. Only directories written by Linerate, directly below the results directory and not
//! in use by a run, are removed.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::store::atomic::sync_directory;

use crate::store::error;
use crate::store::lock::{hold, is_in_use};
use crate::store::resume::status;
use crate::store::{self, DOCUMENT_FILE, SUMMARY_FILE, StoreError, UNFINISHED, is_id};
use crate::summary::Status;

/// Why an experiment is not removed.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// It cannot be read or removed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The name is not an experiment id.
    #[error(
        "'{0}' is not the id of an experiment, which is 8 hexadecimal digits; see `linerate results list`"
    )]
    NoId(String),
    /// The path is not an experiment.
    #[error("{} is {what}; it is not removed, for only directories that linerate made are", path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
        /// Kind of the object at the path.
        what: &'static str,
    },
    /// A run uses it.
    #[error("{id} still runs; it is not removed; end the run first")]
    Runs {
        /// The experiment's id.
        id: String,
    },
}

/// Ids of experiments that are neither complete nor in use by a run. An experiment whose status cannot be
/// read is left out: it may be complete.
///
/// # Errors
/// When the results directory cannot be read.
pub fn incomplete(results: &Path) -> Result<Vec<String>, StoreError> {
    let is_unfinished =
        |id: &String| status(&results.join(id)).is_ok_and(|status| status != Some(Status::Complete));
    let mut ids = store::ids(results)?;
    ids.retain(|id| is_unfinished(id) && may_be_removed(results, id).is_ok());
    Ok(ids)
}

/// Checks that `id` of `results` is an experiment that may be removed. Returns its directory.
///
/// # Errors
/// Why it may not be removed.
pub fn may_be_removed(results: &Path, id: &str) -> Result<PathBuf, PurgeError> {
    if !is_id(id) {
        return Err(PurgeError::NoId(id.to_owned()));
    }
    let path = results.join(id);
    let kind = fs::symlink_metadata(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => store::missing(results, id),
        _ => at("read", &path)(error),
    })?;
    let kind = kind.file_type();
    let foreign = |what| Err(PurgeError::Foreign { path: path.clone(), what });
    if kind.is_symlink() {
        return foreign("a symbolic link");
    }
    if !kind.is_dir() {
        return foreign("not a directory");
    }
    let is_ours = [SUMMARY_FILE, DOCUMENT_FILE].iter().any(|name| path.join(name).is_file());
    if !is_ours && fs::read_dir(&path).map_err(at("read", &path))?.next().is_some() {
        return foreign("not an experiment: it has neither summary.json nor experiment.yaml");
    }
    if is_in_use(&path)? {
        return Err(PurgeError::Runs { id: id.to_owned() });
    }
    Ok(path)
}

/// Removes the experiment `id` of `results`: first from the list of results, by a rename, and then from the
/// disk.
///
/// # Errors
/// When it is not an experiment, is in use, or cannot be removed.
pub fn purge(results: &Path, id: &str) -> Result<(), PurgeError> {
    let path = may_be_removed(results, id)?;
    // A run may be about to resume it.
    let _lock = hold(&path).map_err(|error| match error.reason.kind() {
        ErrorKind::WouldBlock => PurgeError::Runs { id: id.to_owned() },
        _ => error.into(),
    })?;
    let leaving = results.join(format!("{UNFINISHED}purge-{id}"));
    remove(&leaving)?;
    fs::rename(&path, &leaving).map_err(at("rename", &path))?;
    sync_directory(results).map_err(StoreError::in_place)?;
    remove(&leaving)?;
    Ok(())
}

/// Experiments are removed where they are: no other place would help.
fn at<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> StoreError + 'p {
    move |reason| error::at(action, path)(reason).in_place()
}

/// Removes a directory if it exists. Symbolic links in it are removed, their targets stay.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Ids of which killed purges have left remains in `results`.
///
/// # Errors
/// When the directory cannot be read.
pub fn unfinished(results: &Path) -> Result<Vec<String>, StoreError> {
    let prefix = format!("{UNFINISHED}purge-");
    let mut ids = Vec::new();
    for entry in fs::read_dir(results).map_err(at("read", results))? {
        let name = entry.map_err(at("read", results))?.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        ids.extend(id.filter(|id| is_id(id)).map(str::to_owned));
    }
    Ok(ids)
}

/// Removes the remains of killed purges from `results`.
///
/// # Errors
/// When they cannot be removed.
pub fn finish_earlier(results: &Path) -> Result<(), StoreError> {
    unfinished(results)?.iter().try_for_each(|id| remove(&results.join(format!("{UNFINISHED}purge-{id}"))))
}
