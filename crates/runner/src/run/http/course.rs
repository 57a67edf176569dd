//! Which trial comes next: the next one of the plan, or the one that a search asks for. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use linerate_experiment::http::{HttpOutcome, HttpPlan, HttpSearches, HttpTrial};
use linerate_results::http::{HttpSearchSpec, HttpTrialSummary};
use linerate_results::planned::PlannedResult;
use linerate_results::summary::Summary;

/// Outcomes of the trials of searches, by label.
type Outcomes = BTreeMap<(String, u32), HttpOutcome>;

/// The trials of a run, as they are chosen.
#[derive(Debug)]
pub(super) struct TrialCourse<'p> {
    /// Those of the plan that have no result.
    left: VecDeque<&'p HttpTrial>,
    planned: usize,
    searches: Option<(&'p HttpSearches, HttpSearchSpec)>,
    outcomes: Outcomes,
}

impl<'p> TrialCourse<'p> {
    /// The course of a run that may have begun `earlier`.
    pub(super) fn new(plan: &'p HttpPlan, earlier: Option<&Summary>) -> Self {
        let searches =
            plan.searches.as_ref().map(|searches| (searches, HttpSearchSpec::from(&searches.section)));
        let results = earlier.map(|summary| summary.http.as_slice()).unwrap_or_default();
        let measured: HashSet<_> = results.iter().map(PlannedResult::label).collect();
        let left = plan.trials.iter().filter(|trial| !measured.contains(&trial.label())).collect();
        let mut outcomes = searches.as_ref().map(|(_, spec)| outcomes(spec, results)).unwrap_or_default();
        // The log of a resumed run has no others: a result after one that is missing is measured again.
        let known: BTreeSet<_> = known_trials(plan, earlier).iter().map(HttpTrial::label).collect();
        outcomes.retain(|label, _| known.contains(label));
        Self { left, planned: plan.trials.len(), searches, outcomes }
    }

    /// The next trial; `None` when all have ended.
    pub(super) fn next(&self) -> Option<HttpTrial> {
        match &self.searches {
            Some((searches, _)) => searches.replay(|trial| self.outcomes.get(&trial.label()).copied()).1,
            None => self.left.front().map(|trial| (*trial).clone()),
        }
    }

    /// Takes the end of a trial; without a result it could not be run.
    pub(super) fn end(&mut self, trial: &HttpTrial, result: Option<HttpTrialSummary>) {
        match &self.searches {
            Some((_, spec)) => {
                let outcome = result.and_then(|result| spec.outcome(&result)).unwrap_or(HttpOutcome::Failed);
                self.outcomes.insert(trial.label(), outcome);
            }
            None => drop(self.left.pop_front()),
        }
    }

    /// Trials that are known by now: those of the plan; of searches those that ended, and the next one.
    pub(super) fn number(&self) -> usize {
        match &self.searches {
            Some(_) => self.outcomes.len() + usize::from(self.next().is_some()),
            None => self.planned,
        }
    }
}

fn outcomes(spec: &HttpSearchSpec, results: &[HttpTrialSummary]) -> Outcomes {
    let of =
        |result: &HttpTrialSummary| Some(((result.profile.clone(), result.repeat), spec.outcome(result)?));
    results.iter().filter_map(of).collect()
}

/// The trials that are known before a run: those of the plan; of searches those with a result.
pub(super) fn known_trials(plan: &HttpPlan, earlier: Option<&Summary>) -> Vec<HttpTrial> {
    let Some(searches) = &plan.searches else { return plan.trials.clone() };
    let results = earlier.map(|summary| summary.http.as_slice()).unwrap_or_default();
    let outcomes = outcomes(&HttpSearchSpec::from(&searches.section), results);
    searches.replay(|trial| outcomes.get(&trial.label()).copied()).0
}

/// Trials of a run whose results so far are in `summary`: those of the plan; of searches those with a result, and one more unless all have
/// ended.
pub fn planned_number(plan: &HttpPlan, summary: &Summary) -> usize {
    TrialCourse::new(plan, Some(summary)).number()
}
