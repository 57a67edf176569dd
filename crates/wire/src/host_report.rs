//! What a kernel counted beside a trial, as its agent read it: from the start of the trial to its end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The host of an agent during a trial.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HostReport {
    /// Seconds between the first and the last reading.
    pub elapsed_s: f64,
    /// The whole node, also when the agent runs in a container.
    pub node: NodeReport,
    /// The agent's network namespace: in a pod, the pod's.
    pub namespace: NamespaceReport,
    /// Why something is absent, by what it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_known: BTreeMap<String, String>,
    /// CPU time of the readings, in seconds.
    pub cost_s: f64,
}

/// Counts of a node. Absent: not known.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NodeReport {
    /// The CPUs that were online from start to end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<CpuReport>,
    /// Interrupts of all kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupts: Option<u64>,
    /// Softirqs of received packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_rx: Option<u64>,
    /// Softirqs of sent packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_tx: Option<u64>,
    /// Packets that CPUs took from their queues of received packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softnet_processed: Option<u64>,
    /// Packets that a full queue of a CPU dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softnet_dropped: Option<u64>,
    /// Times that a CPU's budget ended before its packets did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softnet_squeezed: Option<u64>,
    /// Interrupts by their number, those that came most often; absent in older reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub irqs: Vec<IrqReport>,
    /// Seconds over which they are counted: from before the trial to after its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irqs_elapsed_s: Option<f64>,
}

/// An interrupt of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IrqReport {
    /// Its number.
    pub irq: u32,
    /// Who handles it, such as `eth0-TxRx-3`; empty when the kernel does not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// On all CPUs.
    pub total: u64,
    /// Of those, on each CPU that had one; empty where only the total is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<CpuInterrupts>,
}

/// Interrupts of one number on a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuInterrupts {
    /// The CPU's number.
    pub cpu: u32,
    /// How many.
    pub count: u64,
}

/// A CPU of a node: shares of its time, 0…1, which the kernel counts in steps of 10 ms; absent when no step has
/// passed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CpuReport {
    /// Number of the CPU.
    pub cpu: u32,
    /// All but idle, waiting for disks, and stolen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<f64>,
    /// Softirqs, where packets are received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softirq: Option<f64>,
    /// Interrupts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irq: Option<f64>,
    /// Time that the hypervisor gave to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal: Option<f64>,
    /// Softirqs of received packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_rx: Option<u64>,
    /// Softirqs of sent packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_tx: Option<u64>,
    /// Packets that its full queue dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softnet_dropped: Option<u64>,
    /// Times that its budget ended before its packets did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softnet_squeezed: Option<u64>,
}

/// Counts of a network namespace.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NamespaceReport {
    /// Interfaces on which packets moved or were dropped: those with most drops and errors first, then those with
    /// most packets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceReport>,
    /// Number of further ones.
    #[serde(default)]
    pub interfaces_left_out: u32,
    /// Packets that all interfaces dropped, received and to be sent. Absent: not known, or an older record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_drops: Option<u64>,
    /// Counters of IP, UDP and TCP, by nstat's names, such as `UdpRcvbufErrors`. Absent: not known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub protocols: BTreeMap<String, u64>,
}

/// Counts of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InterfaceReport {
    /// Its name.
    pub interface: String,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets that arrived and were dropped, also for want of room in the device.
    pub rx_dropped: u64,
    /// Packets received with an error.
    pub rx_errors: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets dropped before they were sent.
    pub tx_dropped: u64,
    /// Packets not sent for an error.
    pub tx_errors: u64,
}
