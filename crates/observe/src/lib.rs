//! The host beside a trial: bytes of the kernel in, numbers out.
//!
//! The parsers in [`procfs`], [`netlink`] and [`queues`] are pure: they take bytes and fill values whose
//! memory is used again. [`source`] reads files, each with its descriptor kept open, and keeps two readings
//! apart; [`host`] puts the sources together. What the kernel does not tell is [`NotKnown`] with the reason,
//! and never 0.
//!
//! Most of these files describe the whole node, also inside a container: CPU times, softirqs, interrupts and
//! softnet. Interfaces, their queues and the protocols' counters are those of the reader's network namespace.

pub mod bytes;
pub mod clock;
pub mod cost;
pub mod counter;
pub mod host;
pub mod interrupts;
pub mod netlink;
pub mod procfs;
pub mod queues;
pub mod source;

use std::path::{Path, PathBuf};

/// Why something is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKnown {
    /// Nobody has read it yet, or only once.
    #[error("not read yet")]
    NotRead,
    /// The file cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        reason: String,
        /// True when there is no such file.
        is_absent: bool,
    },
    /// The file is empty. Container runtimes mask files so.
    #[error("{path}: empty, as container runtimes mask it", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file has another form than the kernel documents.
    #[error("{path}: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected.
        reason: &'static str,
    },
    /// Another reason, in one sentence.
    #[error("{0}")]
    Other(String),
}

impl NotKnown {
    fn unreadable(path: &Path, reason: &std::io::Error) -> Self {
        let is_absent = reason.kind() == std::io::ErrorKind::NotFound;
        Self::Unreadable { path: path.to_owned(), reason: reason.to_string(), is_absent }
    }

    /// True when the kernel has no such file, as one without IPv6 has no counters of it.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Unreadable { is_absent: true, .. })
    }
}
