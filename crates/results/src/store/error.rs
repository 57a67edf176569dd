//! Errors of the store.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A file or directory that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {reason}{}", path.display(), remedy(action, reason.kind()))]
pub struct StoreError {
    /// The failed action.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The reason.
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
        ErrorKind::NotFound => "; give the path of an existing one",
        _ => "",
    }
}

/// Adds action and path to an I/O error.
pub fn at<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(std::io::Error) -> StoreError + 'p {
    move |reason| StoreError { action, path: path.to_owned(), reason }
}
