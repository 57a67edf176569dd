//! Frame loss rate (RFC 2544, section 26.3): loss at the maximum load, and at lower loads in steps, until two
//! trials in a row lose nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Deviation, MethodError, MethodTrial, TrialLoad, TrialOutcome, check, common_deviations, share_of,
};
use crate::PPB;
use crate::measurement::TesterLimit;

/// The widest step that RFC 2544 allows, in parts per billion.
const WIDEST_STEP_PPB: u64 = PPB / 10;
/// Trials in a row without loss that end the curve.
const CLEAN: usize = 2;

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LossCurveSpec {
    /// The maximum load, 100 %, in packets per second.
    pub max_pps: u64,
    /// Theoretical maximum of the link for the frame size, in packets per second; `None` when the link does not
    /// report its speed.
    pub theoretical_pps: Option<u64>,
    /// Distance of the loads, in parts per billion of the maximum: up to 10 %.
    pub step_ppb: u64,
    /// Duration of each trial in nanoseconds.
    pub duration_ns: u64,
}

/// A curve in progress.
#[derive(Debug, Clone)]
pub struct LossCurve {
    spec: LossCurveSpec,
    points: Vec<CurvePoint>,
}

/// A load of the curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CurvePoint {
    /// Load as a share of the maximum, 0…1.
    pub share: f64,
    /// Load in packets per second.
    pub load_pps: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets sent and not received.
    pub lost_packets: u64,
    /// Of those, packets that the tester's receiver dropped.
    pub receiver_lost_packets: u64,
    /// Loss ratio of the path, 0…1: without what the tester's receiver dropped.
    pub loss_ratio: f64,
    /// Packets intended and not sent: above 0, the loss is that of a lower load.
    pub unsent_packets: u64,
    /// The part of the tester that limited the trial; null when none did.
    pub limited_by: Option<TesterLimit>,
}

/// Why a curve does not cover the range that the standard asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Partial {
    /// The first load was below the maximum of the link, or that is not known.
    NotFromMaximum,
    /// A load was not offered.
    NotOffered,
    /// There were no two trials in a row without loss.
    NotTwoClean,
    /// The tester's receiver dropped packets.
    LostInTester,
}

/// The curve of one frame size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LossCurveConclusion {
    /// The maximum load, 100 %, in packets per second.
    pub max_load_pps: u64,
    /// Theoretical maximum of the link in packets per second; null when the link does not report its speed.
    pub theoretical_pps: Option<u64>,
    /// Duration of each trial in seconds.
    pub trial_duration_s: f64,
    /// Loads from the highest down.
    pub points: Vec<CurvePoint>,
    /// Why the range is partial; empty when it is that of the standard.
    pub partial: Vec<Partial>,
    /// How the trials deviate from the standard.
    pub deviations: Vec<Deviation>,
}

impl LossCurve {
    /// A curve without trials.
    ///
    /// # Errors
    /// The first parameter out of range.
    pub fn new(spec: LossCurveSpec) -> Result<Self, MethodError> {
        check(
            "loss curve",
            &[
                (spec.max_pps > 0, "the maximum load must be above 0"),
                (
                    (PPB / 1_000..=WIDEST_STEP_PPB).contains(&spec.step_ppb),
                    "the step must be from 0.1 % to 10 % (RFC 2544, section 26.3)",
                ),
                (spec.duration_ns > 0, "a trial must last longer than 0 s"),
            ],
        )?;
        Ok(Self { spec, points: Vec::new() })
    }

    /// What is measured.
    pub fn spec(&self) -> &LossCurveSpec {
        &self.spec
    }

    /// The next trial.
    pub fn next(&self) -> Option<MethodTrial> {
        let number = self.points.len() as u64;
        let share = PPB.checked_sub(number.checked_mul(self.spec.step_ppb)?)?;
        let pps = share_of(self.spec.max_pps, share);
        let load = TrialLoad::Steady { pps, duration_ns: self.spec.duration_ns };
        (!self.has_ended() && pps > 0).then_some(MethodTrial { number: number as u32 + 1, load })
    }

    /// Takes the outcome of a trial.
    pub fn record(&mut self, outcome: TrialOutcome) {
        let Some(MethodTrial { load: TrialLoad::Steady { pps, .. }, .. }) = self.next() else { return };
        let share = PPB - self.points.len() as u64 * self.spec.step_ppb;
        self.points.push(CurvePoint {
            share: share as f64 / PPB as f64,
            load_pps: pps,
            sent_packets: outcome.sent,
            lost_packets: outcome.lost,
            receiver_lost_packets: outcome.receiver_lost,
            loss_ratio: outcome.loss().ratio(),
            unsent_packets: outcome.unsent,
            limited_by: outcome.limit,
        });
    }

    fn has_ended(&self) -> bool {
        let clean = |point: &CurvePoint| {
            point.lost_packets == 0 && point.unsent_packets == 0 && point.sent_packets > 0
        };
        self.points.len() >= CLEAN && self.points.iter().rev().take(CLEAN).all(clean)
    }

    /// The curve so far.
    pub fn conclusion(&self) -> LossCurveConclusion {
        let LossCurveSpec { max_pps, theoretical_pps, duration_ns, .. } = self.spec;
        let from_maximum = theoretical_pps.is_some_and(|theoretical| max_pps >= theoretical);
        let in_tester = self.points.iter().any(|point| point.receiver_lost_packets > 0);
        let offered = self.points.iter().all(|point| point.unsent_packets == 0);
        let partial = [
            (!from_maximum, Partial::NotFromMaximum),
            (!offered, Partial::NotOffered),
            (!self.has_ended(), Partial::NotTwoClean),
            (in_tester, Partial::LostInTester),
        ];
        let mut deviations = common_deviations(duration_ns);
        if !from_maximum {
            let text = match theoretical_pps {
                Some(theoretical) => format!(
                    "the first trial is at the maximum rate of the media: it was at {max_pps} of {theoretical} packets per second"
                ),
                None => {
                    "the first trial is at the maximum rate of the media: the link does not report its speed"
                        .to_owned()
                }
            };
            deviations.push(Deviation::new("RFC 2544, section 26.3", text));
        }
        LossCurveConclusion {
            max_load_pps: max_pps,
            theoretical_pps,
            trial_duration_s: duration_ns as f64 / 1e9,
            points: self.points.clone(),
            partial: partial.into_iter().filter(|(is, _)| *is).map(|(_, why)| why).collect(),
            deviations,
        }
    }
}
