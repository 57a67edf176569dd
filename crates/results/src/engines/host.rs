//! What the kernel of a node counted beside a trial. Pure.

use linerate_wire::host_report::{CpuReport, HostReport};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most CPUs that a summary lists.
const MOST_CPUS: usize = 16;

/// A node during a trial. Null: not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EngineHost {
    /// Seconds between the first and the last reading.
    pub elapsed_s: f64,
    /// Interrupts of all kinds.
    pub interrupts: Option<u64>,
    /// Softirqs of received packets.
    pub net_rx: Option<u64>,
    /// Softirqs of sent packets.
    pub net_tx: Option<u64>,
    /// Share of the time of all CPUs that was in use, 0…1.
    pub busy_share: Option<f64>,
    /// The CPUs that were in use most, at most 16, by their numbers; the trial's file has all.
    pub cpus: Vec<CpuUse>,
}

/// Use of a CPU: shares of its time, 0…1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CpuUse {
    /// Its number.
    pub cpu: u32,
    /// All but idle, waiting for disks, and stolen.
    pub busy: Option<f64>,
    /// Softirqs.
    pub softirq: Option<f64>,
}

impl EngineHost {
    /// The node that both agents run on, by the agent that looked longest; and CPU seconds of all CPUs in softirqs.
    pub(super) fn of(hosts: [Option<&HostReport>; 2]) -> Option<(Self, Option<f64>)> {
        let longest = hosts.into_iter().flatten().max_by(|a, b| a.elapsed_s.total_cmp(&b.elapsed_s))?;
        let node = &longest.node;
        let softirq_s = sum(&node.cpus, |cpu| cpu.softirq).map(|share| share * longest.elapsed_s);
        let mut cpus: Vec<CpuUse> = node
            .cpus
            .iter()
            .map(|cpu| CpuUse { cpu: cpu.cpu, busy: cpu.busy, softirq: cpu.softirq })
            .collect();
        let busy = |cpu: &CpuUse| cpu.busy.unwrap_or(-1.0);
        cpus.sort_by(|a, b| busy(b).total_cmp(&busy(a)));
        cpus.truncate(MOST_CPUS);
        cpus.sort_by_key(|cpu| cpu.cpu);
        let host = Self {
            elapsed_s: longest.elapsed_s,
            interrupts: node.interrupts,
            net_rx: node.net_rx,
            net_tx: node.net_tx,
            busy_share: sum(&node.cpus, |cpu| cpu.busy).map(|busy| busy / node.cpus.len() as f64),
            cpus,
        };
        Some((host, softirq_s))
    }
}

/// Sum of the shares of all CPUs; `None` when one is not known.
fn sum(cpus: &[CpuReport], of: fn(&CpuReport) -> Option<f64>) -> Option<f64> {
    let shares: Vec<f64> = cpus.iter().map(of).collect::<Option<_>>()?;
    (!shares.is_empty()).then(|| shares.iter().sum())
}
