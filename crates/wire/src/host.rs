//! The machine that an agent runs on, with the details that RFC 8204 and the BMWG's considerations for
//! containerized infrastructures ask to record.

use serde::{Deserialize, Serialize};

/// A machine, as its kernel describes it. Null: the kernel does not report the value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostInfo {
    /// Host name; in a pod, the pod's name.
    pub hostname: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Kernel command line.
    pub kernel_command_line: Option<String>,
    /// Name of the operating system in the agent's file system (the container image's).
    pub os: Option<String>,
    /// Architecture, such as `x86_64`.
    pub architecture: String,
    /// Processor model.
    pub cpu_model: Option<String>,
    /// CPUs online, as the kernel lists them: `0-15`.
    pub cpus_online: Option<String>,
    /// CPUs that the agent may use.
    pub cpus_allowed: Option<String>,
    /// CPUs isolated from the kernel's scheduler; empty when there are none.
    pub cpus_isolated: Option<String>,
    /// True when simultaneous multithreading is active.
    pub smt: Option<bool>,
    /// NUMA nodes online, as the kernel lists them.
    pub numa_nodes: Option<String>,
    /// Frequency governor of the first CPU.
    pub governor: Option<String>,
    /// True on a virtual machine.
    pub virtual_machine: Option<bool>,
    /// Memory in KiB.
    pub memory_kib: Option<u64>,
    /// Hugepage pools, one per page size.
    pub hugepages: Vec<HugepagePool>,
}

/// Measures of an agent's machine at the instant of a sample, since the trial was armed. An unknown one is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostSample {
    /// CPU time of all threads of the agent's process, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_cpu_ns: Option<u64>,
    /// Throttling of the agent's control group by a CPU quota, in nanoseconds, summed over the group's CPUs;
    /// absent without a quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_ns: Option<u64>,
    /// What the kernel counted since the trial began; absent when it was not read for this sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelSample>,
}

/// Counts of an agent's kernel since its trial began. An unknown one is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KernelSample {
    /// CPU time that all CPUs of the node were in use, in steps of 10 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_busy_ms: Option<u64>,
    /// Of that, time of softirqs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_softirq_ms: Option<u64>,
    /// Time that the hypervisor gave to others, on all CPUs of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_steal_ms: Option<u64>,
    /// Interrupts of all kinds on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_interrupts: Option<u64>,
    /// Softirqs of all kinds on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_softirqs: Option<u64>,
    /// Softirqs of received packets on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_net_rx: Option<u64>,
    /// Softirqs of sent packets on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_net_tx: Option<u64>,
    /// Packets that full queues of the node's CPUs dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_softnet_dropped: Option<u64>,
    /// Times that a CPU's budget ended before its packets did, on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_softnet_squeezed: Option<u64>,
    /// Datagrams that full receive buffers of the namespace's sockets dropped, IPv4 and IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp_receive_buffer_errors: Option<u64>,
    /// Packets that the namespace's interfaces dropped, received and to be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_drops: Option<u64>,
}

/// Hugepages of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugepagePool {
    /// Size of a page in KiB.
    pub size_kib: u64,
    /// Pages reserved.
    pub total: u64,
    /// Pages free.
    pub free: u64,
}
