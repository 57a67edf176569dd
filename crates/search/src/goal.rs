//! Goals of a search.

use serde::{Deserialize, Serialize};

use crate::PPB;

/// Largest number of coarser targets that precede a goal's own.
pub const MAX_PRECEDING: u32 = 3;
/// Most full-length trials that a load may need.
const MOST_AT_A_LOAD: u64 = 1_000;
/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// A search goal (RFC 9971): how much loss a load may have, and how much measuring decides that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goal {
    /// Its name, such as `ndr`.
    pub name: String,
    /// Goal loss ratio in parts per billion: a trial that loses more is a high-loss trial.
    pub loss_ppb: u64,
    /// Goal exceed ratio in parts per billion: share of the time that may have high loss at a lower bound.
    pub exceed_ppb: u64,
    /// Goal width in parts per billion of the upper bound: the search ends when the bounds are this close.
    pub width_ppb: u64,
    /// Shortest trial chosen for this goal, in nanoseconds.
    pub initial_duration_ns: u64,
    /// Goal final trial duration in nanoseconds: shorter trials are short, all others full-length.
    pub final_duration_ns: u64,
    /// Goal duration sum in nanoseconds: so much time of full-length trials always decides a load.
    pub duration_sum_ns: u64,
    /// Number of coarser targets, searched first: with wider bounds and less time for each load.
    pub preceding_targets: u32,
}

/// Why a goal cannot be searched for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("goal '{name}': {problem}")]
pub struct GoalError {
    /// The goal's name.
    pub name: String,
    /// What is wrong, and what is allowed.
    pub problem: &'static str,
}

impl Goal {
    /// Non-drop rate: no loss, trials of 1 s, 21 s for each load, of which half may have loss.
    pub fn ndr() -> Self {
        Self {
            name: "ndr".to_owned(),
            loss_ppb: 0,
            exceed_ppb: PPB / 2,
            width_ppb: PPB / 200,
            initial_duration_ns: SECOND_NS,
            final_duration_ns: SECOND_NS,
            duration_sum_ns: 21 * SECOND_NS,
            preceding_targets: 2,
        }
    }

    /// Partial drop rate: as [`Goal::ndr`], with a loss of at most 0.5 %.
    pub fn pdr() -> Self {
        Self { name: "pdr".to_owned(), loss_ppb: PPB / 200, ..Self::ndr() }
    }

    /// Throughput of RFC 2544, section 26.1: one trial of 60 s without loss.
    pub fn rfc2544() -> Self {
        Self {
            name: "rfc2544".to_owned(),
            exceed_ppb: 0,
            initial_duration_ns: 60 * SECOND_NS,
            final_duration_ns: 60 * SECOND_NS,
            duration_sum_ns: 60 * SECOND_NS,
            preceding_targets: 0,
            ..Self::ndr()
        }
    }

    /// ETSI GS NFV-TST 009, binary search with loss verification: the better of up to two trials of 60 s.
    pub fn tst009() -> Self {
        Self {
            name: "tst009".to_owned(),
            duration_sum_ns: 120 * SECOND_NS,
            exceed_ppb: PPB / 2,
            preceding_targets: 1,
            ..Self::rfc2544()
        }
    }

    /// The goal that a name stands for: `ndr`, `pdr`, `rfc2544` or `tst009`.
    pub fn named(name: &str) -> Option<Self> {
        [Self::ndr(), Self::pdr(), Self::rfc2544(), Self::tst009()].into_iter().find(|goal| goal.name == name)
    }

    /// Names of the goals that have one.
    pub const NAMES: [&'static str; 4] = ["ndr", "pdr", "rfc2544", "tst009"];

    /// Checks the goal's ranges.
    ///
    /// # Errors
    /// The first attribute out of range.
    pub fn check(&self) -> Result<(), GoalError> {
        let rules = [
            (self.loss_ppb < PPB, "the loss must be below 100 %"),
            (self.exceed_ppb < PPB, "the exceed ratio must be below 100 %"),
            (self.width_ppb >= PPB / 10_000, "the width must be at least 0.01 %"),
            (self.width_ppb <= PPB / 2, "the width must be at most 50 %"),
            (self.initial_duration_ns >= SECOND_NS / 1_000, "a trial must last at least 1 ms"),
            (
                self.initial_duration_ns <= self.final_duration_ns,
                "the initial trial duration must not exceed the final one",
            ),
            (
                self.final_duration_ns <= self.duration_sum_ns,
                "the duration sum must be at least the final trial duration",
            ),
            (
                self.duration_sum_ns / MOST_AT_A_LOAD <= self.final_duration_ns,
                "the duration sum must be at most 1,000 final trial durations; give a longer duration",
            ),
            (self.duration_sum_ns <= 86_400 * SECOND_NS, "the duration sum must be at most 24 h"),
            (self.preceding_targets <= MAX_PRECEDING, "at most three targets may precede the goal's own"),
            (
                self.preceding_targets > 0 || self.initial_duration_ns == self.duration_sum_ns,
                "without preceding targets, the initial trial duration must be the duration sum",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, problem)) => Err(GoalError { name: self.name.clone(), problem }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_with_a_name_are_valid() {
        for name in Goal::NAMES {
            assert_eq!(Goal::named(name).map(|goal| goal.check()), Some(Ok(())), "{name}");
        }
        assert_eq!(Goal::named("nothing"), None);
    }

    #[test]
    fn what_a_goal_cannot_have_is_named() {
        let wrong = |change: fn(&mut Goal)| {
            let mut goal = Goal::ndr();
            change(&mut goal);
            goal.check().unwrap_err().to_string()
        };
        assert_eq!(wrong(|goal| goal.loss_ppb = PPB), "goal 'ndr': the loss must be below 100 %");
        assert!(wrong(|goal| goal.duration_sum_ns = SECOND_NS / 2).contains("duration sum"));
        assert!(
            wrong(|goal| goal.duration_sum_ns = 1_001 * SECOND_NS).contains("1,000 final trial durations")
        );
        assert!(wrong(|goal| goal.preceding_targets = 0).contains("without preceding targets"));
        assert!(wrong(|goal| goal.width_ppb = 1).contains("0.01 %"));
    }
}
