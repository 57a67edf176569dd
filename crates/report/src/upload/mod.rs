//! Upload of results to Weights & Biases, by its own SDK in the user's Python.
//!
//! A small embedded script reads the experiment as JSON from standard input. The SDK handles W&B's keys and
//! addresses itself (`WANDB_*`, `wandb login`); this program does not see them.

mod payload;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use self::payload::payload;
use linerate_results::store::{Recorded, StoreError};

const SCRIPT: &str = include_str!("wandb_upload.py");

/// Default project of the uploaded runs.
pub const PROJECT: &str = "dpdk-benchmarks";

/// Result of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Name of the run.
    pub run: String,
    /// Its project.
    pub project: String,
    /// True when nothing was sent: the run in `directory` can be uploaded by `wandb sync`.
    pub offline: bool,
    /// Address of the run's page; null when offline.
    pub url: Option<String>,
    /// The SDK's own directory of the run.
    pub directory: PathBuf,
    /// Rows of history: one per sample.
    pub history_rows: usize,
    /// Files of the report in the artifact.
    pub report_files: usize,
}

/// Kind of a refusal, which selects the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refusal {
    /// The SDK is not installed.
    Sdk,
    /// The key is missing or refused.
    Key,
    /// W&B cannot be reached.
    Network,
    /// Anything else.
    Other,
}

/// Why an experiment was not uploaded. The recorded experiment is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Python cannot be executed.
    #[error("cannot run {}: {reason}; install Python 3, or name it with --python", python.display())]
    NoPython {
        /// The program.
        python: PathBuf,
        /// The reason.
        reason: std::io::Error,
    },
    /// Python ended without an answer.
    #[error("{} ended without an answer ({status}); is it Python 3? Name another with --python", python.display())]
    NoAnswer {
        /// The program.
        python: PathBuf,
        /// Its exit status.
        status: std::process::ExitStatus,
    },
    /// The SDK or W&B refused.
    #[error("{}; the results are unchanged in {}", explain(*kind, message, python), directory.display())]
    Refused {
        /// The kind.
        kind: Refusal,
        /// The message.
        message: String,
        /// Python that ran the SDK.
        python: PathBuf,
        /// The experiment's directory.
        directory: PathBuf,
    },
}

/// Text with the problem and the remedy.
fn explain(kind: Refusal, message: &str, python: &Path) -> String {
    let message = message.trim().trim_end_matches('.');
    let python = python.display();
    match kind {
        Refusal::Sdk => format!(
            "{python} has no W&B SDK ({message}); install it with `{python} -m pip install wandb`, or name a Python that has it with --python"
        ),
        Refusal::Key => format!(
            "W&B does not let us in: {message}; set WANDB_API_KEY or run `wandb login`, or set WANDB_MODE=offline to keep the run for `wandb sync`"
        ),
        Refusal::Network => format!(
            "W&B cannot be reached: {message}; upload again when it can, or set WANDB_MODE=offline to keep the run for `wandb sync`"
        ),
        Refusal::Other => format!("W&B's SDK failed: {message}"),
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Refused { error: Said },
    Done(Uploaded),
}

#[derive(Deserialize)]
struct Said {
    kind: Refusal,
    message: String,
}

/// Uploads an experiment as one run of `project`, by the SDK of `python`, with the report beside it and the
/// files `report`.
///
/// # Errors
/// When the experiment cannot be read, or the SDK is missing or refuses.
pub fn upload(
    recorded: &Recorded,
    project: &str,
    report: &[PathBuf],
    python: &Path,
) -> Result<Uploaded, UploadError> {
    let payload = payload(recorded, project, report)?.to_string();
    let not_run = |reason| UploadError::NoPython { python: python.to_owned(), reason };
    let mut child = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(not_run)?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(payload.as_bytes()) {
            // The script ended before it had read everything; its answer gives the reason.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(not_run(error)),
            _ => {}
        }
    }
    let output = child.wait_with_output().map_err(not_run)?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next_back().map(serde_json::from_str) {
        Some(Ok(Answer::Done(uploaded))) => Ok(uploaded),
        Some(Ok(Answer::Refused { error: Said { kind, message } })) => Err(UploadError::Refused {
            kind,
            message,
            python: python.to_owned(),
            directory: recorded.directory.clone(),
        }),
        _ => Err(UploadError::NoAnswer { python: python.to_owned(), status: output.status }),
    }
}
