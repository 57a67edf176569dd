//! Classification of a load for a goal (RFC 9971, appendix A): by all trials at the load, of any duration.

use serde::{Deserialize, Serialize};

use crate::PPB;
use crate::measurement::Measurement;

/// What decides whether a load meets a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoalCriterion {
    /// A trial with more loss is a high-loss trial; parts per billion.
    pub loss_ppb: u64,
    /// Share of the time that may have high loss; parts per billion.
    pub exceed_ppb: u64,
    /// Trials of at least this intended duration are full-length; nanoseconds.
    pub full_ns: u64,
    /// So much time of full-length trials always decides; nanoseconds.
    pub sum_ns: u64,
}

/// Class of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LoadClass {
    /// The goal is met, regardless of further trials.
    Lower,
    /// The goal is missed, regardless of further trials.
    Upper,
    /// Further trials decide.
    Undecided,
}

/// Effective time of the trials at a load, by length and loss; nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Full-length trials with high loss.
    pub full_high: u128,
    /// Full-length trials with low loss.
    pub full_low: u128,
    /// Short trials with high loss.
    pub short_high: u128,
    /// Short trials with low loss.
    pub short_low: u128,
}

impl Times {
    /// Sums the trials at a load; `is_high` says which have high loss.
    pub fn of<'m>(
        trials: impl IntoIterator<Item = &'m Measurement>,
        criterion: &GoalCriterion,
        is_high: impl Fn(&Measurement) -> bool,
    ) -> Self {
        let mut times = Self::default();
        for trial in trials {
            let sum = match (trial.duration_ns >= criterion.full_ns, is_high(trial)) {
                (true, true) => &mut times.full_high,
                (true, false) => &mut times.full_low,
                (false, true) => &mut times.short_high,
                (false, false) => &mut times.short_low,
            };
            *sum += u128::from(trial.effective_ns);
        }
        times
    }

    /// The class of the load. Short trials with low loss only cancel short trials with high loss; equality
    /// decides.
    pub fn classify(&self, criterion: &GoalCriterion) -> LoadClass {
        let (exceed, one) = (u128::from(criterion.exceed_ppb), u128::from(PPB));
        let rest = one - exceed;
        // All times are multiplied by `rest`, so that no division rounds.
        let balance = self.short_low * exceed;
        let bad = self.full_high * rest + (self.short_high * rest).saturating_sub(balance);
        let good = self.full_low * rest;
        let whole = (bad + good).max(u128::from(criterion.sum_ns) * rest);
        let may_be_lower = bad * one <= exceed * whole;
        let is_lower = (whole - good) * one <= exceed * whole;
        match (may_be_lower, is_lower) {
            (true, true) => LoadClass::Lower,
            (false, false) => LoadClass::Upper,
            _ => LoadClass::Undecided,
        }
    }
}

/// The class of a load by all trials at it.
pub fn classify<'m>(
    trials: impl IntoIterator<Item = &'m Measurement>,
    criterion: &GoalCriterion,
) -> LoadClass {
    Times::of(trials, criterion, |trial| trial.is_high_loss(criterion.loss_ppb)).classify(criterion)
}

/// True when the load misses the goal by the path's own loss: packets that the tester did not send, or that its
/// receiver dropped, do not count.
pub fn is_witnessed_upper<'m>(
    trials: impl IntoIterator<Item = &'m Measurement>,
    criterion: &GoalCriterion,
) -> bool {
    Times::of(trials, criterion, |trial| trial.is_witnessed(criterion.loss_ppb)).classify(criterion)
        == LoadClass::Upper
}
