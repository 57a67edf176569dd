//! Traffic in both directions before the first trial: the link is up, addresses are learnt, and receipt is confirmed.

use std::time::{Duration, Instant};

use linerate_protocol::profile::{Profile, ProfileError, RawProfile};
use linerate_protocol::rate::Rate;
use linerate_protocol::span::Span;
use linerate_protocol::trial::{Limit, Role};
use tokio::sync::watch;

use super::Numbers;
use super::agent::{Agent, Pair};
use super::observer::PairObserver;
use super::trial::{Assignment, Stopped};
use crate::experiment::Experiment;
use crate::experiment::direction::Direction;
use crate::experiment::document::TrialSection;
use crate::store::record::Observations;
use crate::summary::WarmUp;

/// Load of an attempt, in packets per second.
const WARM_UP_PPS: f64 = 10_000.0;
/// Time between looks at the link.
const LINK_POLL: Duration = Duration::from_millis(10);

/// Why a pair did not get warm.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cold {
    #[error("{0}")]
    Stopped(#[from] Stopped),
    #[error("warm-up of {pair}: the link of {agent} is not up after {after}")]
    NoLink { pair: String, agent: String, after: Span },
    #[error(
        "warm-up of {pair}: none of the {sent} packets of {from} reached {to}, in {attempts} attempts over {after}; check the path between \
         them, or give it more time with spec.trial.warmUp.timeout"
    )]
    NothingReceived { pair: String, from: String, to: String, sent: u64, attempts: u32, after: Span },
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// Warms a pair up, in both directions.
pub(super) async fn warm_up(
    pair: &mut Pair,
    experiment: &Experiment,
    numbers: &Numbers,
    interrupted: &watch::Receiver<bool>,
) -> Result<Vec<WarmUp>, Cold> {
    let timeout = experiment.trial().warm_up.timeout.get();
    let name = pair.name.clone();
    await_link(&name, &pair.tx, timeout, interrupted).await?;
    await_link(&name, &pair.rx, timeout, interrupted).await?;
    let there = direction(&name, &mut pair.tx, &mut pair.rx, experiment, numbers, interrupted).await?;
    let back = direction(&name, &mut pair.rx, &mut pair.tx, experiment, numbers, interrupted).await?;
    Ok(vec![there, back])
}

async fn await_link(
    pair: &str,
    agent: &Agent,
    timeout: Duration,
    interrupted: &watch::Receiver<bool>,
) -> Result<(), Cold> {
    let begun = Instant::now();
    loop {
        match agent.session.ping().await {
            Ok(pong) if pong.link_up => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(Stopped::by(agent, error).await.into()),
        }
        if *interrupted.borrow() {
            return Err(Stopped::Interrupted.into());
        }
        if begun.elapsed() > timeout {
            let agent = agent.name().to_owned();
            return Err(Cold::NoLink { pair: pair.to_owned(), agent, after: Span(timeout) });
        }
        tokio::time::sleep(LINK_POLL).await;
    }
}

async fn direction(
    pair: &str,
    from: &mut Agent,
    to: &mut Agent,
    experiment: &Experiment,
    numbers: &Numbers,
    interrupted: &watch::Receiver<bool>,
) -> Result<WarmUp, Cold> {
    let section = &experiment.trial().warm_up;
    let profile =
        Profile::try_from(RawProfile { rate: Some(Rate::Pps(WARM_UP_PPS)), ..RawProfile::default() })?;
    let limit = Limit { packets: Some(section.packets.get()), duration_ms: None };
    let begun = Instant::now();
    let mut warm_up = WarmUp {
        pair: pair.to_owned(),
        from: from.name().to_owned(),
        to: to.name().to_owned(),
        sent_packets: 0,
        received_packets: 0,
        attempts: 0,
        duration_s: 0.0,
    };
    loop {
        let (id, tag) = numbers.next();
        // Each way on its own, whatever the trials do.
        let settings =
            TrialSection { direction: Direction::OneWay, all_flows: false, ..experiment.trial().clone() };
        let assignment = Assignment { id, tag, profile: profile.clone(), limit, settings };
        let seen = attempt(&assignment, from, to, interrupted).await?;
        warm_up.attempts += 1;
        warm_up.sent_packets = seen.last_transmit(Role::Tx).map_or(0, |counters| counters.packets);
        warm_up.received_packets = seen.last_receive(Role::Rx).map_or(0, |counters| counters.packets);
        warm_up.duration_s = begun.elapsed().as_secs_f64();
        if warm_up.received_packets > 0 {
            return Ok(warm_up);
        }
        if begun.elapsed() > section.timeout.get() {
            return Err(Cold::NothingReceived {
                pair: pair.to_owned(),
                from: warm_up.from,
                to: warm_up.to,
                sent: warm_up.sent_packets,
                attempts: warm_up.attempts,
                after: Span(section.timeout.get()),
            });
        }
    }
}

/// A trial like any other, only small, and with no one to watch.
async fn attempt(
    assignment: &Assignment,
    from: &mut Agent,
    to: &mut Agent,
    interrupted: &watch::Receiver<bool>,
) -> Result<Observations, Stopped> {
    let mut seen = Observations::default();
    let (_never, halted) = watch::channel(false);
    assignment.set_up(from, to).await?;
    assignment.start(from, to, &[]).await?;
    let nobody = PairObserver::NOBODY;
    let sent = assignment.follow(from, to, &mut seen, nobody, interrupted.clone(), halted).await?;
    assignment.wind_up(from, to, sent, &mut seen, nobody, interrupted.clone()).await?;
    assignment.acknowledge(from, to, &seen).await?;
    Ok(seen)
}
