//! Record of one trial of streams: `trial.json`, and its samples beside it.

use std::collections::BTreeMap;

use linerate_wire::host::HostSample;
use linerate_wire::report::Report;
use linerate_wire::sample::{Measures, Sample};
use linerate_wire::streams::{CpuUse, PathMeasures, PathReport, ReceivedSample, SentSample, StreamsSpec};
use serde::{Deserialize, Serialize};

use super::connection::ConnectionSummary;
use super::trial::StreamsTrialSummary;
use crate::nodes::WatchedNode;
use crate::store::inner_path;

/// Name of the file's schema.
pub const STREAMS_TRIAL_SCHEMA: &str = "linerate.dev/streams-trial/v1alpha1";

/// Record of one trial of streams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamsTrialRecord {
    /// [`STREAMS_TRIAL_SCHEMA`].
    pub schema: String,
    /// Name of the profile.
    #[serde(deserialize_with = "inner_path::name")]
    pub profile: String,
    /// Number of the repeat.
    pub repeat: u32,
    /// Why there is no result; null when there is one.
    pub reason: Option<String>,
    /// The trial's figures; null when it was not finished.
    pub result: Option<StreamsTrialSummary>,
    /// When sending began, in UTC (RFC 3339); null if it did not begin.
    pub started_at: Option<String>,
    /// What every connection sends.
    pub spec: StreamsSpec,
    /// Seconds between samples.
    pub sample_interval_s: f64,
    /// The agents.
    pub agents: Vec<AgentPart>,
    /// Nodes beside the trial, as agents in the nodes' own networks saw them; absent where none watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<WatchedNode>,
    /// Figures of the connections, in the order of their numbers; they follow from `ends` and `agents`.
    pub connections: Vec<ConnectionSummary>,
    /// Reports of both ends of the connections, in the order of their numbers.
    pub ends: Vec<ConnectionEnds>,
}

/// An agent's part in a trial, without its connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentPart {
    /// Its name.
    #[serde(deserialize_with = "inner_path::name")]
    pub agent: String,
    /// Its report; null when it was lost.
    pub report: Option<Report<CpuUse>>,
    /// Why it was lost; null when it was not.
    pub lost: Option<String>,
}

/// Both ends' reports of a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectionEnds {
    /// Number of the connection.
    pub number: u32,
    /// Its name.
    pub connection: String,
    /// Agent that sent.
    #[serde(deserialize_with = "inner_path::name")]
    pub from: String,
    /// Agent that received.
    #[serde(deserialize_with = "inner_path::name")]
    pub to: String,
    /// Interface that the document gives; null: the kernel's choice.
    pub interface: Option<String>,
    /// Why one-way delays are not known exactly; null when both ends read one clock.
    pub delay_note: Option<String>,
    /// Bound of the error of one-way delays, in nanoseconds; absent where both ends read one clock, and where the clocks were not compared again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_bound_ns: Option<u64>,
    /// The sender's report; null when there is none.
    pub sender: Option<PathReport>,
    /// The receiver's report; null when there is none.
    pub receiver: Option<PathReport>,
}

impl StreamsTrialRecord {
    /// The part of the agent of this name.
    pub fn agent(&self, name: &str) -> Option<&AgentPart> {
        self.agents.iter().find(|agent| agent.agent == name)
    }

    /// The figures of all connections, from the reports.
    pub fn figures(&self) -> Vec<ConnectionSummary> {
        self.ends.iter().map(|ends| ConnectionSummary::of(self, ends)).collect()
    }
}

/// A line of the file of samples: what an agent measured at an instant, cumulative since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleLine {
    /// The agent.
    pub agent: String,
    /// Nanoseconds since the start of the trial.
    pub at_ns: i64,
    /// By the number of a connection that it sends on: bytes, datagrams, and segments sent again (null for UDP).
    pub sent: BTreeMap<u32, (u64, u64, Option<u64>)>,
    /// By the number of a connection that it receives on: bytes, datagrams, further copies, reordered and missing datagrams, and streams whose
    /// bytes moved since the last sample.
    pub received: BTreeMap<u32, (u64, u64, u64, u64, u64, u32)>,
    /// Its host; null when it takes no such samples.
    pub host: Option<HostSample>,
}

impl SampleLine {
    /// The line of a sample of a trial that began at `started_ns` on the agent's clock; `None` for a sample of
    /// frames.
    pub fn of(agent: &str, sample: &Sample, started_ns: u64) -> Option<Self> {
        let Measures::Streams(measures) = &sample.measures else { return None };
        let (mut sent, mut received) = (BTreeMap::new(), BTreeMap::new());
        for PathMeasures { path, sent: out, received: into } in &measures.paths {
            if let Some(SentSample { bytes, datagrams, retransmits, .. }) = out {
                sent.insert(*path, (*bytes, *datagrams, *retransmits));
            }
            if let Some(ReceivedSample { bytes, datagrams, duplicates, reordered, missing, alive, .. }) = into
            {
                received.insert(*path, (*bytes, *datagrams, *duplicates, *reordered, *missing, *alive));
            }
        }
        let at_ns = sample.at_ns.wrapping_sub(started_ns) as i64;
        Some(Self { agent: agent.to_owned(), at_ns, sent, received, host: sample.host })
    }
}
