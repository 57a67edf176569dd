//! Latency at shares of a throughput (RFC 2544, section 26.2).
//!
//! RFC 2544 times one tagged frame of each trial, 60 s after its beginning, and takes the mean of 20 trials.
//! Linerate times every packet, so its figures are percentiles of all of them. They bear the RFC's name only when
//! its trials were really made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Delays, Deviation, MethodError, MethodTrial, SECOND_NS, TrialLoad, TrialOutcome, check,
    common_deviations, percent, seconds, share_of,
};
use crate::PPB;

/// Shares of the throughput that are usual.
pub const USUAL_SHARES_PPB: [u64; 4] = [PPB, PPB / 10 * 9, PPB / 2, PPB / 10];
/// Trials that RFC 2544 asks for.
const RFC2544_REPEATS: u32 = 20;
/// Their duration.
const RFC2544_DURATION_NS: u64 = 120 * SECOND_NS;

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatencySpec {
    /// The load of 100 %, in packets per second.
    pub throughput_pps: u64,
    /// What that load is, such as `NDR`.
    pub throughput_name: String,
    /// Shares of it in parts per billion, in the order in which they are measured.
    pub shares_ppb: Vec<u64>,
    /// Duration of each trial in nanoseconds.
    pub duration_ns: u64,
    /// Trials at each share.
    pub repeats: u32,
    /// True when each trial times one tagged frame after 60 s.
    pub tagged: bool,
}

/// Trials in progress.
#[derive(Debug, Clone)]
pub struct LatencyShares {
    spec: LatencySpec,
    /// Outcomes so far: all repeats of the first share, then those of the second, and so on.
    trials: Vec<TrialOutcome>,
}

/// Latency at one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyAt {
    /// What it may be called, such as `latency at 90 % of NDR`.
    pub name: String,
    /// Load as a share of the throughput, 0…1.
    pub share: f64,
    /// Load in packets per second.
    pub load_pps: u64,
    /// Trials.
    pub trials: u32,
    /// Of those, trials without delays: nothing arrived, or the clocks cannot be compared.
    pub trials_without_delays: u32,
    /// Packets sent in all trials.
    pub sent_packets: u64,
    /// Packets lost in all trials.
    pub lost_packets: u64,
    /// Packets intended and not sent in all trials: above 0, the delays are those of a lower load.
    pub unsent_packets: u64,
    /// Delays of each trial, in nanoseconds.
    pub delays: Vec<Delays>,
    /// Median of each figure over the trials; null without delays.
    pub median: Option<Delays>,
    /// Mean of each figure over the trials; null without delays.
    pub mean: Option<Delays>,
    /// Largest of each figure over the trials; null without delays.
    pub largest: Option<Delays>,
}

/// Latency at all loads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyConclusion {
    /// The load of 100 %, in packets per second.
    pub throughput_pps: u64,
    /// What that load is.
    pub throughput_name: String,
    /// Duration of each trial in seconds.
    pub trial_duration_s: f64,
    /// True when the figures are latency as RFC 2544 has it.
    pub is_rfc2544: bool,
    /// The loads that have a trial, in the order of the trials.
    pub at: Vec<LatencyAt>,
    /// How the trials deviate from the standard.
    pub deviations: Vec<Deviation>,
}

impl LatencyShares {
    /// A measurement without trials.
    ///
    /// # Errors
    /// The first parameter out of range.
    pub fn new(spec: LatencySpec) -> Result<Self, MethodError> {
        let in_range = |share: &u64| (1..=PPB).contains(share);
        check(
            "latency",
            &[
                (spec.throughput_pps > 0, "the throughput must be above 0"),
                (!spec.shares_ppb.is_empty(), "there must be a share of the throughput"),
                (spec.shares_ppb.iter().all(in_range), "a share must be above 0 % and at most 100 %"),
                (spec.repeats > 0, "there must be a trial"),
                (spec.duration_ns > 0, "a trial must last longer than 0 s"),
            ],
        )?;
        Ok(Self { spec, trials: Vec::new() })
    }

    /// What is measured.
    pub fn spec(&self) -> &LatencySpec {
        &self.spec
    }

    /// The next trial.
    pub fn next(&self) -> Option<MethodTrial> {
        let done = self.trials.len();
        let share = self.spec.shares_ppb.get(done / self.spec.repeats as usize)?;
        // A share of a small throughput is still a load.
        let pps = share_of(self.spec.throughput_pps, *share).max(1);
        let load = TrialLoad::Steady { pps, duration_ns: self.spec.duration_ns };
        Some(MethodTrial { number: done as u32 + 1, load })
    }

    /// Takes the outcome of a trial.
    pub fn record(&mut self, outcome: TrialOutcome) {
        if self.next().is_some() {
            self.trials.push(outcome);
        }
    }

    /// The result so far.
    pub fn conclusion(&self) -> LatencyConclusion {
        let LatencySpec { throughput_pps, throughput_name, shares_ppb, duration_ns, repeats, tagged } =
            &self.spec;
        let is_rfc2544 = *tagged && *repeats >= RFC2544_REPEATS && *duration_ns >= RFC2544_DURATION_NS;
        let at = shares_ppb.iter().zip(self.trials.chunks(*repeats as usize));
        let mut deviations = common_deviations(*duration_ns);
        let mut add = |is: bool, text: String| {
            if is {
                deviations.push(Deviation::new("RFC 2544, section 26.2", text));
            }
        };
        add(!tagged, "one tagged frame of each trial is timed: these are figures of all packets".to_owned());
        add(*repeats < RFC2544_REPEATS, format!("at least 20 trials: there are {repeats} at each load"));
        add(
            *duration_ns < RFC2544_DURATION_NS,
            format!("trials of at least 120 s: these take {}", seconds(*duration_ns)),
        );
        add(
            shares_ppb.iter().any(|share| *share < PPB),
            "latency is measured at the throughput: lower loads are measured besides".to_owned(),
        );
        LatencyConclusion {
            throughput_pps: *throughput_pps,
            throughput_name: throughput_name.clone(),
            trial_duration_s: *duration_ns as f64 / 1e9,
            is_rfc2544,
            at: at.map(|(share, trials)| self.at(*share, trials, is_rfc2544)).collect(),
            deviations,
        }
    }

    fn at(&self, share_ppb: u64, trials: &[TrialOutcome], is_rfc2544: bool) -> LatencyAt {
        let delays: Vec<Delays> = trials.iter().filter_map(|trial| trial.delays).collect();
        let name = if is_rfc2544 && share_ppb == PPB {
            "RFC 2544 latency".to_owned()
        } else {
            format!("latency at {} of {}", percent(share_ppb), self.spec.throughput_name)
        };
        let sum = |of: fn(&TrialOutcome) -> u64| trials.iter().map(of).fold(0, u64::saturating_add);
        LatencyAt {
            name,
            share: share_ppb as f64 / PPB as f64,
            load_pps: share_of(self.spec.throughput_pps, share_ppb).max(1),
            trials: trials.len() as u32,
            trials_without_delays: (trials.len() - delays.len()) as u32,
            sent_packets: sum(|trial| trial.sent),
            lost_packets: sum(|trial| trial.lost),
            unsent_packets: sum(|trial| trial.unsent),
            median: Delays::of_all(&delays, median),
            mean: Delays::of_all(&delays, mean),
            largest: Delays::of_all(&delays, |all| all.last().copied().unwrap_or(0)),
            delays,
        }
    }
}

/// Median of sorted values, rounded down.
fn median(sorted: &[u64]) -> u64 {
    let upper = sorted[sorted.len() / 2];
    let lower = sorted[(sorted.len() - 1) / 2];
    lower + (upper - lower) / 2
}

/// Mean, rounded down.
fn mean(values: &[u64]) -> u64 {
    let sum: u128 = values.iter().copied().map(u128::from).sum();
    (sum / values.len().max(1) as u128) as u64
}
