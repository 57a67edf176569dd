//! Records of an experiment of engines: trials of frames and of datagrams in one log.

use std::collections::BTreeMap;

use linerate_experiment::Experiment;
use linerate_experiment::engines::{EnginesPlan, PartTrials, PlannedPart};
use linerate_experiment::plan::Trial;
use linerate_experiment::streams::StreamsTrial;
use linerate_results::store::trial_log::{FailureRecord, LogRecord};
use linerate_results::store::{Store, StoreError};
use linerate_results::streams::StreamsTrialSummary;
use linerate_results::summary::TrialFailure;

use super::Recorder;
use super::planned::KeptTrials;
use crate::run::EarlierRun;
use crate::run::engines::frames;
use crate::run::observer::Observer;
use crate::run::streams::DIRECTORY;

impl<'s> Recorder<'s> {
    /// Stores the document in force, and creates a log and a summary with the status running.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(in crate::run) fn open_engines(
        store: &'s Store,
        experiment: &Experiment,
        plan: &EnginesPlan,
        filter: Option<&str>,
        earlier: Option<&EarlierRun>,
    ) -> Result<Self, StoreError> {
        let datagrams: Vec<StreamsTrial> = plan.datagrams().cloned().collect();
        let frames = frames(plan);
        let kept = KeptTrials::of::<StreamsTrialSummary, _>(&datagrams, earlier);
        Self::open_with(store, experiment, &frames, filter, earlier, kept)
    }

    /// True when all trials of a part have results.
    pub(in crate::run) fn has_part(&self, trials: &PartTrials) -> bool {
        match trials {
            PartTrials::Frames(plan) => plan.trials.iter().all(|trial| self.is_recorded(trial)),
            PartTrials::Datagrams(plan) => plan.trials.iter().all(|trial| self.has_result(trial)),
        }
    }

    /// Records that the trials of a part that have no outcome cannot be run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(in crate::run) fn part_failed(
        &mut self,
        part: &PlannedPart,
        reason: &str,
        observer: &dyn Observer,
    ) -> Result<(), StoreError> {
        let failure = |profile: &str, repeat: u32, pair: String| TrialFailure {
            profile: profile.to_owned(),
            pair,
            repeat,
            reason: reason.to_owned(),
            transmit: None,
            receive: None,
            trial: None,
        };
        match &part.trials {
            PartTrials::Frames(plan) => {
                let topology = part.experiment.topology();
                let left: Vec<&Trial> =
                    plan.trials.iter().filter(|trial| self.outcomes.of(trial).is_none()).collect();
                for trial in left {
                    for path in topology.paths().filter(|path| trial.loads(&path.name)) {
                        if self.has_failed(&trial.name, trial.repeat, &path.name) {
                            continue;
                        }
                        let failure = failure(&trial.name, trial.repeat, path.name.clone());
                        observer.trial_failed(&failure);
                        self.never_ran(self.numbers[&trial.key], trial.key.to_string(), failure)?;
                    }
                }
            }
            PartTrials::Datagrams(plan) => {
                for trial in plan
                    .trials
                    .iter()
                    .filter(|trial| !self.planned.contains_key(&trial.label()))
                    .collect::<Vec<_>>()
                {
                    if self.has_failed(&trial.profile.name, trial.repeat, DIRECTORY) {
                        continue;
                    }
                    let failure = failure(&trial.profile.name, trial.repeat, DIRECTORY.to_owned());
                    observer.trial_failed(&failure);
                    self.never_ran(trial.number, trial.key.to_string(), failure)?;
                }
            }
        }
        Ok(())
    }

    fn never_ran(&mut self, number: u32, key: String, failure: TrialFailure) -> Result<(), StoreError> {
        self.note_failure(&failure);
        let record = FailureRecord { number, key: Some(key), files: BTreeMap::new(), failure };
        self.log.append(&[LogRecord::Failure(Box::new(record))])
    }
}
