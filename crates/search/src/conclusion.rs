//! Result of a search for one goal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounds::{Bounds, Trials, conditional_throughput_pps, is_narrow};
use crate::classify::{GoalCriterion, is_witnessed_upper};
use crate::goal::Goal;
use crate::measurement::{Measurement, TesterLimit};

/// Origin of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Limiter {
    /// The path under test lost packets.
    Path,
    /// The generator did not send more.
    Generator,
    /// The generator's port did not take more.
    Port,
    /// The tester's receiver dropped packets.
    Receiver,
    /// The highest load allowed.
    MaxLoad,
}

impl From<TesterLimit> for Limiter {
    fn from(limit: TesterLimit) -> Self {
        match limit {
            TesterLimit::Generator => Limiter::Generator,
            TesterLimit::Port => Limiter::Port,
            TesterLimit::Receiver => Limiter::Receiver,
        }
    }
}

/// Why a result is irregular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Irregular {
    /// The highest load meets the goal: the result is "at least".
    MaxLoadReached,
    /// The lowest load misses the goal: there is no result.
    MinLoadFails,
    /// The tester reached its limit before the path did: the result is "at least", or nothing when it reached it
    /// at every load.
    TesterLimited,
    /// The search ended before the bounds were close enough.
    Unfinished,
}

/// The result for one goal. Loads in packets per second, of each sender in each direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GoalConclusion {
    /// Highest load below the upper bound that meets the goal; null when none does, and when there is no upper bound.
    pub relevant_lower_bound_pps: Option<u64>,
    /// Lowest load that misses the goal; null when none does.
    pub relevant_upper_bound_pps: Option<u64>,
    /// Highest load that meets the goal, with or without an upper bound: without one, the result is at least this. Null when no load does.
    pub effective_lower_bound_pps: Option<u64>,
    /// Conditional throughput: the forwarding rate at the lower bound, less the loss that the goal allows;
    /// the value to compare. Null without a lower bound.
    pub conditional_throughput_pps: Option<f64>,
    /// True when both bounds exist, lie within the goal's width, and the upper one is the path's own.
    pub regular: bool,
    /// Why the result is irregular; null when it is regular.
    pub irregular: Option<Irregular>,
    /// Limit of the result; null when unknown.
    pub limited_by: Option<Limiter>,
}

impl GoalConclusion {
    /// The conclusion for `goal` from the trials; `max_pps` is the highest load that the search may choose.
    pub fn of(goal: &Goal, trials: &Trials, min_pps: u64, max_pps: u64) -> Self {
        let criterion = goal.criterion();
        let bounds @ Bounds { lower, upper } = trials.bounds(&criterion);
        let throughput = lower.map(|load| conditional_throughput_pps(load, trials.at(load), &criterion));
        let witnessed = upper.is_none_or(|load| is_witnessed_upper(trials.at(load), &criterion));
        let above = if upper.is_none() { limit_above(trials, lower, &criterion) } else { None };
        let irregular = match (lower, upper) {
            (_, Some(_)) if !witnessed => Some(Irregular::TesterLimited),
            (Some(lower), Some(upper)) if is_narrow(lower, upper, goal.width_ppb) => None,
            (None, Some(upper)) if upper <= min_pps => Some(Irregular::MinLoadFails),
            (Some(lower), None) if lower >= max_pps => Some(Irregular::MaxLoadReached),
            (_, None) if above.is_some() => Some(Irregular::TesterLimited),
            _ => Some(Irregular::Unfinished),
        };
        let limited_by = match (irregular, upper) {
            (Some(Irregular::MaxLoadReached), _) => Some(Limiter::MaxLoad),
            (_, Some(_)) if witnessed => Some(Limiter::Path),
            (_, Some(upper)) => tester_limit(trials, upper, &criterion).map(Limiter::from),
            (_, None) => above.map(Limiter::from),
        };
        Self {
            relevant_lower_bound_pps: bounds.relevant_lower(),
            effective_lower_bound_pps: lower,
            relevant_upper_bound_pps: upper,
            conditional_throughput_pps: throughput,
            regular: irregular.is_none(),
            irregular,
            limited_by,
        }
    }
}

impl Goal {
    /// What decides a load for the goal.
    pub fn criterion(&self) -> GoalCriterion {
        GoalCriterion {
            loss_ppb: self.loss_ppb,
            exceed_ppb: self.exceed_ppb,
            full_ns: self.final_duration_ns,
            sum_ns: self.duration_sum_ns,
        }
    }
}

/// The part of the tester that limited the lowest load above `lower_pps` with high loss, when none of that was the
/// path's.
fn limit_above(trials: &Trials, lower_pps: Option<u64>, criterion: &GoalCriterion) -> Option<TesterLimit> {
    let high = |trial: &&Measurement| trial.is_high_loss(criterion.loss_ppb);
    let (load, at_load) = trials.loads().find(|(load, trials)| {
        lower_pps.is_none_or(|lower| *load > lower) && trials.iter().any(|trial| high(&trial))
    })?;
    let is_path = at_load.iter().any(|trial| trial.is_witnessed(criterion.loss_ppb));
    if is_path { None } else { tester_limit(trials, load, criterion) }
}

/// The part of the tester that limited most of the trials at a load.
fn tester_limit(trials: &Trials, load_pps: u64, criterion: &GoalCriterion) -> Option<TesterLimit> {
    let limits = trials
        .at(load_pps)
        .iter()
        .filter(|trial| trial.is_high_loss(criterion.loss_ppb) && !trial.is_witnessed(criterion.loss_ppb));
    let mut counts = std::collections::HashMap::new();
    for trial in limits {
        let limit = trial.limit.unwrap_or(TesterLimit::Generator);
        *counts.entry(limit).or_insert(0) += 1;
    }
    [TesterLimit::Receiver, TesterLimit::Port, TesterLimit::Generator]
        .into_iter()
        .filter(|limit| counts.contains_key(limit))
        .max_by_key(|limit| counts[limit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tester_that_falls_short_at_every_load_is_the_limit_and_gives_no_result() {
        // One trial of three: neither load is decided.
        let mut goal = Goal::rfc2544();
        goal.duration_sum_ns = 3 * goal.final_duration_ns;
        goal.exceed_ppb = 500_000_000;
        let mut trials = Trials::default();
        for load_pps in [1000, 2000] {
            let limit = Some(TesterLimit::Generator);
            let duration_ns = goal.final_duration_ns;
            let trial = Measurement {
                load_pps,
                duration_ns,
                effective_ns: duration_ns,
                sent: 900,
                lost: 0,
                receiver_lost: 0,
                unsent: 100,
                limit,
                loss_elsewhere: None,
            };
            trials.add(trial);
        }
        let found = GoalConclusion::of(&goal, &trials, 1000, 2000);
        assert_eq!((found.effective_lower_bound_pps, found.relevant_upper_bound_pps), (None, None));
        assert_eq!(
            (found.irregular, found.limited_by),
            (Some(Irregular::TesterLimited), Some(Limiter::Generator))
        );
    }
}
