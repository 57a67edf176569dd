//! The machine that an agent runs on: what RFC 8204 and the containerized-infrastructure considerations of the BMWG want recorded.

use serde::{Deserialize, Serialize};

/// A machine, as its kernel describes it. Null stands for what the kernel does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostInfo {
    /// Its name; in a pod, the pod's.
    pub hostname: Option<String>,
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// The kernel's command line.
    pub kernel_command_line: Option<String>,
    /// Name of the operating system that the agent's files are from.
    pub os: Option<String>,
    /// Architecture, such as `x86_64`.
    pub architecture: String,
    /// The processor's name.
    pub cpu_model: Option<String>,
    /// Processors online, as the kernel lists them: `0-15`.
    pub cpus_online: Option<String>,
    /// Processors that the agent may use.
    pub cpus_allowed: Option<String>,
    /// Processors that the kernel keeps other tasks off; empty when there are none.
    pub cpus_isolated: Option<String>,
    /// True when cores have several threads in use.
    pub smt: Option<bool>,
    /// NUMA nodes online, as the kernel lists them.
    pub numa_nodes: Option<String>,
    /// Frequency governor of the first processor.
    pub governor: Option<String>,
    /// True when the machine is a virtual one.
    pub virtual_machine: Option<bool>,
    /// Memory in KiB.
    pub memory_kib: Option<u64>,
    /// Hugepages, by size.
    pub hugepages: Vec<HugepagePool>,
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
