//! How the kernel spreads an interface's packets over CPUs: read without privilege, changed for a while, and
//! restored.
//!
//! [`settings`] reads everything there is to know of an interface, and [`queues`] which queue interrupts which
//! CPU. A [`place::Place`] is one setting of the kernel; [`system::System`] reads and writes places below a root
//! directory and through [`ethtool::Ethtool`], the one way to the driver. [`plan`] is pure: from what is wanted
//! and what there is to places and values. [`tuning::Tuning`] changes a host in this order: lock, journal on
//! disk, values, verification. It restores when it is dropped; what a killed process left behind is restored
//! from its [`journal`].

pub mod ethtool;
pub mod journal;
pub mod place;
pub mod plan;
pub mod queues;
pub mod settings;
pub mod system;
pub mod tuning;

use std::io;
use std::path::{Path, PathBuf};

/// Why settings cannot be read, changed or restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the kernel, or of the journal.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        reason: io::Error,
    },
    /// A request to the driver.
    #[error("the driver refuses {request}: {reason}")]
    Driver {
        /// What was asked for, by the option of `ethtool`.
        request: &'static str,
        /// The kernel's reason.
        reason: io::Error,
    },
    /// A file with other content than the kernel documents, or a damaged journal.
    #[error("{path}: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another tuner of the same interface or host is at work.
    #[error(
        "another process changes the settings of {0} and has not ended, or a command that it ran has not: wait for it, or end it with SIGTERM"
    )]
    Busy(String),
    /// Anything else, in one sentence with the remedy.
    #[error("{0}")]
    Other(String),
}

impl Error {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |reason| Self::File { path, reason }
    }
}
