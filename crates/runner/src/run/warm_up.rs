//! Warm-up: traffic like the first trial's, sent before it. It confirms that the link is up, that addresses
//! are learnt and that packets arrive, and it measures a bound of the path's delay.
//!
//! Attempts are repeated until packets arrive. Each waits twice as long as the one before, because the delay
//! of the path is still unknown; a path may therefore take about half of the timeout. Every attempt has its
//! own tag.

use std::time::{Duration, Instant};

use linerate_traffic::limit::Limit;
use linerate_traffic::profile::{Profile, RawProfile, StageRates};
use linerate_traffic::rate::{Rate, RateError};
use linerate_traffic::span::Span;
use linerate_wire::report::Latency;
use tokio::sync::watch;

use super::Numbers;
use super::agent::Agent;
use super::arrivals::Arrivals;
use super::group::Group;
use super::observer::GroupObserver;
use super::path_times::PathTimes;
use super::trial::steps::TrialPhase;
use super::trial::{Assignment, DrainTimes, GroupTrial, Stopped};
use linerate_experiment::Experiment;
use linerate_experiment::document::TrialSection;
use linerate_experiment::topology::Path;
use linerate_results::store::record::AgentRecord;
use linerate_results::store::report::TrialReport;
use linerate_results::summary::WarmUp;

/// Highest load of an attempt, in packets per second.
const MOST_PPS: f64 = 10_000.0;
/// Longest sending time of an attempt; slow traffic is cut off there.
const LONGEST_SENDING: Duration = Duration::from_secs(1);
/// Shortest trial that agents accept.
const SHORTEST_SENDING: Duration = Duration::from_millis(10);
/// Interval between checks of the link.
const LINK_POLL: Duration = Duration::from_millis(10);

/// Why warm-up failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WarmUpError {
    #[error("{0}")]
    Stopped(#[from] Stopped),
    #[error(
        "warm-up of {pair}: the link of {agent} is not up after {after}; check cable, switch port and peer; a slow link needs a longer spec.trial.warmUp.timeout"
    )]
    NoLink { pair: String, agent: String, after: Span },
    #[error(
        "warm-up of {pair}: none of the {sent} packets of {from} reached {to}, in {attempts} attempts over {after}; {arrived}; check the path \
         between them, or give it more time with spec.trial.warmUp.timeout (a path may take half of it)"
    )]
    NothingReceived {
        pair: String,
        from: String,
        to: String,
        sent: u64,
        attempts: u32,
        after: Span,
        arrived: String,
    },
    #[error("warm-up of {pair}: {reason}")]
    Load { pair: String, reason: RateError },
}

/// Traffic of the warm-up.
#[derive(Debug, Clone)]
pub(super) struct Traffic {
    profile: Profile,
    limit: Limit,
    pps: f64,
}

impl Traffic {
    /// The trial's traffic with few packets, on a link of `link_bps` bit/s: at most the trial's rate, at most
    /// 10,000 packets per second, and within every ceiling.
    ///
    /// # Errors
    /// When the load is a percentage and the link reports no speed.
    fn of(profile: &Profile, experiment: &Experiment, link_bps: Option<u64>) -> Result<Self, RateError> {
        let ceilings = experiment.ceilings();
        let most = ceilings.most_pps(profile.frame_sizes(), link_bps)?;
        let load = profile.load(link_bps)?;
        let peak = load.map(|stages| StageRates::peak_per_s(&stages));
        let pps = [peak, most].into_iter().flatten().fold(MOST_PPS, f64::min);
        let packets = experiment.trial().warm_up.packets.get();
        let few = RawProfile {
            flows: profile.flows().min(u32::try_from(packets).unwrap_or(u32::MAX)),
            rate: Some(Rate::Pps(pps)),
            stages: Vec::new(),
            burst: 1,
            ..profile.raw().clone()
        };
        // A profile that is valid with many flows is valid with fewer.
        let profile = Profile::try_from(few).unwrap_or_else(|_| profile.clone().with_rate(Rate::Pps(pps)));
        // Twice the time that the packets need, because the machine may be busy with other work.
        let needed = Duration::try_from_secs_f64(2.0 * packets as f64 / pps).unwrap_or(LONGEST_SENDING);
        let sending = needed.clamp(SHORTEST_SENDING, LONGEST_SENDING);
        let sending = ceilings.longest().map_or(sending, |longest| sending.min(longest.0));
        let limit = Limit { packets: Some(packets), duration_ms: Some(sending.as_millis() as u64) };
        Ok(Self { profile, limit, pps })
    }

    /// Time that sending takes.
    fn sending(&self) -> Duration {
        let packets = self.limit.packets.unwrap_or(0) as f64;
        let needed = Duration::try_from_secs_f64(packets / self.pps).unwrap_or(LONGEST_SENDING);
        needed.min(Duration::from_millis(self.limit.duration_ms.unwrap_or(0)))
    }
}

/// Warms a group up for trials of this profile, one path after the other.
pub(super) async fn warm_up(
    group: &mut Group,
    experiment: &Experiment,
    profile: &Profile,
    numbers: &Numbers,
    interrupted: &watch::Receiver<bool>,
) -> Result<Vec<WarmUp>, WarmUpError> {
    let timeout = experiment.trial().warm_up.timeout.get();
    for agent in &group.agents {
        await_link(group.name(), agent, timeout, interrupted).await?;
    }
    let mut warm = Vec::new();
    for (path, must_arrive) in paths(group.paths()) {
        let link_bps = group.agents[path.from].port().link_bps;
        let load = Traffic::of(profile, experiment, link_bps);
        let skipped = match (group.problem(&path), load) {
            (Some(problem), _) if !must_arrive => problem.to_owned(),
            (_, Err(reason)) if !must_arrive => reason.to_string(),
            (_, load) => {
                let traffic =
                    load.map_err(|reason| WarmUpError::Load { pair: group.name().to_owned(), reason })?;
                let run = Run { experiment, numbers, interrupted, traffic, path: &path, must_arrive };
                match run.until_received(group).await {
                    Err(WarmUpError::Stopped(stopped)) if !must_arrive && stopped.leaves_agents() => {
                        stopped.to_string()
                    }
                    records => {
                        warm.extend(records?);
                        continue;
                    }
                }
            }
        };
        tracing::info!(pair = group.name(), skipped, "no warm-up on the way back, which trials do not use");
        let [from, to] = [path.from, path.to].map(|agent| group.agents[agent].name());
        warm.push(WarmUp { skipped: Some(skipped), ..WarmUp::between(group.name(), from, to) });
    }
    Ok(warm)
}

/// Paths to warm up, and whether packets must arrive on each. If trials go one way only, the way back serves
/// the switches between: they learn the receiver's port from it.
fn paths(of_trials: &[Path]) -> Vec<(Path, bool)> {
    let mut all: Vec<(Path, bool)> = Vec::new();
    for path in of_trials {
        all.push((path.clone(), true));
        let back = Path { name: path.name.clone(), from: path.to, to: path.from, reflector: None };
        let is_used = of_trials.iter().any(|other| (other.from, other.far()) == (path.far(), path.from));
        if path.reflector.is_none() && !is_used {
            all.push((back, false));
        }
    }
    all
}

async fn await_link(
    pair: &str,
    agent: &Agent,
    timeout: Duration,
    interrupted: &watch::Receiver<bool>,
) -> Result<(), WarmUpError> {
    let begun = Instant::now();
    loop {
        match agent.session.ping().await {
            Ok(pong) if pong.ready => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(Stopped::by(agent, error).await.into()),
        }
        if *interrupted.borrow() {
            return Err(Stopped::Interrupted.into());
        }
        if begun.elapsed() > timeout {
            let agent = agent.name().to_owned();
            return Err(WarmUpError::NoLink { pair: pair.to_owned(), agent, after: Span(timeout) });
        }
        tokio::time::sleep(LINK_POLL).await;
    }
}

/// Result of an attempt.
struct Attempt {
    /// By agent of the group.
    seen: Vec<AgentRecord>,
    /// From the start to the last arrival, less the sending time if all packets arrived. An upper bound of
    /// the delay.
    receipt: Duration,
}

/// Attempts on one path.
struct Run<'a> {
    experiment: &'a Experiment,
    numbers: &'a Numbers,
    interrupted: &'a watch::Receiver<bool>,
    traffic: Traffic,
    path: &'a Path,
    /// True if it is an error that nothing arrives.
    must_arrive: bool,
}

impl Run<'_> {
    /// Repeats attempts until packets arrive or the timeout ends. Records the path's times.
    async fn until_received(&self, group: &mut Group) -> Result<Vec<WarmUp>, WarmUpError> {
        let section = &self.experiment.trial().warm_up;
        let timeout = section.timeout.get();
        let settle = self.experiment.trial().drain.settle.get();
        let begun = Instant::now();
        // A reflector reports on both halves of a round trip.
        let halves: Vec<(usize, usize)> = match self.path.reflector {
            Some(reflector) => vec![(self.path.from, reflector), (reflector, self.path.from)],
            None => vec![(self.path.from, self.path.to)],
        };
        let name = |agent: usize| group.agents[agent].name();
        let mut records: Vec<WarmUp> =
            halves.iter().map(|(from, to)| WarmUp::between(group.name(), name(*from), name(*to))).collect();
        let mut arrived = vec![Arrivals::default(); records.len()];
        let mut wait = 2 * settle;
        group.set_times(self.path, PathTimes::default());
        loop {
            let left = timeout.saturating_sub(begun.elapsed() + self.traffic.sending());
            let drain =
                DrainTimes { settle: settle.min(left / 2), limit: wait.min(left), follows_rate: false };
            let Attempt { seen, receipt } = self.attempt(drain, group).await?;
            for ((record, arrived), (from, to)) in records.iter_mut().zip(&mut arrived).zip(&halves) {
                let report = seen[*to].report.as_ref();
                arrived.add(report);
                record.attempts += 1;
                record.duration_s = begun.elapsed().as_secs_f64();
                record.sent_packets = seen[*from].last_transmit().map_or(0, |sent| sent.packets);
                record.received_packets = seen[*to].last_receive().map_or(0, |received| received.packets);
                record.arrivals(report);
            }
            if let Some(last) = records.last_mut().filter(|record| record.received_packets > 0) {
                let latency = seen[self.path.to].report.as_ref().and_then(latency);
                let clock = group.clock(self.path);
                let are_delays = clock.one_way_valid || clock.round_trip_valid;
                let (times, basis) = PathTimes::learnt(latency, are_delays, receipt);
                (last.delay_ns, last.delay_basis) = (Some(times.delay_ns), Some(basis));
                group.set_times(self.path, times);
                return Ok(records);
            }
            if begun.elapsed() >= timeout {
                return self.nothing(&records, &arrived);
            }
            if !self.must_arrive {
                tracing::info!(
                    pair = group.name(),
                    from = group.agents[self.path.from].name(),
                    "nothing arrived on the way back, which trials do not use"
                );
                return Ok(records);
            }
            wait = wait.saturating_mul(2);
        }
    }

    /// Reports where the packets were lost; for a round trip, on which half.
    fn nothing(&self, records: &[WarmUp], arrived: &[Arrivals]) -> Result<Vec<WarmUp>, WarmUpError> {
        if !self.must_arrive {
            return Ok(records.to_vec());
        }
        let silent = records.iter().zip(arrived).find(|(record, _)| record.received_packets == 0);
        let Some((record, arrived)) = silent.or(records.iter().zip(arrived).next_back()) else {
            return Ok(Vec::new());
        };
        Err(WarmUpError::NothingReceived {
            pair: record.pair.clone(),
            from: record.from.clone(),
            to: record.to.clone(),
            sent: record.sent_packets,
            attempts: record.attempts,
            after: Span(self.experiment.trial().warm_up.timeout.get()),
            arrived: arrived.in_words(&record.to),
        })
    }

    /// Runs a small trial without an observer.
    async fn attempt(&self, drain: DrainTimes, group: &mut Group) -> Result<Attempt, Stopped> {
        let (id, tag) = self.numbers.next(1);
        let Traffic { profile, limit, .. } = self.traffic.clone();
        let settings = TrialSection { all_flows: false, ..self.experiment.trial().clone() };
        let assignment = Assignment { id, tag, profile, limit, settings, drain };
        let (_never, halted) = watch::channel(false);
        let (paths, no_observer) = (std::slice::from_ref(self.path), GroupObserver::NO_OBSERVER);
        let mut course =
            GroupTrial::new(&assignment, group, paths, no_observer, self.interrupted.clone(), halted);
        course.frames_fit(group)?;
        if let Err(stopped) = course.advance(group, TrialPhase::Done).await {
            if stopped.leaves_agents() {
                course.abandon(group).await;
                course.acknowledge(group).await?;
            }
            return Err(stopped);
        }
        course.acknowledge(group).await?;
        let (tx, rx) = (&course.seen[self.path.from], &course.seen[self.path.to]);
        let receipt = receipt(tx, rx, self.traffic.limit.packets);
        Ok(Attempt { seen: course.seen, receipt })
    }
}

/// Upper bound of the delay, by the receiver's clock alone. It starts before the sender does, so it includes
/// the time of the control messages. The last packet's sending time is known if all `packets` were sent and
/// have arrived.
fn receipt(tx: &AgentRecord, rx: &AgentRecord, packets: Option<u64>) -> Duration {
    let last_arrival_ns = rx.report.as_ref().and_then(|report| report.last_arrival_ns).unwrap_or(0);
    let transmit = tx.report.as_ref().and_then(|report| report.transmit.as_ref());
    let received = rx.last_receive().map(|counters| counters.packets);
    let sending_s =
        transmit.filter(|_| packets.is_some() && received == packets).map_or(0.0, |sent| sent.duration_s);
    let sending = Duration::try_from_secs_f64(sending_s).unwrap_or_default();
    Duration::from_nanos(last_arrival_ns).saturating_sub(sending)
}

fn latency(report: &TrialReport) -> Option<&Latency> {
    report.receive.as_ref()?.latency.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_experiment::Overrides;

    fn traffic(spec: &str, link_bps: Option<u64>) -> Result<Traffic, RateError> {
        let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {{{spec}}}\n");
        let experiment = Experiment::parse(&text, "e.yaml", &Overrides::default()).unwrap();
        Traffic::of(&experiment.profiles[0], &experiment, link_bps)
    }

    #[test]
    fn warm_up_is_the_traffic_of_the_trial_and_no_faster() {
        let own = traffic(
            "traffic: {frameSizes: [512], flows: [100000], rates: [1mpps], burst: 32, vlan: {id: 7}, destination: {ip: 10.1.0.1, port: 9}}",
            None,
        )
        .unwrap();
        let raw = own.profile.raw();
        assert_eq!((raw.flows, raw.burst, raw.rate), (64, 1, Some(Rate::Pps(10_000.0))));
        assert_eq!(
            (raw.vlan.unwrap().id, raw.destination.ip.unwrap().to_string()),
            (7, "10.1.0.1".to_owned())
        );
        assert_eq!(own.profile.frame_sizes().mean_bytes(), 512.0);
        assert_eq!(own.limit, Limit { packets: Some(64), duration_ms: Some(12) });
        // (spec, load in packets per second, milliseconds)
        for (spec, pps, duration_ms) in [
            ("traffic: {rates: [100pps]}", 100.0, 1000),
            ("traffic: {rates: [0.1pps]}", 0.1, 1000),
            ("traffic: {rates: [max]}", 10_000.0, 12),
            ("traffic: {rates: [max]}, safety: {maxRate: 500pps}", 500.0, 256),
            ("traffic: {rates: [1kpps]}, safety: {maxRate: 512kbps}", 1000.0, 128),
            ("traffic: {rates: [64pps]}, safety: {maxDuration: 300ms}", 64.0, 300),
            ("profiles: [{stages: [{rate: 5pps, to: 40pps, duration: 1s}]}]", 40.0, 1000),
        ] {
            let traffic = traffic(spec, None).unwrap();
            let pps_and_duration = (traffic.profile.rate(), traffic.limit.duration_ms);
            assert_eq!(pps_and_duration, (Rate::Pps(pps), Some(duration_ms)), "{spec}");
        }
        assert!(traffic("traffic: {rates: [10%]}", None).is_err(), "a link without a speed");
        assert_eq!(traffic("traffic: {rates: [0.001%]}", Some(10_000_000_000)).unwrap().pps.round(), 149.0);
    }
}
