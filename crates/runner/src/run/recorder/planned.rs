//! Records of trials that are all known in advance.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use linerate_experiment::Experiment;
use linerate_experiment::plan::Plan;
use linerate_experiment::planned::{PlannedTrial, TrialProfile};
use linerate_results::http::HttpSearchSpec;
use linerate_results::planned::{PlannedRecord, PlannedResult};
use linerate_results::store::environment::Changes;
use linerate_results::store::trial_log::{FailureRecord, LogRecord, TrialEnd};
use linerate_results::store::{Store, StoreError};
use linerate_results::summary::{OverheadPart, Status, TrialFailure};
use tempfile::NamedTempFile;

use super::Recorder;
use crate::run::EarlierRun;
use crate::run::part::KernelAgent;

/// Results of the trials, by label: whether they are complete.
pub(super) type Recorded = HashMap<(String, u32), bool>;

/// Planned trials of a run that opens its records, with the results of an earlier run that are kept.
#[derive(Debug, Default)]
pub(super) struct KeptTrials {
    /// Number of the trials.
    pub(super) planned: usize,
    /// Lines of the log, one for each result.
    pub(super) records: Vec<LogRecord>,
    /// The results.
    pub(super) recorded: Recorded,
    /// Profile of the first result of the earlier run.
    pub(super) first: Option<String>,
}

impl KeptTrials {
    /// Those of these trials.
    pub(super) fn of<R: PlannedResult, P: TrialProfile>(
        trials: &[PlannedTrial<P>],
        earlier: Option<&EarlierRun>,
    ) -> Self {
        let mut kept = Self { planned: trials.len(), ..Self::default() };
        let Some(EarlierRun { summary, sums }) = earlier else { return kept };
        let results = R::all(summary);
        kept.first = results.first().map(|result| result.label().0);
        let by_label: HashMap<_, _> = results.iter().map(|result| (result.label(), result)).collect();
        for trial in trials {
            let Some(result) = by_label.get(&trial.label()).copied() else { continue };
            let files = result.files().into_iter();
            let files = files.filter_map(|path| Some((path.clone(), sums.get(path)?.clone()))).collect();
            kept.recorded.insert(trial.label(), result.is_complete());
            kept.records.push(record(trial, files, result.clone()));
        }
        kept
    }
}

impl<'s> Recorder<'s> {
    /// Stores the document in force, and creates a log and a summary with the status running.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(in crate::run) fn open_planned<R: PlannedResult, P: TrialProfile>(
        store: &'s Store,
        experiment: &Experiment,
        trials: &[PlannedTrial<P>],
        filter: Option<&str>,
        earlier: Option<&EarlierRun>,
    ) -> Result<Self, StoreError> {
        let no_frames = Plan { trials: Vec::new() };
        let kept = KeptTrials::of::<R, P>(trials, earlier);
        Self::open_with(store, experiment, &no_frames, filter, earlier, kept)
    }

    /// Records what a run of HTTP searches for.
    pub(in crate::run) fn search_http(&mut self, search: Option<HttpSearchSpec>) {
        self.head.experiment.http_search = search;
    }

    /// Records that the plan has so many trials by now.
    pub(in crate::run) fn plan_has(&mut self, trials: usize) {
        self.head.experiment.planned_trials = trials;
    }

    /// True when the trial has a result.
    pub(in crate::run) fn has_result<P: TrialProfile>(&self, trial: &PlannedTrial<P>) -> bool {
        self.planned.contains_key(&trial.label())
    }

    /// Records the number of connections.
    pub(in crate::run) fn set_connections(&mut self, connections: usize) {
        self.head.experiment.pairs = connections;
    }

    /// Records that the first trial begins; there is no warm-up.
    pub(in crate::run) fn trials_begin(&mut self) {
        self.watch.turn(OverheadPart::Trials);
    }

    /// Records the connected agents, and stores their environment.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::run) fn kernel_connected(&mut self, agents: &[KernelAgent]) -> Result<(), StoreError> {
        self.watch.turn(OverheadPart::Writing);
        self.note_agents(agents);
        self.begin_period();
        self.store.write_environment(&self.environment)?;
        self.log_head()?;
        self.watch.turn(OverheadPart::StartUp);
        Ok(())
    }

    /// Records the agents after some were recovered, possibly elsewhere.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::run) fn kernel_connected_again(
        &mut self,
        agents: &[KernelAgent],
    ) -> Result<(), StoreError> {
        self.note_agents(agents);
        let last = self.environment.periods.last();
        let changed =
            last.is_none_or(|last| Changes::between(last, &self.environment.period(0)) != Changes::default());
        if changed {
            self.begin_period();
            self.store.write_environment(&self.environment)?;
            self.log_head()?;
        }
        Ok(())
    }

    /// Differences that make the agents' equipment another kind than that of the trials recorded earlier;
    /// `None` when there are none, or when nothing is recorded.
    pub(in crate::run) fn other_kernel_equipment(&self, agents: &[KernelAgent]) -> Option<String> {
        let first = self.first_recorded.as_ref()?;
        let mut now = self.environment.clone();
        now.clear_agents();
        for agent in agents {
            now.add_of_streams(agent.streams_info(), agent.session.welcome().host.as_ref());
        }
        let is_here = |name: &str| agents.iter().any(|agent| agent.name() == name);
        let mut periods = self.environment.periods.iter().rev();
        let last = periods.find(|period| period.streams_agents.iter().any(|agent| is_here(&agent.name)))?;
        let changes = Changes::between(last, &now.period(0)).incomparable;
        (!changes.is_empty()).then(|| {
            format!(
                "{} when {first} was run: results would not compare; run without --resume",
                changes.join(", ")
            )
        })
    }

    fn note_agents(&mut self, agents: &[KernelAgent]) {
        let experiment = &mut self.head.experiment;
        // Agents of other parts of an experiment of engines stay.
        for agent in agents.iter().map(KernelAgent::streams_info) {
            match experiment.streams_agents.iter_mut().find(|earlier| earlier.name == agent.name) {
                Some(earlier) => *earlier = agent,
                None => experiment.streams_agents.push(agent),
            }
        }
        // Beside agents of DPDK, theirs is the program that a resumed run is held to.
        if experiment.agents.is_empty() {
            experiment.versions.agent = agents.first().map(|agent| agent.session.welcome().agent.clone());
        }
        self.environment.versions = experiment.versions.clone();
        self.environment.clear_agents();
        for agent in agents {
            let host = agent.session.welcome().host.as_ref();
            self.environment.add_of_streams(agent.streams_info(), host);
        }
    }

    /// Stores a trial, and syncs its result to disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::run) fn planned_trial<R: PlannedResult, P: TrialProfile>(
        &mut self,
        trial: &PlannedTrial<P>,
        directory: &str,
        stored: &R::Record,
        result: R,
        samples: NamedTempFile,
    ) -> Result<(), StoreError> {
        let begun = Instant::now();
        let filed = self.store.add_planned_trial::<R>(directory, stored, samples)?;
        self.watch.attempt_ended(OverheadPart::Trials, result.duration_s(), begun.elapsed().as_secs_f64());
        let complete = result.is_complete();
        self.end_of_planned(trial.number, record(trial, filed.files, result))?;
        self.planned.insert(trial.label(), complete);
        Ok(())
    }

    /// Records that a trial could not be run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::run) fn planned_failed<P>(
        &mut self,
        trial: &PlannedTrial<P>,
        failure: &TrialFailure,
    ) -> Result<(), StoreError> {
        self.watch.attempt_ended(OverheadPart::Failed, 0.0, 0.0);
        self.note_failure(failure);
        let (number, key) = (trial.number, Some(trial.key.to_string()));
        let record = FailureRecord { number, key, files: BTreeMap::new(), failure: failure.clone() };
        self.end_of_planned(trial.number, LogRecord::Failure(Box::new(record)))
    }

    fn end_of_planned(&mut self, number: u32, record: LogRecord) -> Result<(), StoreError> {
        let end = TrialEnd { number, aggregate: None, overhead: self.watch.overhead };
        self.log.append(&[record, LogRecord::TrialEnd(Box::new(end))])?;
        if self.rewriting.is_due(Instant::now()) {
            self.rewrite_summary()?;
        }
        self.watch.turn(OverheadPart::Trials);
        Ok(())
    }

    /// Status of a run whose trials were all run.
    pub(in crate::run) fn planned_status(&self, of: usize) -> (Status, Option<String>) {
        let incomplete = self.planned.values().filter(|complete| !**complete).count();
        match (self.failures(), incomplete) {
            (0, 0) => (Status::Complete, None),
            (0, incomplete) => {
                let reason = format!(
                    "the account of {incomplete} of {of} trials is not complete; their results say why, and --resume runs them again"
                );
                (Status::Failed, Some(reason))
            }
            (failures, _) => (Status::Failed, Some(format!("{failures} of {of} trials could not be run"))),
        }
    }
}

fn record<R: PlannedResult, P>(
    trial: &PlannedTrial<P>,
    files: BTreeMap<String, linerate_results::store::checksum::FileSum>,
    result: R,
) -> LogRecord {
    R::logged(PlannedRecord { number: trial.number, key: trial.key.to_string(), files, result })
}
