//! The host of an agent during a trial, in short: which CPU worked most, and where the kernel dropped packets.

use linerate_wire::host_report::{CpuReport, HostReport};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A host from the start of a trial to its end. Null: not known. The trial's file has every CPU and interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostSummary {
    /// Seconds between the first and the last reading.
    pub elapsed_s: f64,
    /// The CPU of the node that was in use most.
    pub node_busiest_cpu: Option<BusiestCpu>,
    /// Share of the time of all CPUs of the node that was in use, 0…1.
    pub node_busy_share: Option<f64>,
    /// Share in softirqs, where packets are received.
    pub node_softirq_share: Option<f64>,
    /// Share that the hypervisor gave to others.
    pub node_steal_share: Option<f64>,
    /// Softirqs of received packets on the node.
    pub node_net_rx: Option<u64>,
    /// Softirqs of sent packets on the node.
    pub node_net_tx: Option<u64>,
    /// Packets that full queues of the node's CPUs dropped.
    pub node_softnet_dropped: Option<u64>,
    /// Times that a CPU's budget ended before its packets did, on the node.
    pub node_softnet_squeezed: Option<u64>,
    /// Datagrams that full receive buffers of sockets dropped, in the agent's network namespace.
    pub udp_receive_buffer_errors: Option<u64>,
    /// Packets that interfaces dropped, received and to be sent, in the agent's network namespace.
    pub interface_drops: Option<u64>,
    /// CPU time that reading took, as a share of one CPU.
    pub cost_share: Option<f64>,
}

/// The CPU of a node that was in use most: shares of its time, 0…1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BusiestCpu {
    /// Its number.
    pub cpu: u32,
    /// All but idle, waiting for disks, and stolen.
    pub busy: f64,
    /// Softirqs; null when not known.
    pub softirq: Option<f64>,
    /// Softirqs of received packets; null when not known.
    pub net_rx: Option<u64>,
}

impl From<&HostReport> for HostSummary {
    fn from(report: &HostReport) -> Self {
        let HostReport { elapsed_s, node, namespace, not_known, cost_s } = report;
        let busy = node.cpus.iter().filter_map(|cpu| Some((cpu, cpu.busy?)));
        let busiest = busy.max_by(|(_, a), (_, b)| a.total_cmp(b));
        let protocol = |name: &str| namespace.protocols.get(name).copied();
        // `interfaces`, and `interface NAME` of one whose counters were set back.
        let knows_drops = !not_known.keys().any(|what| what.starts_with("interface"));
        // Older records have the sum of the listed interfaces only.
        let interfaces = namespace.interfaces.iter();
        let listed = interfaces.map(|interface| interface.rx_dropped.saturating_add(interface.tx_dropped));
        // An agent may report any number.
        let drops = || namespace.interface_drops.unwrap_or_else(|| listed.fold(0, u64::saturating_add));
        let knows_ipv6 = !not_known.contains_key("snmp6");
        Self {
            elapsed_s: *elapsed_s,
            node_busiest_cpu: busiest.map(|(cpu, busy)| BusiestCpu {
                cpu: cpu.cpu,
                busy,
                softirq: cpu.softirq,
                net_rx: cpu.net_rx,
            }),
            node_busy_share: mean(&node.cpus, |cpu| cpu.busy),
            node_softirq_share: mean(&node.cpus, |cpu| cpu.softirq),
            node_steal_share: mean(&node.cpus, |cpu| cpu.steal),
            node_net_rx: node.net_rx,
            node_net_tx: node.net_tx,
            node_softnet_dropped: node.softnet_dropped,
            node_softnet_squeezed: node.softnet_squeezed,
            // Kernels without IPv6 have one counter only.
            udp_receive_buffer_errors: protocol("UdpRcvbufErrors")
                .filter(|_| knows_ipv6)
                .map(|errors| errors.saturating_add(protocol("Udp6RcvbufErrors").unwrap_or(0))),
            interface_drops: knows_drops.then(drops),
            cost_share: (*elapsed_s > 0.0).then(|| cost_s / elapsed_s),
        }
    }
}

/// Mean over the CPUs; `None` when one is not known.
fn mean(cpus: &[CpuReport], share: impl Fn(&CpuReport) -> Option<f64>) -> Option<f64> {
    let shares: Vec<f64> = cpus.iter().map(share).collect::<Option<_>>()?;
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

#[cfg(test)]
mod tests {
    use linerate_wire::host_report::{InterfaceReport, NamespaceReport, NodeReport};

    use super::*;

    fn cpu(cpu: u32, busy: Option<f64>) -> CpuReport {
        CpuReport { cpu, busy, softirq: Some(0.1), ..CpuReport::default() }
    }

    #[test]
    fn the_busiest_cpu_and_the_drops_are_found() {
        let interface =
            |drops| InterfaceReport { rx_dropped: drops, tx_dropped: 1, ..InterfaceReport::default() };
        let mut report = HostReport {
            elapsed_s: 2.0,
            node: NodeReport { cpus: vec![cpu(0, Some(0.5)), cpu(3, Some(0.9))], ..NodeReport::default() },
            namespace: NamespaceReport {
                interfaces: vec![interface(4), interface(0)],
                protocols: [("UdpRcvbufErrors".into(), 5), ("Udp6RcvbufErrors".into(), 2)].into(),
                ..NamespaceReport::default()
            },
            cost_s: 0.001,
            ..HostReport::default()
        };
        let summary = HostSummary::from(&report);
        assert_eq!(summary.node_busiest_cpu.map(|cpu| (cpu.cpu, cpu.busy)), Some((3, 0.9)));
        assert_eq!(summary.node_busy_share, Some(0.7));
        assert_eq!((summary.udp_receive_buffer_errors, summary.interface_drops), (Some(7), Some(6)));
        assert_eq!((summary.cost_share, summary.node_net_rx), (Some(0.0005), None));

        report.namespace.interfaces.push(interface(u64::MAX));
        report.namespace.protocols.insert("Udp6RcvbufErrors".into(), u64::MAX);
        let summary = HostSummary::from(&report);
        assert_eq!(
            (summary.udp_receive_buffer_errors, summary.interface_drops),
            (Some(u64::MAX), Some(u64::MAX))
        );

        report.namespace.interface_drops = Some(100);
        assert_eq!(
            HostSummary::from(&report).interface_drops,
            Some(100),
            "of those that are not listed, too"
        );
        report.namespace.interface_drops = None;
        report.not_known.insert("interface eth1".into(), "made again".into());
        assert_eq!(HostSummary::from(&report).interface_drops, None);
        report.not_known.insert("snmp6".into(), "masked".into());
        assert_eq!(HostSummary::from(&report).udp_receive_buffer_errors, None, "that of IPv6 is not known");

        report.node.cpus.push(cpu(4, None));
        report.not_known.insert("interfaces".into(), "masked".into());
        report.namespace.protocols.clear();
        let summary = HostSummary::from(&report);
        assert_eq!((summary.node_busy_share, summary.interface_drops), (None, None));
        assert_eq!(summary.udp_receive_buffer_errors, None);
        assert_eq!(summary.node_busiest_cpu.map(|cpu| cpu.cpu), Some(3), "of those that are known");
    }
}
