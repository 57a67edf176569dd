//! Errors of the store.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A file or directory that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {reason}{}", path.display(), remedy(action, reason.kind(), *choice))]
pub struct StoreError {
    /// The failed action.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The reason.
    pub reason: std::io::Error,
    /// The option that chooses another place, which differs between commands; `None` where no other place
    /// would help.
    choice: Option<&'static str>,
}

impl StoreError {
    /// The same error of a command whose option `choice` chooses another place.
    #[must_use]
    pub fn chosen_by(self, choice: &'static str) -> Self {
        Self { choice: Some(choice), ..self }
    }

    /// The same error of a command that can do its work in this place alone.
    #[must_use]
    pub fn in_place(self) -> Self {
        Self { choice: None, ..self }
    }
}

fn remedy(action: &str, kind: ErrorKind, choice: Option<&str>) -> String {
    match (kind, choice) {
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, Some(choice)) => {
            format!("; free some space, or choose another place with {choice}")
        }
        (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, None) => "; free some space".to_owned(),
        (ErrorKind::PermissionDenied, _) if action == "read" => "; read it as a user who may".to_owned(),
        (ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem, Some(choice)) => {
            format!("; choose a directory that you may write to with {choice}")
        }
        (ErrorKind::PermissionDenied, None) => "; do it as a user who may write there".to_owned(),
        (ErrorKind::ReadOnlyFilesystem, None) => "; make the file system writable".to_owned(),
        (ErrorKind::NotADirectory | ErrorKind::AlreadyExists, Some(choice)) => {
            format!("; choose another place with {choice}")
        }
        (ErrorKind::NotFound, _) => "; give the path of an existing one".to_owned(),
        _ => String::new(),
    }
}

/// Adds action and path to an I/O error of a command whose results have their place by `--results`, as most
/// have.
pub fn at<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(std::io::Error) -> StoreError + 'p {
    move |reason| StoreError { action, path: path.to_owned(), reason, choice: Some("--results") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_names_the_option_that_the_command_has() {
        let error = |kind: ErrorKind| at("write", Path::new("f"))(kind.into());
        for (kind, usual, of_exports, in_place) in [
            (
                ErrorKind::StorageFull,
                "; free some space, or choose another place with --results",
                "; free some space, or choose another place with --to",
                "; free some space",
            ),
            (
                ErrorKind::PermissionDenied,
                "; choose a directory that you may write to with --results",
                "; choose a directory that you may write to with --to",
                "; do it as a user who may write there",
            ),
            (
                ErrorKind::ReadOnlyFilesystem,
                "; choose a directory that you may write to with --results",
                "; choose a directory that you may write to with --to",
                "; make the file system writable",
            ),
        ] {
            let texts = [error(kind), error(kind).chosen_by("--to"), error(kind).in_place()];
            for (text, remedy) in
                texts.map(|error| error.to_string()).iter().zip([usual, of_exports, in_place])
            {
                assert!(text.starts_with("cannot write f: ") && text.ends_with(remedy), "{text}");
            }
        }
    }
}
