//! One trial in one group of agents: carries out the decisions of [`steps`].

pub(super) mod steps;

use std::time::Duration;

use futures_util::future::{join_all, select_all};
use linerate_experiment::document::{DrainSection, TrialSection};
use linerate_experiment::topology::Path;
use linerate_results::store::record::AgentRecord;
use linerate_results::store::report::{NotOfFrames, TrialReport};
use linerate_traffic::limit::Limit;
use linerate_traffic::profile::Profile;
use linerate_traffic::span::Span;
use linerate_wire::message::{self, Acknowledge, Command, Start, Stop, TrialFailed};
use linerate_wire::report::Part;
use linerate_wire::state::AgentState;
use linerate_wire::trial::{Drain, FrameWork, ReceiveSpec, RoleSpec, TransmitSpec, TrialSpec, Work, gap_ns};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep};

use self::steps::{AgentRequest, NextStep, StepEvent, Steps, TrialPhase};
use super::agent::{Agent, EngineKind};
use super::group::Group;
use super::observer::GroupObserver;
use crate::session::{ANSWER_TIME, SessionError, WORK_TIME};

/// Grace period of a transmitter, beyond its expected end or without progress.
const GRACE: Duration = Duration::from_secs(10);

/// Parameters of a trial for the agents of a group.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    pub(super) id: u32,
    /// Tag of the probes on the first of its paths, of all groups; each further path has the next one.
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
    /// True when the times grow with the interval between packets.
    pub(super) follows_rate: bool,
}

impl DrainTimes {
    /// The times that the document sets.
    pub(super) fn of(section: &DrainSection) -> Self {
        Self { settle: section.settle.get(), limit: section.limit.get(), follows_rate: true }
    }
}

/// Why a trial was not finished.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Stopped {
    #[error("interrupted")]
    Interrupted,
    #[error("stopped, because the trial failed on another pair")]
    Elsewhere,
    /// `cause` is the end of the agent's process, if that has ended.
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
    /// The setting of hosts may not have been in force.
    #[error("{0}")]
    Untuned(String),
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

    /// True when an agent can no longer be asked anything.
    pub(super) fn loses_agent(&self) -> bool {
        matches!(self, Stopped::Agent { refusal: false, .. })
    }

    /// True when all agents can still be asked, and the run continues.
    pub(super) fn leaves_agents(&self) -> bool {
        !self.ends_run() && !self.loses_agent()
    }

    pub(super) async fn by<E: EngineKind>(agent: &Agent<E>, error: SessionError) -> Self {
        Stopped::Agent { cause: agent.cause(&error).await, refusal: error.fault.is_refusal() }
    }
}

/// A trial in progress in a group.
pub(super) struct GroupTrial<'a> {
    assignment: &'a Assignment,
    steps: Steps,
    /// What is known of each agent's part.
    pub(super) seen: Vec<AgentRecord>,
    /// Start of each sender on its own clock, in nanoseconds; `None`: at once.
    pub(super) begins_ns: Vec<Option<u64>>,
    /// Paths of the trial in groups before this one.
    pub(super) paths_before: usize,
    /// True when the sender of the first path counts the node's interrupts.
    pub(super) has_interrupts: bool,
    watch: GroupObserver<'a>,
    interrupted: Receiver<bool>,
    /// Becomes true when the trial fails in another group.
    halted: Receiver<bool>,
    /// Time from the start until everything was sent.
    sending: Duration,
}

impl<'a> GroupTrial<'a> {
    /// A trial on `paths` of a group, not started yet.
    pub(super) fn new(
        assignment: &'a Assignment,
        group: &Group,
        paths: &[Path],
        watch: GroupObserver<'a>,
        interrupted: Receiver<bool>,
        halted: Receiver<bool>,
    ) -> Self {
        let agents = group.agents.len();
        Self {
            assignment,
            steps: Steps::new(&group.plan, paths),
            seen: vec![AgentRecord::default(); agents],
            begins_ns: vec![None; agents],
            paths_before: 0,
            has_interrupts: false,
            watch,
            interrupted,
            halted,
            sending: Duration::ZERO,
        }
    }

    /// Tag of the probes on the first path that `is_it`.
    pub(super) fn tag_of(&self, is_it: impl Fn(&Path) -> bool) -> u16 {
        let before = self.paths_before + self.steps.paths().iter().position(is_it).unwrap_or(0);
        self.assignment.tag.wrapping_add(before as u16)
    }

    /// The agents that send, in order.
    pub(super) fn senders(&self) -> impl Iterator<Item = usize> {
        self.steps.senders()
    }

    /// Checks that all ports carry the trial's frames. The receiver does not know their size, so frames too
    /// large for its port would count as the path's loss.
    ///
    /// # Errors
    /// The first agent whose port does not carry them.
    pub(super) fn frames_fit(&self, group: &Group) -> Result<(), Stopped> {
        let largest = self.assignment.profile.frame_sizes().largest().bytes();
        for agent in group.agents.iter().rev() {
            agent.port().carries(largest).map_err(|error| Stopped::Agent {
                cause: format!("{}: {error}", agent.name()),
                refusal: true,
            })?;
        }
        Ok(())
    }

    /// Advances the trial to the phase `goal`.
    ///
    /// # Errors
    /// Why it ended without a result.
    pub(super) async fn advance(&mut self, group: &Group, goal: TrialPhase) -> Result<(), Stopped> {
        let mut event = StepEvent::Begin;
        loop {
            event = match self.steps.next_step(event, goal) {
                NextStep::Reached => return Ok(()),
                NextStep::Stop(stopped) => return Err(stopped),
                NextStep::Wait => {
                    let begun = Instant::now();
                    let event = self.wait(group).await;
                    self.sending += begun.elapsed();
                    event
                }
                NextStep::Ask(requests) => {
                    let mut interrupted = self.interrupted.clone();
                    tokio::select! {
                        answered = self.ask(group, &requests) => match answered {
                            Ok(()) => StepEvent::Answered,
                            Err(stopped) => StepEvent::Failed(stopped),
                        },
                        Ok(_) = interrupted.wait_for(|flag| *flag) => StepEvent::Interrupted,
                    }
                }
            };
        }
    }

    /// Sends requests to agents in parallel, and takes the samples that arrive meanwhile.
    async fn ask(&mut self, group: &Group, requests: &[(usize, AgentRequest)]) -> Result<(), Stopped> {
        let mut asking = Vec::with_capacity(requests.len());
        for (agent, request) in requests {
            asking.push(ask_one(&group.agents[*agent], self.command(group, *agent, request)?));
        }
        let asking = join_all(asking);
        // During sending, a waiting event may be the end of sending, which `wait` must see.
        let takes_events = self.steps.is_past_sending();
        let answers = tokio::select! {
            answers = asking => answers,
            stopped = self.gather(group), if takes_events => return Err(stopped),
        };
        for ((agent, _), report) in requests.iter().zip(answers) {
            let Some(report) = report? else { continue };
            let sent = report.transmit.as_ref().map(|transmit| message::Sent {
                trial: report.trial,
                packets: transmit.counters.packets,
                packets_per_lcore: transmit.packets_per_lcore.clone(),
                sending: report.sending_times(),
            });
            self.steps.reported(*agent, sent.unwrap_or_default());
            self.seen[*agent].report = Some(report);
        }
        if takes_events {
            self.collect(group);
        }
        Ok(())
    }

    /// Takes samples while agents work on requests; during a long drain there may be more than a session's
    /// queue holds. Ends when an agent gives the trial up. The end of a session is reported by the request
    /// instead.
    async fn gather(&mut self, group: &Group) -> Stopped {
        let mut heard: Vec<usize> = (0..group.agents.len()).collect();
        while !heard.is_empty() {
            let events = heard.iter().map(|index| {
                let session = &group.agents[*index].session;
                Box::pin(async move { (*index, session.next_event().await) })
            });
            let ((index, event), ..) = select_all(events).await;
            match event {
                Ok(message::Event::Failed(TrialFailed { trial, message })) if trial == self.assignment.id => {
                    return Stopped::GivenUp { agent: group.agents[index].name().to_owned(), message };
                }
                Ok(event) => self.note(event, index),
                Err(_) => heard.retain(|other| *other != index),
            }
        }
        std::future::pending().await
    }

    /// A command to an agent with the time limit for its reply; `None` requests its report.
    fn command(
        &self,
        group: &Group,
        index: usize,
        request: &AgentRequest,
    ) -> Result<Option<(Command, Duration)>, Stopped> {
        Ok(Some(match request {
            AgentRequest::Prepare => (self.prepare(group, index)?, WORK_TIME),
            AgentRequest::Arm => (Command::Arm, WORK_TIME),
            AgentRequest::Start => (Command::Start(Start { at_ns: self.begins_ns[index] }), ANSWER_TIME),
            AgentRequest::Stop => (Command::Stop(Stop::default()), WORK_TIME),
            AgentRequest::Drain(sent) => self.drain(group, index, sent),
            AgentRequest::Report => return Ok(None),
        }))
    }

    /// The agent's part of the trial as a command.
    fn prepare(&self, group: &Group, index: usize) -> Result<Command, Stopped> {
        let Assignment { id, profile, limit, settings, .. } = self.assignment;
        let (sent, received) = (self.tag_of(|path| path.from == index), self.tag_of(|path| path.to == index));
        let receive =
            |tag: Option<u16>| ReceiveSpec { flows: profile.flows(), all_flows: settings.all_flows, tag };
        let transmit = || {
            let path = self.steps.paths().iter().find(|path| path.from == index);
            let path = path.ok_or_else(|| Stopped::Unfiled("an agent sends on no path".to_owned()))?;
            let addressed = group.addressed(path, profile)?;
            let (_, peer_mac) = group.macs(path, profile);
            Ok::<_, Stopped>(Box::new(TransmitSpec { profile: addressed.profile, peer_mac, limit: *limit }))
        };
        let (tag, role) = match self.steps.part(index) {
            Some(Part::Tx) => (sent, RoleSpec::Transmit(transmit()?)),
            Some(Part::Exchange) => {
                // In a round trip, both are the same.
                (sent, RoleSpec::Exchange(transmit()?, receive((received != sent).then_some(received))))
            }
            Some(Part::Rx) | None => (received, RoleSpec::Receive(receive(None))),
            Some(Part::Reflect) => (self.tag_of(|path| path.reflector == Some(index)), RoleSpec::Reflect),
        };
        Ok(Command::Prepare(Box::new(TrialSpec {
            trial: *id,
            work: Work::Frames(FrameWork { tag, role }),
            sample_interval_ms: settings.sample_interval.millis_u32(),
            orphan_ms: settings.orphan.millis_u32(),
            interrupts: self.has_interrupts
                && self.steps.paths().first().is_some_and(|path| path.from == index),
        })))
    }

    /// Command that lets an agent count until all sent packets have arrived or arrivals have stopped.
    fn drain(&self, group: &Group, index: usize, sent: &message::Sent) -> (Command, Duration) {
        let Assignment { profile, drain: times, .. } = self.assignment;
        let incoming = self.steps.paths().iter().filter(|path| path.to == index);
        let slowest = incoming.map(|path| group.times(path)).max_by_key(|times| times.delay_ns);
        let path = slowest.unwrap_or_default();
        let drain = Drain {
            expected_packets: sent.packets,
            settle_ms: millis(times.settle),
            limit_ms: millis(times.limit),
            path_delay_ns: path.delay_ns,
            path_variation_ns: path.variation_ns,
            gap_ns: if times.follows_rate { gap_ns(self.sending, sent.packets, profile.burst()) } else { 0 },
        };
        let limit = Duration::from_nanos(drain.limit_ns()).saturating_add(WORK_TIME);
        let stop = Stop {
            drain: Some(drain),
            sent_per_lcore: sent.packets_per_lcore.clone(),
            sending: sent.sending,
        };
        (Command::Stop(stop), limit)
    }

    /// Takes samples until another event happens.
    async fn wait(&mut self, group: &Group) -> StepEvent {
        let id = self.assignment.id;
        let after = time_limit(&self.assignment.limit, self.assignment.settings.sample_interval.get());
        let overdue = sleep(after);
        tokio::pin!(overdue);
        loop {
            let events = group.agents.iter().enumerate();
            let events = events
                .map(|(index, agent)| Box::pin(async move { (index, agent.session.next_event().await) }));
            let (index, event) = tokio::select! {
                (event, _, _) = select_all(events) => event,
                Ok(_) = self.interrupted.wait_for(|flag| *flag) => return StepEvent::Interrupted,
                Ok(_) = self.halted.wait_for(|flag| *flag) => return StepEvent::FailedElsewhere,
                () = &mut overdue => return StepEvent::Overdue { after },
            };
            match event {
                Err(error) => return StepEvent::Failed(Stopped::by(&group.agents[index], error).await),
                Ok(message::Event::Finished(Acknowledge { trial })) if trial == id => {
                    self.watch.sending_ended(index);
                    return StepEvent::Ended { agent: index };
                }
                Ok(message::Event::Sent(sent)) if sent.trial == id => {
                    self.watch.sending_ended(index);
                    return StepEvent::Sent { agent: index, sent };
                }
                Ok(message::Event::Failed(TrialFailed { trial, message })) if trial == id => {
                    return StepEvent::GaveUp { agent: index, message };
                }
                Ok(event) => {
                    let before = self.packets_sent(index);
                    self.note(event, index);
                    if self.packets_sent(index) > before && self.assignment.limit.duration_ms.is_none() {
                        overdue.as_mut().reset(Instant::now() + after);
                    }
                }
            }
        }
    }

    fn packets_sent(&self, agent: usize) -> u64 {
        self.seen[agent].last_transmit().map_or(0, |counters| counters.packets)
    }

    fn note(&mut self, event: message::Event, agent: usize) {
        if let message::Event::Sample(sample) = event
            && sample.trial == self.assignment.id
        {
            self.watch.sample(agent, &sample);
            self.seen[agent].samples.push(*sample);
        }
    }

    /// Takes the samples that have arrived.
    fn collect(&mut self, group: &Group) {
        for (index, agent) in group.agents.iter().enumerate() {
            while let Some(event) = agent.session.waiting_event() {
                self.note(event, index);
            }
        }
    }

    /// Acknowledges the stored reports.
    pub(super) async fn acknowledge(&self, group: &Group) -> Result<(), Stopped> {
        for (agent, seen) in group.agents.iter().zip(&self.seen) {
            if seen.report.is_some() {
                let acknowledge = Command::Acknowledge(Acknowledge { trial: self.assignment.id });
                step(agent, acknowledge, ANSWER_TIME).await?;
            }
        }
        Ok(())
    }

    /// Ends the trial in any phase and takes the reports that exist. An agent that does not reply is skipped.
    pub(super) async fn abandon(&mut self, group: &Group) {
        for (agent, seen) in group.agents.iter().zip(&mut self.seen) {
            if let Err(error) = abandon(agent, seen).await {
                tracing::debug!(agent = agent.name(), %error, "abandoned without a report");
            }
        }
        self.collect(group);
    }
}

async fn step(agent: &Agent, command: Command, limit: Duration) -> Result<AgentState, Stopped> {
    match agent.session.step(command, limit).await {
        Ok(state) => Ok(state),
        Err(error) => Err(Stopped::by(agent, error).await),
    }
}

/// Sends one agent a command, or requests its report if there is no command.
async fn ask_one(
    agent: &Agent,
    command: Option<(Command, Duration)>,
) -> Result<Option<TrialReport>, Stopped> {
    match command {
        Some((command, limit)) => step(agent, command, limit).await.map(|_| None),
        None => report(agent).await.map(Some),
    }
}

async fn report(agent: &Agent) -> Result<TrialReport, Stopped> {
    match agent.session.report().await {
        Ok(report) => {
            let agent = agent.name().to_owned();
            report
                .try_into()
                .map_err(|error: NotOfFrames| Stopped::GivenUp { agent, message: error.to_string() })
        }
        Err(error) => Err(Stopped::by(agent, error).await),
    }
}

async fn abandon(agent: &Agent, seen: &mut AgentRecord) -> Result<(), Stopped> {
    if step(agent, Command::Stop(Stop::default()), ANSWER_TIME).await? == AgentState::Finished {
        seen.report = Some(report(agent).await?);
    }
    Ok(())
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// Time limit for a transmitter: until its end if it has a duration, otherwise between two samples with
/// progress.
fn time_limit(limit: &Limit, sample_interval: Duration) -> Duration {
    let expected = limit.duration_ms.map_or(2 * sample_interval, Duration::from_millis);
    expected.saturating_add(GRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_limit_follows_from_the_trials_limit() {
        for (duration_ms, packets, seconds) in
            [(Some(3000), None, 13), (Some(60_000), Some(5000), 70), (None, Some(5000), 12), (None, None, 12)]
        {
            let limit = Limit { duration_ms, packets };
            assert_eq!(time_limit(&limit, Duration::from_secs(1)), Duration::from_secs(seconds), "{limit:?}");
        }
    }
}
