//! Comparison of an experiment with its document: complete, incomplete and missing trials.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use linerate_experiment::engines::EnginesPlan;
use linerate_experiment::http::{HttpPlan, HttpTrial};
use linerate_experiment::planned::{PlannedTrial, TrialProfile};
use linerate_experiment::streams::StreamsPlan;
use serde::Serialize;

use crate::http::{HttpSearchSpec, HttpTrialSummary};
use crate::planned::PlannedResult;
use crate::store::record::TrialRecord;
use crate::store::{DOCUMENT_FILE, Recorded, StoreError};
use crate::streams::StreamsTrialSummary;
use crate::summary::Summary;
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
    /// Name of the pair; `streams` or `http` for trials of all agents together.
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
    /// Text that the names of its profiles contain; `None` when it has all profiles of its document.
    #[serde(skip)]
    pub filter: Option<String>,
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
    let filter = recorded.summary.experiment.filter.as_deref();
    if let Some(plan) = StreamsPlan::of(&experiment, filter)? {
        add::<StreamsTrialSummary, _>(&recorded, "streams", &plan.trials, &mut trials);
    }
    if let Some(plan) = EnginesPlan::of(&experiment, filter)? {
        let datagrams: Vec<_> = plan.datagrams().cloned().collect();
        add::<StreamsTrialSummary, _>(&recorded, "streams", &datagrams, &mut trials);
    }
    if let Some(plan) = HttpPlan::of(&experiment, filter)? {
        add::<HttpTrialSummary, _>(&recorded, "http", &http_trials(&recorded.summary, &plan), &mut trials);
    }
    let filter = recorded.summary.experiment.filter;
    Ok(Scan { id: id.to_owned(), filter, trials })
}

/// Trials of HTTP: those of the plan; of searches, those with a result and what they ask for next.
fn http_trials(summary: &Summary, plan: &HttpPlan) -> Vec<HttpTrial> {
    let Some(searches) = &plan.searches else { return plan.trials.clone() };
    let spec = HttpSearchSpec::from(&searches.section);
    let of = |result: &HttpTrialSummary| Some((result.label(), spec.outcome(result)?));
    let outcomes: BTreeMap<_, _> = summary.http.iter().filter_map(of).collect();
    let (mut trials, next) = searches.replay(|trial| outcomes.get(&trial.label()).copied());
    trials.extend(next);
    trials
}

/// Adds planned trials, whose files are below `directory`; it stands for the pair.
fn add<R: PlannedResult, P: TrialProfile>(
    recorded: &Recorded,
    directory: &str,
    planned: &[PlannedTrial<P>],
    trials: &mut Vec<Planned>,
) {
    for trial in planned {
        let (profile, repeat) = trial.label();
        let place = format!("{directory}/{}", trial.directory());
        let record = recorded.planned_trial::<R>(&format!("{place}/trial.json"));
        let is_result = record.is_ok_and(|record| R::in_record(&record).is_some());
        let state = state_of(recorded, &place, is_result);
        trials.push(Planned { profile, pair: directory.to_owned(), repeat, state });
    }
}

fn state(recorded: &Recorded, place: &str) -> State {
    let is_result = |record: TrialRecord| record.result.is_some();
    let is_result = recorded.trial(&format!("{place}/trial.json")).is_ok_and(is_result);
    state_of(recorded, place, is_result)
}

/// State of a trial whose files are in `place`.
fn state_of(recorded: &Recorded, place: &str, is_result: bool) -> State {
    if is_result {
        State::Complete
    } else if recorded.directory.join(place).exists() {
        State::Incomplete
    } else {
        State::Missing
    }
}
