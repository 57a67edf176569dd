//! CPUs: which share a core, a cache or a node, and which of them receive packets.

use std::fs;
use std::path::Path;

use linerate_hardware::CpuSet;
use linerate_observe::procfs::softirqs::{NET_RX, Softirqs};
use linerate_observe::procfs::{self, Content};
use serde::{Deserialize, Serialize};

use super::read::{line, text};

/// A CPU of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CpuView {
    pub(crate) cpu: u32,
    /// CPUs of the same core, itself among them; empty when unknown.
    pub(crate) core: Vec<u32>,
    /// CPUs that share its last cache; empty when unknown.
    pub(crate) cache: Vec<u32>,
    /// NUMA node; null when unknown.
    pub(crate) node: Option<u32>,
    /// Times that it received packets in a softirq (`NET_RX`) since the host was started; null when unknown.
    pub(crate) receive_softirqs: Option<u64>,
}

/// What a CPU shares with another one. The first that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Relation {
    /// It is the same CPU.
    Same,
    /// They share a core (SMT siblings).
    Core,
    /// They share the last cache.
    Cache,
    /// They are on one NUMA node.
    Node,
    /// They share none of these.
    Apart,
    /// The kernel does not tell.
    Unknown,
}

impl Relation {
    /// In words, after the name of a CPU.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Relation::Same => "is the CPU of the softirq",
            Relation::Core => "shares the core of the softirq",
            Relation::Cache => "shares the cache of the softirq",
            Relation::Node => "is on the NUMA node of the softirq, with another cache",
            Relation::Apart => "is on another NUMA node than the softirq",
            Relation::Unknown => "",
        }
    }
}

/// What two CPUs of a host share.
pub(crate) fn relation(cpus: &[CpuView], one: u32, other: u32) -> Relation {
    if one == other {
        return Relation::Same;
    }
    let Some(view) = cpus.iter().find(|view| view.cpu == one) else { return Relation::Unknown };
    let node = |cpu| cpus.iter().find(|view| view.cpu == cpu).and_then(|view| view.node);
    if view.core.contains(&other) {
        Relation::Core
    } else if view.cache.contains(&other) {
        Relation::Cache
    } else {
        match node(one).zip(node(other)) {
            Some((own, others)) if own == others => Relation::Node,
            Some(_) => Relation::Apart,
            None => Relation::Unknown,
        }
    }
}

/// The CPUs that are online, from `dir` (`/sys/devices/system/cpu`) and `/proc/softirqs`.
pub(super) fn read(dir: &Path) -> Vec<CpuView> {
    let softirqs = receive_softirqs(&text("/proc/softirqs").unwrap_or_default());
    let online = line(dir.join("online")).and_then(|list| list.parse::<CpuSet>().ok());
    let cpus: Vec<u32> = match online {
        Some(online) => online.iter().collect(),
        None => softirqs.iter().map(|(cpu, _)| *cpu).collect(),
    };
    cpus.into_iter().map(|cpu| view(&dir.join(format!("cpu{cpu}")), cpu, &softirqs)).collect()
}

fn view(dir: &Path, cpu: u32, softirqs: &[(u32, u64)]) -> CpuView {
    let list = |path: &Path| -> Vec<u32> {
        line(path)
            .and_then(|list| list.parse::<CpuSet>().ok())
            .map_or_else(Vec::new, |set| set.iter().collect())
    };
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    };
    let caches = dir.join("cache");
    let last = names(&caches)
        .into_iter()
        .filter(|name| name.starts_with("index"))
        .filter_map(|name| Some((line(caches.join(&name).join("level"))?.parse::<u32>().ok()?, name)))
        .max();
    let node = names(dir).into_iter().find_map(|name| name.strip_prefix("node")?.parse().ok());
    CpuView {
        cpu,
        core: list(&dir.join("topology/thread_siblings_list")),
        cache: last.map_or_else(Vec::new, |(_, name)| list(&caches.join(name).join("shared_cpu_list"))),
        node,
        receive_softirqs: softirqs.iter().find(|(known, _)| *known == cpu).map(|(_, count)| *count),
    }
}

/// The counts of `NET_RX`, with the CPU of each column.
fn receive_softirqs(text: &str) -> Vec<(u32, u64)> {
    let mut softirqs = Softirqs::default();
    if softirqs.parse(text.as_bytes(), None).is_err() {
        return Vec::new();
    }
    softirqs.cpus.iter().filter_map(|(cpu, counts)| Some((*cpu, counts[NET_RX]?))).collect()
}

/// Sums over all CPUs of `/proc/net/softnet_stat`, since the host was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Softnet {
    /// Packets dropped because a CPU's queue of received packets was full.
    pub(crate) dropped: u64,
    /// Times that a CPU had more packets to receive than its time allowed.
    pub(crate) squeezed: u64,
}

impl Softnet {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut softnet = procfs::softnet::Softnet::default();
        softnet.parse(text.as_bytes(), None).ok()?;
        let (_processed, dropped, squeezed) = softnet.totals();
        Some(Self { dropped, squeezed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cpus_share_is_the_nearest() {
        let cpu = |cpu, core: &[u32], cache: &[u32], node| CpuView {
            cpu,
            core: core.to_vec(),
            cache: cache.to_vec(),
            node,
            receive_softirqs: None,
        };
        let cpus = [
            cpu(0, &[0, 4], &[0, 1, 4, 5], Some(0)),
            cpu(1, &[1, 5], &[0, 1, 4, 5], Some(0)),
            cpu(2, &[2, 6], &[2, 3, 6, 7], Some(0)),
            cpu(8, &[8], &[8], Some(1)),
            cpu(9, &[], &[], None),
        ];
        for (other, shared) in [
            (0, Relation::Same),
            (4, Relation::Core),
            (1, Relation::Cache),
            (2, Relation::Node),
            (8, Relation::Apart),
            (9, Relation::Unknown),
        ] {
            assert_eq!(relation(&cpus, 0, other), shared, "{other}");
        }
        assert_eq!(relation(&cpus, 77, 0), Relation::Unknown);
    }

    #[test]
    fn columns_belong_to_the_cpus_of_the_first_line() {
        let text = "          CPU0       CPU2\n    TIMER:  1 2\n   NET_TX: 3 4\n   NET_RX:  5   6\n";
        assert_eq!(receive_softirqs(text), [(0, 5), (2, 6)]);
        assert_eq!(receive_softirqs(""), []);
    }

    #[test]
    fn softnet_is_summed_and_unknown_when_it_is_not_read() {
        let text = "0000000a 00000001 00000010 0 0 0 0 0 0\n00000014 00000002 00000000 0 0 0 0 0 0\n";
        assert_eq!(Softnet::parse(text), Some(Softnet { dropped: 3, squeezed: 16 }));
        assert_eq!(Softnet::parse(""), None);
        assert_eq!(Softnet::parse("zz 1"), None);
    }
}
