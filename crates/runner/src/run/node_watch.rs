//! Agents that watch the nodes of a run. They move no traffic, and what befalls them fails no trial: what was not seen is
//! null, with the reason.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use linerate_results::nodes::{Seen, WatchedNode};
use linerate_wire::message::{Acknowledge, Command, Start, Stop};
use linerate_wire::report::ReportDetail;
use linerate_wire::trial::{TrialSpec, Work};
use linerate_wire::watch::WatchWork;
use tokio::time::timeout;

use super::observer::Observer;
use super::part::{self, KernelAgent, Part, step};
use super::trial::Stopped;
use super::{CONNECTING_AT_ONCE, Ending};
use crate::platform::{AgentEndpoint, Platform};
use crate::session::ANSWER_TIME;

/// Nothing is made of their samples: the longest time between two that keeps counters of 32 bits from wrapping twice.
const SAMPLE_INTERVAL_MS: u32 = 60_000;
/// Time for a lost agent to accept a connection again, before each trial.
const RECONNECT_TIME: Duration = Duration::from_secs(3);
/// Time for the beginning of a watch, and for its end: drivers may ask their firmware.
const WATCH_TIME: Duration = Duration::from_secs(20);

/// The agents that watch, one per node.
#[derive(Debug, Default)]
pub(super) struct NodeWatch {
    watchers: Vec<Watcher>,
}

#[derive(Debug)]
struct Watcher {
    node: String,
    /// The agent, or why there never was a connection to it.
    agent: Result<KernelAgent, String>,
    /// The trial that it watches, or why it does not.
    trial: Result<u32, String>,
    is_lost: bool,
    keep_alive: Duration,
}

impl NodeWatch {
    /// Has the platform start the agents, one for each node of the others, and connects to them.
    ///
    /// # Errors
    /// When they cannot be started.
    pub(super) async fn start(
        platform: &mut impl Platform,
        keep_alive: Duration,
        observer: &dyn Observer,
    ) -> Result<Self, Ending> {
        let endpoints = platform.watch_nodes(&|text| observer.phase(text)).await?;
        let connecting = endpoints.into_iter().map(|endpoint| Watcher::connect(endpoint, keep_alive));
        Ok(Self { watchers: stream::iter(connecting).buffered(CONNECTING_AT_ONCE).collect().await })
    }

    /// Begins to watch a trial that is about to start; the agents end by themselves when nothing is heard for the time
    /// `orphan`.
    pub(super) async fn begin(&mut self, trial: u32, orphan: Duration) {
        join_all(self.watchers.iter_mut().map(|watcher| watcher.begin(trial, orphan))).await;
    }

    /// Ends the watch over a trial; returns what was seen, by node.
    pub(super) async fn end(&mut self) -> Vec<WatchedNode> {
        join_all(self.watchers.iter_mut().map(Watcher::end)).await
    }
}

impl Watcher {
    async fn connect(endpoint: AgentEndpoint, keep_alive: Duration) -> Self {
        let node = endpoint.node.clone();
        let agent = KernelAgent::connect(endpoint, keep_alive).await.map_err(|why| why.to_string());
        if let Err(reason) = &agent {
            tracing::warn!(node, reason, "the node is not watched");
        }
        Self { node, agent, trial: Err(String::new()), is_lost: false, keep_alive }
    }

    async fn begin(&mut self, trial: u32, orphan: Duration) {
        let spec = TrialSpec {
            trial,
            work: Work::Watch(WatchWork {}),
            sample_interval_ms: SAMPLE_INTERVAL_MS,
            interrupts: true,
            orphan_ms: u32::try_from(orphan.as_millis()).unwrap_or(u32::MAX),
        };
        let Ok(agent) = &mut self.agent else { return };
        if self.is_lost {
            let again = timeout(RECONNECT_TIME, agent.reconnect(self.keep_alive, RECONNECT_TIME));
            match again.await {
                Ok(Ok(())) => self.is_lost = false,
                // The trial keeps the reason of the loss.
                Ok(Err(_)) | Err(_) => return,
            }
        }
        let agent = &*agent;
        let begun = async {
            step(agent, Command::Prepare(Box::new(spec)), WATCH_TIME).await?;
            step(agent, Command::Arm, WATCH_TIME).await?;
            step(agent, Command::Start(Start::default()), WATCH_TIME).await
        };
        match in_time(begun).await {
            Ok(()) => self.trial = Ok(trial),
            Err(stopped) => self.stopped(&stopped).await,
        }
    }

    async fn end(&mut self) -> WatchedNode {
        let seen = self.seen().await;
        WatchedNode::new(&self.node, seen)
    }

    async fn seen(&mut self) -> Result<Seen, String> {
        let agent = self.agent.as_ref().map_err(Clone::clone)?;
        let trial = self.trial.clone()?;
        match in_time(watched(agent, trial)).await {
            Ok(seen) => Ok(seen),
            Err(stopped) => {
                self.stopped(&stopped).await;
                Err(stopped.to_string())
            }
        }
    }

    /// An agent that refused is there for the next trial.
    async fn stopped(&mut self, stopped: &Stopped) {
        let reason = stopped.to_string();
        tracing::warn!(node = self.node, reason, "the node is not watched in a trial");
        self.is_lost = match (&self.agent, stopped.loses_agent()) {
            (Ok(agent), false) => agent.abandon().await.is_err(),
            _ => true,
        };
        self.trial = Err(reason);
    }
}

/// The outcome of a step, or that it took too long: its agent is as good as lost.
async fn in_time<T>(step: impl Future<Output = Result<T, Stopped>>) -> Result<T, Stopped> {
    timeout(WATCH_TIME, step).await.unwrap_or_else(|_| {
        let cause = format!("it has not answered within {} s", WATCH_TIME.as_secs());
        Err(Stopped::Agent { cause, refusal: false })
    })
}

/// Stops an agent's watch, and takes its report.
async fn watched(agent: &KernelAgent, trial: u32) -> Result<Seen, Stopped> {
    // It is answered when the report is there.
    step(agent, Command::Stop(Stop::default()), WATCH_TIME).await?;
    // Samples and the end of the trial: a full queue of events would end the session.
    while agent.session.waiting_event().is_some() {}
    let taken = part::report(agent, "the node", |detail| match detail {
        ReportDetail::Watch(seen) => Some(*seen),
        _ => None,
    });
    let seen = match taken.await {
        Part::Reported(report) if report.trial == trial => {
            Seen { host: report.host.clone(), devices: report.detail.clone() }
        }
        Part::Reported(report) => {
            let cause = format!("it reported on trial {}, and not on {trial}", report.trial);
            return Err(Stopped::Agent { cause, refusal: true });
        }
        Part::Lost(cause) => return Err(Stopped::Agent { cause, refusal: false }),
        Part::Failed(cause) => return Err(Stopped::Agent { cause, refusal: true }),
    };
    step(agent, Command::Acknowledge(Acknowledge { trial }), ANSWER_TIME).await?;
    Ok(seen)
}
