//! The host as a whole: CPUs, softirqs, softnet, interfaces and protocols.

use std::path::Path;

use crate::cost::Cost;
use crate::procfs::interfaces::Interfaces;
use crate::procfs::protocols::{Netstat, Snmp, Snmp6};
use crate::procfs::softirqs::Softirqs;
use crate::procfs::softnet::Softnet;
use crate::procfs::stat::Stat;
use crate::source::Source;

/// Readings of a host. Descriptors stay open and memory is used again.
#[derive(Debug)]
pub struct Host {
    /// CPU times of the node.
    pub stat: Source<Stat>,
    /// Softirqs of the node.
    pub softirqs: Source<Softirqs>,
    /// Received packets' way through the node's CPUs.
    pub softnet: Source<Softnet>,
    /// Interfaces of the network namespace.
    pub interfaces: Source<Interfaces>,
    /// IP, UDP and TCP of the network namespace.
    pub snmp: Source<Snmp>,
    /// More of TCP.
    pub netstat: Source<Netstat>,
    /// IPv6.
    pub snmp6: Source<Snmp6>,
    buffer: Vec<u8>,
    cost: Cost,
}

impl Host {
    /// The host whose files are below `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            stat: Source::new(root),
            softirqs: Source::new(root),
            softnet: Source::new(root),
            interfaces: Source::new(root),
            snmp: Source::new(root),
            netstat: Source::new(root),
            snmp6: Source::new(root),
            buffer: Vec::new(),
            cost: Cost::default(),
        }
    }

    /// Reads what describes the node: CPU times, softirqs, softnet.
    pub fn read_node(&mut self) {
        let Self { stat, softirqs, softnet, buffer, cost, .. } = self;
        cost.of(|| {
            stat.read(buffer);
            softirqs.read(buffer);
            softnet.read(buffer);
        });
    }

    /// Reads what samples of a trial have: the node, interfaces, and the protocols without the long list of
    /// `/proc/net/netstat`.
    pub fn read_for_sample(&mut self) {
        self.read_node();
        let Self { interfaces, snmp, snmp6, buffer, cost, .. } = self;
        cost.of(|| {
            interfaces.read(buffer);
            snmp.read(buffer);
            snmp6.read(buffer);
        });
    }

    /// Reads what describes the network namespace: interfaces, UDP, TCP and IP.
    pub fn read_namespace(&mut self) {
        let Self { interfaces, snmp, netstat, snmp6, buffer, cost, .. } = self;
        cost.of(|| {
            interfaces.read(buffer);
            snmp.read(buffer);
            netstat.read(buffer);
            snmp6.read(buffer);
        });
    }

    /// Compares later readings of the node to the last ones.
    pub fn rebase_node(&mut self) {
        self.stat.rebase();
        self.softirqs.rebase();
        self.softnet.rebase();
    }

    /// Compares later readings of the namespace to the last ones.
    pub fn rebase_namespace(&mut self) {
        self.interfaces.rebase();
        self.snmp.rebase();
        self.netstat.rebase();
        self.snmp6.rebase();
    }

    /// Numbers of the CPUs online; empty where they are not known.
    pub fn online(&self) -> Vec<u32> {
        let stat = self.stat.series().last();
        stat.map(|stat| stat.cpus.iter().map(|(cpu, _)| *cpu).collect()).unwrap_or_default()
    }

    /// What the readings cost so far.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// The cost, for readings that the caller does beside.
    pub fn cost_mut(&mut self) -> &mut Cost {
        &mut self.cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_read() {
        let mut host = Host::new(Path::new("/"));
        host.read_node();
        host.read_namespace();
        host.rebase_node();
        host.rebase_namespace();
        std::thread::sleep(std::time::Duration::from_millis(30));
        host.read_node();
        host.read_namespace();
        let stat = host.stat.series().span().unwrap();
        assert!(stat.elapsed_s >= 0.03 && !stat.now.cpus.is_empty());
        assert!(stat.now.interrupts >= stat.then.interrupts);
        assert!(host.softirqs.series().span().is_ok() && host.softnet.series().span().is_ok());
        assert!(
            host.interfaces.series().last().unwrap().list.iter().any(|(name, _)| name.to_string() == "lo")
        );
        assert!(host.snmp.series().span().is_ok() && host.netstat.series().span().is_ok());
        assert_eq!(host.cost().readings, 4);
        assert!(host.cost().cpu_ns > 0);
    }
}
