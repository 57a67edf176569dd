//! System recovery (RFC 2544, section 26.5): how long a system goes on losing frames after an overload.
//!
//! The load is 110 % of the throughput, or the rate of the link if that is lower, for at least 60 s, then half of
//! it. The recovery time is the time from that step to the last lost frame.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Deviation, MethodError, MethodTrial, RFC2544_TRIAL_NS, TrialLoad, TrialOutcome, check, common_deviations,
    seconds, share_of,
};
use crate::PPB;

/// Overload as a share of the throughput, in parts per billion.
const OVERLOAD_PPB: u64 = PPB / 10 * 11;

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoverySpec {
    /// Throughput in packets per second.
    pub throughput_pps: u64,
    /// Rate of the link for the frame size in packets per second; `None` when it does not report its speed.
    pub theoretical_pps: Option<u64>,
    /// Duration of the overload in nanoseconds.
    pub overload_ns: u64,
    /// Duration of the half load in nanoseconds.
    pub after_ns: u64,
    /// Trials.
    pub repeats: u32,
}

/// Trials in progress.
#[derive(Debug, Clone)]
pub struct Recovery {
    spec: RecoverySpec,
    trials: Vec<TrialOutcome>,
}

/// Recovery time of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum RecoveryTime {
    /// Frames were lost until so long after the step.
    Known {
        /// Nanoseconds from the step to the last lost frame; 0 when none was lost after the step.
        ns: u64,
    },
    /// Frames were still lost at the end of the trial.
    NotRecovered,
    /// The overload lost nothing, so there was nothing to recover from.
    NoOverload,
    /// The time of some lost frames is not known.
    Unknown,
    /// The overload was not offered.
    NotOffered,
    /// The tester's receiver dropped packets, whose times are those of other losses.
    LostInTester,
}

/// A trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryTrial {
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets lost.
    pub lost_packets: u64,
    /// Its recovery time.
    pub recovery: RecoveryTime,
}

/// Result for one frame size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryConclusion {
    /// Throughput in packets per second.
    pub throughput_pps: u64,
    /// Load of the overload in packets per second.
    pub overload_pps: u64,
    /// Duration of the overload in seconds.
    pub overload_s: f64,
    /// Load after it in packets per second.
    pub after_pps: u64,
    /// Duration of that in seconds.
    pub after_s: f64,
    /// The trials, in order.
    pub trials: Vec<RecoveryTrial>,
    /// Mean recovery time of the trials in seconds; null when one of them has none.
    pub mean_s: Option<f64>,
    /// The shortest, in seconds.
    pub min_s: Option<f64>,
    /// The longest, in seconds.
    pub max_s: Option<f64>,
    /// How finely times are known, in seconds; null when no time is.
    pub resolution_s: Option<f64>,
    /// How the trials deviate from the standard.
    pub deviations: Vec<Deviation>,
}

impl Recovery {
    /// A measurement without trials.
    ///
    /// # Errors
    /// The first parameter out of range.
    pub fn new(spec: RecoverySpec) -> Result<Self, MethodError> {
        check(
            "system recovery",
            &[
                (spec.throughput_pps > 1, "the throughput must be above 1 packet per second"),
                (spec.overload_ns > 0 && spec.after_ns > 0, "both loads must last longer than 0 s"),
                (spec.repeats > 0, "there must be a trial"),
            ],
        )?;
        Ok(Self { spec, trials: Vec::new() })
    }

    /// What is measured.
    pub fn spec(&self) -> &RecoverySpec {
        &self.spec
    }

    /// Both loads in packets per second.
    fn loads(&self) -> (u64, u64) {
        let overload = share_of(self.spec.throughput_pps, OVERLOAD_PPB);
        let overload = overload.min(self.spec.theoretical_pps.unwrap_or(u64::MAX));
        (overload, (overload / 2).max(1))
    }

    /// The next trial.
    pub fn next(&self) -> Option<MethodTrial> {
        let (first_pps, then_pps) = self.loads();
        let RecoverySpec { overload_ns, after_ns, repeats, .. } = self.spec;
        let load = TrialLoad::Step { first_pps, first_ns: overload_ns, then_pps, then_ns: after_ns };
        let number = self.trials.len() as u32 + 1;
        (number <= repeats).then_some(MethodTrial { number, load })
    }

    /// Takes the outcome of a trial.
    pub fn record(&mut self, outcome: TrialOutcome) {
        if self.next().is_some() {
            self.trials.push(outcome);
        }
    }

    fn time(&self, trial: &TrialOutcome) -> RecoveryTime {
        let end_ns = self.spec.overload_ns.saturating_add(self.spec.after_ns);
        if trial.unsent > 0 {
            return RecoveryTime::NotOffered;
        }
        if trial.lost == 0 {
            return RecoveryTime::NoOverload;
        }
        if trial.receiver_lost > 0 {
            return RecoveryTime::LostInTester;
        }
        let Some(losses) = trial.losses.filter(|losses| losses.unplaced == 0) else {
            return RecoveryTime::Unknown;
        };
        match losses.last_ns {
            None => RecoveryTime::Unknown,
            Some(last) if last.saturating_add(losses.interval_ns) >= end_ns => RecoveryTime::NotRecovered,
            Some(last) => RecoveryTime::Known { ns: last.saturating_sub(self.spec.overload_ns) },
        }
    }

    /// The result so far.
    pub fn conclusion(&self) -> RecoveryConclusion {
        let RecoverySpec { throughput_pps, theoretical_pps, overload_ns, after_ns, .. } = self.spec;
        let (overload_pps, after_pps) = self.loads();
        let trials: Vec<RecoveryTrial> = self
            .trials
            .iter()
            .map(|trial| RecoveryTrial {
                sent_packets: trial.sent,
                lost_packets: trial.lost,
                recovery: self.time(trial),
            })
            .collect();
        let known: Vec<u64> = trials
            .iter()
            .filter_map(|trial| match trial.recovery {
                RecoveryTime::Known { ns } => Some(ns),
                _ => None,
            })
            .collect();
        let all_known = !known.is_empty() && known.len() == trials.len();
        let sum: u128 = known.iter().copied().map(u128::from).sum();
        let of_all = |ns: Option<u64>| ns.filter(|_| all_known).map(|ns| ns as f64 / 1e9);
        let resolution = self.trials.iter().filter_map(|trial| Some(trial.losses?.resolution_ns)).max();
        let mut deviations = common_deviations(u64::MAX);
        if overload_ns < RFC2544_TRIAL_NS {
            let text = format!("an overload of at least 60 s: it takes {}", seconds(overload_ns));
            deviations.push(Deviation::new("RFC 2544, section 26.5", text));
        }
        if theoretical_pps.is_none() {
            let text = "an overload of at most the rate of the media: the link does not report its speed";
            deviations.push(Deviation::new("RFC 2544, section 26.5", text));
        }
        RecoveryConclusion {
            throughput_pps,
            overload_pps,
            overload_s: overload_ns as f64 / 1e9,
            after_pps,
            after_s: after_ns as f64 / 1e9,
            mean_s: all_known.then(|| sum as f64 / known.len() as f64 / 1e9),
            min_s: of_all(known.iter().min().copied()),
            max_s: of_all(known.iter().max().copied()),
            resolution_s: resolution.map(|ns| ns as f64 / 1e9),
            trials,
            deviations,
        }
    }
}
