//! Events that `linerate run --json` prints during a run: one a line, before the summary.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use linerate_results::summary::{TrialFailure, TrialSummary};

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// Something begins that is no trial.
    Phase(Phase),
    /// How a trial goes on one pair.
    Sample(Box<Reading>),
    /// A trial has ended on one pair with a result: an entry of the summary's `trials`.
    Trial(Box<TrialSummary>),
    /// A trial could not be finished on one pair: an entry of the summary's `failures`.
    Failure(Box<TrialFailure>),
}

/// Something that is no trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// What begins.
    pub text: String,
}

/// How a trial goes on one pair, from the latest samples of both ends. Counters are cumulative over the trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    /// Which trial of the plan, from 1.
    pub number: usize,
    /// Trials of the plan.
    pub planned_trials: usize,
    /// Name of the profile.
    pub profile: String,
    /// Which time the profile is run.
    pub repeat: u32,
    /// Which pair.
    pub pair: String,
    /// Seconds since sending began, on the controller's clock.
    pub at_s: f64,
    /// False once the transmitter has sent all it will.
    pub sending: bool,
    /// Intended load at this moment in packets per second; null for as fast as possible.
    pub intended_pps: Option<f64>,
    /// Packets that the transmitting port accepted, per second since the transmitter's sample before; of its first sample, since sending
    /// began. Null once sending has ended, somewhere between two samples.
    pub offered_pps: Option<f64>,
    /// Packets received, per second between the receiver's last two samples; null likewise.
    pub received_pps: Option<f64>,
    /// Packets that the transmitting port accepted.
    pub sent_packets: u64,
    /// Of those, packets that arrived.
    pub received_packets: u64,
    /// Packets sent and not received. The two ends are not asked at the same instant, and what is on its way counts as well: only the
    /// trial's result says what was lost.
    pub lost_packets: u64,
    /// Frames per second of each receive queue between the receiver's last two samples, queue 0 first; empty when the rates are not known.
    pub rx_queue_pps: Vec<f64>,
    /// Mean one-way delay in nanoseconds of the packets received between the receiver's last two samples; null when there were none, the
    /// clocks cannot be compared, or the trial is a round trip.
    pub delay_mean_ns: Option<f64>,
    /// True when the trial is a round trip.
    pub round_trip: bool,
    /// Mean time of the way there and back in nanoseconds, likewise; null in trials that are no round trip.
    pub round_trip_mean_ns: Option<f64>,
    /// Bursts that the transmitting port did not accept whole at the first offer.
    pub queue_full: u64,
    /// Times the transmitter found no buffer free.
    pub tx_no_mbuf: u64,
    /// Frames that the receiving port dropped because its queue was full; null when the port does not say.
    pub rx_missed: Option<u64>,
    /// Receive buffers that could not be allocated; null when the port does not say.
    pub rx_nombuf: Option<u64>,
}
