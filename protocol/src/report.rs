//! What an agent reports of its part in a trial.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counters::{PortCounters, ReceiveCounters, TransmitCounters};
use crate::trial::Role;

/// One agent's account of a trial. Kept by the agent until acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialReport {
    /// The controller's name for the trial.
    pub trial: u32,
    /// Which end this is.
    pub role: Role,
    /// Why it ended.
    pub ended: Ended,
    /// Start on the agent's monotonic clock, in nanoseconds.
    pub started_ns: u64,
    /// End on the same clock.
    pub ended_ns: u64,
    /// Present on a transmitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit: Option<TransmitReport>,
    /// Present on a receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive: Option<ReceiveReport>,
    /// The port's own counters over the trial; absent when the port has none or was reset during it.
    pub port: Option<PortCounters>,
    /// Counters of Linerate and of the port that should agree and do not, each in one sentence.
    pub disagreements: Vec<String>,
    /// The lcores that worked.
    pub lcores: Vec<u32>,
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TransmitReport {
    /// Totals over all lcores.
    pub counters: TransmitCounters,
    /// Intended load in packets per second; absent for `max`.
    pub intended_pps: Option<f64>,
    /// Offered load: packets the port accepted, per second of sending.
    pub offered_pps: f64,
    /// Seconds of sending.
    pub duration_s: f64,
    /// Packets that the intended load called for and that were never built: intended = sent + unsent + forgone. 0 for `max`.
    pub forgone_packets: u64,
    /// Seconds during which packets waited for the port or no buffer was free, on average over the TX lcores.
    #[serde(default)]
    pub blocked_s: f64,
    /// Packets built but never accepted by the port when the trial ended; not part of the sent ones.
    pub unsent_packets: u64,
}

/// The receiving side of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiveReport {
    /// Totals over all lcores.
    pub counters: ReceiveCounters,
    /// Gaps in the flows' sequence numbers: packets missing before the last one received of each flow. Packets lost
    /// at a flow's end do not show here; the difference to what was sent does.
    pub sequence_gaps: u64,
    /// Frames so late that a first copy cannot be told from a further one; they are counted as out of order.
    pub beyond_window: u64,
    /// One-way delay in nanoseconds; absent when nothing was received.
    pub latency: Option<Latency>,
    /// Received probes per RX lcore, in the order of [`TrialReport::lcores`].
    pub packets_per_lcore: Vec<u64>,
}

/// Distribution of one-way delays, in nanoseconds.
///
/// Valid when sender and receiver read the same clock, which the controller decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The figures.
    pub summary: LatencySummary,
    /// Packets whose receive time lay before their send time; they count as zero delay.
    pub negative: u64,
    /// Histogram: upper bound of a bucket in nanoseconds, and packets in it. Empty buckets are left out.
    pub histogram: Vec<(u64, u64)>,
}

/// Figures of a delay distribution, in nanoseconds. Percentiles are upper bounds of histogram buckets, at most 1 % wide.
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
