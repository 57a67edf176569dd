//! Relevant bounds and conditional throughput of a goal (RFC 9971, sections 6 and appendix B).

use std::collections::BTreeMap;

use crate::PPB;
use crate::classify::{GoalCriterion, LoadClass, classify};
use crate::measurement::{Loss, Measurement};

/// Trials in a row at a load that are repeated because the tester did not offer or receive it, although it can.
const MOST_REPEATED: u32 = 4;
/// The same where the tester nearly did, and may be able to.
const MOST_REPEATED_NEAR: u32 = 2;
/// Repeats of a whole search, besides one for every two trials that count: where the tester is held up all the time,
/// more of them show nothing new.
const REPEATS_FREE: u32 = 8;
/// Share of the intended packets, in percent, that nearly is the load.
const NEAR_PERCENT: u64 = 98;
/// Longest trial that is repeated for that: in a longer one, a pause of a CPU weighs less, and a repeat costs more.
const LONGEST_NEAR_NS: u64 = 10_000_000_000;

/// The trials of a search that are evidence, by load in packets per second.
#[derive(Debug, Clone, Default)]
pub struct Trials {
    /// Loss that the strictest goal allows, in parts per billion.
    strictest_ppb: u64,
    by_load: BTreeMap<u64, Vec<Measurement>>,
    /// Highest load that was offered.
    offered: u64,
    /// Highest load of which the receiver lost nothing.
    received: u64,
    /// Trials in a row that were no evidence, by load.
    repeated: BTreeMap<u64, u32>,
    /// Trials that were no evidence.
    no_evidence: u32,
    /// Trials that are.
    evidence: u32,
}

/// Bounds in packets per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Effective lower bound: the largest lower bound, below the relevant upper bound if there is one.
    pub lower: Option<u64>,
    /// Relevant upper bound: the smallest load that is an upper bound.
    pub upper: Option<u64>,
}

impl Bounds {
    /// Relevant lower bound; by definition there is none without a relevant upper bound.
    pub fn relevant_lower(&self) -> Option<u64> {
        self.upper.and(self.lower)
    }
}

impl Trials {
    /// No trials yet, of a search whose strictest goal allows `strictest_ppb` of loss.
    pub fn new(strictest_ppb: u64) -> Self {
        Self { strictest_ppb, ..Self::default() }
    }

    /// Adds a trial. False when it is no evidence and must be repeated: the tester did not offer the load, or a loss
    /// above that of the strictest goal was all its receiver's, although it managed as much in another trial, or nearly
    /// did. Then it was held up, by other work on its CPUs for example. After a few repeats in a row, such a trial
    /// counts.
    pub fn add(&mut self, trial: Measurement) -> bool {
        let is_short = trial.unsent > 0;
        let is_spoiled = trial.is_receivers_loss() && trial.selection_loss().exceeds(self.strictest_ppb);
        if !is_short {
            self.offered = self.offered.max(trial.load_pps);
            if trial.receiver_lost == 0 {
                self.received = self.received.max(trial.forwarding_pps());
            }
        }
        if (is_short || is_spoiled) && self.repeats(&trial, is_short, is_spoiled) {
            return false;
        }
        self.repeated.remove(&trial.load_pps);
        self.evidence += 1;
        self.by_load.entry(trial.load_pps).or_default().push(trial);
        true
    }

    /// True when a trial that is no evidence is to be repeated.
    fn repeats(&mut self, trial: &Measurement, is_short: bool, is_spoiled: bool) -> bool {
        let is_brief = trial.duration_ns <= LONGEST_NEAR_NS;
        let can = (!is_short || trial.load_pps <= self.offered)
            && (!is_spoiled || is_brief && trial.load_pps <= self.received);
        let intended = u128::from(trial.sent) + u128::from(trial.unsent);
        let managed = if is_spoiled { trial.sent.saturating_sub(trial.lost) } else { trial.sent };
        let is_near = is_brief && u128::from(managed) * 100 >= intended * u128::from(NEAR_PERCENT);
        let most = match (can, is_near) {
            (true, _) => MOST_REPEATED,
            (false, true) => MOST_REPEATED_NEAR,
            (false, false) => 0,
        };
        let repeated = self.repeated.entry(trial.load_pps).or_default();
        let repeats = *repeated < most && self.no_evidence < REPEATS_FREE + self.evidence / 2;
        if repeats {
            *repeated += 1;
            self.no_evidence += 1;
        }
        repeats
    }

    /// The trials at a load.
    pub fn at(&self, load_pps: u64) -> &[Measurement] {
        self.by_load.get(&load_pps).map_or(&[], Vec::as_slice)
    }

    /// Loads that were tried, lowest first, with their trials.
    pub fn loads(&self) -> impl Iterator<Item = (u64, &[Measurement])> {
        self.by_load.iter().map(|(load, trials)| (*load, trials.as_slice()))
    }

    /// The bounds. Lower bounds above an upper bound are ignored.
    pub fn bounds(&self, criterion: &GoalCriterion) -> Bounds {
        let mut bounds = Bounds::default();
        for (load, trials) in self.loads() {
            match classify(trials, criterion) {
                LoadClass::Lower => bounds.lower = Some(load),
                LoadClass::Upper => {
                    bounds.upper = Some(load);
                    break;
                }
                LoadClass::Undecided => {}
            }
        }
        bounds
    }
}

/// True when the bounds are within `width_ppb` parts per billion of the upper one.
pub fn is_narrow(lower_pps: u64, upper_pps: u64, width_ppb: u64) -> bool {
    let width = u128::from(upper_pps.saturating_sub(lower_pps));
    width * u128::from(PPB) <= u128::from(width_ppb) * u128::from(upper_pps)
}

/// The loss that the conditional throughput subtracts: the full-length trials are taken by rising loss until
/// they fill the share of the time that must have low loss. All is lost when they do not.
pub fn quantile_loss(trials: &[Measurement], criterion: &GoalCriterion) -> Loss {
    let mut full: Vec<&Measurement> =
        trials.iter().filter(|trial| trial.duration_ns >= criterion.full_ns).collect();
    full.sort_by(|one, other| one.selection_loss().compare(other.selection_loss()));
    let measured: u128 = full.iter().map(|trial| u128::from(trial.effective_ns)).sum();
    let needed = u128::from(PPB - criterion.exceed_ppb) * measured.max(u128::from(criterion.sum_ns));
    let mut taken = 0;
    for trial in full {
        taken += u128::from(trial.effective_ns) * u128::from(PPB);
        if taken >= needed {
            return trial.selection_loss();
        }
    }
    Loss { lost: 1, all: 1 }
}

/// Conditional throughput at a load, in packets per second.
pub fn conditional_throughput_pps(load_pps: u64, trials: &[Measurement], criterion: &GoalCriterion) -> f64 {
    let Loss { lost, all } = quantile_loss(trials, criterion);
    if all == 0 {
        return load_pps as f64;
    }
    load_pps as f64 * (all - lost) as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_of_the_receiver_is_tried_again_and_not_for_ever() {
        let trial = |load_pps: u64, lost: u64, receiver_lost| Measurement {
            load_pps,
            duration_ns: 1_000_000_000,
            effective_ns: 1_000_000_000,
            sent: load_pps,
            lost,
            receiver_lost,
            unsent: 0,
            limit: None,
            loss_elsewhere: None,
        };
        let mut lenient = Trials::new(10_000_000);
        assert!(lenient.add(trial(1_000, 0, 0)));
        assert!(lenient.add(trial(900, 5, 5)), "the goal is met all the same");
        let mut trials = Trials::default();
        assert!(trials.add(trial(1_000, 500, 500)), "nothing shows that the receiver manages it");
        assert!(!trials.add(trial(900, 9, 9)), "it nearly does");
        assert!(trials.add(trial(900, 0, 0)));
        assert!(!trials.add(trial(800, 400, 400)), "it managed more");
        assert!(trials.add(trial(800, 401, 400)), "one packet was not its own");
        let taken = (0..100).filter(|_| !trials.add(trial(700, 300, 300))).count();
        assert!((20..=40).contains(&taken), "{taken} trials of 100 were no evidence");
    }
}
