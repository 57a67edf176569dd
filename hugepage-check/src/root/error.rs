//! Why something could not be read.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Why something could not be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{path}: {reason}", path = path.display())]
pub struct ReadError {
    /// The path as it was opened, root included.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// What was wrong with it.
    pub reason: Reason,
}

/// What was wrong with a path. Texts complete the sentence "PATH: …".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Nothing is there.
    #[error("not there")]
    Missing,
    /// Permission bits or a security module refuse it.
    #[error("permission denied")]
    Denied,
    /// A directory, socket, pipe or device where a plain file was expected.
    #[error("not a plain file")]
    NotAFile,
    /// Something else where a directory was expected.
    #[error("not a directory")]
    NotADirectory,
    /// The file is larger than the limit, in bytes.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    /// The directory has more names than the limit.
    #[error("more than {0} entries")]
    TooMany(usize),
    /// The text, or a name in the directory, is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The content is not what the kernel documents; says what was expected and what was found.
    #[error("{0}")]
    Malformed(String),
    /// Anything else the kernel answers.
    #[error("{0}")]
    Io(String),
}

// serde refuses a PathBuf that is not UTF-8, and a report must not fail over a name.
fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// At most 40 characters of a text, quoted and escaped: enough to recognise it, too little to flood a
/// terminal.
pub fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

/// The reason behind what the kernel answers.
pub(super) fn reason_of(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::NotFound => Reason::Missing,
        io::ErrorKind::PermissionDenied => Reason::Denied,
        io::ErrorKind::NotADirectory => Reason::NotADirectory,
        io::ErrorKind::IsADirectory => Reason::NotAFile,
        _ => Reason::Io(error.to_string()),
    }
}
