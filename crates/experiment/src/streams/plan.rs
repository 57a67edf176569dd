//! Trials of an experiment of streams. Pure.

use std::time::Duration;

use linerate_traffic::limit::Limit;
use linerate_traffic::safety::PacketLoad;
use linerate_wire::streams::Protocol;
use serde::Serialize;

use super::connections::TopologyKind;
use super::profile::StreamsProfile;
use crate::Experiment;
use crate::determinants::{TrialKey, TrialKeys};
use crate::plan::{PlanError, START_AND_END, TRIAL_OVERHEAD};
use crate::planned::{self, PlannedTrial, TrialProfile};

/// One run of a profile on all connections at the same time.
pub type StreamsTrial = PlannedTrial<StreamsProfile>;

/// The trials of an experiment of streams, in order; at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamsPlan {
    /// In the order of their runs.
    pub trials: Vec<StreamsTrial>,
}

impl StreamsPlan {
    /// The trials whose profile has `filter` in its name; `None` for an experiment without streams.
    ///
    /// # Errors
    /// When no profile is left, or a trial exceeds a ceiling.
    pub fn of(experiment: &Experiment, filter: Option<&str>) -> Result<Option<Self>, PlanError> {
        if !experiment.is_of_streams() {
            return Ok(None);
        }
        Ok(Some(Self { trials: planned::trials(experiment, &experiment.streams, filter)? }))
    }

    /// The plan as a dry run shows it. The number of connections is an upper limit when `nodes` of the agents are
    /// not known and rules depend on them.
    pub fn view(&self, experiment: &Experiment, nodes: &[String]) -> StreamsView {
        let topology = experiment.streams_topology();
        let durations = self.trials.iter().map(StreamsTrial::duration);
        let total = durations.map(|one| Some(one? + TRIAL_OVERHEAD)).sum::<Option<Duration>>();
        StreamsView {
            experiment: experiment.name().to_owned(),
            topology: topology.kind(),
            agents: topology.agents().len(),
            connections: topology.connections(nodes).len(),
            interfaces: topology.interfaces().iter().map(|name| name.as_str().to_owned()).collect(),
            trials: self.trials.iter().map(StreamsTrialView::of).collect(),
            estimated_s: total.map(|total| (total + START_AND_END).as_secs_f64()),
        }
    }
}

impl TrialProfile for StreamsProfile {
    fn name(&self) -> &str {
        &self.name
    }

    fn with_name(self, name: String) -> Self {
        Self { name, ..self }
    }

    fn duration(&self) -> Option<Duration> {
        self.spec.duration_ms.map(Duration::from_millis)
    }

    fn key(&self, keys: &TrialKeys, repeat: u32) -> TrialKey {
        keys.of_streams(self, repeat)
    }

    fn check(&self, experiment: &Experiment) -> Result<(), PlanError> {
        let (packets_per_second, packet_bytes) = self.spec.packets(false);
        let load = PacketLoad { packets_per_second, packet_bytes };
        let limit = Limit { duration_ms: self.spec.duration_ms, packets: None };
        let checked = experiment.ceilings().check_streams(&load, &limit, None);
        checked.map_err(|problem| PlanError::UnsafeStreams { profile: self.name.clone(), problem })
    }
}

/// A plan of streams, as a dry run shows it.
#[derive(Debug, Serialize)]
pub struct StreamsView {
    /// The experiment's name.
    pub experiment: String,
    /// Which agents send to which.
    pub topology: TopologyKind,
    /// Number of agents.
    pub agents: usize,
    /// Connections, each with its streams, that a trial loads at the same time.
    pub connections: usize,
    /// Interfaces that carry streams; empty: the kernel's choice.
    pub interfaces: Vec<String>,
    /// The trials, in order.
    pub trials: Vec<StreamsTrialView>,
    /// Estimated total time in seconds; null without end.
    pub estimated_s: Option<f64>,
}

/// A trial of streams, as a dry run shows it.
#[derive(Debug, Serialize)]
pub struct StreamsTrialView {
    /// Name of the profile.
    pub profile: String,
    /// Transport protocol.
    pub transport: Protocol,
    /// Streams of a connection.
    pub parallel: u32,
    /// Intended load of a connection, as written.
    pub rate: String,
    /// Bytes of payload of a message.
    pub message_bytes: u32,
    /// Number of the repeat.
    pub repeat: u32,
    /// Seconds of sending; null: until interrupted.
    pub duration_s: Option<f64>,
}

impl StreamsTrialView {
    fn of(trial: &StreamsTrial) -> Self {
        let StreamsProfile { name, rate, spec, .. } = &trial.profile;
        Self {
            profile: name.clone(),
            transport: spec.protocol,
            parallel: spec.streams,
            rate: rate.to_string(),
            message_bytes: spec.block_bytes,
            repeat: trial.repeat,
            duration_s: trial.duration().map(|duration| duration.as_secs_f64()),
        }
    }
}
