//! Settings of every agent, on any platform.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ranged::Ranged;

/// Worker lcores of an agent.
pub type Workers = Ranged<1, 64>;
/// Descriptors of a queue.
pub type Descriptors = Ranged<64, 16_384>;

/// Settings of every agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AgentsSection {
    /// Worker lcores per agent.
    pub workers: WorkersSection,
    /// Descriptors per transmit queue.
    pub txd: Descriptors,
    /// Descriptors per receive queue.
    pub rxd: Descriptors,
    /// Packet memory per agent, in megabytes: EAL's socket memory.
    pub memory_mb: Ranged<64, 1_048_576>,
    /// Largest payload of a frame in bytes, on ports that can have more than 1500.
    pub mtu: Ranged<68, 9600>,
}

impl Default for AgentsSection {
    fn default() -> Self {
        Self {
            workers: WorkersSection::default(),
            txd: Ranged::of::<1024>(),
            rxd: Ranged::of::<1024>(),
            memory_mb: Ranged::of::<256>(),
            mtu: Ranged::of::<1500>(),
        }
    }
}

/// Worker lcores per agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkersSection {
    /// Of a transmitter.
    pub tx: Workers,
    /// Of a receiver.
    pub rx: Workers,
}

impl Default for WorkersSection {
    fn default() -> Self {
        Self { tx: Ranged::of::<1>(), rx: Ranged::of::<1>() }
    }
}
