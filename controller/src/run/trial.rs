//! One trial on one pair, step by step. The two agents may stand in either role.

use std::time::Duration;

use linerate_protocol::message::{Acknowledge, Command, Event, Stop, TrialFailed};
use linerate_protocol::profile::Profile;
use linerate_protocol::span::Span;
use linerate_protocol::state::AgentState;
use linerate_protocol::trial::{Drain, Limit, ReceiveSpec, Role, RoleSpec, TransmitSpec, TrialSpec};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep};

use super::agent::Agent;
use super::observer::PairObserver;
use crate::experiment::document::TrialSection;
use crate::session::{ANSWER_TIME, SessionError, WORK_TIME};
use crate::store::record::Observations;

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
    #[error(transparent)]
    NoResult(#[from] crate::figures::NoResult),
}

impl Stopped {
    /// True when no further trial can be run.
    pub(super) fn ends_run(&self) -> bool {
        matches!(self, Stopped::Interrupted | Stopped::Agent { refusal: false, .. })
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

    /// Has both agents ready: the receiver counts, the transmitter waits for the word.
    pub(super) async fn set_up(&self, tx: &Agent, rx: &Agent) -> Result<(), Stopped> {
        let receive = RoleSpec::Receive(ReceiveSpec { flows: self.profile.flows(), all_flows: false });
        let transmit = RoleSpec::Transmit(Box::new(TransmitSpec {
            profile: self.profile.clone(),
            peer_mac: rx.mac(),
            limit: self.limit,
        }));
        step(rx, self.spec(receive), WORK_TIME).await?;
        step(tx, self.spec(transmit), WORK_TIME).await?;
        step(rx, Command::Arm, WORK_TIME).await?;
        step(tx, Command::Arm, WORK_TIME).await?;
        Ok(())
    }

    pub(super) async fn start(&self, tx: &Agent, rx: &Agent) -> Result<(), Stopped> {
        step(rx, Command::Start, ANSWER_TIME).await?;
        step(tx, Command::Start, ANSWER_TIME).await?;
        Ok(())
    }

    /// Gathers samples until the transmitter ends by itself. `interrupted` and `halted` end it early.
    pub(super) async fn follow(
        &self,
        tx: &mut Agent,
        rx: &mut Agent,
        seen: &mut Observations,
        watch: PairObserver<'_>,
        mut interrupted: Receiver<bool>,
        mut halted: Receiver<bool>,
    ) -> Result<(), Stopped> {
        let limit = patience(&self.limit, self.settings.sample_interval.get());
        let overdue = sleep(limit);
        tokio::pin!(overdue);
        loop {
            tokio::select! {
                event = tx.session.next_event() => match event {
                    Ok(Event::Finished(Acknowledge { trial })) if trial == self.id => return Ok(()),
                    Ok(Event::Failed(TrialFailed { trial, message })) if trial == self.id => {
                        return Err(Stopped::GivenUp { agent: tx.name().to_owned(), message });
                    }
                    Ok(event) => {
                        let before = seen.last_transmit().map_or(0, |counters| counters.packets);
                        self.note(event, Role::Tx, seen, watch);
                        let sends = seen.last_transmit().is_some_and(|counters| counters.packets > before);
                        if sends && self.limit.duration_ms.is_none() {
                            overdue.as_mut().reset(Instant::now() + limit);
                        }
                    }
                    Err(error) => return Err(Stopped::by(tx, error).await),
                },
                event = rx.session.next_event() => match event {
                    Ok(Event::Finished(Acknowledge { trial })) if trial == self.id => {
                        return Err(Stopped::ReceiverEnded(rx.name().to_owned()));
                    }
                    Ok(Event::Failed(TrialFailed { trial, message })) if trial == self.id => {
                        return Err(Stopped::GivenUp { agent: rx.name().to_owned(), message });
                    }
                    Ok(event) => self.note(event, Role::Rx, seen, watch),
                    Err(error) => return Err(Stopped::by(rx, error).await),
                },
                Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(Stopped::Interrupted),
                Ok(_) = halted.wait_for(|flag| *flag) => return Err(Stopped::Elsewhere),
                () = &mut overdue => {
                    return Err(Stopped::NoEnd { agent: tx.name().to_owned(), after: limit });
                }
            }
        }
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

    /// After the transmitter's end: lets the receiver drain, and takes both reports.
    pub(super) async fn wind_up(
        &self,
        tx: &mut Agent,
        rx: &mut Agent,
        seen: &mut Observations,
        watch: PairObserver<'_>,
        mut interrupted: Receiver<bool>,
    ) -> Result<(), Stopped> {
        watch.sending_ended();
        let sent = self.take_report(tx, Role::Tx, seen).await?;
        let (settle, limit) = (&self.settings.drain.settle, &self.settings.drain.limit);
        let drain =
            Drain { expected_packets: sent, settle_ms: settle.millis_u32(), limit_ms: limit.millis_u32() };
        tokio::select! {
            drained = step(rx, Command::Stop(Stop { drain: Some(drain) }), limit.get() + WORK_TIME) => drained?,
            Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(Stopped::Interrupted),
        };
        self.take_report(rx, Role::Rx, seen).await?;
        self.collect(tx, rx, seen, watch);
        Ok(())
    }

    /// Files an agent's report, and says how many packets it sent.
    async fn take_report(&self, agent: &Agent, role: Role, seen: &mut Observations) -> Result<u64, Stopped> {
        let report = match agent.session.report().await {
            Ok(report) => report,
            Err(error) => return Err(Stopped::by(agent, error).await),
        };
        let sent = report.transmit.as_ref().map_or(0, |transmit| transmit.counters.packets);
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

/// How long to wait for a transmitter: to its end when it has a duration, else from one sign of progress to the next.
fn patience(limit: &Limit, sample_interval: Duration) -> Duration {
    let expected = limit.duration_ms.map_or(2 * sample_interval, Duration::from_millis);
    expected.saturating_add(GRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

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
