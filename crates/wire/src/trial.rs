//! What the controller asks of an agent for one trial.

use serde::{Deserialize, Serialize};

use linerate_traffic::limit::Limit;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::Profile;

/// One agent's part in a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialSpec {
    /// The controller's name for the trial: repeated in samples and in the report.
    pub trial: u32,
    /// Written into every probe; frames with another tag are counted as stale.
    pub tag: u16,
    /// What to do.
    pub role: RoleSpec,
    /// Time between samples, in milliseconds: 10…3,600,000.
    pub sample_interval_ms: u32,
    /// A transmitter whose controller has been silent for this long stops, in milliseconds: 100…3,600,000.
    pub orphan_ms: u32,
}

/// What to do in a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleSpec {
    /// Send.
    Transmit(Box<TransmitSpec>),
    /// Count.
    Receive(ReceiveSpec),
    /// Send, and count what comes: the peer's packets, or one's own on their way back.
    Exchange(Box<TransmitSpec>, ReceiveSpec),
    /// Send back what comes. The agent must have been started for it.
    Reflect,
}

/// Which end of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Transmitter.
    Tx,
    /// Receiver.
    Rx,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Tx => "tx",
            Role::Rx => "rx",
        })
    }
}

/// What to send, to whom, for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransmitSpec {
    /// Traffic and intended load.
    pub profile: Profile,
    /// Destination address of every frame.
    pub peer_mac: MacAddr,
    /// When to end; both may be given, the first to come counts. `None` in both: until stopped.
    pub limit: Limit,
}

/// What to expect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiveSpec {
    /// Flow ids are below this; the flow table is allocated for them.
    pub flows: u32,
    /// Whether the report of every flow will be asked for, not only of those that fared worst.
    #[serde(default)]
    pub all_flows: bool,
}

/// How a receiver ends: it counts until everything that was sent has arrived, or until nothing more arrives.
///
/// The times that the user sets are lower bounds. They grow with the delay of the path and with the time between packets, so that packets
/// in flight do not count as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Packets that the transmitter sent.
    pub expected_packets: u64,
    /// Shortest rest after the last arrival that ends an incomplete drain, in milliseconds.
    pub settle_ms: u32,
    /// Shortest time limit of the drain, in milliseconds.
    pub limit_ms: u32,
    /// Largest delay of the path as far as it is known, in nanoseconds; 0 when unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub path_delay_ns: u64,
    /// Largest delay less smallest delay of the path, in nanoseconds; 0 when unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub path_variation_ns: u64,
    /// Mean time between packets, or between bursts, as they were sent, in nanoseconds; 0 when unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gap_ns: u64,
}

/// Shortest wait for duplicates after the last expected packet, in nanoseconds.
const SHORTEST_TAIL_NS: u64 = 5_000_000;

impl Drain {
    /// The rest after the last arrival that ends an incomplete drain, in nanoseconds: `settle_ms`, or twice the path's largest delay, or three
    /// times the time between packets, whichever is longest.
    pub fn settle_ns(&self) -> u64 {
        nanoseconds(self.settle_ms)
            .max(self.path_delay_ns.saturating_mul(2))
            .max(self.gap_ns.saturating_mul(3))
    }

    /// Time limit of the whole drain in nanoseconds: `limit_ms`, or twice [`Self::settle_ns`] where that is longer.
    pub fn limit_ns(&self) -> u64 {
        nanoseconds(self.limit_ms).max(self.settle_ns().saturating_mul(2))
    }

    /// The rest after the last expected packet, in nanoseconds, so that its duplicates are counted: twice the variation of the path's delay,
    /// 5 ms at least, and no longer than [`Self::settle_ns`].
    pub fn tail_ns(&self) -> u64 {
        self.path_variation_ns.saturating_mul(2).max(SHORTEST_TAIL_NS).min(self.settle_ns())
    }
}

fn nanoseconds(ms: u32) -> u64 {
    u64::from(ms) * 1_000_000
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_follows_the_path_and_the_rate() {
        const MS: u64 = 1_000_000;
        let plain = Drain { expected_packets: 1, settle_ms: 100, limit_ms: 5_000, ..Drain::default() };
        for (drain, settle, limit, tail) in [
            (plain, 100, 5_000, 5),
            (Drain { path_delay_ns: 40 * MS, path_variation_ns: MS, ..plain }, 100, 5_000, 5),
            (Drain { path_delay_ns: 600 * MS, path_variation_ns: 30 * MS, ..plain }, 1_200, 5_000, 60),
            (Drain { path_delay_ns: 4_000 * MS, ..plain }, 8_000, 16_000, 5),
            (Drain { gap_ns: 1_000 * MS, ..plain }, 3_000, 6_000, 5),
            (Drain { settle_ms: 2, ..plain }, 2, 5_000, 2),
        ] {
            let times = [drain.settle_ns() / MS, drain.limit_ns() / MS, drain.tail_ns() / MS];
            assert_eq!(times, [settle, limit, tail], "{drain:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_not_sent() {
        let drain = Drain { expected_packets: 1, settle_ms: 2, limit_ms: 3, ..Drain::default() };
        let text = r#"{"expected_packets":1,"settle_ms":2,"limit_ms":3}"#;
        assert_eq!(serde_json::to_string(&drain).unwrap(), text);
        assert_eq!(serde_json::from_str::<Drain>(text).unwrap(), drain);
    }
}
