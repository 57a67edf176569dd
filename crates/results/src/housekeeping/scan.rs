//! Comparison of an experiment with its document: complete, incomplete and missing trials.

use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use crate::store::record::TrialRecord;
use crate::store::{DOCUMENT_FILE, Recorded, StoreError};
use linerate_experiment::plan::PlanError;
use linerate_experiment::strategy::strategy;
use linerate_experiment::{Experiment, ExperimentError, Overrides};

/// State of a trial on one pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its result is recorded and readable.
    Complete,
    /// It was started and has a record of its failure, or its result is no longer readable.
    Incomplete,
    /// It has no record.
    Missing,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Complete => "complete",
            State::Incomplete => "incomplete",
            State::Missing => "missing",
        })
    }
}

/// A planned trial of the experiment, on one pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Name of the profile.
    pub profile: String,
    /// Name of the pair.
    pub pair: String,
    /// Number of the repeat.
    pub repeat: u32,
    /// State of its records.
    pub state: State,
}

/// Planned trials and their states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scan {
    /// The experiment's id.
    pub id: String,
    /// Its trials, in the order of the plan.
    pub trials: Vec<Planned>,
}

impl Scan {
    /// Number of trials in a state.
    pub fn count(&self, state: State) -> usize {
        self.trials.iter().filter(|trial| trial.state == state).count()
    }
}

/// Why the planned trials are unknown.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The summary cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The document cannot be read.
    #[error(transparent)]
    Document(#[from] ExperimentError),
    /// The filter selects no profile of the document.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Compares the experiment `id` of `results` with its document.
///
/// # Errors
/// When its summary or its document cannot be read.
pub fn scan(results: &Path, id: &str) -> Result<Scan, ScanError> {
    let recorded = Recorded::open(results, id)?;
    let path = recorded.directory.join(DOCUMENT_FILE);
    let document = recorded.text(DOCUMENT_FILE)?;
    let document = document.ok_or_else(|| ExperimentError::Unreadable {
        path: path.clone(),
        reason: ErrorKind::NotFound.into(),
    })?;
    let experiment = Experiment::parse(&document, &path.display().to_string(), &Overrides::default())?;
    let strategy = strategy(&experiment, recorded.summary.experiment.filter.as_deref())?;
    let (planned, _) = recorded.summary.replay(strategy.as_ref());
    let topology = experiment.topology();
    let mut trials = Vec::new();
    for trial in &planned {
        for path in topology.paths().filter(|path| trial.loads(&path.name)) {
            let pair = path.name.clone();
            let state = state(&recorded, &format!("{pair}/{}", trial.directory()));
            trials.push(Planned { profile: trial.name.clone(), pair, repeat: trial.repeat, state });
        }
    }
    Ok(Scan { id: id.to_owned(), trials })
}

fn state(recorded: &Recorded, place: &str) -> State {
    let is_result = |record: TrialRecord| record.result.is_some();
    if recorded.trial(&format!("{place}/trial.json")).is_ok_and(is_result) {
        State::Complete
    } else if recorded.directory.join(place).exists() {
        State::Incomplete
    } else {
        State::Missing
    }
}
