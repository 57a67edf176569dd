//! Service activation test (ITU-T Y.1564): a service's loads against its acceptance criteria.
//!
//! The configuration test sends at shares of the committed rate (CIR), at committed and excess rate (CIR + EIR),
//! and above both, where the network must police. The performance test sends at the committed rate for a long
//! time; it is run when all steps before have passed. Each step passes, fails, or cannot be judged, with the
//! reason.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Delays, Deviation, MethodError, MethodTrial, PathRates, SECOND_NS, TrialLoad, TrialOutcome, check,
    percent, seconds, share_of,
};
use crate::PPB;
use crate::measurement::TesterLimit;

/// Shares of the committed rate that are usual, in parts per billion.
pub const USUAL_STEPS_PPB: [u64; 4] = [PPB / 4, PPB / 2, PPB / 4 * 3, PPB];
/// Durations of a configuration step that the recommendation has.
const STEP_NS: std::ops::RangeInclusive<u64> = SECOND_NS..=60 * SECOND_NS;
/// Durations of a performance test that the recommendation has: 15 min, 2 h and 24 h.
const PERFORMANCE_NS: [u64; 3] = [900 * SECOND_NS, 7_200 * SECOND_NS, 86_400 * SECOND_NS];

/// A service and what it must meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSpec {
    /// Committed information rate in packets per second.
    pub cir_pps: u64,
    /// Excess information rate in packets per second; 0 for none.
    pub eir_pps: u64,
    /// Steps of the configuration test up to the committed rate, in parts per billion of it.
    pub steps_ppb: Vec<u64>,
    /// True when the network must police.
    pub policing: bool,
    /// Duration of a configuration step in nanoseconds.
    pub step_ns: u64,
    /// Duration of the performance test in nanoseconds; 0 for none.
    pub performance_ns: u64,
    /// Acceptance criteria.
    pub criteria: Criteria,
    /// The rates that are compared with the committed and the excess one.
    #[serde(default)]
    pub rates: ServiceRates,
}

/// The rates of a step with several paths that its criteria judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ServiceRates {
    /// The sum of all paths, also of a load that was not offered: so did earlier versions judge.
    #[default]
    Sum,
    /// Those of each path: the committed rate must arrive on the slowest, and the fastest must be policed. A load that was
    /// not offered is not due.
    EachPath,
}

/// Acceptance criteria of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Criteria {
    /// Largest mean frame transfer delay (FTD) in nanoseconds; null: none.
    pub delay_ns: Option<u64>,
    /// Largest frame delay variation (FDV) in nanoseconds, the 99.9th percentile of the delay less the smallest; null: none.
    pub variation_ns: Option<u64>,
    /// Largest frame loss ratio (FLR) in parts per billion.
    pub loss_ppb: u64,
    /// Share in parts per billion by which the information rate may exceed the policed one.
    pub tolerance_ppb: u64,
}

/// What a step of the test is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StepKind {
    /// Up to the committed rate.
    Committed,
    /// Committed and excess rate.
    Excess,
    /// More than both.
    Policing,
    /// The committed rate for a long time.
    Performance,
}

/// Judgement of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StepVerdict {
    /// All criteria are met.
    Pass,
    /// It cannot be judged: a value is not known, or the load was not offered.
    Unknown,
    /// A criterion is missed.
    Fail,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Criterion {
    /// The load that was offered.
    OfferedLoad,
    /// The tester's receiver.
    Receiver,
    /// Frame loss ratio.
    LossRatio,
    /// Information rate: packets received per second.
    InformationRate,
    /// Frame transfer delay.
    Delay,
    /// Frame delay variation.
    DelayVariation,
}

/// A criterion and whether a step meets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The criterion.
    pub criterion: Criterion,
    /// Whether it is met.
    pub verdict: StepVerdict,
    /// Measured value and limit, in one sentence.
    pub reason: String,
}

/// A step of the test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStep {
    /// What it is for.
    pub kind: StepKind,
    /// Load in packets per second.
    pub load_pps: u64,
    /// Duration in seconds.
    pub duration_s: f64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets lost.
    pub lost_packets: u64,
    /// Of those, packets that the tester's receiver dropped.
    pub receiver_lost_packets: u64,
    /// Packets received per second, on the path that received least; by the rules of earlier versions, on all paths
    /// together.
    pub received_pps: u64,
    /// Delays in nanoseconds; null when they are not known.
    pub delays: Option<Delays>,
    /// The part of the tester that limited the step; null when none did.
    pub limited_by: Option<TesterLimit>,
    /// Whether the step passes.
    pub verdict: StepVerdict,
    /// The criteria that were judged.
    pub findings: Vec<Finding>,
}

/// Result of the test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceConclusion {
    /// Committed rate in packets per second.
    pub cir_pps: u64,
    /// Excess rate in packets per second; 0 for none.
    pub eir_pps: u64,
    /// Acceptance criteria.
    pub criteria: Criteria,
    /// The steps so far.
    pub steps: Vec<ServiceStep>,
    /// Verdict on the configuration test; null before its end.
    pub configuration: Option<StepVerdict>,
    /// Verdict on the performance test; null without one.
    pub performance: Option<StepVerdict>,
    /// How the test deviates from the recommendation.
    pub deviations: Vec<Deviation>,
}

/// A test in progress.
#[derive(Debug, Clone)]
pub struct ServiceTest {
    spec: ServiceSpec,
    trials: Vec<TrialOutcome>,
}

impl ServiceTest {
    /// A test without trials.
    ///
    /// # Errors
    /// The first parameter out of range.
    pub fn new(spec: ServiceSpec) -> Result<Self, MethodError> {
        let in_range = |share: &u64| (1..=PPB).contains(share);
        check(
            "service test",
            &[
                (spec.cir_pps > 0, "the committed rate must be above 0"),
                (!spec.steps_ppb.is_empty(), "there must be a step up to the committed rate"),
                (
                    spec.steps_ppb.iter().all(in_range),
                    "a step must be above 0 % and at most 100 % of the committed rate",
                ),
                (spec.step_ns > 0, "a step must last longer than 0 s"),
                (spec.criteria.loss_ppb < PPB, "the loss ratio must be below 100 %"),
            ],
        )?;
        Ok(Self { spec, trials: Vec::new() })
    }

    /// The service.
    pub fn spec(&self) -> &ServiceSpec {
        &self.spec
    }

    /// Kinds and loads of the configuration test.
    fn configuration(&self) -> Vec<(StepKind, u64)> {
        let ServiceSpec { cir_pps, eir_pps, steps_ppb, policing, .. } = &self.spec;
        let (cir, eir) = (*cir_pps, *eir_pps);
        let committed = steps_ppb.iter().map(|share| (StepKind::Committed, share_of(cir, *share).max(1)));
        // 125 % of the excess rate, or of the committed one where the excess rate is below a fifth of it.
        let (policed, unpoliced) =
            if u128::from(eir) * 5 >= u128::from(cir) { (eir, cir) } else { (cir, eir) };
        let above = policed.saturating_add(policed / 4).saturating_add(unpoliced);
        committed
            .chain((eir > 0).then_some((StepKind::Excess, cir.saturating_add(eir))))
            .chain(policing.then_some((StepKind::Policing, above)))
            .collect()
    }

    /// Kind, load and duration of a step, from 0.
    fn step(&self, number: usize) -> Option<(StepKind, u64, u64)> {
        let steps = self.configuration();
        if let Some((kind, pps)) = steps.get(number) {
            return Some((*kind, *pps, self.spec.step_ns));
        }
        let is_last = number == steps.len() && self.spec.performance_ns > 0;
        is_last.then_some((StepKind::Performance, self.spec.cir_pps, self.spec.performance_ns))
    }

    /// The next trial.
    pub fn next(&self) -> Option<MethodTrial> {
        let number = self.trials.len();
        let (kind, pps, duration_ns) = self.step(number)?;
        let may_run =
            kind != StepKind::Performance || self.verdict_on_configuration() == Some(StepVerdict::Pass);
        let load = TrialLoad::Steady { pps, duration_ns };
        may_run.then_some(MethodTrial { number: number as u32 + 1, load })
    }

    /// Takes the outcome of a trial.
    pub fn record(&mut self, outcome: TrialOutcome) {
        if self.next().is_some() {
            self.trials.push(outcome);
        }
    }

    fn verdict_on_configuration(&self) -> Option<StepVerdict> {
        let steps = self.configuration().len();
        let verdicts = (0..steps).map(|number| Some(self.judged(number)?.verdict));
        verdicts.collect::<Option<Vec<_>>>().map(|verdicts| worst(&verdicts))
    }

    /// A step that has a trial.
    fn judged(&self, number: usize) -> Option<ServiceStep> {
        let (trial, (kind, load_pps, duration_ns)) = (self.trials.get(number)?, self.step(number)?);
        let findings = self.findings(kind, load_pps, trial);
        let verdicts: Vec<StepVerdict> = findings.iter().map(|finding| finding.verdict).collect();
        Some(ServiceStep {
            kind,
            load_pps,
            duration_s: duration_ns as f64 / 1e9,
            sent_packets: trial.sent,
            lost_packets: trial.lost,
            receiver_lost_packets: trial.receiver_lost,
            received_pps: self.rates(trial).received_pps,
            delays: trial.delays,
            limited_by: trial.limit,
            verdict: worst(&verdicts),
            findings,
        })
    }

    /// The rates that are judged.
    fn rates(&self, trial: &TrialOutcome) -> PathRates {
        let of_paths = trial.paths.filter(|_| self.spec.rates == ServiceRates::EachPath);
        of_paths.unwrap_or_else(|| trial.rates())
    }

    fn findings(&self, kind: StepKind, load_pps: u64, trial: &TrialOutcome) -> Vec<Finding> {
        let ServiceSpec { cir_pps, eir_pps, criteria, .. } = &self.spec;
        let mut findings = Vec::new();
        let mut add = |criterion, verdict, reason| findings.push(Finding { criterion, verdict, reason });
        let is_offered = trial.unsent == 0 && trial.sent > 0;
        if !is_offered {
            let reason = format!(
                "{} packets of {load_pps} a second were not sent, so the step has another load",
                trial.unsent
            );
            add(Criterion::OfferedLoad, StepVerdict::Unknown, reason);
        }
        if trial.receiver_lost > 0 {
            let reason = format!(
                "the tester lost {} packets itself, or received them too late to tell: the path's share is not known",
                trial.receiver_lost
            );
            add(Criterion::Receiver, StepVerdict::Unknown, reason);
        }
        let rates = self.rates(trial);
        let is_sum = self.spec.rates == ServiceRates::Sum;
        let is_due = is_offered || is_sum;
        // What must arrive of a load, with the loss that is allowed.
        let due = |pps: u64| share_of(pps, PPB - criteria.loss_ppb);
        match kind {
            StepKind::Committed | StepKind::Performance => {
                let loss = trial.loss();
                let limit = percent(criteria.loss_ppb);
                let reason = match trial.receiver_lost {
                    tester @ 1.. if !is_sum => {
                        let path = format!("{} of {} packets lost on the path", loss.lost, loss.all);
                        format!("{path} ({tester} more may be the tester's own loss), {limit} allowed")
                    }
                    _ => format!("{} of {} packets lost, {limit} allowed", loss.lost, loss.all),
                };
                add(Criterion::LossRatio, verdict(!loss.exceeds(criteria.loss_ppb)), reason);
                for (criterion, limit, measured) in [
                    (Criterion::Delay, criteria.delay_ns, trial.delays.map(|delays| delays.mean)),
                    (
                        Criterion::DelayVariation,
                        criteria.variation_ns,
                        trial.delays.map(|delays| delays.p999.saturating_sub(delays.min)),
                    ),
                ] {
                    let Some(limit) = limit else { continue };
                    match measured {
                        Some(ns) => {
                            add(
                                criterion,
                                verdict(ns <= limit),
                                format!("{ns} ns measured, {limit} ns allowed"),
                            );
                        }
                        None => {
                            let reason = format!(
                                "not known, {limit} ns allowed: nothing arrived, or the clocks cannot be compared"
                            );
                            add(criterion, StepVerdict::Unknown, reason);
                        }
                    }
                }
            }
            StepKind::Excess | StepKind::Policing => {
                let least = due(*cir_pps);
                let (least_pps, most_pps) = match is_sum {
                    true => (rates.least_pps, rates.least_pps),
                    false => (rates.received_pps, rates.least_pps),
                };
                let arrived = arrived(least_pps, most_pps);
                let reason = format!("{arrived}, {least} of the committed rate are due");
                // A rate is rounded down, and a trial sends whole packets.
                let is_enough = |pps: u64| pps.saturating_add(1) >= least;
                let met = match (is_enough(least_pps), is_enough(most_pps)) {
                    (true, _) => StepVerdict::Pass,
                    (false, false) if is_due => StepVerdict::Fail,
                    _ => StepVerdict::Unknown,
                };
                add(Criterion::InformationRate, met, reason);
            }
        }
        if kind == StepKind::Policing {
            let most = cir_pps.saturating_add(*eir_pps);
            let most = most.saturating_add(share_of(most, criteria.tolerance_ppb));
            let least_pps = if is_sum { rates.most_pps } else { rates.most_received_pps };
            let reason = format!("{}, {most} may pass", arrived(least_pps, rates.most_pps));
            let met = match (least_pps <= most, rates.most_pps <= most) {
                (_, true) => StepVerdict::Pass,
                (true, false) => StepVerdict::Unknown,
                (false, false) => StepVerdict::Fail,
            };
            add(Criterion::InformationRate, met, reason);
        }
        findings
    }

    /// The result so far.
    pub fn conclusion(&self) -> ServiceConclusion {
        let steps: Vec<ServiceStep> =
            (0..self.trials.len()).filter_map(|number| self.judged(number)).collect();
        let performance = steps.iter().find(|step| step.kind == StepKind::Performance);
        ServiceConclusion {
            cir_pps: self.spec.cir_pps,
            eir_pps: self.spec.eir_pps,
            criteria: self.spec.criteria,
            configuration: self.verdict_on_configuration(),
            performance: performance.map(|step| step.verdict),
            steps,
            deviations: self.deviations(),
        }
    }

    fn deviations(&self) -> Vec<Deviation> {
        let ServiceSpec { step_ns, performance_ns, criteria, .. } = &self.spec;
        let mut texts = vec![
            "burst sizes (CBS, EBS) are tested where they are agreed: they are not tested".to_owned(),
            "all services are loaded together in the performance test: this is one service".to_owned(),
            "availability is reported: it is not measured".to_owned(),
        ];
        if !STEP_NS.contains(step_ns) {
            texts.push(format!("configuration steps of 1 s to 60 s: these take {}", seconds(*step_ns)));
        }
        if *performance_ns == 0 {
            texts.push("a performance test follows: there is none".to_owned());
        } else if !PERFORMANCE_NS.contains(performance_ns) {
            texts.push(format!(
                "a performance test of 15 min, 2 h or 24 h: it takes {}",
                seconds(*performance_ns)
            ));
        }
        if criteria.delay_ns.is_none() || criteria.variation_ns.is_none() {
            texts.push("delay and its variation have acceptance criteria: not both have".to_owned());
        }
        texts.into_iter().map(|text| Deviation::new("ITU-T Y.1564", text)).collect()
    }
}

/// What arrived, and what came as far as the tester's receiver.
fn arrived(received_pps: u64, forwarded_pps: u64) -> String {
    if received_pps == forwarded_pps {
        return format!("{received_pps} packets a second arrived");
    }
    format!(
        "{received_pps} packets a second arrived, up to {forwarded_pps} with what the tester's receiver lost"
    )
}

fn verdict(is_met: bool) -> StepVerdict {
    if is_met { StepVerdict::Pass } else { StepVerdict::Fail }
}

/// Fail before unknown before pass.
fn worst(verdicts: &[StepVerdict]) -> StepVerdict {
    [StepVerdict::Fail, StepVerdict::Unknown]
        .into_iter()
        .find(|worst| verdicts.contains(worst))
        .unwrap_or(StepVerdict::Pass)
}
