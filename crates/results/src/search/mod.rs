//! Trials of a recorded search, and the results that follow from them. Pure: what a run stores, reports and
//! validation compute alike.

mod follow;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use linerate_experiment::search::{LimitsOf, SearchMode, SearchPurpose, SearchTrial, combine, is_above};
use linerate_experiment::strategy::PathOutcome;
use linerate_search::bounds::Trials;
use linerate_search::{Goal, GoalConclusion, Measurement, PPB, Request};

pub use follow::FollowTrial;

use crate::summary::{GoalAttributes, GoalSummary, PathEvidence, PathLoss, SearchSummary, TrialSummary};

/// A trial of a search on all its paths.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchedTrial<'s> {
    /// Its place in the search.
    pub place: &'s SearchTrial,
    /// Its results, one for each path, in the order of the summary.
    pub paths: Vec<&'s TrialSummary>,
    /// What the search knows of it.
    pub measurement: Measurement,
}

impl SearchedTrial<'_> {
    /// True when the search used its outcome.
    pub fn is_counted(&self) -> bool {
        self.place.purpose == SearchPurpose::Search
    }

    /// True when a path offered less than it was asked for.
    pub fn is_short_of_load(&self) -> bool {
        self.measurement.unsent > 0
    }
}

impl SearchSummary {
    /// Its name: profile, number and subject.
    pub fn name(&self) -> String {
        format!("search {} of {}, {}", self.number, self.profile, self.subject())
    }

    /// What belongs to the path under test.
    pub fn limits(&self) -> LimitsOf {
        LimitsOf { receiver: self.receiver, port: self.port }
    }

    /// True when `trial` is one of this search.
    pub fn has(&self, trial: &TrialSummary) -> bool {
        trial.search.as_ref().is_some_and(|place| place.number == self.number)
            && trial.profile == self.profile
            && self.pair.as_ref().is_none_or(|pair| *pair == trial.pair)
    }

    /// Its trials among those of the experiment, by ordinal; those that do not count are among them, those of
    /// benchmarks that follow are not. Left out is what the search did not use: a trial without a result on every path, or with more load than intended.
    pub fn trials_of<'s>(&self, trials: &'s [TrialSummary]) -> Vec<SearchedTrial<'s>> {
        let mut by_ordinal: BTreeMap<u32, (&SearchTrial, Vec<&TrialSummary>)> = BTreeMap::new();
        for trial in trials.iter().filter(|trial| self.has(trial)) {
            let Some(place) = trial.search.as_ref().filter(|place| !place.purpose.follows()) else {
                continue;
            };
            by_ordinal.entry(place.ordinal).or_insert_with(|| (place, Vec::new())).1.push(trial);
        }
        let searched = |(place, paths): (&'s SearchTrial, Vec<&'s TrialSummary>)| SearchedTrial {
            place,
            measurement: self.measurement(place, &paths),
            paths,
        };
        let is_used = |(place, paths): &(&SearchTrial, Vec<&TrialSummary>)| {
            let is_above = |path: &&TrialSummary| {
                path.intended_pps.is_some() && is_above(&request(place, paths), &PathOutcome::from(*path))
            };
            paths.len() >= self.paths && !paths.iter().any(is_above)
        };
        by_ordinal.into_values().filter(is_used).map(searched).collect()
    }

    /// The counts of a trial's paths, by the rules of the version that searched.
    fn measurement(&self, place: &SearchTrial, paths: &[&TrialSummary]) -> Measurement {
        let measured = measurement(place, self.mode, self.limits(), paths);
        match self.evidence {
            PathEvidence::AnyPath => measured,
            PathEvidence::WorstPath => Measurement { loss_elsewhere: None, ..measured },
        }
    }

    /// The result for the goal of this name.
    pub fn goal(&self, name: &str) -> Option<&GoalSummary> {
        self.goals.iter().find(|one| one.goal.name == name)
    }

    /// An account of trials for its goals, without any yet.
    pub fn no_trials(&self) -> Trials {
        Trials::new(self.goals.iter().map(|one| Goal::from(&one.goal).loss_ppb).min().unwrap_or(0))
    }

    /// What the search is of, besides its profile: the path in mode `each`, otherwise the mode.
    pub fn subject(&self) -> &str {
        match (&self.pair, self.mode) {
            (Some(pair), _) => pair,
            (None, SearchMode::Every) => "every",
            (None, SearchMode::Together | SearchMode::Each) => "together",
        }
    }
}

/// The counts of a trial's paths, put together as the search did.
pub fn measurement(
    place: &SearchTrial,
    mode: SearchMode,
    limits: LimitsOf,
    paths: &[&TrialSummary],
) -> Measurement {
    let outcomes: Vec<PathOutcome> = paths.iter().map(|path| PathOutcome::from(*path)).collect();
    combine(mode, limits, &request(place, paths), &outcomes)
}

/// What the search asked for.
fn request(place: &SearchTrial, paths: &[&TrialSummary]) -> Request {
    let load = paths.first().map_or(0.0, |path| path.intended_pps.unwrap_or(path.offered_pps));
    Request {
        load_pps: load.round() as u64,
        duration_ns: place.intended_duration_ns,
        counted: place.purpose == SearchPurpose::Search,
    }
}

impl From<&GoalAttributes> for Goal {
    fn from(goal: &GoalAttributes) -> Self {
        let parts = |ratio: f64| (ratio * PPB as f64).round() as u64;
        Self {
            name: goal.name.clone(),
            loss_ppb: parts(goal.loss_ratio),
            exceed_ppb: parts(goal.exceed_ratio),
            width_ppb: parts(goal.relative_width),
            initial_duration_ns: parts(goal.initial_trial_duration_s),
            final_duration_ns: parts(goal.final_trial_duration_s),
            duration_sum_ns: parts(goal.duration_sum_s),
            preceding_targets: goal.preceding_targets,
        }
    }
}

impl GoalSummary {
    /// The result for one of the goals of a search from its trials between two loads.
    pub fn of(goal: &Goal, goals: &[Goal], trials: &[SearchedTrial<'_>], loads_pps: (u64, u64)) -> Self {
        let strictest_ppb = goals.iter().map(|goal| goal.loss_ppb).min().unwrap_or(0);
        let known = counted(trials, strictest_ppb);
        let conclusion = GoalConclusion::of(goal, &known, loads_pps.0, loads_pps.1);
        Self {
            goal: goal.into(),
            lower_bound_paths: paths_at(trials, conclusion.effective_lower_bound_pps),
            upper_bound_paths: paths_at(trials, conclusion.relevant_upper_bound_pps),
            conclusion,
        }
    }
}

/// The trials that count, as a search knows them whose strictest goal allows `strictest_ppb` of loss.
fn counted(trials: &[SearchedTrial<'_>], strictest_ppb: u64) -> Trials {
    let mut counted = Trials::new(strictest_ppb);
    for trial in trials.iter().filter(|trial| trial.is_counted()) {
        counted.add(trial.measurement);
    }
    counted
}

/// Loss of each path over the counted trials at a load; empty without one.
fn paths_at(trials: &[SearchedTrial<'_>], load_pps: Option<u64>) -> Vec<PathLoss> {
    let mut losses: Vec<PathLoss> = Vec::new();
    let at_load =
        trials.iter().filter(|trial| trial.is_counted() && Some(trial.measurement.load_pps) == load_pps);
    for path in at_load.flat_map(|trial| &trial.paths) {
        let known = losses.iter().position(|loss| loss.pair == path.pair);
        let index = known.unwrap_or_else(|| {
            losses.push(PathLoss { pair: path.pair.clone(), sent_packets: 0, lost_packets: 0 });
            losses.len() - 1
        });
        let loss = &mut losses[index];
        loss.sent_packets = loss.sent_packets.saturating_add(path.sent_packets);
        loss.lost_packets = loss.lost_packets.saturating_add(path.lost_packets);
    }
    losses
}

/// Number of trials that count.
pub fn counted_number(trials: &[SearchedTrial<'_>]) -> usize {
    trials.iter().filter(|trial| trial.is_counted()).count()
}

/// Intended seconds of sending of the trials that count.
pub fn sending_s(trials: &[SearchedTrial<'_>]) -> f64 {
    let counted = trials.iter().filter(|trial| trial.is_counted());
    counted.map(|trial| trial.measurement.duration_ns as f64 / 1e9).sum()
}
