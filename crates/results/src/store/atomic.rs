//! Files and directories that are there completely or not at all.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::enclosed::Enclosed;
use super::inner_path::InnerPath;

/// Names that begin with this are unfinished; readers pass over them.
pub const UNFINISHED: &str = ".part-";

/// A file or directory cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {reason}{}", path.display(), remedy(action, reason.kind()))]
pub struct StoreError {
    /// What was to be done.
    pub action: &'static str,
    /// To what.
    pub path: PathBuf,
    /// Why it failed.
    pub reason: std::io::Error,
}

fn remedy(action: &str, kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; free some space, or choose another place with --results or --out"
        }
        ErrorKind::PermissionDenied if action == "read" => "; read it as a user who may",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; choose a directory that you may write to with --results or --out"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "; choose another place with --results or --out"
        }
        ErrorKind::NotFound => "; give the path of one that is there",
        _ => "",
    }
}

/// Gives an I/O error its place.
pub fn at<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(std::io::Error) -> StoreError + 'p {
    move |reason| StoreError { action, path: path.to_owned(), reason }
}

/// Has the names in a directory on the disk.
pub fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(at("sync", path))
}

/// Puts a file in the place of the one of that name: readers see the old one or the new one.
pub fn replace_file(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let path = InnerPath::parse(name).map_err(|error| {
        at("write", &directory.join(name))(std::io::Error::new(ErrorKind::InvalidFilename, error))
    })?;
    Enclosed::open(directory)?.replace(&path, bytes)
}
