//! Parts of agents in a trial of all of them: an agent that is lost does not end the trial of the others.

use std::time::Duration;

use futures_util::future::join_all;
use linerate_results::store::StoreError;
use linerate_results::store::json::can_be_read;
use linerate_wire::message::{Acknowledge, Command, Event};
use linerate_wire::report::{Report, ReportDetail};
use linerate_wire::sample::Sample;
use linerate_wire::streams::StreamsEngine;

use super::agent::Agent;
use super::trial::Stopped;
use crate::session::ANSWER_TIME;

/// An agent whose engine moves traffic through the kernel's sockets.
pub(super) type KernelAgent = Agent<Box<StreamsEngine>>;

/// What became of an agent's part.
#[derive(Debug)]
pub(super) enum Part<D> {
    Reported(Box<Report<D>>),
    /// It can no longer be asked.
    Lost(String),
    /// It refused its part or gave it up, and is there.
    Failed(String),
}

impl<D> Part<D> {
    /// The part of an agent that stopped.
    pub(super) fn of(stopped: &Stopped) -> Self {
        match stopped.loses_agent() {
            true => Self::Lost(stopped.to_string()),
            false => Self::Failed(stopped.to_string()),
        }
    }
}

/// Why a trial did not run.
pub(super) enum NotRun {
    /// These agents were lost before it began, with the reasons.
    Lost(Vec<(usize, String)>),
    /// Why it cannot be run.
    Refused(String),
    Interrupted,
    Store(StoreError),
}

impl NotRun {
    /// The agents that were lost, and the reason for people.
    pub(super) fn into_reason(self) -> (Vec<(usize, String)>, String) {
        match self {
            NotRun::Lost(agents) => {
                let reason = agents.first().map(|(_, reason)| reason.clone()).unwrap_or_default();
                (agents, reason)
            }
            NotRun::Refused(reason) => (Vec::new(), reason),
            NotRun::Interrupted | NotRun::Store(_) => (Vec::new(), String::new()),
        }
    }
}

/// The samples of a trial that have arrived.
pub(super) fn waiting_samples(agent: &KernelAgent, trial: u32) -> impl Iterator<Item = Box<Sample>> {
    let events = std::iter::from_fn(|| agent.session.waiting_event());
    events.filter_map(move |event| match event {
        Event::Sample(sample) if sample.trial == trial => Some(sample),
        _ => None,
    })
}

/// Takes an agent through a step.
pub(super) async fn step(agent: &KernelAgent, command: Command, limit: Duration) -> Result<(), Stopped> {
    match agent.session.step(command, limit).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Stopped::by(agent, error).await),
    }
}

/// Ends what an agent does, without a result.
pub(super) async fn to_idle(agent: &KernelAgent) {
    if let Err(error) = agent.abandon().await {
        tracing::debug!(agent = agent.name(), %error, "not ended");
    }
}

/// Fetches an agent's report; `take` returns `None` for reports on other traffic than `kind`.
pub(super) async fn report<D>(
    agent: &KernelAgent,
    kind: &str,
    take: impl FnOnce(ReportDetail) -> Option<D>,
) -> Part<D> {
    let report = match agent.session.report().await {
        Ok(report) => report,
        Err(error) => return Part::Lost(Stopped::by(agent, error).await.to_string()),
    };
    // An agent may report any number; results must stay readable, and sums exact.
    let unusable = report.implausible().or_else(|| Some(can_be_read(&report).err()?.to_string()));
    if let Some(why) = unusable {
        to_idle(agent).await;
        return Part::Failed(format!(
            "the report of {} cannot be recorded: {why}; its counters are implausible: restart the agent, and look at its log",
            agent.name()
        ));
    }
    let mut taken = None;
    let head = report.map(|detail| taken = take(detail));
    match taken {
        Some(detail) => Part::Reported(Box::new(head.map(|()| detail))),
        None => Part::Failed(format!("{} reported on other traffic than {kind}", agent.name())),
    }
}

/// Acknowledges the reports, so that the agents drop them; returns the agents that are lost.
pub(super) async fn acknowledge<D>(
    id: u32,
    agents: &[KernelAgent],
    parts: &[Part<D>],
) -> Vec<(usize, String)> {
    let asked = agents.iter().zip(parts).enumerate().map(async |(place, (agent, part))| {
        if !matches!(part, Part::Reported(_)) {
            return None;
        }
        let acknowledged = step(agent, Command::Acknowledge(Acknowledge { trial: id }), ANSWER_TIME).await;
        acknowledged.err().map(|stopped| (place, stopped.to_string()))
    });
    join_all(asked).await.into_iter().flatten().collect()
}
