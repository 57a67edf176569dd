//! What the controller asks of an agent for one trial.

use serde::{Deserialize, Serialize};

use crate::mac::MacAddr;
use crate::profile::Profile;

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

/// When a transmitter or a stand-alone receiver ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Milliseconds from the start.
    pub duration_ms: Option<u64>,
    /// Frames.
    pub packets: Option<u64>,
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

/// How a receiver ends: it goes on counting until what was sent has arrived or nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Frames that the transmitter sent; once that many have arrived, the drain is over.
    pub expected_packets: u64,
    /// The drain is over when no frame has arrived for this long, in milliseconds.
    pub settle_ms: u32,
    /// The drain is over after this long in any case, in milliseconds.
    pub limit_ms: u32,
}
