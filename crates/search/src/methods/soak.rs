//! A long trial at one load: how much is lost over minutes to days, and when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LossSpan, MethodError, MethodTrial, TrialLoad, TrialOutcome, check};
use crate::measurement::TesterLimit;

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SoakSpec {
    /// Load in packets per second.
    pub load_pps: u64,
    /// What that load is, such as `100 % of NDR`.
    pub load_name: String,
    /// Duration in nanoseconds.
    pub duration_ns: u64,
}

/// A trial to run.
#[derive(Debug, Clone)]
pub struct Soak {
    spec: SoakSpec,
    trial: Option<TrialOutcome>,
}

/// Its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SoakConclusion {
    /// Load in packets per second.
    pub load_pps: u64,
    /// What that load is.
    pub load_name: String,
    /// Intended duration in seconds.
    pub duration_s: f64,
    /// Packets sent; null before the trial.
    pub sent_packets: Option<u64>,
    /// Packets lost; null before the trial.
    pub lost_packets: Option<u64>,
    /// Of those, packets that the tester's receiver dropped.
    pub receiver_lost_packets: u64,
    /// Loss ratio of the path, 0…1: without what the tester's receiver dropped; null before the trial.
    pub loss_ratio: Option<f64>,
    /// Packets intended and not sent: above 0, the load was lower.
    pub unsent_packets: u64,
    /// When packets were lost; null when none was, and when no time is known. The intervals are in the trial's file.
    pub losses: Option<LossSpan>,
    /// Share of the time, 0…1, in intervals with losses; null when that is not known.
    pub lossy_share: Option<f64>,
    /// The part of the tester that limited the trial; null when none did.
    pub limited_by: Option<TesterLimit>,
}

impl Soak {
    /// A trial that has not run.
    ///
    /// # Errors
    /// The first parameter out of range.
    pub fn new(spec: SoakSpec) -> Result<Self, MethodError> {
        check(
            "soak",
            &[
                (spec.load_pps > 0, "the load must be above 0"),
                (spec.duration_ns > 0, "the trial must last longer than 0 s"),
            ],
        )?;
        Ok(Self { spec, trial: None })
    }

    /// What is measured.
    pub fn spec(&self) -> &SoakSpec {
        &self.spec
    }

    /// The next trial.
    pub fn next(&self) -> Option<MethodTrial> {
        let SoakSpec { load_pps, duration_ns, .. } = self.spec;
        let load = TrialLoad::Steady { pps: load_pps, duration_ns };
        self.trial.is_none().then_some(MethodTrial { number: 1, load })
    }

    /// Takes the outcome of the trial.
    pub fn record(&mut self, outcome: TrialOutcome) {
        self.trial.get_or_insert(outcome);
    }

    /// The result so far.
    pub fn conclusion(&self) -> SoakConclusion {
        let trial = self.trial.as_ref();
        let losses = trial.and_then(|trial| trial.losses);
        let lossy_ns = |losses: LossSpan| {
            (losses.unplaced == 0).then(|| losses.intervals.saturating_mul(losses.interval_ns) as f64)
        };
        let lossy_share = match trial {
            Some(trial) if trial.lost == 0 => Some(0.0),
            _ => losses.and_then(lossy_ns).map(|ns| (ns / self.spec.duration_ns as f64).min(1.0)),
        };
        SoakConclusion {
            load_pps: self.spec.load_pps,
            load_name: self.spec.load_name.clone(),
            duration_s: self.spec.duration_ns as f64 / 1e9,
            sent_packets: trial.map(|trial| trial.sent),
            lost_packets: trial.map(|trial| trial.lost),
            receiver_lost_packets: trial.map_or(0, |trial| trial.receiver_lost),
            loss_ratio: trial.map(|trial| trial.loss().ratio()),
            unsent_packets: trial.map_or(0, |trial| trial.unsent),
            losses,
            lossy_share,
            limited_by: trial.and_then(|trial| trial.limit),
        }
    }
}
