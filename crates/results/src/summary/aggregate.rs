//! All pairs of a trial together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TrialSummary;
use crate::store::inner_path;

/// All pairs of a trial together, in an experiment of several. `sent_packets = received_packets + lost_packets`, always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Aggregate {
    /// Name of the profile.
    #[serde(deserialize_with = "inner_path::name")]
    pub profile: String,
    /// Which time the profile was run.
    pub repeat: u32,
    /// Results that were added up: one for each pair and way.
    pub results: usize,
    /// Intended load in packets per second; null for as fast as possible.
    pub intended_pps: Option<f64>,
    /// Offered load, in packets per second.
    pub offered_pps: f64,
    /// Packets received per second of sending.
    pub received_pps: f64,
    /// Packets that the transmitting ports accepted.
    pub sent_packets: u64,
    /// Of those, packets that arrived.
    pub received_packets: u64,
    /// Packets that did not arrive.
    pub lost_packets: u64,
    /// Time between the first and the last start of the pairs; null when not all reported theirs.
    pub start: Option<StartSpread>,
}

/// How far apart transmitters began to send.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StartSpread {
    /// Seconds from the first to the last.
    pub spread_s: f64,
    /// How far that may be off, in seconds: clocks on different hosts are compared over the agents' sessions. 0 on one host.
    pub uncertainty_s: f64,
}

impl Aggregate {
    /// Sum of the results of one trial; `None` when there are fewer than two.
    pub fn of(results: &[TrialSummary], start: Option<StartSpread>) -> Option<Self> {
        let [first, _, ..] = results else { return None };
        let packets =
            |figure: fn(&TrialSummary) -> u64| results.iter().map(figure).fold(0, u64::saturating_add);
        let load = |figure: fn(&TrialSummary) -> f64| results.iter().map(figure).sum();
        Some(Self {
            profile: first.profile.clone(),
            repeat: first.repeat,
            results: results.len(),
            intended_pps: results.iter().map(|result| result.intended_pps).sum(),
            offered_pps: load(|result| result.offered_pps),
            received_pps: load(|result| result.received_pps),
            sent_packets: packets(|result| result.sent_packets),
            received_packets: packets(|result| result.received_packets),
            lost_packets: packets(|result| result.lost_packets),
            start,
        })
    }
}
