//! What a benchmark of a document needs, before anything is measured.

use std::time::Duration;

use linerate_search::PPB;
use linerate_traffic::rate::Rate;

use super::super::share::Share;
use super::super::then::{FollowUp, Throughput};
use super::{LONGEST_BURST_S, NS_PER_MS};

/// Likely time of a benchmark in seconds, when a trial takes `overhead` besides its sending and the link carries
/// `link_pps` packets per second. A loss curve may end earlier; bursts are assumed to be longer than the buffer.
pub(in super::super) fn likely_s(follow: &FollowUp, overhead: Duration, link_pps: f64) -> f64 {
    let overhead_s = overhead.as_secs_f64();
    let trials = |number: u64, ms: u64| number as f64 * (ms as f64 / 1e3 + overhead_s);
    match follow {
        FollowUp::Latency(section) => {
            trials(section.at.len() as u64 * section.repeats.get(), section.duration.millis())
        }
        FollowUp::LossCurve(section) => {
            // As many loads as there are at most.
            trials(PPB / section.step.ppb().max(1), section.duration.millis())
        }
        FollowUp::BackToBack(section) => {
            let longest = (LONGEST_BURST_S * link_pps).ceil() as u64;
            let most = section.max.map_or(longest, |max| max.get());
            let levels = most.saturating_sub(section.min.get()) / section.step.get().max(1) + 1;
            let halvings = u64::BITS - levels.leading_zeros();
            // Each burst is half as long as the one before.
            let each_s = overhead_s + section.wait.millis() as f64 / 1e3;
            let once_s = f64::from(halvings) * each_s + most as f64 / link_pps.max(1.0);
            (section.searches.get() * section.tries.get()) as f64 * once_s
        }
        FollowUp::Recovery(section) => {
            trials(section.repeats.get(), section.overload.millis() + section.after.millis())
        }
        FollowUp::Service(section) => {
            let steps =
                section.steps.len() as u64 + u64::from(section.eir.is_some()) + u64::from(section.policing);
            let performance = u64::from(section.performance.millis() > 0);
            trials(steps, section.step_duration.millis()) + trials(performance, section.performance.millis())
        }
        FollowUp::Soak(section) => trials(1, section.duration.millis()),
    }
}

/// The longest trial of a benchmark in nanoseconds, as far as the document tells.
pub(in super::super) fn longest_ns(follow: &FollowUp) -> u64 {
    let ms = match follow {
        FollowUp::Latency(section) => section.duration.millis(),
        FollowUp::LossCurve(section) => section.duration.millis(),
        FollowUp::BackToBack(_) => 0,
        FollowUp::Recovery(section) => section.overload.millis() + section.after.millis(),
        FollowUp::Service(section) => section.step_duration.millis().max(section.performance.millis()),
        FollowUp::Soak(section) => section.duration.millis(),
    };
    ms * NS_PER_MS
}

/// Checks a benchmark against the goals of its search.
///
/// # Errors
/// What cannot be, with what can.
pub(crate) fn check(follow: &FollowUp, goals: &[&str]) -> Result<(), String> {
    let name = follow.name();
    if let Some(Throughput::Goal(goal)) = follow.throughput()
        && !goals.contains(&goal.as_str())
    {
        return Err(format!(
            "{name}.of: the search has no goal '{goal}'; it has {}, or give a load such as 1mpps",
            goals.join(", ")
        ));
    }
    let shares = |field: &str, shares: &[Share]| match shares {
        [] => Err(format!("{name}.{field}: the list is empty")),
        all if all.iter().any(|share| share.ppb() == 0) => Err(format!("{name}.{field}: 0% is no load")),
        _ => Ok(()),
    };
    match follow {
        FollowUp::Latency(section) => shares("at", &section.at),
        FollowUp::LossCurve(section) => match section.step.ppb() {
            step if (PPB / 1_000..=PPB / 10).contains(&step) => Ok(()),
            _ => Err(format!("{name}.step: '{}' is outside 0.1% to 10%", section.step)),
        },
        FollowUp::BackToBack(section) => match section.max {
            Some(max) if max.get() <= section.min.get() => {
                Err(format!("{name}.max: {} is not above {name}.min, {}", max.get(), section.min.get()))
            }
            _ => Ok(()),
        },
        FollowUp::Service(section) => {
            let rates = [("cir", Some(section.cir)), ("eir", section.eir)];
            if let Some((field, _)) = rates.into_iter().find(|(_, rate)| *rate == Some(Rate::Max)) {
                return Err(format!("{name}.{field}: 'max' is no information rate; give a rate"));
            }
            if section.loss.ppb() >= PPB {
                return Err(format!("{name}.loss: 100% is no criterion"));
            }
            shares("steps", &section.steps)
        }
        FollowUp::Soak(section) => shares("at", &[section.at]),
        FollowUp::Recovery(_) => Ok(()),
    }
}
