//! Records of trials of streams.

use std::collections::BTreeMap;
use std::time::Instant;

use linerate_experiment::Experiment;
use linerate_experiment::plan::Plan;
use linerate_experiment::streams::{StreamsPlan, StreamsTrial};
use linerate_results::store::environment::Changes;
use linerate_results::store::trial_log::{FailureRecord, LogRecord, StreamsResultRecord, TrialEnd};
use linerate_results::store::{Store, StoreError};
use linerate_results::streams::{StreamsTrialRecord, StreamsTrialSummary};
use linerate_results::summary::{OverheadPart, Status, TrialFailure};
use tempfile::NamedTempFile;

use super::Recorder;
use crate::run::EarlierRun;
use crate::run::part::KernelAgent;

/// Results of the trials of streams, by label: whether they are complete.
pub(super) type Recorded = BTreeMap<(String, u32), bool>;

impl<'s> Recorder<'s> {
    /// Stores the document in force, and creates a log and a summary with the status running.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(in crate::run) fn open_streams(
        store: &'s Store,
        experiment: &Experiment,
        plan: &StreamsPlan,
        filter: Option<&str>,
        earlier: Option<&EarlierRun>,
    ) -> Result<Self, StoreError> {
        let no_frames = Plan { trials: Vec::new() };
        let mut recorder = Self::open(store, experiment, &no_frames, filter, earlier)?;
        recorder.head.experiment.planned_trials = plan.trials.len();
        let mut records = Vec::new();
        if let Some(EarlierRun { summary, sums }) = earlier {
            recorder.first_recorded = summary.streams.first().map(|result| result.profile.clone());
            for trial in &plan.trials {
                let kept = summary.streams.iter().find(|result| result.label() == label(trial));
                let Some(result) = kept else { continue };
                let paths = [&result.trial, &result.samples_file];
                let files = paths
                    .into_iter()
                    .filter_map(|path| Some((path.clone(), sums.get(path)?.clone())))
                    .collect();
                recorder.streams.insert(result.label(), result.complete);
                records.push(record(trial, files, result.clone()));
            }
        }
        recorder.log_head()?;
        recorder.log.append(&records)?;
        recorder.rewrite_summary()?;
        Ok(recorder)
    }

    /// True when the trial has a result.
    pub(in crate::run) fn has_streams(&self, trial: &StreamsTrial) -> bool {
        self.streams.contains_key(&label(trial))
    }

    /// Records the number of connections.
    pub(in crate::run) fn set_connections(&mut self, connections: usize) {
        self.head.experiment.pairs = connections;
    }

    /// Records that the first trial begins; streams have no warm-up.
    pub(in crate::run) fn trials_begin(&mut self) {
        self.watch.turn(OverheadPart::Trials);
    }

    /// Records the connected agents, and stores their environment.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::run) fn streams_connected(&mut self, agents: &[KernelAgent]) -> Result<(), StoreError> {
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
    pub(in crate::run) fn streams_connected_again(
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
    pub(in crate::run) fn other_streams_equipment(&self, agents: &[KernelAgent]) -> Option<String> {
        let first = self.first_recorded.as_ref()?;
        let mut now = self.environment.clone();
        now.clear_agents();
        for agent in agents {
            now.add_of_streams(agent.streams_info(), agent.session.welcome().host.as_ref());
        }
        let changes = Changes::between(self.environment.periods.last()?, &now.period(0)).incomparable;
        (!changes.is_empty()).then(|| {
            format!(
                "{} when {first} was run: results would not compare; run without --resume",
                changes.join(", ")
            )
        })
    }

    fn note_agents(&mut self, agents: &[KernelAgent]) {
        let experiment = &mut self.head.experiment;
        experiment.streams_agents = agents.iter().map(KernelAgent::streams_info).collect();
        experiment.versions.agent = agents.first().map(|agent| agent.session.welcome().agent.clone());
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
    pub(in crate::run) fn streams_trial(
        &mut self,
        trial: &StreamsTrial,
        directory: &str,
        stored: &StreamsTrialRecord,
        samples: NamedTempFile,
    ) -> Result<(), StoreError> {
        let begun = Instant::now();
        let filed = self.store.add_streams_trial(directory, stored, samples)?;
        let Some(result) = stored.result.clone() else { return Ok(()) };
        self.watch.attempt_ended(OverheadPart::Trials, result.duration_s, begun.elapsed().as_secs_f64());
        let complete = result.complete;
        self.end_of_streams(trial, record(trial, filed.files, result))?;
        self.streams.insert(label(trial), complete);
        Ok(())
    }

    /// Records that a trial could not be run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::run) fn streams_failed(
        &mut self,
        trial: &StreamsTrial,
        failure: &TrialFailure,
    ) -> Result<(), StoreError> {
        self.watch.attempt_ended(OverheadPart::Failed, 0.0, 0.0);
        self.failures += 1;
        let (number, key) = (trial.number, Some(trial.key.to_string()));
        let record = FailureRecord { number, key, files: BTreeMap::new(), failure: failure.clone() };
        self.end_of_streams(trial, LogRecord::Failure(Box::new(record)))
    }

    fn end_of_streams(&mut self, trial: &StreamsTrial, record: LogRecord) -> Result<(), StoreError> {
        let end = TrialEnd { number: trial.number, aggregate: None, overhead: self.watch.overhead };
        self.log.append(&[record, LogRecord::TrialEnd(Box::new(end))])?;
        if self.rewriting.is_due(Instant::now()) {
            self.rewrite_summary()?;
        }
        self.watch.turn(OverheadPart::Trials);
        Ok(())
    }

    /// Status of a run whose trials were all run.
    pub(in crate::run) fn streams_status(&self, plan: &StreamsPlan) -> (Status, Option<String>) {
        let of = plan.trials.len();
        let incomplete = self.streams.values().filter(|complete| !**complete).count();
        match (self.failures, incomplete) {
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

fn label(trial: &StreamsTrial) -> (String, u32) {
    (trial.profile.name.clone(), trial.repeat)
}

fn record(
    trial: &StreamsTrial,
    files: BTreeMap<String, linerate_results::store::checksum::FileSum>,
    result: StreamsTrialSummary,
) -> LogRecord {
    let (number, key) = (trial.number, trial.key.to_string());
    LogRecord::Streams(Box::new(StreamsResultRecord { number, key, files, result }))
}
