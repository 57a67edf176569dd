//! One trial on one pair, step by step. The two agents may stand in either role.

use std::time::Duration;

use futures_util::future::try_join;
use linerate_traffic::limit::Limit;
use linerate_traffic::profile::Profile;
use linerate_traffic::span::Span;
use linerate_wire::message::{self, Acknowledge, Command, Event, Start, Stop, TrialFailed};
use linerate_wire::report::Part;
use linerate_wire::state::AgentState;
use linerate_wire::trial::{Drain, ReceiveSpec, Role, RoleSpec, TransmitSpec, TrialSpec};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep};

use super::agent::Agent;
use super::observer::PairObserver;
use crate::session::{ANSWER_TIME, SessionError, WORK_TIME};
use linerate_experiment::direction::Direction;
use linerate_experiment::document::{DrainSection, TrialSection};
use linerate_results::store::record::Observations;

/// A transmitter may take this long beyond its expected end, or without sending anything.
const GRACE: Duration = Duration::from_secs(10);

/// What both agents are told of a trial.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    pub(super) id: u32,
    pub(super) tag: u16,
    pub(super) profile: Profile,
    pub(super) limit: Limit,
    pub(super) settings: TrialSection,
    pub(super) drain: DrainTimes,
}

/// Lower bounds of a drain's times.
#[derive(Debug, Clone, Copy)]
pub(super) struct DrainTimes {
    pub(super) settle: Duration,
    pub(super) limit: Duration,
    /// Whether the times grow with the time between packets.
    pub(super) follows_rate: bool,
}

impl DrainTimes {
    /// What the document says.
    pub(super) fn of(section: &DrainSection) -> Self {
        Self { settle: section.settle.get(), limit: section.limit.get(), follows_rate: true }
    }
}

/// Packets sent by agents that send and receive, and how long sending took.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    tx: message::Sent,
    rx: message::Sent,
    time: Duration,
}

impl Sent {
    fn by(&mut self, end: Role) -> &mut message::Sent {
        match end {
            Role::Tx => &mut self.tx,
            Role::Rx => &mut self.rx,
        }
    }
}

/// Why a trial was not finished.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Stopped {
    #[error("interrupted")]
    Interrupted,
    #[error("stopped, because the trial failed on another pair")]
    Elsewhere,
    /// With the cause, where the agent's process has ended.
    #[error("{cause}")]
    Agent { cause: String, refusal: bool },
    #[error("{agent} gave the trial up: {message}")]
    GivenUp { agent: String, message: String },
    #[error("{0} ended before the transmitter did")]
    ReceiverEnded(String),
    #[error("{agent} has neither ended the trial nor got on with it for {}", Span(*.after))]
    NoEnd { agent: String, after: Duration },
    #[error("{0}")]
    Unfiled(String),
    #[error(transparent)]
    Profile(#[from] linerate_traffic::profile::ProfileError),
    #[error(transparent)]
    NoResult(#[from] linerate_results::figures::NoResult),
}

impl Stopped {
    /// True when no further trial can be run.
    pub(super) fn ends_run(&self) -> bool {
        matches!(self, Stopped::Interrupted | Stopped::Unfiled(_))
    }

    /// True when an agent can be asked nothing more.
    pub(super) fn loses_agent(&self) -> bool {
        matches!(self, Stopped::Agent { refusal: false, .. })
    }

    pub(super) async fn by(agent: &Agent, error: SessionError) -> Self {
        Stopped::Agent { cause: agent.cause(&error).await, refusal: error.fault.is_refusal() }
    }
}

async fn step(agent: &Agent, command: Command, limit: Duration) -> Result<AgentState, Stopped> {
    match agent.session.step(command, limit).await {
        Ok(state) => Ok(state),
        Err(error) => Err(Stopped::by(agent, error).await),
    }
}

impl Assignment {
    fn spec(&self, role: RoleSpec) -> Command {
        Command::Prepare(Box::new(TrialSpec {
            trial: self.id,
            tag: self.tag,
            role,
            sample_interval_ms: self.settings.sample_interval.millis_u32(),
            orphan_ms: self.settings.orphan.millis_u32(),
        }))
    }

    /// What `agent`, at that end, does with `peer` at the other one.
    fn role(&self, end: Role, agent: &Agent, peer: &Agent) -> Result<RoleSpec, Stopped> {
        let receive = ReceiveSpec { flows: self.profile.flows(), all_flows: self.settings.all_flows };
        let transmit = || {
            let addressed = agent.addressing.profile(&self.profile)?;
            let peer_mac = agent.addressing.mac(&self.profile).unwrap_or(peer.mac());
            Ok::<_, Stopped>(Box::new(TransmitSpec {
                profile: addressed.profile,
                peer_mac,
                limit: self.limit,
            }))
        };
        Ok(match self.part(end) {
            Part::Tx => RoleSpec::Transmit(transmit()?),
            Part::Rx => RoleSpec::Receive(receive),
            Part::Exchange => RoleSpec::Exchange(transmit()?, receive),
            Part::Reflect => RoleSpec::Reflect,
        })
    }

    fn part(&self, end: Role) -> Part {
        self.settings.direction.part(end)
    }

    /// Has both agents ready: those that count do, those that send wait for the word.
    pub(super) async fn set_up(&self, tx: &Agent, rx: &Agent) -> Result<(), Stopped> {
        let largest = self.profile.frame_sizes().largest().bytes();
        // A receiver is not told sizes. What its port cannot carry would look like a loss of the path's.
        for agent in [rx, tx] {
            agent.session.welcome().port.carries(largest).map_err(|error| Stopped::Agent {
                cause: format!("{}: {error}", agent.name()),
                refusal: true,
            })?;
        }
        step(rx, self.spec(self.role(Role::Rx, rx, tx)?), WORK_TIME).await?;
        step(tx, self.spec(self.role(Role::Tx, tx, rx)?), WORK_TIME).await?;
        step(rx, Command::Arm, WORK_TIME).await?;
        step(tx, Command::Arm, WORK_TIME).await?;
        Ok(())
    }

    /// The ends that send of themselves.
    pub(super) fn senders(&self) -> impl Iterator<Item = Role> {
        let sends = |end: &Role| matches!(self.part(*end), Part::Tx | Part::Exchange);
        [Role::Tx, Role::Rx].into_iter().filter(sends)
    }

    /// Lets both ends begin: those that send at an instant of their own clock, where one is given for them in the order of [`Self::senders`].
    pub(super) async fn start(&self, tx: &Agent, rx: &Agent, at_ns: &[u64]) -> Result<(), Stopped> {
        let at = |end| self.senders().position(|sender| sender == end).and_then(|index| at_ns.get(index));
        let begin = |end| Command::Start(Start { at_ns: at(end).copied() });
        step(rx, begin(Role::Rx), ANSWER_TIME).await?;
        step(tx, begin(Role::Tx), ANSWER_TIME).await?;
        Ok(())
    }

    /// Gathers samples until everything is sent, and says how much was, of agents that go on to receive. `interrupted` and `halted` end it
    /// early.
    pub(super) async fn follow(
        &self,
        tx: &mut Agent,
        rx: &mut Agent,
        seen: &mut Observations,
        watch: PairObserver<'_>,
        mut interrupted: Receiver<bool>,
        mut halted: Receiver<bool>,
    ) -> Result<Sent, Stopped> {
        let limit = patience(&self.limit, self.settings.sample_interval.get());
        let begun = Instant::now();
        let overdue = sleep(limit);
        tokio::pin!(overdue);
        let mut sent = Sent::default();
        let mut sending: Vec<Role> = self.senders().collect();
        while let Some(waited_for) = sending.first() {
            let (end, agent, event) = tokio::select! {
                event = tx.session.next_event() => (Role::Tx, &*tx, event),
                event = rx.session.next_event() => (Role::Rx, &*rx, event),
                Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(Stopped::Interrupted),
                Ok(_) = halted.wait_for(|flag| *flag) => return Err(Stopped::Elsewhere),
                () = &mut overdue => {
                    let agent = if *waited_for == Role::Tx { tx } else { rx };
                    return Err(Stopped::NoEnd { agent: agent.name().to_owned(), after: limit });
                }
            };
            let event = match event {
                Ok(event) => event,
                Err(error) => return Err(Stopped::by(agent, error).await),
            };
            match event {
                Event::Finished(Acknowledge { trial }) if trial == self.id => {
                    if self.part(end) != Part::Tx {
                        return Err(Stopped::ReceiverEnded(agent.name().to_owned()));
                    }
                    sending.retain(|still| *still != end);
                }
                Event::Sent(all) if all.trial == self.id => {
                    *sent.by(end) = all;
                    watch.sending_ended(end);
                    sending.retain(|still| *still != end);
                }
                Event::Failed(TrialFailed { trial, message }) if trial == self.id => {
                    return Err(Stopped::GivenUp { agent: agent.name().to_owned(), message });
                }
                event => {
                    let packets =
                        |seen: &Observations| seen.last_transmit(end).map_or(0, |counters| counters.packets);
                    let before = packets(seen);
                    self.note(event, end, seen, watch);
                    if packets(seen) > before && self.limit.duration_ms.is_none() {
                        overdue.as_mut().reset(Instant::now() + limit);
                    }
                }
            }
        }
        sent.time = begun.elapsed();
        Ok(sent)
    }

    fn note(&self, event: Event, role: Role, seen: &mut Observations, watch: PairObserver<'_>) {
        if let Event::Sample(sample) = event
            && sample.trial == self.id
        {
            watch.sample(role, &sample);
            match role {
                Role::Tx => seen.tx_samples.push(*sample),
                Role::Rx => seen.rx_samples.push(*sample),
            }
        }
    }

    /// After everything was sent: lets those who receive drain, and takes both reports.
    pub(super) async fn wind_up(
        &self,
        tx: &mut Agent,
        rx: &mut Agent,
        sent: Sent,
        seen: &mut Observations,
        watch: PairObserver<'_>,
        mut interrupted: Receiver<bool>,
    ) -> Result<(), Stopped> {
        watch.sending_ended(Role::Tx);
        tokio::select! {
            ended = self.end(tx, rx, sent, seen) => ended?,
            Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(Stopped::Interrupted),
        };
        self.collect(tx, rx, seen, watch);
        Ok(())
    }

    async fn end(&self, tx: &Agent, rx: &Agent, sent: Sent, seen: &mut Observations) -> Result<(), Stopped> {
        match self.settings.direction {
            Direction::OneWay => {
                let packets = self.take_report(tx, Role::Tx, seen).await?;
                self.drain(rx, &packets, sent.time).await?;
            }
            Direction::Bidirectional => {
                try_join(self.drain(tx, &sent.rx, sent.time), self.drain(rx, &sent.tx, sent.time)).await?;
                self.take_report(tx, Role::Tx, seen).await?;
            }
            Direction::RoundTrip => {
                self.drain(tx, &sent.tx, sent.time).await?;
                self.take_report(tx, Role::Tx, seen).await?;
                // Nothing is on its way any more that the transmitter would still count.
                step(rx, Command::Stop(Stop::default()), WORK_TIME).await?;
            }
        }
        self.take_report(rx, Role::Rx, seen).await?;
        Ok(())
    }

    /// Has an agent count until what was sent within `sending` has arrived, or nothing more comes.
    async fn drain(&self, agent: &Agent, sent: &message::Sent, sending: Duration) -> Result<(), Stopped> {
        let drain = Drain {
            expected_packets: sent.packets,
            settle_ms: millis(self.drain.settle),
            limit_ms: millis(self.drain.limit),
            path_delay_ns: agent.path.delay_ns,
            path_variation_ns: agent.path.variation_ns,
            gap_ns: if self.drain.follows_rate {
                gap_ns(sending, sent.packets, self.profile.burst())
            } else {
                0
            },
        };
        let limit = Duration::from_nanos(drain.limit_ns()).saturating_add(WORK_TIME);
        let stop = Stop { drain: Some(drain), sent_per_lcore: sent.packets_per_lcore.clone() };
        step(agent, Command::Stop(stop), limit).await?;
        Ok(())
    }

    /// Files an agent's report, and says how many packets it sent.
    async fn take_report(
        &self,
        agent: &Agent,
        role: Role,
        seen: &mut Observations,
    ) -> Result<message::Sent, Stopped> {
        let report = match agent.session.report().await {
            Ok(report) => report,
            Err(error) => return Err(Stopped::by(agent, error).await),
        };
        let sent = report.transmit.as_ref().map_or_else(message::Sent::default, |transmit| message::Sent {
            trial: report.trial,
            packets: transmit.counters.packets,
            packets_per_lcore: transmit.packets_per_lcore.clone(),
        });
        match role {
            Role::Tx => seen.tx_report = Some(report),
            Role::Rx => seen.rx_report = Some(report),
        }
        Ok(sent)
    }

    /// Takes the samples that have come and were not yet looked at.
    fn collect(&self, tx: &mut Agent, rx: &mut Agent, seen: &mut Observations, watch: PairObserver<'_>) {
        for (agent, role) in [(tx, Role::Tx), (rx, Role::Rx)] {
            while let Some(event) = agent.session.waiting_event() {
                self.note(event, role, seen, watch);
            }
        }
    }

    /// The reports that were taken are safe.
    pub(super) async fn acknowledge(
        &self,
        tx: &Agent,
        rx: &Agent,
        seen: &Observations,
    ) -> Result<(), Stopped> {
        for (agent, report) in [(tx, &seen.tx_report), (rx, &seen.rx_report)] {
            if report.is_some() {
                step(agent, Command::Acknowledge(Acknowledge { trial: self.id }), ANSWER_TIME).await?;
            }
        }
        Ok(())
    }

    /// Ends the trial wherever it stands, and takes what reports there are. An agent that cannot answer is passed over.
    pub(super) async fn abandon(
        &self,
        tx: &mut Agent,
        rx: &mut Agent,
        seen: &mut Observations,
        watch: PairObserver<'_>,
    ) {
        for (agent, role) in [(&*tx, Role::Tx), (&*rx, Role::Rx)] {
            if let Err(error) = self.abandon_one(agent, role, seen).await {
                tracing::debug!(agent = agent.name(), %error, "abandoned without a report");
            }
        }
        self.collect(tx, rx, seen, watch);
    }

    async fn abandon_one(&self, agent: &Agent, role: Role, seen: &mut Observations) -> Result<(), Stopped> {
        if step(agent, Command::Stop(Stop::default()), ANSWER_TIME).await? == AgentState::Finished {
            self.take_report(agent, role, seen).await?;
        }
        Ok(())
    }
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// Mean time between bursts of `burst` packets, in nanoseconds, where `packets` were sent within `time`. It is not longer than that time.
fn gap_ns(time: Duration, packets: u64, burst: u32) -> u64 {
    let gap = time.as_nanos() * u128::from(burst) / u128::from(packets.max(1));
    u64::try_from(gap.min(time.as_nanos())).unwrap_or(u64::MAX)
}

/// How long to wait for a transmitter: to its end when it has a duration, else from one sign of progress to the next.
fn patience(limit: &Limit, sample_interval: Duration) -> Duration {
    let expected = limit.duration_ms.map_or(2 * sample_interval, Duration::from_millis);
    expected.saturating_add(GRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_between_bursts() {
        let second = Duration::from_secs(1);
        for (packets, burst, millis) in
            [(1000, 1, 1), (1000, 100, 100), (1, 1, 1000), (1, 64, 1000), (0, 1, 1000)]
        {
            assert_eq!(gap_ns(second, packets, burst), millis * 1_000_000, "{packets} {burst}");
        }
    }

    #[test]
    fn patience_follows_from_the_limit() {
        for (duration_ms, packets, seconds) in
            [(Some(3000), None, 13), (Some(60_000), Some(5000), 70), (None, Some(5000), 12), (None, None, 12)]
        {
            let limit = Limit { duration_ms, packets };
            assert_eq!(patience(&limit, Duration::from_secs(1)), Duration::from_secs(seconds), "{limit:?}");
        }
    }
}
