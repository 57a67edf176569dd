//! A trial of the summary: its figures, or the reason for their absence.

use std::collections::BTreeMap;

use linerate_traffic::profile::{Field, FrameSizes};
use linerate_wire::counters::{PortCounters, ReceiveCounters, TransmitCounters};
use linerate_wire::loss::{LossTimeline, LossZero};
use linerate_wire::report::{FlowDelay, ForeignFrames, LatencySummary};
use linerate_wire::time::{Throttling, TickRate, WorkerTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::ClockVerdict;
use crate::engines::EngineFigures;
use crate::host::HostSummary;
use crate::host_setting::TrialHostSetting;
use crate::nodes::NodeSummary;
use crate::store::inner_path;
use crate::verdict::{Absence, Verdict};
use linerate_experiment::direction::Direction;
use linerate_experiment::search::SearchTrial;

/// A finished trial on one pair. `sent_packets = received_packets + lost_packets`, always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialSummary {
    /// Name of the profile.
    #[serde(deserialize_with = "inner_path::name")]
    pub profile: String,
    /// Which pair.
    #[serde(deserialize_with = "inner_path::name")]
    pub pair: String,
    /// Which ways packets went. Of a trial in both directions, each way has an entry of its own.
    #[serde(default)]
    pub direction: Direction,
    /// Which time the profile was run.
    pub repeat: u32,
    /// Its part in a rate search, where `repeat` counts the trials of all the profile's searches; absent in other trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchTrial>,
    /// Number of the period in `environment.json` in which it ran; 0 in older records.
    #[serde(default)]
    pub environment_period: u32,
    /// Its engine, what it cost and where it lost packets; absent in experiments that do not compare engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineFigures>,
    /// The setting of hosts under which it ran; absent where the document has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_setting: Option<TrialHostSetting>,
    /// Bytes of a frame, frame check sequence included.
    pub frame_size: FrameSizes,
    /// Number of flows.
    pub flows: u32,
    /// Intended load in packets per second; null for as fast as possible.
    pub intended_pps: Option<f64>,
    /// Offered load: packets that the transmitting port accepted, per second of sending.
    pub offered_pps: f64,
    /// True when the offered load is off the intended one by more than 0.1 %, and by more than one burst of
    /// each transmitting lcore (a burst is one packet by default): the trial did not measure the intended
    /// load.
    pub offered_missed_intended: bool,
    /// Packets received, per second of sending.
    pub received_pps: f64,
    /// Packets that the transmitting port accepted.
    pub sent_packets: u64,
    /// Of those, packets that arrived; further copies are not counted.
    pub received_packets: u64,
    /// Packets that did not arrive.
    pub lost_packets: u64,
    /// When packets were lost; absent when none was, and in older records. The trial's file has the intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_times: Option<LossTimes>,
    /// Further copies of packets that had already arrived.
    pub duplicate_packets: u64,
    /// Packets of another path or trial.
    pub stale_packets: u64,
    /// Packets of this trial with a flow id that it does not have.
    pub bad_probe_packets: u64,
    /// Packets whose IPv4, UDP or TCP checksum is wrong: damaged on their way.
    pub bad_checksum_packets: u64,
    /// Received packets whose UDP checksum over IPv4 is 0: none was computed (RFC 768), so damage cannot be
    /// detected.
    #[serde(default)]
    pub without_checksum_packets: u64,
    /// Frames that are not Linerate's.
    pub foreign_packets: u64,
    /// Those frames by kind.
    pub foreign: ForeignFrames,
    /// Packets that arrived after a later one of their flow (RFC 4737).
    pub reordering: ReorderingSummary,
    /// Packets that the intended load called for and that were never built.
    pub forgone_packets: u64,
    /// Packets built and never accepted by the port.
    pub unsent_packets: u64,
    /// Bursts that the transmitting port did not accept whole at the first offer.
    pub queue_full: u64,
    /// Seconds during which packets waited for the transmitting port, on average over its lcores.
    pub blocked_s: f64,
    /// Packets so late that first copies cannot be distinguished from duplicates; they count as received.
    pub beyond_window_packets: u64,
    /// The transmitting lcores.
    pub tx_lcores: Vec<LcoreSummary>,
    /// The receiving lcores.
    pub rx_lcores: Vec<LcoreSummary>,
    /// A receiver that was away from its queues for so long that packets can have been lost meanwhile; null when none
    /// was, and in older records.
    #[serde(default)]
    pub receiver_absence: Option<Absence>,
    /// Stated and measured frequency of each agent's counter, by the agent's name; empty in older records.
    #[serde(default)]
    pub tick_rates: BTreeMap<String, TickRate>,
    /// How a CPU quota stopped agents, by the agent's name; empty when none did.
    #[serde(default)]
    pub throttling: BTreeMap<String, Throttling>,
    /// The agents' hosts during the trial, by the agent's name; absent in older records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, HostSummary>,
    /// Nodes beside the trial, as agents in the nodes' own networks saw them; absent where none watched, and in older records. Of the paths of a trial the first has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeSummary>,
    /// Frames of any kind per receive queue, queue 0 first.
    pub rx_queue_frames: Vec<u64>,
    /// The transmitting port's own counters; null when it was reset during the trial.
    pub tx_port: Option<PortCounters>,
    /// The receiving port's own counters; null when it was reset during the trial.
    pub rx_port: Option<PortCounters>,
    /// Counters of software and port that should agree and do not.
    pub disagreements: Vec<String>,
    /// Further notes of the agents on their ports.
    pub notes: Vec<String>,
    /// Seconds of sending.
    pub duration_s: f64,
    /// Time from one packet to the next as each lcore handed them to its queue, in nanoseconds; null when fewer than two were sent.
    pub inter_departure_ns: Option<LatencySummary>,
    /// One-way delay in nanoseconds; null when nothing arrived, the clocks cannot be compared, or the trial was a round trip.
    pub latency_ns: Option<LatencySummary>,
    /// Packet delay variation (RFC 5481, section 4.2) in nanoseconds: each delay less the smallest one; null when `latency_ns` is.
    pub latency_variation_ns: Option<LatencySummary>,
    /// Time of the way there and back in nanoseconds, by the transmitter's clock alone; null in other trials, and when nothing came back.
    #[serde(default)]
    pub round_trip_ns: Option<LatencySummary>,
    /// Each round-trip time less the smallest one, in nanoseconds; null when `round_trip_ns` is.
    #[serde(default)]
    pub round_trip_variation_ns: Option<LatencySummary>,
    /// Counters of the far end of a round trip; null in other trials.
    #[serde(default)]
    pub reflector: Option<ReflectorSummary>,
    /// Flows of which packets were sent and none arrived.
    pub silent_flows: u32,
    /// The flows that fared worst, worst first: those with most losses, then most reordered and duplicate packets, then the longest delay.
    pub worst_flows: Vec<FlowSummary>,
    /// Why the one-way delay is valid, or why not.
    pub clock: ClockVerdict,
    /// Limit of the trial.
    pub verdict: Verdict,
    /// Seconds from the first request to the last report, less the seconds of sending.
    pub overhead_s: f64,
    /// File with reports, samples and histograms, relative to the summary.
    #[serde(deserialize_with = "inner_path::path")]
    pub trial: String,
    /// File with every flow, relative to the summary; null when it was not requested.
    #[serde(default, deserialize_with = "inner_path::optional_path")]
    pub flows_file: Option<String>,
}

/// When packets of a trial were lost, by the time at which they were sent: `placed_packets + unplaced_packets` is the number of packets lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LossTimes {
    /// Meaning of time zero.
    #[serde(default)]
    pub zero: LossZero,
    /// When the first lost packet with a known time was sent, in nanoseconds since time zero; null without such packets.
    pub first_ns: Option<u64>,
    /// When the last one was sent, in nanoseconds since time zero; null without such packets.
    pub last_ns: Option<u64>,
    /// Lost packets with a known time.
    pub placed_packets: u64,
    /// Lost packets without one.
    pub unplaced_packets: u64,
    /// Intervals in which packets were lost.
    pub intervals: usize,
    /// Width of an interval in nanoseconds: 10 ms, or 10 ms times a power of two when losses were too many for that.
    pub interval_ns: u64,
    /// How finely the receiver kept times, in nanoseconds.
    #[serde(default)]
    pub resolution_ns: u64,
    /// Why no time is known; null when times are.
    pub reason: Option<String>,
}

impl From<&LossTimeline> for LossTimes {
    fn from(timeline: &LossTimeline) -> Self {
        Self {
            zero: timeline.zero,
            first_ns: timeline.first_ns,
            last_ns: timeline.last_ns,
            placed_packets: timeline.placed_packets(),
            unplaced_packets: timeline.unplaced_packets,
            intervals: timeline.intervals.len(),
            interval_ns: timeline.interval_ns,
            resolution_ns: timeline.resolution_ns,
            reason: timeline.reason.clone(),
        }
    }
}

/// The far end of a round trip. Packets lost on the way there are those sent less `received_packets`; those lost on the way back are `sent_packets`
/// less the ones that the transmitter received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReflectorSummary {
    /// Linerate's packets that arrived, further copies among them.
    pub received_packets: u64,
    /// Packets sent back.
    pub sent_packets: u64,
    /// Packets that its port did not take back.
    pub dropped_packets: u64,
    /// Its port's own counters; null when it was reset during the trial.
    pub port: Option<PortCounters>,
}

/// An lcore's part in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LcoreSummary {
    /// DPDK's number of it.
    pub lcore: u32,
    /// Packets of the trial that it sent, or received first copies of.
    pub packets: u64,
    /// Share of the time in which it had nothing to do, 0…1; null for a transmitter that sends as fast as possible.
    pub headroom: Option<f64>,
    /// How much of the trial it had a CPU; null in older records.
    #[serde(default)]
    pub cpu_time: Option<WorkerTime>,
}

/// Reordering as RFC 4737 has it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ReorderingSummary {
    /// Reordered packets: a later one of their flow had arrived before them.
    pub packets: u64,
    /// Reordered packets per packet received, 0…1; 0 when nothing was received.
    pub ratio: f64,
    /// Of the reordered packets, those whose extent is known.
    pub extents: u64,
    /// Mean extent in packets: how many of the flow arrived since the first later one; null when no extent is known.
    pub extent_mean: Option<f64>,
    /// Largest extent in packets; null when no extent is known.
    pub extent_max: Option<u32>,
}

/// One flow as its receiver saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowSummary {
    /// Index of the flow in its profile.
    pub flow: u32,
    /// Header fields of its packets: addresses, ports, and every other field that differs between flows.
    pub header: BTreeMap<Field, String>,
    /// Packets sent; null in older records.
    #[serde(default)]
    pub sent_packets: Option<u64>,
    /// First copies received.
    pub received_packets: u64,
    /// Packets sent and not received. Where `sent_packets` is null: packets missing before the last one received.
    pub lost_packets: u64,
    /// Further copies received.
    pub duplicate_packets: u64,
    /// Reordered packets (RFC 4737).
    pub reordered_packets: u64,
    /// Largest extent of a reordered packet, in packets.
    pub extent_max: u32,
    /// One-way delay in nanoseconds; null when the clocks cannot be compared, and in a round trip.
    pub delay_ns: Option<FlowDelay>,
    /// Time of the way there and back in nanoseconds; null in other trials.
    #[serde(default)]
    pub round_trip_ns: Option<FlowDelay>,
}

/// A trial that could not be finished on one pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialFailure {
    /// Name of the profile.
    #[serde(deserialize_with = "inner_path::name")]
    pub profile: String,
    /// Which pair.
    #[serde(deserialize_with = "inner_path::name")]
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
    #[serde(default, deserialize_with = "inner_path::optional_path")]
    pub trial: Option<String>,
}
