//! Everything there is to know of how an interface's packets reach CPUs. Needs no privilege.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::ethtool::{self, CHANNELS, COALESCE, DriverInfo, Ethtool, Fields, RINGS};
use crate::place::{Place, Value};
use crate::queues::QueueSettings;
use crate::system::{Interface, System, read_text};

/// The first PID namespace, in which every process of the host is seen
/// (`PROC_PID_INIT_INO`, kernel `include/linux/proc_ns.h`).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Numbers in force, and the highest that the driver admits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limited {
    /// In force, by name.
    pub now: Fields,
    /// Limits, by name; empty when the driver tells none.
    pub limits: Fields,
}

/// The RSS table in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rss {
    /// Number of entries.
    pub entries: usize,
    /// Queues that receive by it.
    pub queues: Vec<u32>,
    /// Number of receive rings; null when the driver does not tell.
    pub rings: Option<u32>,
}

/// How an interface's packets reach CPUs. `None`: not known, with the reason in `not_known`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steering {
    /// Driver, firmware, bus.
    pub driver: Option<DriverInfo>,
    /// Speed of the link in Mbit/s, as the driver says. Virtual interfaces say what they like.
    pub speed_mbps: Option<u32>,
    /// Queues.
    pub queues: Vec<QueueSettings>,
    /// Receive side scaling.
    pub rss: Option<Rss>,
    /// Flows of the whole host that RFS follows.
    pub rps_sock_flow_entries: Option<u64>,
    /// Reasons of what is `None`, by its name.
    pub not_known: BTreeMap<&'static str, String>,
}

/// Settings of an interface and its host. Null: not known, with the reason in `not_known`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// The interface.
    pub interface: Interface,
    /// Driver, firmware, bus.
    pub driver: Option<DriverInfo>,
    /// Speed of the link in Mbit/s, as the driver says. Virtual interfaces say what they like.
    pub speed_mbps: Option<u32>,
    /// NUMA node of the device.
    pub numa_node: Option<u32>,
    /// Queues.
    pub queues: Vec<QueueSettings>,
    /// Number of queues by kind.
    pub channels: Option<Limited>,
    /// Descriptors of rings.
    pub rings: Option<Limited>,
    /// Interrupt coalescing; a driver says 0 for what it does not have.
    pub coalesce: Option<Fields>,
    /// Receive side scaling.
    pub rss: Option<Rss>,
    /// Flows of the whole host that RFS follows.
    pub rps_sock_flow_entries: Option<u64>,
    /// Governors of the CPUs online: their names and how many CPUs have them.
    pub governors: Option<BTreeMap<String, usize>>,
    /// True when irqbalance runs.
    pub irqbalance: Option<bool>,
    /// Reasons of what is null, by its name.
    pub not_known: BTreeMap<&'static str, String>,
}

/// True when a process of this name runs. `None`: other PID namespaces may have one, and only this one is seen.
pub fn runs(root: &Path, process: &str) -> Option<bool> {
    let entries = fs::read_dir(root.join("proc")).ok()?;
    let is_running = entries.filter_map(Result::ok).any(|entry| {
        let is_process =
            entry.file_name().to_str().is_some_and(|name| name.bytes().all(|c| c.is_ascii_digit()));
        is_process && read_text(&entry.path().join("comm")).is_ok_and(|name| name == process)
    });
    let namespace = fs::read_link(root.join("proc/self/ns/pid")).ok()?;
    (is_running || namespace.as_os_str() == FIRST_PID_NAMESPACE).then_some(is_running)
}

/// The value, or `None` and its reason noted.
fn known<T, R: ToString>(
    note: &mut impl FnMut(&'static str, String),
    name: &'static str,
    value: Result<T, R>,
) -> Option<T> {
    value.map_err(|reason| note(name, reason.to_string())).ok()
}

impl<E: Ethtool> System<E> {
    /// Reads everything.
    pub fn settings(&mut self) -> Settings {
        let Steering { driver, speed_mbps, queues, rss, rps_sock_flow_entries, mut not_known } =
            self.steering();
        let mut note = |name: &'static str, reason: String| drop(not_known.insert(name, reason));
        let channels = CHANNELS
            .read(&mut self.driver)
            .and_then(|now| Ok(Limited { now, limits: CHANNELS.limits(&mut self.driver)? }));
        let channels = known(&mut note, "channels", channels);
        let rings = RINGS
            .read(&mut self.driver)
            .and_then(|now| Ok(Limited { now, limits: RINGS.limits(&mut self.driver)? }));
        let rings = known(&mut note, "rings", rings);
        let coalesce = known(&mut note, "coalesce", COALESCE.read(&mut self.driver));
        let numa = read_text(&self.of_interface("device/numa_node")).map_err(|reason| reason.to_string());
        let numa = numa.and_then(|text| text.parse().map_err(|_| "the device is of no node".to_owned()));
        let numa_node = known(&mut note, "numa_node", numa);
        let governors = self.governors();
        let governors = known(&mut note, "governors", governors);
        let irqbalance = runs(self.root(), "irqbalance");
        if irqbalance.is_none() {
            note(
                "irqbalance",
                "not all processes of the host are seen: run this in its PID namespace".to_owned(),
            );
        }
        Settings {
            interface: self.interface().clone(),
            driver,
            speed_mbps,
            numa_node,
            queues,
            channels,
            rings,
            coalesce,
            rss,
            rps_sock_flow_entries,
            governors,
            irqbalance,
            not_known,
        }
    }

    /// Reads how packets reach CPUs, and nothing else: some drivers ask their firmware for channels, rings and coalescing, and each CPU has a
    /// governor.
    pub fn steering(&mut self) -> Steering {
        let mut not_known = BTreeMap::new();
        let mut note = |name: &'static str, reason: String| drop(not_known.insert(name, reason));
        let driver = known(&mut note, "driver", DriverInfo::read(&mut self.driver));
        let rss = ethtool::rss_table(&mut self.driver).map(|table| Rss {
            entries: table.len(),
            queues: table.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
            rings: ethtool::rx_rings(&mut self.driver).ok(),
        });
        let rss = known(&mut note, "rss", rss);
        let speed =
            read_text(&self.of_interface("speed")).map_err(|reason| reason.to_string()).and_then(|text| {
                // -1 of interfaces without a link, beyond 31 bits of older kernels.
                text.parse::<u32>()
                    .ok()
                    .filter(|speed| *speed < 1 << 31)
                    .ok_or_else(|| "the link has no speed".to_owned())
            });
        let speed_mbps = known(&mut note, "speed_mbps", speed);
        let entries = match self.read(&Place::RpsSockFlowEntries) {
            Ok(Value::Number(number)) => Ok(number),
            Ok(_) => Err("no number".to_owned()),
            Err(reason) => Err(reason.to_string()),
        };
        let rps_sock_flow_entries = known(&mut note, "rps_sock_flow_entries", entries);
        let queues = self.queues();
        let has = |value: &dyn Fn(&QueueSettings) -> bool| queues.is_empty() || queues.iter().any(value);
        if !has(&|queue| queue.irq.is_some()) {
            note("irq", "neither the kernel nor a name tells the interrupt of a queue".to_owned());
        }
        if !has(&|queue| queue.napi.is_some()) {
            note("napi", "the kernel tells it since Linux 6.8, for drivers that do".to_owned());
        }
        if !has(&|queue| queue.rps_cpus.is_some()) {
            let reason = self.read(&Place::RpsCpus { queue: 0 }).err().map(|reason| reason.to_string());
            note("rps_cpus", reason.unwrap_or_else(|| "the interface shows no receive queue".to_owned()));
        }
        if !has(&|queue| queue.xps_cpus.is_some()) {
            let reason = self
                .read(&Place::XpsCpus { queue: 0 })
                .err()
                .map_or_else(String::new, |reason| reason.to_string());
            note("xps_cpus", format!("{reason} (with one TX queue there is nothing to choose)"));
        }
        Steering { driver, speed_mbps, queues, rss, rps_sock_flow_entries, not_known }
    }

    fn governors(&mut self) -> Result<BTreeMap<String, usize>, crate::Error> {
        let mut governors = BTreeMap::new();
        for cpu in self.online()?.iter() {
            if let Value::Word(name) = self.read(&Place::Governor { cpu })? {
                *governors.entry(name).or_default() += 1;
            }
        }
        Ok(governors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ethtool::fake::Fake;
    use crate::system::tree;

    #[test]
    fn what_is_not_known_has_a_reason_and_no_value() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        tree::host(root);
        let mut bare = System::open(root, "eth0", 2, Fake::default()).unwrap();
        let settings = bare.settings();
        assert_eq!((settings.speed_mbps, &settings.channels, &settings.rss), (None, &None, &None));
        let steering = bare.steering();
        assert_eq!(
            (steering.speed_mbps, &steering.rss, steering.driver),
            (None, &None, settings.driver.clone())
        );
        assert!(!steering.not_known.contains_key("channels") && steering.not_known.contains_key("rss"));
        for name in ["speed_mbps", "channels", "rings", "coalesce", "rss", "governors", "irqbalance", "irq"] {
            assert!(settings.not_known.contains_key(name), "{name}: {:?}", settings.not_known);
        }
        tree::write(root, "sys/class/net/eth0/speed", "-1\n");
        assert_eq!(bare.settings().speed_mbps, None);

        tree::write(root, "sys/class/net/eth0/speed", "25000\n");
        for cpu in 0..2 {
            tree::write(
                root,
                &format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"),
                "powersave\n",
            );
        }
        tree::write(root, "proc/77/comm", "irqbalance\n");
        fs::create_dir_all(root.join("proc/self/ns")).unwrap();
        std::os::unix::fs::symlink("pid:[4026532000]", root.join("proc/self/ns/pid")).unwrap();
        let settings = tree::system(root).settings();
        assert_eq!((settings.speed_mbps, settings.irqbalance), (Some(25_000), Some(true)));
        assert_eq!(settings.governors, Some([("powersave".to_owned(), 2)].into()));
        assert_eq!(settings.rss, Some(Rss { entries: 8, queues: vec![0, 1], rings: Some(2) }));
        assert_eq!(settings.queues.len(), 4);
        assert_eq!(settings.queues[0].rps_cpus.as_deref(), Some("none"));
        assert_eq!(settings.queues[3].xps_cpus.as_deref(), Some("0-1"));
        let steering = tree::system(root).steering();
        assert_eq!((steering.speed_mbps, &steering.rss), (Some(25_000), &settings.rss));
        assert_eq!((steering.queues, steering.driver), (settings.queues, settings.driver));
        assert!(
            steering.not_known.keys().all(|name| ["irq", "napi"].contains(name)),
            "{:?}",
            steering.not_known
        );
        fs::remove_dir_all(root.join("proc/77")).unwrap();
        assert_eq!(runs(root, "irqbalance"), None, "it may run in a namespace that is not seen");
    }
}
