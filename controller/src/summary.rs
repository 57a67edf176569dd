//! The result of an experiment as programs read it: `summary.json`.

use linerate_protocol::counters::{PortCounters, ReceiveCounters, TransmitCounters};
use linerate_protocol::mac::MacAddr;
use linerate_protocol::profile::FrameSizes;
use linerate_protocol::report::LatencySummary;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::ClockVerdict;
use crate::verdict::Verdict;

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
    /// Trials that could not be finished.
    pub failures: Vec<TrialFailure>,
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
    pub name: String,
    /// Host it ran on.
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
    /// Frequency of the counter that probes carry, in Hz.
    pub tick_hz: u64,
}

/// Traffic in one direction before the first trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WarmUp {
    /// Which pair.
    pub pair: String,
    /// Sending agent.
    pub from: String,
    /// Receiving agent.
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

/// A finished trial on one pair. `sent_packets = received_packets + lost_packets`, always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialSummary {
    /// Name of the profile.
    pub profile: String,
    /// Which pair.
    pub pair: String,
    /// Which time the profile was run.
    pub repeat: u32,
    /// Bytes of a frame, frame check sequence included.
    pub frame_size: FrameSizes,
    /// Number of flows.
    pub flows: u32,
    /// Intended load in packets per second; null for as fast as possible.
    pub intended_pps: Option<f64>,
    /// Offered load: packets that the transmitting port accepted, per second of sending.
    pub offered_pps: f64,
    /// Packets received, per second of sending.
    pub received_pps: f64,
    /// Packets that the transmitting port accepted.
    pub sent_packets: u64,
    /// Of those, packets that arrived; further copies are not counted.
    pub received_packets: u64,
    /// Packets that did not arrive.
    pub lost_packets: u64,
    /// Packets that arrived after a later one of their flow.
    pub out_of_order_packets: u64,
    /// Further copies of packets that had already arrived.
    pub duplicate_packets: u64,
    /// Packets of another trial.
    pub stale_packets: u64,
    /// Frames that are not Linerate's.
    pub foreign_packets: u64,
    /// Packets that the intended load called for and that were never built.
    pub forgone_packets: u64,
    /// Packets built and never accepted by the port.
    pub unsent_packets: u64,
    /// Bursts that the transmitting port did not accept whole at the first offer.
    pub queue_full: u64,
    /// Seconds during which packets waited for the transmitting port, on average over its lcores.
    pub blocked_s: f64,
    /// Packets so late that first copies cannot be told from duplicates; they count as received.
    pub beyond_window_packets: u64,
    /// The transmitting port's own counters; null when it was reset during the trial.
    pub tx_port: Option<PortCounters>,
    /// The receiving port's own counters; null when it was reset during the trial.
    pub rx_port: Option<PortCounters>,
    /// Counters of software and port that should agree and do not.
    pub disagreements: Vec<String>,
    /// Seconds of sending.
    pub duration_s: f64,
    /// One-way delay in nanoseconds; null when nothing arrived or the clocks cannot be compared.
    pub latency_ns: Option<LatencySummary>,
    /// Why the one-way delay is valid, or why not.
    pub clock: ClockVerdict,
    /// What limited the trial.
    pub verdict: Verdict,
    /// Seconds from the first request to the last report, less the seconds of sending.
    pub overhead_s: f64,
    /// File with reports, samples and histogram, relative to the summary.
    pub trial: String,
}

/// A trial that could not be finished on one pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialFailure {
    /// Name of the profile.
    pub profile: String,
    /// Which pair.
    pub pair: String,
    /// Which time the profile was run.
    pub repeat: u32,
    /// Why.
    pub reason: String,
    /// Last counters known of the transmitter.
    pub transmit: Option<TransmitCounters>,
    /// Last counters known of the receiver.
    pub receive: Option<ReceiveCounters>,
    /// File with the samples, relative to the summary; null when there are none.
    pub trial: Option<String>,
}

/// Time beyond the trials' own duration, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Overhead {
    /// From the start to all agents connected.
    pub start_up_s: f64,
    /// Warm-up of all pairs.
    pub warm_up_s: f64,
    /// Trials, with storing their results and without their sending.
    pub trials_s: f64,
    /// Ending the agents.
    pub tear_down_s: f64,
    /// All of it: the experiment's time less its trials' sending.
    pub total_s: f64,
}
