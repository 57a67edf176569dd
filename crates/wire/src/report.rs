//! An agent's report on its part in a trial.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counters::{PortCounters, ReceiveCounters, TransmitCounters};
use crate::diagnosis::DiagnosisReport;
use crate::host_report::HostReport;
use crate::http::HttpReport;
use crate::loss::LossTimeline;
use crate::streams::StreamsReport;
use crate::time::{Throttling, TrialClock, WorkerTime};
use crate::watch::WatchReport;

/// One agent's report of a trial: the head, common to all kinds of traffic, and the detail of its kind. The
/// agent keeps it until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report<D = ReportDetail> {
    /// The controller's number of the trial.
    pub trial: u32,
    /// Reason for the trial's end.
    pub ended: Ended,
    /// Start on the agent's raw monotonic clock, in nanoseconds.
    pub started_ns: u64,
    /// End on the same clock.
    pub ended_ns: u64,
    /// Time from the start to the last arrival in the drain, or to the beginning of the drain when nothing
    /// arrived in it, in nanoseconds; absent without a drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_arrival_ns: Option<u64>,
    /// Contradictions between Linerate's counters and the port's or the kernel's, each in one sentence.
    pub disagreements: Vec<String>,
    /// Further remarks on the trial, each in one sentence.
    pub notes: Vec<String>,
    /// Clock readings of the trial; absent when the engine does not measure its counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<TrialClock>,
    /// CPU time of each worker in the trial, in the order of the detail.
    pub workers: Vec<WorkerTime>,
    /// Throttling of the agent by a CPU quota; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling: Option<Throttling>,
    /// The agent's host during the trial; absent from agents that do not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostReport>,
    /// Results of the traffic.
    pub detail: D,
}

impl<D> Report<D> {
    /// A report with an empty head, of a trial that began at `started_ns`.
    pub fn new(trial: u32, ended: Ended, started_ns: u64, detail: D) -> Self {
        Self {
            trial,
            ended,
            started_ns,
            ended_ns: started_ns,
            last_arrival_ns: None,
            disagreements: Vec::new(),
            notes: Vec::new(),
            clock: None,
            workers: Vec::new(),
            throttling: None,
            host: None,
            detail,
        }
    }

    /// The same report with the detail in another form.
    pub fn map<T>(self, change: impl FnOnce(D) -> T) -> Report<T> {
        let Self {
            trial,
            ended,
            started_ns,
            ended_ns,
            last_arrival_ns,
            disagreements,
            notes,
            clock,
            workers,
            throttling,
            host,
            detail,
        } = self;
        Report {
            trial,
            ended,
            started_ns,
            ended_ns,
            last_arrival_ns,
            disagreements,
            notes,
            clock,
            workers,
            throttling,
            host,
            detail: change(detail),
        }
    }
}

/// Results of a trial's traffic, by its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportDetail {
    /// Results of frames.
    Frames(Box<FrameReport>),
    /// Results of streams.
    Streams(Box<StreamsReport>),
    /// Results of requests.
    Http(Box<HttpReport>),
    /// What a diagnosis found.
    Diagnosis(DiagnosisReport),
    /// What was seen of a node.
    Watch(Box<WatchReport>),
}

/// An agent's results of frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameReport {
    /// The agent's part in the trial.
    pub role: Part,
    /// Present on a transmitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit: Option<TransmitReport>,
    /// Present on a receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive: Option<ReceiveReport>,
    /// The port's own counters over the trial; absent when the port has none or was reset during it.
    pub port: Option<PortCounters>,
    /// The worker lcores.
    pub lcores: Vec<u32>,
}

impl FrameReport {
    /// A report without counts.
    pub fn new(role: Part) -> Self {
        Self { role, transmit: None, receive: None, port: None, lcores: Vec::new() }
    }
}

/// An agent's part in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// It sent.
    Tx,
    /// It counted.
    Rx,
    /// It sent and counted.
    Exchange,
    /// It sent back.
    Reflect,
}

/// Largest tolerated share by which the offered load may differ from the intended load.
pub const LOAD_TOLERANCE: f64 = 0.001;

/// True when the offered load differs from the intended one by more than [`LOAD_TOLERANCE`] and by more than
/// `slack_packets`, because each worker of a trial sends whole packets only. Loads in packets per second;
/// always false without an intended load.
pub fn missed_intended(
    intended_pps: Option<f64>,
    offered_pps: f64,
    duration_s: f64,
    slack_packets: u64,
) -> bool {
    // Rounding must not turn a difference of exactly the slack into a miss.
    const ROUNDING: f64 = 1e-6;
    intended_pps.is_some_and(|intended| {
        let off = (offered_pps - intended).abs();
        off > LOAD_TOLERANCE * intended && off * duration_s > slack_packets.max(1) as f64 + ROUNDING
    })
}

/// The port explains missing load if it held back packets for at least this share of the missing time: after
/// a stall the generator catches up only partly.
const EXPLAINING_SHARE: f64 = 0.5;

/// True when a port that held packets back for `blocked_share` of the time explains that `missing_share` of the
/// intended load was not offered.
pub fn blocking_explains(blocked_share: f64, missing_share: f64) -> bool {
    blocked_share > 0.0 && blocked_share >= missing_share * EXPLAINING_SHARE
}

/// Why a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Its duration had passed.
    Duration,
    /// Its packets were sent, or all that were expected had arrived.
    Packets,
    /// No frame arrived any more.
    Settled,
    /// Frames still arrived when the drain's time was over.
    Expired,
    /// It was told to.
    Stopped,
    /// The controller had been gone for longer than the orphan time.
    Orphaned,
}

/// The transmitting side of a trial.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TransmitReport {
    /// Totals over all lcores.
    pub counters: TransmitCounters,
    /// Intended load in packets per second; absent for `max`.
    pub intended_pps: Option<f64>,
    /// Offered load: packets that the port accepted per second of sending.
    pub offered_pps: f64,
    /// Seconds of sending.
    pub duration_s: f64,
    /// Packets due under the intended load but never built: intended = sent + unsent + forgone. 0 for `max`.
    pub forgone_packets: u64,
    /// Seconds during which packets waited for the port or for a free buffer, averaged over the TX lcores.
    #[serde(default)]
    pub blocked_s: f64,
    /// Packets built but not accepted by the port when the trial ended; not among the packets sent.
    pub unsent_packets: u64,
    /// Packets sent per TX lcore, in the order of [`FrameReport::lcores`].
    #[serde(default)]
    pub packets_per_lcore: Vec<u64>,
    /// Idle share of each TX lcore's time, 0…1; 0 for `max`.
    #[serde(default)]
    pub headroom: Vec<f64>,
    /// Times between consecutive packets as each lcore handed them to its queue, in nanoseconds.
    #[serde(default)]
    pub inter_departure: Option<Distribution>,
    /// Burst size of the profile in packets; 0 in older reports means 1.
    #[serde(default)]
    pub burst: u32,
}

impl TransmitReport {
    /// Packets by which the load may differ from the intended one without a miss: each worker sends whole
    /// bursts.
    pub fn slack_packets(&self) -> u64 {
        (self.packets_per_lcore.len().max(1) as u64).saturating_mul(u64::from(self.burst.max(1)))
    }

    /// True when the offered load missed the intended one.
    pub fn missed_intended(&self) -> bool {
        missed_intended(self.intended_pps, self.offered_pps, self.duration_s, self.slack_packets())
    }

    /// Share of the time, 0…1, in which packets waited for the port.
    pub fn blocked_share(&self) -> f64 {
        if self.duration_s > 0.0 { self.blocked_s / self.duration_s } else { 0.0 }
    }

    /// Packets sent of flow `flow` of `flows`; see [`sent_of_flow`].
    pub fn sent_of_flow(&self, flow: u32, flows: u32) -> Option<u64> {
        sent_of_flow(&self.packets_per_lcore, flow, flows)
    }
}

/// Packets sent of flow `flow` of `flows` by lcores that sent `packets_per_lcore`; `None` when the counts per
/// lcore are unknown.
///
/// Lcore *i* modulo the number of lcores sends flow *i*, and each lcore sends its flows in rotation.
pub fn sent_of_flow(packets_per_lcore: &[u64], flow: u32, flows: u32) -> Option<u64> {
    let lcores = u32::try_from(packets_per_lcore.len()).ok().filter(|lcores| *lcores > 0)?;
    let packets = *packets_per_lcore.get((flow % lcores) as usize)?;
    let of_lcore = u64::from(flows.saturating_sub(flow % lcores).div_ceil(lcores)).max(1);
    Some(packets / of_lcore + u64::from(packets % of_lcore > u64::from(flow / lcores)))
}

/// The receiving side of a trial.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReceiveReport {
    /// Totals over all lcores.
    pub counters: ReceiveCounters,
    /// Gaps in the flows' sequence numbers: packets missing before the last one received of each flow.
    /// Packets lost at the end of a flow appear only in the difference between sent and received packets.
    pub sequence_gaps: u64,
    /// Of a receiver that learns the flows from what arrives: packets of these flows that were sent before the
    /// first that arrived of their flow, and did not arrive later. An upper bound where packets arrived late: the sum of
    /// this and the [gaps](Self::sequence_gaps) is exact. The receiver may have begun late, or they were lost; they
    /// are in no other count. Absent from other receivers, and when no packet was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_first: Option<u64>,
    /// Frames too late to distinguish a first copy from a duplicate; they count as out of order.
    pub beyond_window: u64,
    /// One-way delay in nanoseconds; absent when no packet was received.
    pub latency: Option<Latency>,
    /// Received probes per RX lcore, in the order of [`FrameReport::lcores`].
    pub packets_per_lcore: Vec<u64>,
    /// Frames per receive queue.
    #[serde(default)]
    pub frames_per_queue: Vec<u64>,
    /// Share of the time in which each RX lcore's polls returned no frame, 0…1.
    #[serde(default)]
    pub headroom: Vec<f64>,
    /// Frames that are not Linerate's, by kind.
    #[serde(default)]
    pub foreign: ForeignFrames,
    /// Reordering; absent when nothing was reordered.
    #[serde(default)]
    pub reordering: Option<Reordering>,
    /// Flows with sent but no received packets; 0 on a receiver that does not know the number of flows. On a
    /// receiver that does not know the packets sent, all flows count as sent.
    #[serde(default)]
    pub silent_flows: u32,
    /// The flows with the worst results, worst first; see [`crate::worst_flows`].
    #[serde(default)]
    pub worst_flows: Vec<FlowReport>,
    /// When packets were lost; absent when none was, and in older reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossTimeline>,
}

/// Frames that are not Linerate's, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ForeignFrames {
    /// Address resolution (ARP).
    pub arp: u64,
    /// ICMP over IPv4.
    pub icmp: u64,
    /// IPv6, ICMPv6 included.
    pub ipv6: u64,
    /// With a VLAN tag.
    pub vlan: u64,
    /// Anything else.
    pub other: u64,
}

impl std::ops::AddAssign for ForeignFrames {
    fn add_assign(&mut self, Self { arp, icmp, ipv6, vlan, other }: Self) {
        self.arp = self.arp.saturating_add(arp);
        self.icmp = self.icmp.saturating_add(icmp);
        self.ipv6 = self.ipv6.saturating_add(ipv6);
        self.vlan = self.vlan.saturating_add(vlan);
        self.other = self.other.saturating_add(other);
    }
}

/// Reordering as RFC 4737 has it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reordering {
    /// Reordered packets: their number was below the next one expected (section 3.3).
    pub packets: u64,
    /// Of those, packets whose extent is known.
    pub extents: u64,
    /// Mean extent in packets: how many arrived since the first one with a higher number (section 4.2).
    pub extent_mean: f64,
    /// Largest extent in packets.
    pub extent_max: u32,
}

/// One flow as its receiver saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct FlowReport {
    /// Index of the flow in its profile.
    pub flow: u32,
    /// Packets sent; absent when the receiver did not get them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// First copies received.
    pub received: u64,
    /// Packets sent and not received. Where `sent` is absent: packets missing before the last one received.
    pub lost: u64,
    /// Further copies received.
    pub duplicates: u64,
    /// Reordered packets (RFC 4737).
    pub reordered: u64,
    /// Largest extent of a reordered packet.
    pub largest_extent: u32,
    /// One-way delay; absent when nothing was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ns: Option<FlowDelay>,
}

/// A flow in compact form: received, lost, duplicates, reordered, largest extent, and least, mean and largest
/// delay in nanoseconds.
pub type FlowRow = [u64; 8];

impl From<&FlowReport> for FlowRow {
    fn from(flow: &FlowReport) -> Self {
        let FlowDelay { min, mean, max } = flow.delay_ns.unwrap_or_default();
        let FlowReport { received, lost, duplicates, reordered, largest_extent, .. } = *flow;
        [received, lost, duplicates, reordered, largest_extent.into(), min, mean, max]
    }
}

impl FlowReport {
    /// The same flow with `sent` packets sent; unchanged when `sent` is unknown.
    #[must_use]
    pub fn of_sent(self, sent: Option<u64>) -> Self {
        let lost = sent.map_or(self.lost, |sent| sent.saturating_sub(self.received));
        Self { sent: sent.or(self.sent), lost, ..self }
    }

    /// The flow that a row describes.
    pub fn from_row(flow: u32, row: &FlowRow) -> Self {
        let [received, lost, duplicates, reordered, extent, min, mean, max] = *row;
        Self {
            flow,
            sent: None,
            received,
            lost,
            duplicates,
            reordered,
            largest_extent: u32::try_from(extent).unwrap_or(u32::MAX),
            delay_ns: (received > 0).then_some(FlowDelay { min, mean, max }),
        }
    }
}

/// Delay of a flow, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct FlowDelay {
    /// Smallest.
    pub min: u64,
    /// Arithmetic mean.
    pub mean: u64,
    /// Largest.
    pub max: u64,
}

/// Distribution of one-way delays, in nanoseconds.
///
/// Valid when sender and receiver read the same clock; the controller decides whether they do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Summary of the distribution.
    pub summary: LatencySummary,
    /// Packet delay variation (RFC 5481, section 4.2): each delay minus the smallest one.
    #[serde(default)]
    pub variation: LatencySummary,
    /// Packets with a receive time before their send time; they count as zero delay.
    pub negative: u64,
    /// Histogram: upper bound of a bucket in nanoseconds, and packets in it. Empty buckets are omitted.
    pub histogram: Vec<(u64, u64)>,
}

/// A distribution of times, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Distribution {
    /// Summary of the distribution.
    pub summary: LatencySummary,
    /// Histogram: upper bound of a bucket in nanoseconds, and times in it. Empty buckets are omitted.
    pub histogram: Vec<(u64, u64)>,
}

/// Figures of a distribution of times, in nanoseconds. Percentiles are upper bounds of histogram buckets, at most 1 % wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LatencySummary {
    /// Smallest.
    pub min: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Largest.
    pub max: u64,
    /// Arithmetic mean.
    pub mean: u64,
}
