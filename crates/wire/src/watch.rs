//! The view of a node as the work of an agent in the node's network namespace: it moves no traffic and reports what
//! pods cannot see, the queues of the node's devices and how their packets reach CPUs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host_report::InterfaceReport;

/// Work of an agent that watches its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchWork {}

/// An agent that watches has no measures of its own; the host's are beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WatchMeasures {}

/// What an agent saw of its node's devices, from the start of the trial to its end.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WatchReport {
    /// Interfaces that are up, and that have a device behind them or an address; those with most packets first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<WatchedInterface>,
    /// Number of further ones.
    #[serde(default)]
    pub interfaces_left_out: u32,
    /// Why interfaces are not known, or not all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_known: Option<String>,
}

/// An interface, and how its packets reach CPUs. Absent: not known, with the reason in `not_known`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WatchedInterface {
    /// Its name.
    pub interface: String,
    /// Its driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Speed of the link in Mbit/s, as the driver says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mbps: Option<u32>,
    /// What the kernel counts of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<InterfaceReport>,
    /// Receive queues to which RSS distributes packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_queues: Option<Vec<u32>>,
    /// Flows of the whole host that RFS follows; 0: RFS is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rps_sock_flow_entries: Option<u64>,
    /// The queues.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<WatchedQueue>,
    /// Packets that the whole device lost, by the driver's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub device_losses: BTreeMap<String, u64>,
    /// Seconds over which its counters are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_s: Option<f64>,
    /// Reasons of what is absent, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_known: BTreeMap<String, String>,
}

/// A queue of an interface. Absent: not known, or not there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WatchedQueue {
    /// `rx` or `tx`.
    pub direction: String,
    /// Its number.
    pub queue: u32,
    /// Packets that it moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// Packets that it dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drops: Option<u64>,
    /// Times that its ring was full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<u64>,
    /// Its interrupt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irq: Option<u32>,
    /// The CPU that handles the interrupt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irq_cpus: Option<String>,
    /// CPUs that process what it received (RPS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rps_cpus: Option<String>,
    /// Flows that RFS follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rfs_flows: Option<u64>,
    /// CPUs that send on it (XPS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xps_cpus: Option<String>,
}
