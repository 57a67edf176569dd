//! Results of benchmarks that followed a search, from their recorded trials.

use std::collections::BTreeMap;

use linerate_experiment::search::outcome;
use linerate_experiment::strategy::PathOutcome;
use linerate_search::methods::{Method, MethodTrial, TrialLoad};

use crate::summary::{FollowUpSummary, SearchSummary, TrialSummary};

/// A trial of a benchmark on all its paths, by its number in the search.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowTrial<'s> {
    /// Number of the trial in the search.
    pub ordinal: u32,
    /// Its results, one for each path.
    pub paths: Vec<&'s TrialSummary>,
}

impl SearchSummary {
    /// The benchmarks that followed, each with its recorded trials in order. A trial without a result on every path
    /// is not among them.
    pub fn followed<'s>(
        &'s self,
        trials: &'s [TrialSummary],
    ) -> Vec<(&'s FollowUpSummary, Vec<FollowTrial<'s>>)> {
        let mut by_ordinal: BTreeMap<u32, Vec<&TrialSummary>> = BTreeMap::new();
        for trial in trials.iter().filter(|trial| self.has(trial)) {
            if let Some(place) = trial.search.as_ref().filter(|place| place.purpose.follows()) {
                by_ordinal.entry(place.ordinal).or_default().push(trial);
            }
        }
        let whole = by_ordinal.into_iter().filter(|(_, paths)| paths.len() >= self.paths);
        let mut left = whole.map(|(ordinal, paths)| FollowTrial { ordinal, paths });
        self.then
            .iter()
            .map(|follow| (follow, left.by_ref().take(follow.trials as usize).collect()))
            .collect()
    }

    /// What contradicts the recorded `trials` of a benchmark; `None` when its result is the one that follows from them.
    pub fn contradiction(&self, follow: &FollowUpSummary, trials: &[FollowTrial<'_>]) -> Option<String> {
        let number = trials.len();
        if number != follow.trials as usize {
            return Some(format!("it has {number} trials, and says {}", follow.trials));
        }
        let Some(spec) = &follow.spec else {
            let is_empty = follow.conclusion.is_none() && number == 0 && !follow.complete;
            return (!is_empty).then(|| "it has a result, and does not say what it measures".to_owned());
        };
        let mut method: Method = match spec.clone().begin() {
            Ok(method) => method,
            Err(error) => return Some(error.to_string()),
        };
        for trial in trials {
            let Some(asked) = method.next() else {
                return Some(format!("trial {} is one more than it needs", trial.ordinal));
            };
            if let Some(text) = differs(&asked, trial) {
                return Some(text);
            }
            let paths: Vec<PathOutcome> = trial.paths.iter().map(|path| PathOutcome::from(*path)).collect();
            method.record(outcome((self.mode, self.limits()), &asked, self.line_rate_pps, &paths));
        }
        if follow.complete != method.next().is_none() {
            let is = if follow.complete { "complete" } else { "not complete" };
            return Some(format!("it says that it is {is}, which does not follow from its {number} trials"));
        }
        let follows = method.conclusion();
        (follow.conclusion.as_ref() != Some(&follows))
            .then(|| "its result is not the one that follows from its trials".to_owned())
    }
}

/// How a recorded trial differs from the one that its benchmark asks for; `None` when it is that one.
fn differs(asked: &MethodTrial, trial: &FollowTrial<'_>) -> Option<String> {
    let ordinal = trial.ordinal;
    for path in &trial.paths {
        let duration_ns = path.search.as_ref().map_or(0, |place| place.intended_duration_ns);
        if duration_ns != asked.load.duration_ns() {
            return Some(format!(
                "trial {ordinal} was to last {duration_ns} ns, and its benchmark asks for {} ns",
                asked.load.duration_ns()
            ));
        }
        let pps = match asked.load {
            TrialLoad::Steady { pps, .. } => pps,
            TrialLoad::Burst { packets } if path.sent_packets > packets => {
                let sent = path.sent_packets;
                return Some(format!("trial {ordinal} sent {sent} packets in a burst of {packets}"));
            }
            TrialLoad::Burst { .. } | TrialLoad::Step { .. } => continue,
        };
        let intended = path.intended_pps.unwrap_or(0.0);
        // Lcores and their intervals round the load.
        if intended.round() as u64 != pps {
            return Some(format!(
                "trial {ordinal} was to send {intended:.0} packets per second, and its benchmark asks for {pps}"
            ));
        }
    }
    None
}
