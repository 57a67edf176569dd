//! Strategy: chooses the next trial by the outcomes of the previous ones. Pure and deterministic: the same
//! outcomes give the same decision, so a killed run resumes at the same point when its recorded outcomes are
//! replayed.

use std::collections::HashMap;
use std::time::Duration;

use linerate_search::methods::{Delays, LossSpan};
use linerate_traffic::profile::Profile;

use super::Experiment;
use super::determinants::TrialKey;
use super::plan::{Plan, PlanError, Trial, plan};
use super::search::{SearchState, SearchView, Searches};

/// Outcome of a trial on one path.
#[derive(Debug, Clone, PartialEq)]
pub struct PathOutcome {
    /// The path's name.
    pub path: String,
    /// Intended load in packets per second; `None`: as fast as possible.
    pub intended_pps: Option<f64>,
    /// Offered load in packets per second.
    pub offered_pps: f64,
    /// Packets that the transmitting port accepted.
    pub sent_packets: u64,
    /// Those of them that arrived. The others are lost.
    pub received_packets: u64,
    /// True when the offered load missed the intended one.
    pub missed_intended: bool,
    /// The part of the tester that limited the trial, if one did.
    pub limit: Option<PathLimit>,
    /// Intended duration of a search's trial, in nanoseconds.
    pub intended_ns: Option<u64>,
    /// Seconds of sending.
    pub duration_s: f64,
    /// Packets that the receiver dropped, as far as they are known to be its own drops; they are among the lost ones.
    pub receiver_dropped: u64,
    /// Most packets that can have been lost because the receiver was away from its queues.
    pub receiver_missed: u64,
    /// Packets that the sender's port accepted and lost, at most; they are among the lost ones.
    pub sender_lost: u64,
    /// Packets that arrived too late to tell first copies from duplicates: so many of the received ones may be lost.
    pub beyond_window: u64,
    /// Seconds of the trial besides its sending.
    pub overhead_s: f64,
    /// Delays of its packets, one-way or there and back; `None` when they are not known.
    pub delays: Option<Delays>,
    /// When packets were lost; `None` when none was, or no time is known.
    pub losses: Option<LossSpan>,
}

/// The part of the tester that limited a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathLimit {
    /// The generator.
    Generator,
    /// The sender's port.
    Port,
    /// The receiver.
    Receiver,
}

/// The links of a run, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Equipment {
    /// Speed of the slowest link that any port reports, in bit/s.
    pub claimed_bps: Option<u64>,
    /// The same, when no port is virtual: virtual ports report any speed.
    pub real_bps: Option<u64>,
}

/// Outcome of a trial.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordedOutcome {
    /// It has a result on each of these paths; a path that left the run has none.
    Measured(Vec<PathOutcome>),
    /// It failed in every attempt.
    Failed,
}

/// Outcomes of the trials so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcomes {
    trials: HashMap<TrialKey, RecordedOutcome>,
    equipment: Equipment,
}

impl Outcomes {
    /// Outcome of a trial; `None`: it was not run yet.
    pub fn of(&self, trial: &Trial) -> Option<&RecordedOutcome> {
        self.trials.get(&trial.key)
    }

    /// True when a trial with this key has an outcome.
    pub fn has(&self, key: &TrialKey) -> bool {
        self.trials.contains_key(key)
    }

    /// True when the trial has a result.
    pub fn is_measured(&self, trial: &Trial) -> bool {
        matches!(self.of(trial), Some(RecordedOutcome::Measured(_)))
    }

    /// The links of the run.
    pub fn equipment(&self) -> &Equipment {
        &self.equipment
    }

    /// Sets the links of the run.
    pub fn set_equipment(&mut self, equipment: Equipment) {
        self.equipment = equipment;
    }

    /// Adds the outcome of a trial.
    pub fn add(&mut self, trial: &Trial, outcome: RecordedOutcome) {
        self.trials.insert(trial.key.clone(), outcome);
    }

    /// Removes the outcome of a trial, which is to be run again.
    pub fn remove(&mut self, trial: &Trial) {
        self.trials.remove(&trial.key);
    }
}

/// The next trial.
#[derive(Debug, Clone, PartialEq)]
pub enum NextTrial {
    /// Run this trial.
    Run(Box<Trial>),
    /// Nothing is left to run.
    Finished,
}

/// A method of choosing trials.
pub trait Strategy: std::fmt::Debug {
    /// The next trial after `outcomes`.
    fn next(&self, outcomes: &Outcomes) -> NextTrial;

    /// The trials that are known before the first run, in order; empty when they depend on outcomes.
    fn foreseen(&self) -> &[Trial];

    /// Profiles of all trials; the load of a trial may differ.
    fn profiles(&self) -> Vec<Profile>;

    /// Rate searches so far, in order, those that have not begun left out.
    fn searches(&self, _outcomes: &Outcomes) -> Vec<SearchState> {
        Vec::new()
    }

    /// Forecast of the rate searches; a trial takes `overhead` besides its sending.
    fn forecast(&self, _overhead: Duration) -> Vec<SearchView> {
        Vec::new()
    }

    /// The rate search that `trial` belongs to, after `outcomes`.
    fn search_of(&self, _trial: &Trial, _outcomes: &Outcomes) -> Option<SearchState> {
        None
    }
}

/// The strategy of `experiment`: a search where the document has one, otherwise the matrix. Only profiles that
/// have `filter` in their name take part. An experiment of streams or HTTP has no trials of frames.
///
/// # Errors
/// When no profile is left, or a trial of the matrix exceeds a ceiling.
pub fn strategy(experiment: &Experiment, filter: Option<&str>) -> Result<Box<dyn Strategy>, PlanError> {
    if !experiment.is_of_frames() {
        return Ok(Box::new(Plan { trials: Vec::new() }));
    }
    Ok(match Searches::of(experiment, filter)? {
        Some(searches) => Box::new(searches),
        None => Box::new(plan(experiment, filter)?),
    })
}

/// The matrix: every profile in order, its repeats in a row or in rounds.
impl Strategy for Plan {
    fn next(&self, outcomes: &Outcomes) -> NextTrial {
        let left = self.trials.iter().find(|trial| outcomes.of(trial).is_none());
        left.map_or(NextTrial::Finished, |trial| NextTrial::Run(Box::new(trial.clone())))
    }

    fn foreseen(&self) -> &[Trial] {
        &self.trials
    }

    fn profiles(&self) -> Vec<Profile> {
        self.trials.iter().filter(|trial| trial.repeat == 1).map(|trial| trial.profile.clone()).collect()
    }
}

#[cfg(test)]
impl PathOutcome {
    /// One second without an intended load, limited by nothing.
    pub(crate) fn of_counts(sent_packets: u64, received_packets: u64) -> Self {
        Self {
            path: "tx0-rx0".to_owned(),
            intended_pps: None,
            offered_pps: sent_packets as f64,
            sent_packets,
            received_packets,
            missed_intended: false,
            limit: None,
            intended_ns: None,
            duration_s: 1.0,
            receiver_dropped: 0,
            receiver_missed: 0,
            sender_lost: 0,
            beyond_window: 0,
            overhead_s: 0.1,
            delays: None,
            losses: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Overrides;

    fn matrix() -> Plan {
        let text = "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {traffic: {frameSizes: [64, 512]}, trial: {repeats: 2}}\n";
        plan(&Experiment::parse(text, "e.yaml", &Overrides::default()).unwrap(), None).unwrap()
    }

    fn measured() -> RecordedOutcome {
        RecordedOutcome::Measured(vec![PathOutcome::of_counts(10, 9)])
    }

    #[test]
    fn the_matrix_runs_each_trial_once_in_order() {
        let matrix = matrix();
        let (mut outcomes, mut ran) = (Outcomes::default(), Vec::new());
        while let NextTrial::Run(trial) = matrix.next(&outcomes) {
            // A failed trial is not chosen again.
            outcomes.add(&trial, if ran.len() == 1 { RecordedOutcome::Failed } else { measured() });
            ran.push(*trial);
        }
        assert_eq!(ran, matrix.foreseen());
        assert!(outcomes.is_measured(&ran[0]) && !outcomes.is_measured(&ran[1]));
    }

    #[test]
    fn a_replay_ends_at_the_first_trial_without_an_outcome() {
        let matrix = matrix();
        let mut outcomes = Outcomes::default();
        for done in [0, 1, 3] {
            outcomes.add(&matrix.trials[done], measured());
        }
        assert_eq!(matrix.next(&outcomes), NextTrial::Run(Box::new(matrix.trials[2].clone())));
        assert_eq!(matrix.next(&outcomes.clone()), matrix.next(&outcomes));
    }
}
