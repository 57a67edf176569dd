//! Watching a node as the work of an agent in the node's network namespace.
//!
//! Counters of queues are read when the trial is started and when it ends; settings at the end, when reading them
//! disturbs nobody: a driver may ask its firmware for either. Nothing of it needs a privilege.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::{fs, io};

use linerate_agent::engine::Finished;
use linerate_agent::host::monotonic_ns;
use linerate_netlink::interface_index;
use linerate_observe::NotKnown;
use linerate_observe::netlink::link::Link;
use linerate_observe::procfs::interfaces::InterfaceCounters;
use linerate_observe::queues::{DriverStatistics, QueueCounters, QueueReader, Queues};
use linerate_observe::source::Series;
use linerate_tune::queues::QueueSettings;
use linerate_tune::settings::Steering;
use linerate_tune::system::System;
use linerate_wire::host_report::InterfaceReport;
use linerate_wire::report::{Ended, Report, ReportDetail};
use linerate_wire::watch::{WatchReport, WatchedInterface, WatchedQueue};

use crate::sys::ethtool::Driver;
use crate::sys::interfaces::addresses;

const ROOT: &str = "/";
/// Most interfaces of a report; hosts may have a hundred VFs.
const MOST_INTERFACES: usize = 16;

/// A node that is watched.
#[derive(Debug)]
pub(crate) struct Watching {
    trial: u32,
    started_ns: u64,
    devices: Vec<Device>,
    /// Why interfaces are not known, or not all of them.
    not_known: Option<String>,
    is_over: bool,
}

/// An interface of the node.
#[derive(Debug)]
struct Device {
    name: String,
    reader: QueueReader,
    queues: Series<Queues>,
    link: Link,
    counters: Series<InterfaceCounters>,
}

/// What a device counted during the trial.
#[derive(Debug, Default)]
struct Counts {
    elapsed_s: Option<f64>,
    /// Of the interface, as the kernel counts.
    interface: Option<InterfaceReport>,
    queues: Vec<QueueCounters>,
    /// Packets that the whole device lost, by the driver's names.
    losses: BTreeMap<String, u64>,
    /// Why something is not known.
    not_known: BTreeMap<String, String>,
}

impl Watching {
    /// Opens what is read.
    pub(super) fn arm(trial: u32) -> Self {
        let (names, not_known) = interfaces_of_node(Path::new(ROOT), addresses());
        let devices = names.into_iter().filter_map(Device::open).collect();
        Self { trial, started_ns: monotonic_ns(), devices, not_known, is_over: false }
    }

    pub(super) fn start_at(&mut self, at_ns: u64) {
        self.started_ns = at_ns;
        for device in &mut self.devices {
            device.read();
            device.rebase();
        }
    }

    pub(super) fn stop(&mut self) {
        self.is_over = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn finish(mut self, ended: Ended) -> Finished {
        let ended_ns = monotonic_ns();
        // All counters before the first setting: the time that settings take is no part of the trial.
        let counts: Vec<Counts> = self.devices.iter_mut().map(Device::counts).collect();
        let mut counted: Vec<(&Device, Counts)> = self.devices.iter().zip(counts).collect();
        counted.sort_by_key(|(_, counts)| Reverse(counts.packets()));
        let left_out = counted.len().saturating_sub(MOST_INTERFACES);
        counted.truncate(MOST_INTERFACES);
        let seen = WatchReport {
            interfaces: counted.into_iter().map(|(device, counts)| device.report(counts)).collect(),
            interfaces_left_out: left_out as u32,
            not_known: self.not_known,
        };
        let detail = ReportDetail::Watch(Box::new(seen));
        let mut report = Report::new(self.trial, ended, self.started_ns, detail);
        report.ended_ns = ended_ns;
        Finished { report, flows: None }
    }
}

impl Device {
    /// `None` for an interface that went away.
    fn open(name: String) -> Option<Self> {
        let driver = Driver::open(&name).ok().map(|driver| Box::new(driver) as Box<dyn DriverStatistics>);
        let reader = QueueReader::new(interface_index(&name).ok()?, driver);
        let link = Link::open(&name).ok()?;
        Some(Self { name, reader, queues: Series::default(), link, counters: Series::default() })
    }

    fn read(&mut self) {
        // The series keep the reasons of failures.
        let counters = self.link.counters();
        let _ = self.counters.add(counters.map_err(|error| NotKnown::Other(error.to_string())));
        let _ = self.queues.add(self.reader.read());
    }

    fn rebase(&mut self) {
        self.counters.rebase();
        self.queues.rebase();
    }

    /// What was counted since the start.
    fn counts(&mut self) -> Counts {
        self.read();
        let mut counts = Counts::default();
        let mut note = |what: &str, reason: String| drop(counts.not_known.insert(what.to_owned(), reason));
        match self.counters.span() {
            Ok(span) => match span.now.since(span.then) {
                Some(passed) => counts.interface = Some(interface(&self.name, &passed)),
                None => note("counters", "they were set back".to_owned()),
            },
            Err(reason) => note("counters", reason.to_string()),
        }
        match self.queues.span() {
            Ok(span) => {
                let (losses, unknown) = span.now.losses_since(span.then);
                counts.losses = losses;
                unknown.into_iter().for_each(|reason| note("device_losses", reason));
                span.now.unknown_since(span.then).into_iter().for_each(|reason| note("queues", reason));
                counts.queues = span.now.since(span.then);
                counts.elapsed_s = Some(span.elapsed_s);
            }
            Err(reason) => note("queues", reason.to_string()),
        }
        counts
    }

    fn report(&self, counts: Counts) -> WatchedInterface {
        let mut seen = WatchedInterface {
            interface: self.name.clone(),
            counters: counts.interface,
            device_losses: counts.losses,
            counted_s: counts.elapsed_s,
            not_known: counts.not_known,
            ..WatchedInterface::default()
        };
        let steering =
            steering(&self.name).map_err(|reason| seen.not_known.insert("settings".to_owned(), reason));
        let Ok(steering) = steering else {
            seen.queues = together(&counts.queues, &[]);
            return seen;
        };
        seen.driver = steering.driver.map(|driver| driver.name);
        seen.speed_mbps = steering.speed_mbps;
        seen.rss_queues = steering.rss.map(|rss| rss.queues);
        seen.rps_sock_flow_entries = steering.rps_sock_flow_entries;
        // The report names no instance of NAPI.
        let of_report = steering.not_known.into_iter().filter(|(what, _)| *what != "napi");
        seen.not_known.extend(of_report.map(|(what, why)| (what.to_owned(), why)));
        seen.queues = together(&counts.queues, &steering.queues);
        seen
    }
}

impl Counts {
    fn packets(&self) -> u64 {
        self.interface.as_ref().map_or(0, |counted| counted.rx_packets.saturating_add(counted.tx_packets))
    }
}

/// Counters of an interface as reports have them.
fn interface(name: &str, passed: &InterfaceCounters) -> InterfaceReport {
    InterfaceReport {
        interface: name.to_owned(),
        rx_packets: passed.rx_packets,
        rx_dropped: passed.rx_dropped.saturating_add(passed.rx_missed.unwrap_or(0)),
        rx_errors: passed.rx_errors,
        tx_packets: passed.tx_packets,
        tx_dropped: passed.tx_dropped,
        tx_errors: passed.tx_errors,
    }
}

/// Names of the interfaces that are up, and that have a device behind them or an address: not those of the pods' ends. And why some are
/// not among them.
fn interfaces_of_node(
    root: &Path,
    addressed: io::Result<BTreeMap<String, Vec<IpAddr>>>,
) -> (Vec<String>, Option<String>) {
    let (addressed, unknown) = match addressed {
        Ok(addressed) => (addressed, None),
        Err(error) => {
            let unknown = format!("addresses: {error}; interfaces without a device are left out");
            (BTreeMap::new(), Some(unknown))
        }
    };
    let entries = match fs::read_dir(root.join("sys/class/net")) {
        Ok(entries) => entries,
        Err(error) => return (Vec::new(), Some(format!("/sys/class/net: {error}"))),
    };
    let is_of_node = |name: &str, path: &Path| {
        let has_address = addressed.get(name).is_some_and(|list| list.iter().any(|one| is_global(*one)));
        is_up(path) && (path.join("device").exists() || has_address)
    };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .filter(|(name, path)| is_of_node(name, path))
        .map(|(name, _)| name)
        .collect();
    names.sort();
    (names, unknown)
}

/// True for an address that others than the host and its links use.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

/// True for an interface with the flag `IFF_UP` (1) and without `IFF_LOOPBACK` (8), and for one whose flags cannot be read.
fn is_up(interface: &Path) -> bool {
    let flags = fs::read_to_string(interface.join("flags")).ok();
    let flags = flags.and_then(|text| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok());
    flags.is_none_or(|flags| flags & 0b1001 == 1)
}

fn steering(name: &str) -> Result<Steering, String> {
    let driver = Driver::open(name).map_err(|error| error.to_string())?;
    let index = interface_index(name).map_err(|error| error.to_string())?;
    let mut system = System::open(Path::new(ROOT), name, index, driver).map_err(|error| error.to_string())?;
    Ok(system.steering())
}

/// Queues by direction and number, with what is known of each.
fn together(counted: &[QueueCounters], settings: &[QueueSettings]) -> Vec<WatchedQueue> {
    let mut queues: BTreeMap<(String, u32), WatchedQueue> = BTreeMap::new();
    for counters in counted {
        queues.insert((counters.direction.to_string(), counters.queue), queue(counters));
    }
    for setting in settings {
        let key = (setting.direction.to_owned(), setting.queue);
        add(queues.entry(key).or_default(), setting);
    }
    queues.into_values().collect()
}

fn queue(counters: &QueueCounters) -> WatchedQueue {
    WatchedQueue {
        direction: counters.direction.to_string(),
        queue: counters.queue,
        packets: counters.packets,
        drops: counters.drops,
        full: counters.full,
        ..WatchedQueue::default()
    }
}

/// Adds the settings of a queue to what it counted.
fn add(queue: &mut WatchedQueue, setting: &QueueSettings) {
    setting.direction.clone_into(&mut queue.direction);
    queue.queue = setting.queue;
    queue.irq = setting.irq;
    queue.irq_cpus.clone_from(&setting.effective);
    queue.rps_cpus.clone_from(&setting.rps_cpus);
    queue.rfs_flows = setting.rps_flow_cnt;
    queue.xps_cpus.clone_from(&setting.xps_cpus);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, interface: &str, file: &str, text: &str) {
        let directory = root.join("sys/class/net").join(interface);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(file), text).unwrap();
    }

    #[test]
    fn interfaces_whose_addresses_are_not_known_have_a_reason() {
        let root = tempfile::tempdir().unwrap();
        for (name, flags) in
            [("eth0", "0x1003"), ("bond0", "0x1003"), ("veth7", "0x1003"), ("eth1", "0x1002")]
        {
            write(root.path(), name, "flags", flags);
        }
        for name in ["eth0", "eth1"] {
            fs::create_dir(root.path().join("sys/class/net").join(name).join("device")).unwrap();
        }
        let addressed = || {
            let list = |address: &str| vec![address.parse().unwrap()];
            [("bond0".to_owned(), list("192.0.2.1")), ("veth7".to_owned(), list("fe80::1"))].into()
        };
        let found = interfaces_of_node(root.path(), Ok(addressed()));
        assert_eq!(found, (vec!["bond0".to_owned(), "eth0".to_owned()], None));
        let (names, unknown) = interfaces_of_node(root.path(), Err(io::Error::other("no memory")));
        assert_eq!(names, ["eth0"]);
        let unknown = unknown.unwrap();
        assert!(unknown.contains("no memory") && unknown.contains("left out"), "{unknown}");
        let (names, unknown) = interfaces_of_node(&root.path().join("nowhere"), Ok(addressed()));
        assert!(names.is_empty() && unknown.unwrap().starts_with("/sys/class/net: "));
    }
}
