//! Benchmarks that follow a search: from its result and the document to their trials, and from the recorded trials
//! to their results.

mod ahead;
mod outcome;
#[cfg(test)]
mod tests;

use std::time::Duration;

use linerate_search::methods::{
    BackToBackSpec, Criteria, LatencySpec, LossCurveSpec, LossVerification, Method, MethodSpec, RecoverySpec,
    ServiceRates, ServiceSpec, SoakSpec, TrialLoad,
};
use linerate_search::{Goal, PPB};
use linerate_traffic::rate::Rate;
use linerate_traffic::span::Span;

pub(crate) use ahead::check;
pub(super) use ahead::{likely_s, longest_ns};
pub use outcome::outcome;
pub(super) use outcome::run_of;

use super::state::SearchState;
use super::then::{FollowUp, Throughput};
use super::{MaxLoadSource, SearchPurpose};
use crate::strategy::Equipment;

const NS_PER_MS: u64 = 1_000_000;
/// Longest burst by default, in seconds at the rate of the link (RFC 9004).
const LONGEST_BURST_S: f64 = 30.0;

/// State of a benchmark that follows a search.
#[derive(Debug, Clone)]
pub struct FollowState {
    /// Its name in documents and results.
    pub name: &'static str,
    /// The benchmark; `None` when it cannot begin.
    pub method: Option<Method>,
    /// Why it cannot begin or go on; `None` when it can.
    pub reason: Option<String>,
    /// Trials that were recorded.
    pub trials: u32,
    /// True when it has all its trials.
    pub is_complete: bool,
}

/// What a benchmark is based on besides the document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Basis<'s> {
    /// The finished search.
    pub(super) search: &'s SearchState,
    pub(super) equipment: &'s Equipment,
    /// Highest load that ceilings admit, in packets per second; `None`: any.
    pub(super) ceiling_pps: Option<f64>,
}

impl FollowUp {
    /// Purpose of its trials.
    pub(super) fn purpose(&self) -> SearchPurpose {
        match self {
            Self::Latency(_) => SearchPurpose::Latency,
            Self::LossCurve(_) => SearchPurpose::LossCurve,
            Self::BackToBack(_) => SearchPurpose::BackToBack,
            Self::Recovery(_) => SearchPurpose::Recovery,
            Self::Service(_) => SearchPurpose::Service,
            Self::Soak(_) => SearchPurpose::Soak,
        }
    }

    /// Time without traffic before each of its trials.
    pub(super) fn rest(&self) -> Duration {
        match self {
            Self::BackToBack(section) => Duration::from_millis(section.wait.millis()),
            _ => Duration::ZERO,
        }
    }

    /// The benchmark without trials.
    ///
    /// # Errors
    /// Why it cannot begin.
    pub(super) fn begin(&self, basis: Basis<'_>) -> Result<Method, String> {
        self.spec(basis)?.begin().map_err(|error| error.to_string())
    }

    fn spec(&self, basis: Basis<'_>) -> Result<MethodSpec, String> {
        Ok(match self {
            Self::Latency(section) => {
                let (throughput_pps, throughput_name) = basis.throughput(&section.of)?;
                MethodSpec::Latency(LatencySpec {
                    throughput_pps,
                    throughput_name,
                    shares_ppb: section.at.iter().map(|share| share.ppb()).collect(),
                    duration_ns: section.duration.millis() * NS_PER_MS,
                    repeats: section.repeats.get_u32(),
                    tagged: false,
                })
            }
            Self::LossCurve(section) => MethodSpec::LossCurve(LossCurveSpec {
                max_pps: basis.max_pps()?,
                theoretical_pps: basis.link_pps().map(|pps| pps as u64),
                step_ppb: section.step.ppb(),
                duration_ns: section.duration.millis() * NS_PER_MS,
            }),
            Self::BackToBack(section) => {
                let (throughput_pps, _) = basis.throughput(&section.of)?;
                let theoretical_pps = basis.burst_pps()?;
                let longest = (LONGEST_BURST_S * theoretical_pps).ceil() as u64;
                let tries = section.tries.get_u32();
                MethodSpec::BackToBack(BackToBackSpec {
                    theoretical_pps,
                    is_measured: basis.link_pps().is_none(),
                    is_mix: basis.search.profile.frame_sizes().single().is_none(),
                    throughput_pps,
                    min_burst: section.min.get(),
                    max_burst: section.max.map_or(longest, |max| max.get()),
                    step: section.step.get(),
                    verification: (tries > 1)
                        .then_some(LossVerification { max_tries: tries, hopeless: None }),
                    searches: section.searches.get_u32(),
                    wait_ns: section.wait.millis() * NS_PER_MS,
                })
            }
            Self::Recovery(section) => {
                let (throughput_pps, _) = basis.throughput(&section.of)?;
                MethodSpec::Recovery(RecoverySpec {
                    throughput_pps,
                    theoretical_pps: basis.allowed_pps(),
                    overload_ns: section.overload.millis() * NS_PER_MS,
                    after_ns: section.after.millis() * NS_PER_MS,
                    repeats: section.repeats.get_u32(),
                })
            }
            Self::Service(section) => {
                let pps = |field: &str, rate: Rate| basis.pps(&format!("service.{field}"), rate);
                let ns = |span: Span| u64::try_from(span.0.as_nanos()).unwrap_or(u64::MAX);
                MethodSpec::Service(ServiceSpec {
                    cir_pps: pps("cir", section.cir)?,
                    eir_pps: section.eir.map_or(Ok(0), |rate| pps("eir", rate))?,
                    steps_ppb: section.steps.iter().map(|share| share.ppb()).collect(),
                    policing: section.policing,
                    step_ns: section.step_duration.millis() * NS_PER_MS,
                    performance_ns: section.performance.millis() * NS_PER_MS,
                    criteria: Criteria {
                        delay_ns: section.delay.map(ns),
                        variation_ns: section.variation.map(ns),
                        loss_ppb: section.loss.ppb(),
                        tolerance_ppb: section.tolerance.ppb(),
                    },
                    rates: ServiceRates::EachPath,
                })
            }
            Self::Soak(section) => {
                let (throughput_pps, name) = basis.throughput(&section.of)?;
                let load = u128::from(throughput_pps) * u128::from(section.at.ppb()) / u128::from(PPB);
                MethodSpec::Soak(SoakSpec {
                    load_pps: load as u64,
                    load_name: format!("{} of {name}", section.at),
                    duration_ns: section.duration.millis() * NS_PER_MS,
                })
            }
        })
    }
}

impl Basis<'_> {
    /// A load in packets per second, rounded down, and at least one.
    fn pps(&self, field: &str, rate: Rate) -> Result<u64, String> {
        let sizes = self.search.profile.frame_sizes();
        match rate.packets_per_second(sizes, self.equipment.claimed_bps) {
            Ok(Some(pps)) => Ok((pps as u64).max(1)),
            Ok(None) => Err(format!("{field}: 'max' is no load; give a rate")),
            Err(error) => Err(format!("{field}: {error}")),
        }
    }

    /// A throughput in packets per second, and its name.
    fn throughput(&self, of: &Throughput) -> Result<(u64, String), String> {
        if let Throughput::Load(rate) = of {
            return Ok((self.pps("of", *rate)?, rate.to_string()));
        }
        let mut conclusions = self.search.search.iter().flat_map(linerate_search::Search::conclusions);
        let is_it = |goal: &Goal| match of {
            Throughput::Goal(name) => goal.name == *name,
            Throughput::First | Throughput::Load(_) => true,
        };
        let (goal, found) = conclusions.find(|(goal, _)| is_it(goal)).ok_or("the search has no such goal")?;
        let name = goal.name.to_uppercase();
        match found.effective_lower_bound_pps {
            Some(pps) if found.regular => Ok((pps, name)),
            Some(pps) => Ok((pps, format!("{name} (at least)"))),
            None => Err(format!("no load meets goal '{}', so there is no throughput", goal.name)),
        }
    }

    fn max_pps(&self) -> Result<u64, String> {
        self.search.max.map(|(pps, _)| pps).ok_or_else(|| "the highest load is not known".to_owned())
    }

    /// Rate of the link in packets per second; `None` when it does not report a speed that means something.
    fn link_pps(&self) -> Option<f64> {
        Some(self.search.profile.frame_sizes().line_rate_pps(self.equipment.real_bps?))
    }

    /// Highest load that link and ceilings admit; `None` when neither is known.
    fn allowed_pps(&self) -> Option<u64> {
        let known = [self.link_pps(), self.ceiling_pps];
        known.into_iter().flatten().reduce(f64::min).map(|pps| pps as u64)
    }

    /// Rate at which a burst leaves: that of the link, or what a trial as fast as possible offered.
    fn burst_pps(&self) -> Result<f64, String> {
        let measured = match self.search.max {
            Some((_, MaxLoadSource::Measured)) => self.search.measured_pps(),
            _ => None,
        };
        let pps = self.link_pps().or(measured).ok_or(
            "bursts leave at the rate of the link, and the link does not report its speed; leave spec.search.load.max out, so that a trial measures it",
        )?;
        match self.ceiling_pps {
            Some(ceiling) if ceiling < pps => Err(format!(
                "bursts leave at the rate of the link, {pps:.0} packets per second, and spec.safety admits {ceiling:.0}"
            )),
            _ => Ok(pps),
        }
    }

    /// Why a trial must not be run; `None` when it may.
    pub(super) fn refusal(&self, load: &TrialLoad) -> Option<String> {
        let pps = match *load {
            TrialLoad::Steady { pps, .. } => pps,
            TrialLoad::Step { first_pps, then_pps, .. } => first_pps.max(then_pps),
            TrialLoad::Burst { .. } => return None,
        };
        let (allowed, what) = match (self.allowed_pps(), self.ceiling_pps) {
            (Some(allowed), Some(ceiling)) if ceiling as u64 <= allowed => (allowed, "spec.safety admits"),
            (Some(allowed), _) => (allowed, "the link carries"),
            (None, _) => return None,
        };
        (pps > allowed)
            .then(|| format!("a trial at {pps} packets per second is needed, and {what} {allowed}"))
    }
}
