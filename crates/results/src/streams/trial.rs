//! A trial of streams in the summary: all of its connections together. Pure.

use std::collections::BTreeMap;

use linerate_wire::report::{Latency, LatencySummary, Report};
use linerate_wire::streams::{CpuUse, Protocol, StreamsLimit, StreamsVerdict};
use linerate_wire::time::Throttling;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connection::{BoundedDelay, ConnectionSummary};
use super::distribution::{Spread, together};
use super::record::{ConnectionEnds, StreamsTrialRecord};
use crate::engines::EngineFigures;
use crate::host::HostSummary;
use crate::host_setting::TrialHostSetting;
use crate::nodes::NodeSummary;
use crate::planned::{PlannedRecord, PlannedResult};
use crate::store::inner_path;
use crate::store::trial_log::LogRecord;
use crate::summary::{StartSpread, Summary};

/// Most connections that a summary names in each of its lists. The trial's file has all.
pub const MOST_NAMED: usize = 16;
/// Bits of a gigabit.
const GBIT: f64 = 1e9;

/// A finished trial of streams, all connections together. All rates are of payload. A sum is null when a part of it is
/// not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StreamsTrialSummary {
    /// Name of the profile.
    #[serde(deserialize_with = "inner_path::name")]
    pub profile: String,
    /// Which time the profile was run.
    pub repeat: u32,
    /// Number of the period in `environment.json` in which it ran.
    pub environment_period: u32,
    /// Its engine, what it cost and where it lost packets; absent in experiments that do not compare engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineFigures>,
    /// The setting of hosts under which it ran; absent where the document has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_setting: Option<TrialHostSetting>,
    /// Nodes beside the trial, as agents in the nodes' own networks saw them; absent where none watched, and in older records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeSummary>,
    /// Transport protocol.
    pub transport: Protocol,
    /// Streams of a connection.
    pub parallel: u32,
    /// Intended load of a connection, as written.
    pub rate: String,
    /// Bytes of payload of a message.
    pub message_bytes: u32,
    /// Connections that the trial loads.
    pub connections: u32,
    /// Of those, connections of which bytes still arrived at the end of sending.
    pub connections_alive: u32,
    /// Connections that are not alive, by name; the first few.
    pub silent_connections: Vec<String>,
    /// Streams whose account is complete, of `connections × parallel`.
    pub streams_complete: u64,
    /// True when the account of every stream is complete.
    pub complete: bool,
    /// Why it is not complete, each in one sentence; the first few.
    pub reasons: Vec<String>,
    /// Agents that were lost in the trial.
    pub lost_agents: Vec<LostAgent>,
    /// Intended load of all connections in bits per second; null for as fast as possible.
    pub intended_bps: Option<f64>,
    /// Bits per second that the senders' kernels accepted.
    pub offered_bps: Option<f64>,
    /// Bits per second that the receivers read.
    pub received_bps: Option<f64>,
    /// Offered load of a connection in bits per second, over the connections.
    pub connection_offered_bps: Option<Spread>,
    /// Received load of a connection in bits per second, over the connections.
    pub connection_received_bps: Option<Spread>,
    /// Bytes that the senders' kernels accepted.
    pub written_bytes: Option<u64>,
    /// Bytes that the receivers' kernels acknowledged; null for UDP.
    pub acked_bytes: Option<u64>,
    /// Bytes that the receivers read; of UDP those of first copies.
    pub received_bytes: Option<u64>,
    /// Units due and never sent: bytes of TCP, datagrams of UDP.
    pub forgone: Option<u64>,
    /// TCP: segments sent again; null for UDP.
    pub retransmits: Option<u64>,
    /// TCP: share of the segments with payload that were sent again, 0…1; null for UDP and where a kernel does not report it.
    #[serde(default)]
    pub retransmit_share: Option<f64>,
    /// TCP: smoothed round-trip time at the end in microseconds, over the connections.
    pub rtt_us: Option<Spread>,
    /// UDP: datagrams that the senders' kernels accepted.
    pub sent_datagrams: Option<u64>,
    /// UDP: first copies received.
    pub received_datagrams: Option<u64>,
    /// UDP: sent less received.
    pub lost_datagrams: Option<u64>,
    /// UDP: datagrams that senders' kernels refused; not among those sent.
    pub refused_datagrams: Option<u64>,
    /// UDP: of the lost ones, those that full receive buffers dropped.
    pub socket_drops: Option<u64>,
    /// UDP: further copies.
    pub duplicate_datagrams: Option<u64>,
    /// UDP: first copies that arrived after a later one of their stream (RFC 4737).
    pub reordered_datagrams: Option<u64>,
    /// UDP: interarrival jitter (RFC 3550) in nanoseconds, over the connections.
    pub jitter_ns: Option<Spread>,
    /// UDP: one-way delay in nanoseconds of all connections whose ends read one clock.
    pub delay_ns: Option<LatencySummary>,
    /// UDP: one-way delay of all connections between machines whose clocks were compared before and after, with the largest bound of them; absent
    /// elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounded_delay_ns: Option<BoundedDelay>,
    /// Seconds of sending, of the connection that sent longest.
    pub duration_s: f64,
    /// CPU seconds of the processes that only sent, per gigabit that they sent; null without such agents.
    pub sender_cpu_s_per_gbit: Option<f64>,
    /// CPU seconds of the processes that only received, per gigabit that they received; null without such agents.
    pub receiver_cpu_s_per_gbit: Option<f64>,
    /// CPU seconds of all agents per gigabit received.
    pub cpu_s_per_gbit: Option<f64>,
    /// CPU time of each agent.
    pub agents: Vec<AgentCpu>,
    /// Number of connections by what limited them.
    pub limits: BTreeMap<StreamsLimit, u32>,
    /// What limited most of the connections that something limited; with the evidence of the slowest of them.
    pub verdict: StreamsVerdict,
    /// The connections that fared worst, worst first: silent ones, then incomplete ones, then those with most loss or segments sent again, then
    /// the slowest.
    pub worst_connections: Vec<ConnectionSummary>,
    /// Spread of the agents' starts; null for a single agent that sends.
    pub start: Option<StartSpread>,
    /// Seconds from the first request to the last report, less the seconds of sending.
    pub overhead_s: f64,
    /// File with the reports of all connections, relative to the summary.
    #[serde(deserialize_with = "inner_path::path")]
    pub trial: String,
    /// File with the samples, relative to the summary.
    #[serde(deserialize_with = "inner_path::path")]
    pub samples_file: String,
}

/// An agent that was lost in a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LostAgent {
    /// Its name.
    #[serde(deserialize_with = "inner_path::name")]
    pub agent: String,
    /// Why.
    pub reason: String,
}

/// CPU time of an agent in a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentCpu {
    /// The agent.
    #[serde(deserialize_with = "inner_path::name")]
    pub agent: String,
    /// CPU seconds of all of its threads.
    pub process_s: f64,
    /// Seconds of the period.
    pub elapsed_s: f64,
    /// Share of the host's CPUs that was busy, 0…1; null where the kernel does not report it.
    pub host_busy_share: Option<f64>,
    /// Share of the host's CPUs in interrupts and their deferred work, 0…1.
    pub host_interrupt_share: Option<f64>,
    /// How a CPU quota stopped it; null when none did.
    pub throttling: Option<Throttling>,
    /// Its host during the trial; absent in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostSummary>,
}

impl AgentCpu {
    pub(crate) fn of(agent: &str, report: &Report<CpuUse>) -> Self {
        let (cpu, throttling) = (&report.detail, report.throttling);
        let host = cpu.host.filter(|host| host.cpus > 0 && cpu.elapsed_s > 0.0);
        let share = |seconds: f64, cpus: u32| seconds / (cpu.elapsed_s * f64::from(cpus));
        Self {
            agent: agent.to_owned(),
            process_s: cpu.process_s,
            elapsed_s: cpu.elapsed_s,
            host_busy_share: host.map(|host| share(host.busy_s, host.cpus)),
            host_interrupt_share: host.map(|host| share(host.interrupts_s, host.cpus)),
            throttling,
            host: report.host.as_ref().map(HostSummary::from),
        }
    }
}

/// What the reports do not tell.
#[derive(Debug, Clone)]
pub struct StreamsTrialContext {
    /// Intended load of a connection, as written.
    pub rate: String,
    /// Number of the environment's period.
    pub environment_period: u32,
    /// What it cost, in an experiment of engines.
    pub engine: Option<EngineFigures>,
    /// The setting of hosts under which it ran.
    pub host_setting: Option<TrialHostSetting>,
    /// Spread of the starts.
    pub start: Option<StartSpread>,
    /// Seconds beside the sending.
    pub overhead_s: f64,
    /// Path of the record.
    pub trial: String,
    /// Path of the samples.
    pub samples_file: String,
}

/// What the receiver of a connection measured of delays.
fn latency(ends: &ConnectionEnds) -> Option<&Latency> {
    ends.receiver.as_ref()?.receiving.as_ref()?.latency.as_ref()
}

impl StreamsTrialSummary {
    /// The trial's figures from those of its connections.
    pub fn of(record: &StreamsTrialRecord, context: StreamsTrialContext) -> Self {
        let connections = &record.connections;
        let sum = |of: fn(&ConnectionSummary) -> Option<u64>| {
            connections.iter().map(of).try_fold(0_u64, |sum, one| sum.checked_add(one?))
        };
        let total = |of: fn(&ConnectionSummary) -> Option<f64>| {
            connections.iter().map(of).try_fold(0.0, |sum, one| Some(sum + one?))
        };
        let spread =
            |of: fn(&ConnectionSummary) -> Option<f64>| Spread::of(connections.iter().filter_map(of));
        let is_tcp = record.spec.protocol == Protocol::Tcp;
        let tcp = |value: Option<u64>| value.filter(|_| is_tcp);
        let udp = |value: Option<u64>| value.filter(|_| !is_tcp);
        let silent = connections.iter().filter(|one| !one.alive).map(|one| one.connection.clone());
        let reasons = connections
            .iter()
            .filter_map(|one| Some(format!("{}: {}", one.connection, one.reasons.first()?)))
            .take(MOST_NAMED);
        let lost_agents: Vec<LostAgent> = record
            .agents
            .iter()
            .filter_map(|part| Some(LostAgent { agent: part.agent.clone(), reason: part.lost.clone()? }))
            .collect();
        // A connection of which nothing arrived received at 0 bit/s.
        let received_bps = |one: &ConnectionSummary| match one.received_bytes {
            Some(0) => Some(0.0),
            _ => one.received_bps,
        };
        let delays = record.ends.iter().filter(|ends| ends.delay_note.is_none()).filter_map(latency);
        let bounded = record.ends.iter().filter_map(|ends| Some((latency(ends)?, ends.delay_bound_ns?)));
        let bound_ns = bounded.clone().map(|(_, bound_ns)| bound_ns).max();
        let bounded = together(bounded.map(|(latency, _)| (&latency.summary, latency.histogram.as_slice())));
        let bounded_delay_ns =
            bounded.zip(bound_ns).map(|(delay, uncertainty_ns)| BoundedDelay { delay, uncertainty_ns });
        let mut limits = BTreeMap::new();
        connections.iter().for_each(|one| *limits.entry(one.verdict.kind).or_default() += 1);
        let cpu = CpuShares::of(record);
        let StreamsTrialContext {
            rate,
            environment_period,
            engine,
            host_setting,
            start,
            overhead_s,
            trial,
            samples_file,
        } = context;
        Self {
            profile: record.profile.clone(),
            repeat: record.repeat,
            environment_period,
            engine,
            host_setting,
            nodes: record.nodes.iter().map(NodeSummary::from).collect(),
            transport: record.spec.protocol,
            parallel: record.spec.streams,
            rate,
            message_bytes: record.spec.block_bytes,
            connections: connections.len() as u32,
            connections_alive: connections.iter().filter(|one| one.alive).count() as u32,
            silent_connections: silent.take(MOST_NAMED).collect(),
            streams_complete: connections.iter().map(|one| u64::from(one.streams_complete)).sum(),
            complete: connections.iter().all(|one| one.complete) && lost_agents.is_empty(),
            reasons: reasons.collect(),
            lost_agents,
            intended_bps: total(|one| one.intended_bps),
            offered_bps: total(|one| one.offered_bps),
            received_bps: total(received_bps),
            connection_offered_bps: spread(|one| one.offered_bps),
            connection_received_bps: spread(received_bps),
            written_bytes: sum(|one| one.written_bytes),
            acked_bytes: tcp(sum(|one| one.acked_bytes)),
            received_bytes: sum(|one| one.received_bytes),
            forgone: sum(|one| one.forgone),
            retransmits: tcp(sum(|one| one.retransmits)),
            retransmit_share: retransmit_share(record).filter(|_| is_tcp),
            rtt_us: spread(|one| one.rtt_us.map(|rtt| rtt.smoothed)),
            sent_datagrams: udp(sum(|one| one.sent_datagrams)),
            received_datagrams: udp(sum(|one| one.received_datagrams)),
            lost_datagrams: udp(sum(|one| one.lost_datagrams)),
            refused_datagrams: udp(sum(|one| one.refused_datagrams)),
            socket_drops: udp(sum(|one| one.socket_drops)),
            duplicate_datagrams: udp(sum(|one| one.duplicate_datagrams)),
            reordered_datagrams: udp(sum(|one| one.reordered_datagrams)),
            jitter_ns: spread(|one| one.jitter_ns),
            delay_ns: together(delays.map(|latency| (&latency.summary, latency.histogram.as_slice()))),
            bounded_delay_ns,
            duration_s: connections.iter().filter_map(|one| one.sending_s).fold(0.0, f64::max),
            sender_cpu_s_per_gbit: cpu.senders,
            receiver_cpu_s_per_gbit: cpu.receivers,
            cpu_s_per_gbit: cpu.all,
            agents: record
                .agents
                .iter()
                .filter_map(|part| {
                    let report = part.report.as_ref()?;
                    Some(AgentCpu::of(&part.agent, report))
                })
                .collect(),
            verdict: verdict(connections, &limits),
            limits,
            worst_connections: worst_first(connections).into_iter().take(MOST_NAMED).cloned().collect(),
            start,
            overhead_s,
            trial,
            samples_file,
        }
    }

    /// What the reports do not tell, as it was recorded.
    pub fn context(&self) -> StreamsTrialContext {
        StreamsTrialContext {
            rate: self.rate.clone(),
            environment_period: self.environment_period,
            engine: self.engine.clone(),
            host_setting: self.host_setting.clone(),
            start: self.start,
            overhead_s: self.overhead_s,
            trial: self.trial.clone(),
            samples_file: self.samples_file.clone(),
        }
    }

    /// Share of the datagrams sent that did not arrive, 0…1; `None` for TCP, and when nothing was sent.
    pub fn loss_share(&self) -> Option<f64> {
        let sent = self.sent_datagrams.filter(|sent| *sent > 0)?;
        Some(self.lost_datagrams? as f64 / sent as f64)
    }
}

impl PlannedResult for StreamsTrialSummary {
    type Record = StreamsTrialRecord;

    fn all(summary: &Summary) -> &Vec<Self> {
        &summary.streams
    }

    fn label(&self) -> (String, u32) {
        (self.profile.clone(), self.repeat)
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn duration_s(&self) -> f64 {
        self.duration_s
    }

    fn files(&self) -> [&String; 2] {
        [&self.trial, &self.samples_file]
    }

    fn in_record(record: &StreamsTrialRecord) -> Option<&Self> {
        record.result.as_ref()
    }

    fn logged(record: PlannedRecord<Self>) -> LogRecord {
        LogRecord::Streams(Box::new(record))
    }
}

/// Share of the segments with payload that all senders sent again; `None` when one of them is not known.
fn retransmit_share(record: &StreamsTrialRecord) -> Option<f64> {
    let streams = record.ends.iter().map(|ends| Some(&ends.sender.as_ref()?.sending.as_ref()?.streams));
    let (mut resent, mut sent) = (0_u64, 0_u64);
    for stream in streams.collect::<Option<Vec<_>>>()?.into_iter().flatten() {
        let tcp = stream.tcp.as_ref()?;
        resent += u64::from(tcp.retransmits);
        sent += u64::from(tcp.data_segments_out?);
    }
    (sent > 0).then(|| resent as f64 / sent as f64)
}

/// What limited most of the limited connections, with the evidence of the slowest of them.
fn verdict(connections: &[ConnectionSummary], limits: &BTreeMap<StreamsLimit, u32>) -> StreamsVerdict {
    let limited = limits.iter().filter(|(limit, _)| **limit != StreamsLimit::Clean);
    let kind = limited.max_by_key(|(_, count)| **count).map_or(StreamsLimit::Clean, |(limit, _)| *limit);
    let of_kind = connections.iter().filter(|one| one.verdict.kind == kind);
    let slowest = of_kind.min_by(|a, b| speed(a).total_cmp(&speed(b)));
    let Some(slowest) = slowest else { return StreamsVerdict::unknown() };
    let count = limits.get(&kind).copied().unwrap_or(0);
    let evidence = match connections.len() {
        1 => slowest.verdict.evidence.clone(),
        all => format!("{count} of {all} connections; {}: {}", slowest.connection, slowest.verdict.evidence),
    };
    StreamsVerdict { kind, evidence }
}

fn speed(connection: &ConnectionSummary) -> f64 {
    connection.received_bps.unwrap_or(0.0)
}

/// The connections, worst first: silent ones, then incomplete ones, then those with most loss or segments sent again, then
/// the slowest.
pub fn worst_first(connections: &[ConnectionSummary]) -> Vec<&ConnectionSummary> {
    let harm = |one: &ConnectionSummary| one.lost_datagrams.or(one.retransmits).unwrap_or(0);
    let mut order: Vec<&ConnectionSummary> = connections.iter().collect();
    order.sort_by(|a, b| {
        (a.alive, a.complete)
            .cmp(&(b.alive, b.complete))
            .then(harm(b).cmp(&harm(a)))
            .then(speed(a).total_cmp(&speed(b)))
            .then(a.number.cmp(&b.number))
    });
    order
}

/// CPU seconds per gigabit of payload.
struct CpuShares {
    senders: Option<f64>,
    receivers: Option<f64>,
    all: Option<f64>,
}

impl CpuShares {
    fn of(record: &StreamsTrialRecord) -> Self {
        let mut sent: BTreeMap<&str, u64> = BTreeMap::new();
        let mut received: BTreeMap<&str, u64> = BTreeMap::new();
        for one in &record.connections {
            let add = |sum: &mut u64, bytes: Option<u64>| *sum = sum.saturating_add(bytes.unwrap_or(0));
            add(sent.entry(&one.from).or_default(), one.written_bytes);
            add(received.entry(&one.to).or_default(), one.received_bytes);
        }
        let per_gbit = |agents: &dyn Fn(&str) -> bool, bytes: &BTreeMap<&str, u64>| {
            let of: Vec<_> = record.agents.iter().filter(|part| agents(&part.agent)).collect();
            let seconds = of.iter().map(|part| part.report.as_ref().map(|report| report.detail.process_s));
            let seconds = seconds.sum::<Option<f64>>().filter(|_| !of.is_empty())?;
            let bytes = of.iter().filter_map(|part| bytes.get(part.agent.as_str()));
            let bytes = bytes.copied().fold(0, u64::saturating_add);
            (bytes > 0).then(|| seconds * GBIT / (bytes as f64 * 8.0))
        };
        Self {
            senders: per_gbit(&|agent| sent.contains_key(agent) && !received.contains_key(agent), &sent),
            receivers: per_gbit(
                &|agent| received.contains_key(agent) && !sent.contains_key(agent),
                &received,
            ),
            all: per_gbit(&|_| true, &received),
        }
    }
}
