//! Read errors.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Error of reading a path, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{path}: {reason}", path = path.display())]
pub struct ReadError {
    /// The path as it was opened, root included.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Reason of the failure.
    pub reason: Reason,
}

/// Reason why a path could not be read. Texts complete the sentence "PATH: …".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Nothing exists at the path.
    #[error("not there")]
    Missing,
    /// Permission bits or a security module refuse it.
    #[error("permission denied")]
    Denied,
    /// A directory, socket, pipe or device where a plain file was expected.
    #[error("not a plain file")]
    NotAFile,
    /// Not a directory where one was expected.
    #[error("not a directory")]
    NotADirectory,
    /// The file exceeds the limit, in bytes.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    /// The directory exceeds the limit of names.
    #[error("more than {0} entries")]
    TooMany(usize),
    /// The text, or a name in the directory, is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The content deviates from the kernel's documentation; states the expected and the found
    /// content.
    #[error("{0}")]
    Malformed(String),
    /// Any other error of the kernel.
    #[error("{0}")]
    Io(String),
}

// serde rejects a PathBuf that is not UTF-8, and a name must not make a report fail.
fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// At most 40 characters of a text, quoted and escaped: enough to recognise it, too few to flood a
/// terminal.
pub fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

/// The reason for a kernel error.
pub(super) fn reason_of(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::NotFound => Reason::Missing,
        io::ErrorKind::PermissionDenied => Reason::Denied,
        io::ErrorKind::NotADirectory => Reason::NotADirectory,
        io::ErrorKind::IsADirectory => Reason::NotAFile,
        _ => Reason::Io(error.to_string()),
    }
}
