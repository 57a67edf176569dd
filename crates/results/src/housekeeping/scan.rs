//! Which trials of an experiment are complete, and which are still to be run.

use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use crate::store::record::TrialRecord;
use crate::store::{DOCUMENT_FILE, Recorded, StoreError};
use linerate_experiment::plan::{PlanError, plan};
use linerate_experiment::{Experiment, ExperimentError, Overrides};

/// How far a trial came on one pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its result is recorded and readable.
    Complete,
    /// It was begun; what is known of it is recorded, or what was recorded is no longer readable.
    Incomplete,
    /// Nothing is recorded of it.
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

/// A trial that the experiment's document calls for, on one pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Name of the profile.
    pub profile: String,
    /// Which pair.
    pub pair: String,
    /// Which time the profile is run.
    pub repeat: u32,
    /// How far it came.
    pub state: State,
}

/// What was to be run, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scan {
    /// The experiment's id.
    pub id: String,
    /// Its trials, in the order of the plan.
    pub trials: Vec<Planned>,
}

impl Scan {
    /// Trials in a state.
    pub fn count(&self, state: State) -> usize {
        self.trials.iter().filter(|trial| trial.state == state).count()
    }
}

/// An experiment does not tell what was to be run.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Its result cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its document cannot be read.
    #[error(transparent)]
    Document(#[from] ExperimentError),
    /// Its filter selects nothing of its document.
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
    let plan = plan(&experiment, recorded.summary.experiment.filter.as_deref())?;
    let topology = experiment.topology();
    let mut trials = Vec::new();
    for trial in &plan.trials {
        for path in topology.paths() {
            let pair = path.name.clone();
            let state = state(&recorded, &format!("{pair}/{}", trial.directory()));
            trials.push(Planned { profile: trial.profile.name(), pair, repeat: trial.repeat, state });
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
