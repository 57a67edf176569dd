//! Summary: the machine-readable result of an experiment, `summary.json`.

mod aggregate;
mod overhead;
mod search;
mod trial;

use std::collections::HashMap;

use linerate_experiment::plan::Trial;
use linerate_experiment::strategy::{
    Equipment, NextTrial, Outcomes, PathLimit, PathOutcome, RecordedOutcome, Strategy,
};
use linerate_search::methods::{self, Delays};
use linerate_traffic::mac::MacAddr;
use linerate_wire::counters::PortCounters;
use linerate_wire::loss::LossZero;
use linerate_wire::report::ForeignFrames;
use linerate_wire::time::TickRate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host_setting::HostSettingPeriod;
use crate::http::{HttpSearchSpec, HttpSearchSummary, HttpTrialSummary};
use crate::store::inner_path;
use crate::store::report::TrialReport;
use crate::streams::{StreamsAgentInfo, StreamsTrialSummary};
use crate::verdict::{VerdictKind, is_held_back, sender_lost};

pub use aggregate::{Aggregate, StartSpread};
pub use overhead::{Overhead, OverheadPart};
pub use search::{
    FollowUpSummary, GoalAttributes, GoalSummary, PathEvidence, PathLoss, SearchEnd, SearchSummary,
};
pub use trial::{
    FlowSummary, LcoreSummary, LossTimes, ReflectorSummary, ReorderingSummary, TrialFailure, TrialSummary,
};

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
    /// Finished trials of streams, in the order they ran; absent in an experiment of frames.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamsTrialSummary>,
    /// Finished trials of HTTP, in the order they ran; absent in an experiment of other traffic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpTrialSummary>,
    /// Searches for the highest rate of requests, in the order they ran; absent in an experiment without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http_searches: Vec<HttpSearchSummary>,
    /// All pairs of each trial together; empty in an experiment of one pair and one way.
    #[serde(default)]
    pub aggregates: Vec<Aggregate>,
    /// Rate searches, in the order they ran; absent in an experiment without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<SearchSummary>,
    /// Trials that could not be finished.
    pub failures: Vec<TrialFailure>,
    /// Pairs that were lost in a trial and brought back, with the reasons; the trial was then repeated.
    #[serde(default)]
    pub recoveries: Vec<String>,
    /// Time beyond the trials' own duration.
    pub overhead: Overhead,
}

impl Summary {
    /// True when the run has ended and recorded its status.
    pub fn has_ended(&self) -> bool {
        self.status != Status::Running
    }

    /// The trials of the matrix: those that are not of a search.
    pub fn matrix_trials(&self) -> impl Iterator<Item = &TrialSummary> + Clone {
        self.trials.iter().filter(|trial| trial.search.is_none())
    }

    /// Intended load in percent of the line rate of the transmitter's link, to six digits; `None` if the
    /// link's speed is unknown, or if there is no intended load because packets were sent as fast as
    /// possible.
    pub fn percent_of_line_rate(&self, trial: &TrialSummary) -> Option<f64> {
        let percent = 100.0 * trial.intended_pps? / self.line_rate_pps(trial)?;
        Some((percent * 1e6).round() / 1e6)
    }

    /// Line rate of the transmitter's link for frames of the trial's size, in frames per second; `None` if
    /// the link's speed is unknown.
    pub fn line_rate_pps(&self, trial: &TrialSummary) -> Option<f64> {
        let tx = trial.pair.split_once('-').map_or(trial.pair.as_str(), |(tx, _)| tx);
        let agent = self.experiment.agents.iter().find(|agent| agent.name == tx)?;
        agent.link_bps.filter(|bps| *bps > 0).map(|bps| trial.frame_size.line_rate_pps(bps))
    }

    /// Outcomes of the recorded trials that `strategy` knows, or chooses when they are replayed.
    pub fn outcomes(&self, strategy: &dyn Strategy) -> Outcomes {
        self.replay(strategy).1
    }

    /// The trials of `strategy`, and the outcomes of those that are recorded: the trials that it knows in advance,
    /// and those that it chooses one after the other, up to the first that is not recorded.
    pub fn replay(&self, strategy: &dyn Strategy) -> (Vec<Trial>, Outcomes) {
        let mut measured: HashMap<(String, u32), Vec<&TrialSummary>> = HashMap::new();
        for result in &self.trials {
            measured.entry((result.profile.clone(), result.repeat)).or_default().push(result);
        }
        let mut recorded = |trial: &Trial| {
            let results = measured.remove(&trial.label())?;
            let is_of = trial.is_of(results.iter().map(|result| (result.pair.as_str(), result.search)));
            is_of.then(|| RecordedOutcome::Measured(results.into_iter().map(PathOutcome::from).collect()))
        };
        let mut outcomes = Outcomes::default();
        outcomes.set_equipment(self.experiment.equipment());
        for trial in strategy.foreseen() {
            if let Some(outcome) = recorded(trial) {
                outcomes.add(trial, outcome);
            }
        }
        let mut trials = strategy.foreseen().to_vec();
        let foreseen = trials.len();
        while let NextTrial::Run(trial) = strategy.next(&outcomes) {
            if foreseen > 0 {
                break;
            }
            let outcome = recorded(&trial);
            if let Some(outcome) = outcome {
                outcomes.add(&trial, outcome);
                trials.push(*trial);
            } else {
                trials.push(*trial);
                break;
            }
        }
        (trials, outcomes)
    }
}

impl From<&TrialSummary> for PathOutcome {
    fn from(result: &TrialSummary) -> Self {
        // The verdict is of the loss first; the load may have been missed besides.
        let held_back = result.intended_pps.filter(|_| result.offered_missed_intended).and_then(|pps| {
            is_held_back(pps, result.offered_pps, result.blocked_s, result.duration_s)
                .then_some(PathLimit::Port)
        });
        Self {
            path: result.pair.clone(),
            intended_pps: result.intended_pps,
            offered_pps: result.offered_pps,
            sent_packets: result.sent_packets,
            received_packets: result.received_packets,
            missed_intended: result.offered_missed_intended,
            limit: match result.verdict.kind {
                VerdictKind::Clean | VerdictKind::PathLimited => held_back,
                VerdictKind::GeneratorLimited => Some(PathLimit::Generator),
                VerdictKind::PortLimited => Some(PathLimit::Port),
                VerdictKind::ReceiverLimited => Some(PathLimit::Receiver),
            },
            intended_ns: result.search.map(|search| search.intended_duration_ns),
            duration_s: result.duration_s,
            receiver_dropped: receiver_dropped(result),
            sender_lost: sender_lost(result.sent_packets, result.tx_port),
            beyond_window: result.beyond_window_packets,
            receiver_missed: result.receiver_absence.map_or(0, |absence| absence.packets),
            overhead_s: result.overhead_s,
            delays: result.latency_ns.or(result.round_trip_ns).map(|delay| Delays {
                min: delay.min,
                mean: delay.mean,
                p50: delay.p50,
                p90: delay.p90,
                p99: delay.p99,
                p999: delay.p999,
                max: delay.max,
            }),
            losses: result.loss_times.as_ref().filter(|times| times.reason.is_none()).map(|times| {
                // Times that do not count from the start of sending say nothing of a step of the load.
                let since_start = |ns: Option<u64>| ns.filter(|_| times.zero == LossZero::Sender);
                methods::LossSpan {
                    first_ns: since_start(times.first_ns),
                    last_ns: since_start(times.last_ns),
                    unplaced: times.unplaced_packets,
                    intervals: times.intervals as u64,
                    interval_ns: times.interval_ns,
                    resolution_ns: times.resolution_ns,
                }
            }),
        }
    }
}

/// Frames that the receiving port dropped, and those that a reflector and its port did. Frames of others may be among
/// them.
fn receiver_dropped(result: &TrialSummary) -> u64 {
    let missed = |port: Option<PortCounters>| port.map_or(0, |port| port.rx_missed);
    let reflector = result.reflector.as_ref();
    let reflected = reflector.map_or(0, |far| far.dropped_packets.saturating_add(missed(far.port)));
    missed(result.rx_port).saturating_add(reflected)
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
    /// It is running, or its controller was killed.
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
    /// Pairs loaded at the same time; in an experiment of streams, connections; of HTTP, clients.
    pub pairs: usize,
    /// Trials planned.
    pub planned_trials: usize,
    /// File with the document in force, beside this one.
    pub document: String,
    /// Programs.
    pub versions: Versions,
    /// SHA-256 of everything that determines the results: the effective document without the fields that do
    /// not affect them, the selection of trials, and the version of this program. Null in older records.
    #[serde(default)]
    pub determinants: Option<String>,
    /// When it was taken up again after it had been left, in UTC (RFC 3339).
    #[serde(default)]
    pub resumed_at: Vec<String>,
    /// Changes of the environment while the experiment was interrupted or an agent was lost;
    /// `environment.json` has the details.
    #[serde(default)]
    pub environment_changes: Vec<String>,
    /// Text that selected the trials; null when all of the document's were to be run.
    pub filter: Option<String>,
    /// The agents, once they are connected.
    pub agents: Vec<AgentInfo>,
    /// The agents of an experiment of streams or HTTP, once they are connected; absent in an experiment of frames.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams_agents: Vec<StreamsAgentInfo>,
    /// What is searched for in an experiment of HTTP; absent in one without a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_search: Option<HttpSearchSpec>,
    /// Settings of hosts in the order in which they were put in force; absent where the document has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_settings: Vec<HostSettingPeriod>,
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
    /// Stated and measured frequency; null in older records, whose `tick_hz` is the stated one.
    #[serde(default)]
    pub tick_rate: Option<TickRate>,
}

impl ExperimentInfo {
    /// The links of the agents.
    pub fn equipment(&self) -> Equipment {
        let agents = &self.agents;
        let claimed_bps = agents.iter().filter_map(|agent| agent.link_bps.filter(|bps| *bps > 0)).min();
        // Ports of virtual devices claim any speed, or none.
        let is_real = |agent: &AgentInfo| agent.link_bps.is_some() && !agent.device.starts_with("net_");
        let real_bps = claimed_bps.filter(|_| agents.iter().all(is_real));
        Equipment { claimed_bps, real_bps }
    }
}

/// Traffic in one direction before the first trial. On a round trip there are two, one for each half of the way.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
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
    /// Largest delay of the path in nanoseconds, or a bound above it; the drains of the trials follow it.
    /// Null when nothing arrived, on the first half of a round trip, whose delay is recorded with the second,
    /// and in older records.
    #[serde(default)]
    pub delay_ns: Option<u64>,
    /// Basis of the delay; null without a delay.
    #[serde(default)]
    pub delay_basis: Option<DelayBasis>,
    /// Why nothing was sent, or no attempt came to its end, on a way that trials do not use; absent on all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// Further copies of packets that had already arrived, in the last attempt as all that follows.
    #[serde(default)]
    pub duplicate_packets: u64,
    /// Packets of another path or trial, or of an earlier attempt.
    #[serde(default)]
    pub stale_packets: u64,
    /// Packets with a flow id that the traffic does not have.
    #[serde(default)]
    pub bad_probe_packets: u64,
    /// Packets whose IPv4, UDP or TCP checksum is wrong.
    #[serde(default)]
    pub bad_checksum_packets: u64,
    /// Received packets without a UDP checksum.
    #[serde(default)]
    pub without_checksum_packets: u64,
    /// Frames that are not Linerate's, by kind.
    #[serde(default)]
    pub foreign: ForeignFrames,
}

impl WarmUp {
    /// A record without packets.
    pub fn between(pair: &str, from: &str, to: &str) -> Self {
        Self { pair: pair.to_owned(), from: from.to_owned(), to: to.to_owned(), ..Self::default() }
    }

    /// Records the unexpected arrivals of the last attempt.
    pub fn arrivals(&mut self, report: Option<&TrialReport>) {
        let Some(receive) = report.and_then(|report| report.receive.as_ref()) else { return };
        self.duplicate_packets = receive.counters.duplicates;
        self.stale_packets = receive.counters.stale;
        self.bad_probe_packets = receive.counters.bad_probes;
        self.bad_checksum_packets = receive.counters.bad_checksums;
        self.without_checksum_packets = receive.counters.without_checksum;
        self.foreign = receive.foreign;
    }
}

/// Basis of a path's delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DelayBasis {
    /// Clocks that compare, or one clock at both ends of a round trip.
    Clock,
    /// When packets had arrived since the start, by the receiver's clock alone. It includes the time of control messages: a bound above the delay.
    Receipt,
}
