//! Trials of benchmarks: what is sent, and what their paths' outcomes come to.

use std::time::Duration;

use linerate_search::Request;
use linerate_search::methods::{Delays, LossSpan, MethodTrial, PathRates, TrialLoad, TrialOutcome};
use linerate_traffic::limit::Limit;
use linerate_traffic::profile::{Profile, Stage};
use linerate_traffic::rate::Rate;
use linerate_traffic::span::Span;

use super::super::state::{combine, measurement};
use super::super::{LimitsOf, SearchMode};
use super::NS_PER_MS;
use crate::strategy::PathOutcome;

/// Share of the link's rate that a burst must have left at.
const GAPLESS: f64 = 0.99;

/// Traffic, end and duration of a trial.
pub(in super::super) fn run_of(profile: &Profile, load: &TrialLoad) -> (Profile, Limit, Option<Duration>) {
    let pps = |pps: u64| Rate::Pps(pps as f64);
    let for_ns = |ns: u64| Limit { duration_ms: Some(ns / NS_PER_MS), packets: None };
    let (profile, limit) = match *load {
        TrialLoad::Steady { pps: rate, duration_ns } => {
            (profile.clone().with_rate(pps(rate)), for_ns(duration_ns))
        }
        TrialLoad::Burst { packets } => {
            (profile.clone().with_rate(Rate::Max), Limit { duration_ms: None, packets: Some(packets) })
        }
        TrialLoad::Step { first_pps, first_ns, then_pps, then_ns } => {
            let stage = |rate, ns: u64| Stage {
                rate: pps(rate),
                to: None,
                duration: Span::from_millis(ns / NS_PER_MS),
            };
            let stages = vec![stage(first_pps, first_ns), stage(then_pps, then_ns)];
            (profile.clone().with_stages(stages), for_ns(first_ns.saturating_add(then_ns)))
        }
    };
    (profile, limit, limit.duration_ms.map(Duration::from_millis))
}

/// The paths of a trial as one outcome. `link_pps` is the rate of the link in packets per second, where it reports its
/// speed. Figures of the delay are those of the path where they are largest.
pub fn outcome(
    (mode, limits): (SearchMode, LimitsOf),
    trial: &MethodTrial,
    link_pps: Option<f64>,
    paths: &[PathOutcome],
) -> TrialOutcome {
    let second = 1_000_000_000;
    let (packets, duration_ns) = match trial.load {
        TrialLoad::Steady { pps, duration_ns } => (share(pps, duration_ns), duration_ns),
        TrialLoad::Burst { packets } => (packets, second),
        TrialLoad::Step { first_pps, first_ns, then_pps, then_ns } => {
            (share(first_pps, first_ns) + share(then_pps, then_ns), first_ns + then_ns)
        }
    };
    // The packets of the trial as a load over a second: `combine` multiplies the two.
    let request = Request { load_pps: packets, duration_ns: second, counted: true };
    let charged: Vec<PathOutcome> = paths.iter().map(with_losses_of_its_own).collect();
    let all = combine(mode, limits, &request, &charged);
    let is_burst = matches!(trial.load, TrialLoad::Burst { .. });
    let sent_by_each = paths.iter().map(|path| path.sent_packets).min().unwrap_or(0);
    let (sent, lost) =
        if is_burst { (sent_by_each, all.lost.min(sent_by_each)) } else { (all.sent, all.lost) };
    let sending_s = paths.iter().map(|path| path.duration_s).fold(0.0, f64::max);
    let gapless = |link: f64| paths.iter().all(|path| path.offered_pps >= GAPLESS * link);
    TrialOutcome {
        sent,
        lost,
        receiver_lost: all.receiver_lost.min(lost),
        unsent: all.unsent,
        sending_ns: sending_ns(sending_s, duration_ns),
        limit: all.limit,
        is_gapless: link_pps.filter(|_| is_burst).map(gapless),
        delays: delays(paths),
        losses: losses(paths),
        paths: rates(limits, &request, &charged, duration_ns),
    }
}

/// Duration of sending; the intended one where it is not known.
fn sending_ns(measured_s: f64, intended_ns: u64) -> u64 {
    if measured_s > 0.0 { (measured_s * 1e9) as u64 } else { intended_ns }
}

/// Rates of each path by its own duration, put together.
fn rates(limits: LimitsOf, request: &Request, paths: &[PathOutcome], duration_ns: u64) -> Option<PathRates> {
    let of_path = |path: &PathOutcome| {
        let measured = measurement(limits, request, path);
        let alone = TrialOutcome {
            sent: measured.sent,
            lost: measured.lost,
            receiver_lost: measured.receiver_lost,
            sending_ns: sending_ns(path.duration_s, duration_ns),
            ..TrialOutcome::default()
        };
        alone.rates()
    };
    paths.iter().map(of_path).reduce(|one, other| PathRates {
        received_pps: one.received_pps.min(other.received_pps),
        least_pps: one.least_pps.min(other.least_pps),
        most_pps: one.most_pps.max(other.most_pps),
        most_received_pps: one.most_received_pps.max(other.most_received_pps),
    })
}

/// Benchmarks overload a path on purpose. Of such a loss, what a receiver can have missed is a small part that
/// nobody counted; it counts where it explains all of the loss.
fn with_losses_of_its_own(path: &PathOutcome) -> PathOutcome {
    let lost = path.sent_packets.saturating_sub(path.received_packets);
    let receiver_missed = if path.receiver_missed >= lost { path.receiver_missed } else { 0 };
    PathOutcome { receiver_missed, ..path.clone() }
}

/// Packets of a load over a time.
fn share(pps: u64, ns: u64) -> u64 {
    u64::try_from(u128::from(pps) * u128::from(ns) / 1_000_000_000).unwrap_or(u64::MAX)
}

fn delays(paths: &[PathOutcome]) -> Option<Delays> {
    let each = paths.iter().map(|path| path.delays);
    each.collect::<Option<Vec<Delays>>>()?.into_iter().reduce(|one, other| Delays {
        min: one.min.min(other.min),
        mean: one.mean.max(other.mean),
        p50: one.p50.max(other.p50),
        p90: one.p90.max(other.p90),
        p99: one.p99.max(other.p99),
        p999: one.p999.max(other.p999),
        max: one.max.max(other.max),
    })
}

fn losses(paths: &[PathOutcome]) -> Option<LossSpan> {
    let lossy = paths.iter().filter(|path| path.sent_packets > path.received_packets);
    let each: Vec<LossSpan> = lossy.map(|path| path.losses).collect::<Option<_>>()?;
    each.into_iter().reduce(|one, other| LossSpan {
        first_ns: one.first_ns.into_iter().chain(other.first_ns).min(),
        last_ns: one.last_ns.into_iter().chain(other.last_ns).max(),
        unplaced: one.unplaced.saturating_add(other.unplaced),
        intervals: one.intervals.max(other.intervals),
        interval_ns: one.interval_ns.max(other.interval_ns),
        resolution_ns: one.resolution_ns.max(other.resolution_ns),
    })
}
