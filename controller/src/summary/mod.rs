//! The result of an experiment as programs read it: `summary.json`.

mod aggregate;
mod overhead;
mod trial;

use linerate_protocol::mac::MacAddr;
use linerate_protocol::time::TickRate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::inner_path;

pub use aggregate::{Aggregate, StartSpread};
pub use overhead::{Overhead, OverheadPart};
pub use trial::{FlowSummary, LcoreSummary, ReflectorSummary, ReorderingSummary, TrialFailure, TrialSummary};

/// The result of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Name of this form.
    pub schema: SchemaName,
    /// What was run, where, by which programs.
    pub experiment: ExperimentInfo,
    /// How far it came.
    pub status: Status,
    /// Why it is not complete; null when it is, or still runs.
    pub reason: Option<String>,
    /// Traffic before the first trial, per pair and direction.
    pub warm_up: Vec<WarmUp>,
    /// Finished trials, in the order they ran, one entry per pair.
    pub trials: Vec<TrialSummary>,
    /// All pairs of each trial together; empty in an experiment of one pair and one way.
    #[serde(default)]
    pub aggregates: Vec<Aggregate>,
    /// Trials that could not be finished.
    pub failures: Vec<TrialFailure>,
    /// Pairs that were lost in a trial and brought back, with the reasons; the trial was then repeated.
    #[serde(default)]
    pub recoveries: Vec<String>,
    /// Time beyond the trials' own duration.
    pub overhead: Overhead,
}

/// Name of the summary's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SchemaName {
    /// The first.
    #[serde(rename = "linerate.dev/summary/v1alpha1")]
    V1Alpha1,
}

/// How far an experiment came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It runs, or the controller was killed before it could say otherwise.
    Running,
    /// Every trial is finished.
    Complete,
    /// A signal ended it.
    Interrupted,
    /// Something went wrong.
    Failed,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Status::Running => "running",
            Status::Complete => "complete",
            Status::Interrupted => "interrupted",
            Status::Failed => "failed",
        })
    }
}

/// What was run, where, by which programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExperimentInfo {
    /// 8 hexadecimal digits, unique in the results directory.
    #[serde(deserialize_with = "inner_path::id")]
    pub id: String,
    /// Name given in the document.
    pub name: String,
    /// When it began, in UTC (RFC 3339).
    pub started_at: String,
    /// When it ended; null while it runs.
    pub ended_at: Option<String>,
    /// Where the agents ran.
    pub platform: String,
    /// Pairs loaded at the same time.
    pub pairs: usize,
    /// Trials planned.
    pub planned_trials: usize,
    /// File with the document in force, beside this one.
    pub document: String,
    /// Programs.
    pub versions: Versions,
    /// SHA-256 of everything that determines the results: the document in force without what does not matter to them, the selection of trials, and
    /// the version of this program. Null in older records.
    #[serde(default)]
    pub determinants: Option<String>,
    /// When it was taken up again after it had been left, in UTC (RFC 3339).
    #[serde(default)]
    pub resumed_at: Vec<String>,
    /// Text that selected the trials; null when all of the document's were to be run.
    pub filter: Option<String>,
    /// The agents, once they are connected.
    pub agents: Vec<AgentInfo>,
}

/// Programs and their versions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Versions {
    /// This program.
    pub linerate: String,
    /// Version of the control messages.
    pub protocol: u32,
    /// The agents' program; null until one is connected.
    pub agent: Option<String>,
    /// DPDK as the agents run it; null until one is connected.
    pub dpdk: Option<String>,
}

/// An agent and its port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentInfo {
    /// Name, such as `tx0`.
    #[serde(deserialize_with = "inner_path::name")]
    pub name: String,
    /// Host it ran on.
    #[serde(deserialize_with = "inner_path::name")]
    pub node: String,
    /// How it was started; the token is not on the command line.
    pub command_line: Vec<String>,
    /// Device of its port.
    pub device: String,
    /// Poll mode driver.
    pub driver: String,
    /// Ethernet address.
    pub mac: MacAddr,
    /// NUMA node of the port; null for devices without one.
    pub numa_node: Option<u32>,
    /// Link speed that the port reports, in bit/s; null when it reports none.
    pub link_bps: Option<u64>,
    /// Worker lcores.
    pub lcores: Vec<u32>,
    /// True when packet memory is in hugepages.
    pub hugepages: bool,
    /// Frequency of the counter that probes carry, in Hz, as measured when the agent was connected.
    pub tick_hz: u64,
    /// That frequency, told and measured; null in older records, whose `tick_hz` is what DPDK tells.
    #[serde(default)]
    pub tick_rate: Option<TickRate>,
}

/// Traffic in one direction before the first trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WarmUp {
    /// Which pair.
    #[serde(deserialize_with = "inner_path::name")]
    pub pair: String,
    /// Sending agent.
    #[serde(deserialize_with = "inner_path::name")]
    pub from: String,
    /// Receiving agent.
    #[serde(deserialize_with = "inner_path::name")]
    pub to: String,
    /// Packets sent in the last attempt.
    pub sent_packets: u64,
    /// Of those, packets received.
    pub received_packets: u64,
    /// Attempts made.
    pub attempts: u32,
    /// Seconds from the first attempt to the confirmation.
    pub duration_s: f64,
}
