//! Agents that watch the nodes of a run. They move no traffic, and what befalls them fails no trial: what was not seen is
//! null, with the reason.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use linerate_results::nodes::{NodeObservation, WatchedNode};
use linerate_wire::message::{Acknowledge, Command, Start, Stop};
use linerate_wire::report::ReportDetail;
use linerate_wire::trial::{TrialSpec, Work};
use linerate_wire::watch::WatchWork;
use tokio::sync::watch;
use tokio::time::timeout;

use super::observer::Observer;
use super::part::{self, KernelAgent, Part, step};
use super::recorder::Recorder;
use super::trial::Stopped;
use super::{CONNECTING_AT_ONCE, Ending};
use crate::platform::{NodeWatcher, Platform};
use crate::session::ANSWER_TIME;

/// Nothing is made of their samples: the longest time between two that keeps counters of 32 bits from wrapping twice.
const SAMPLE_INTERVAL_MS: u32 = 60_000;
/// Time for a lost agent to accept a connection again, before each trial.
const RECONNECT_TIME: Duration = Duration::from_secs(3);
/// Time for the beginning of a watch, and for its end: drivers may ask their firmware.
const WATCH_TIME: Duration = Duration::from_secs(20);
/// Failures in a row, of an agent or of connecting to it again, after which it is left alone: each may take all of these times.
const MOST_FAILURES: u32 = 3;

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
    /// Times that it was lost, or could not be connected to again, since it watched a whole trial.
    failures: u32,
    keep_alive: Duration,
    interrupted: watch::Receiver<bool>,
}

impl NodeWatch {
    /// Has the platform start the agents, one for each node of the others, and connects to them. The time that it takes is
    /// none of the control path of trials.
    ///
    /// # Errors
    /// When the run is interrupted.
    pub(super) async fn start(
        platform: &mut impl Platform,
        keep_alive: Duration,
        interrupted: &watch::Receiver<bool>,
        recorder: &mut Recorder<'_>,
        observer: &dyn Observer,
    ) -> Result<Self, Ending> {
        let began = Instant::now();
        let starting = async {
            let nodes = platform.watch_nodes(&|text| observer.phase(text)).await;
            let connecting = nodes.into_iter().map(|node| Watcher::connect(node, keep_alive, interrupted));
            stream::iter(connecting).buffered(CONNECTING_AT_ONCE).collect().await
        };
        let mut interrupted = interrupted.clone();
        let watchers = tokio::select! {
            watchers = starting => watchers,
            Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(Ending::Interrupted),
        };
        recorder.set_aside(began.elapsed());
        Ok(Self { watchers })
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
    async fn connect(
        NodeWatcher { node, agent }: NodeWatcher,
        keep_alive: Duration,
        interrupted: &watch::Receiver<bool>,
    ) -> Self {
        let agent = match agent {
            Ok(endpoint) => KernelAgent::connect(endpoint, keep_alive).await.map_err(|why| why.to_string()),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = &agent {
            tracing::warn!(node, reason, "the node is not watched");
        }
        let (trial, interrupted) = (Err(String::new()), interrupted.clone());
        Self { node, agent, trial, is_lost: false, failures: 0, keep_alive, interrupted }
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
            if self.failures >= MOST_FAILURES {
                return;
            }
            let again = async {
                let again = agent.reconnect(self.keep_alive, RECONNECT_TIME).await;
                again.map_err(|why| Stopped::Agent { cause: why.to_string(), refusal: false })
            };
            if in_time(&self.interrupted, RECONNECT_TIME, again).await.is_err() {
                // The trial keeps the reason of the loss.
                self.lost();
                return;
            }
            self.is_lost = false;
        }
        let agent = &*agent;
        let begun = async {
            step(agent, Command::Prepare(Box::new(spec)), WATCH_TIME).await?;
            step(agent, Command::Arm, WATCH_TIME).await?;
            step(agent, Command::Start(Start::default()), WATCH_TIME).await
        };
        match in_time(&self.interrupted, WATCH_TIME, begun).await {
            Ok(()) => self.trial = Ok(trial),
            Err(stopped) => self.stopped(&stopped).await,
        }
    }

    async fn end(&mut self) -> WatchedNode {
        let seen = self.seen().await;
        WatchedNode::new(&self.node, seen)
    }

    async fn seen(&mut self) -> Result<NodeObservation, String> {
        let agent = self.agent.as_ref().map_err(Clone::clone)?;
        let trial = self.trial.clone()?;
        let seen = match in_time(&self.interrupted, WATCH_TIME, watched(agent, trial)).await {
            Ok(seen) => seen,
            Err(stopped) => {
                self.stopped(&stopped).await;
                return Err(stopped.to_string());
            }
        };
        // What was seen is kept, whatever becomes of the agent.
        let acknowledged = step(agent, Command::Acknowledge(Acknowledge { trial }), ANSWER_TIME);
        match in_time(&self.interrupted, ANSWER_TIME, acknowledged).await {
            Ok(()) => self.failures = 0,
            Err(stopped) => self.stopped(&stopped).await,
        }
        Ok(seen)
    }

    /// An agent that refused is there for the next trial.
    async fn stopped(&mut self, stopped: &Stopped) {
        let reason = stopped.to_string();
        tracing::warn!(node = self.node, reason, "the agent that watches the node has failed");
        self.trial = Err(reason);
        if let (Ok(agent), false) = (&self.agent, stopped.loses_agent()) {
            let abandoned = async {
                let abandoned = agent.abandon().await;
                abandoned.map_err(|error| Stopped::Agent { cause: error.to_string(), refusal: false })
            };
            if in_time(&self.interrupted, WATCH_TIME, abandoned).await.is_ok() {
                return;
            }
        }
        self.lost();
    }

    /// Counts a failure; the last one is told.
    fn lost(&mut self) {
        self.is_lost = true;
        self.failures += 1;
        if let (MOST_FAILURES, Err(reason)) = (self.failures, &mut self.trial) {
            *reason += &format!("; it is given up after {MOST_FAILURES} failures");
            tracing::warn!(node = self.node, reason, "the node is not watched any more");
        }
    }
}

/// The outcome of a step; else that it took longer than `limit`, so that its agent is as good as lost, or was interrupted.
async fn in_time<T>(
    interrupted: &watch::Receiver<bool>,
    limit: Duration,
    step: impl Future<Output = Result<T, Stopped>>,
) -> Result<T, Stopped> {
    let mut interrupted = interrupted.clone();
    tokio::select! {
        biased;
        ended = timeout(limit, step) => ended.unwrap_or_else(|_| {
            let cause = format!("it has not answered within {} s", limit.as_secs());
            Err(Stopped::Agent { cause, refusal: false })
        }),
        Ok(_) = interrupted.wait_for(|flag| *flag) => Err(Stopped::Interrupted),
    }
}

/// Stops an agent's watch, and takes its report.
async fn watched(agent: &KernelAgent, trial: u32) -> Result<NodeObservation, Stopped> {
    // It is answered when the report is there.
    step(agent, Command::Stop(Stop::default()), WATCH_TIME).await?;
    // Samples and the end of the trial: a full queue of events would end the session.
    while agent.session.waiting_event().is_some() {}
    let taken = part::report(agent, "the node", |detail| match detail {
        ReportDetail::Watch(seen) => Some(*seen),
        _ => None,
    });
    match taken.await {
        Part::Reported(report) if report.trial == trial => {
            Ok(NodeObservation { host: report.host.clone(), devices: report.detail.clone() })
        }
        Part::Reported(report) => {
            let cause = format!("it reported on trial {}, and not on {trial}", report.trial);
            Err(Stopped::Agent { cause, refusal: true })
        }
        Part::Lost(cause) => Err(Stopped::Agent { cause, refusal: false }),
        Part::Failed(cause) => Err(Stopped::Agent { cause, refusal: true }),
    }
}
