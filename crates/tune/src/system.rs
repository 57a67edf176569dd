//! Settings where the kernel keeps them: files below a root directory, and the driver.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use linerate_hardware::CpuSet;
use linerate_observe::interrupts;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::ethtool::{self, CHANNELS, COALESCE, DriverInfo, Ethtool, Fields, RINGS};
use crate::place::{Place, Value, mask};

/// An interface, and what tells it from another one of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number in its network namespace.
    pub ifindex: u32,
    /// Its link address.
    pub mac: String,
    /// Address of its device on the bus; `None` without one, and in journals of earlier versions.
    #[serde(default)]
    pub bus_address: Option<String>,
}

impl Interface {
    /// True when its device works, though this network namespace has no such interface: another one has it.
    pub(crate) fn is_elsewhere(&self, root: &Path) -> bool {
        let Some(address) = &self.bus_address else { return false };
        let driver = fs::read_link(root.join("sys/bus/pci/devices").join(address).join("driver"));
        let is_of_kernel = |path: PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            !name.starts_with("vfio") && !name.contains("uio")
        };
        driver.is_ok_and(is_of_kernel)
    }

    /// True when its link address, or that of its device on the bus, is the other one's.
    pub(crate) fn has_an_address_of(&self, other: &Self) -> bool {
        // Interfaces without a device say "tap" or "N/A".
        let is_of_device = self.bus_address.as_ref().is_some_and(|address| address.contains(':'));
        self.mac == other.mac || is_of_device && self.bus_address == other.bus_address
    }

    /// True when this is the same interface as `other` of its network namespace, perhaps by another name or with another address.
    pub fn is(&self, other: &Self) -> bool {
        self.ifindex == other.ifindex && (self.name == other.name || self.mac == other.mac)
    }
}

/// An interrupt of an interface's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Irq {
    /// Its number.
    pub number: u32,
    /// Who handles it; empty when nobody does.
    pub action: String,
}

/// The kernel's settings of one interface and its host.
#[derive(Debug)]
pub struct System<E> {
    root: PathBuf,
    interface: Interface,
    device: Option<PathBuf>,
    /// The driver.
    pub driver: E,
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() < 16 && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// A file's content without the end of its line.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map(|text| text.trim_end().to_owned()).map_err(Error::file(path))
}

fn malformed(path: &Path, reason: &impl ToString) -> Error {
    Error::Malformed { path: path.to_owned(), reason: reason.to_string() }
}

impl<E: Ethtool> System<E> {
    /// An interface of this network namespace whose number is `ifindex`, below the root of the file system.
    ///
    /// # Errors
    /// When there is no such interface in `/sys`, or it is another one: that of another network namespace.
    pub fn open(root: &Path, name: &str, ifindex: u32, mut driver: E) -> Result<Self, Error> {
        if !is_name(name) {
            return Err(Error::Other("no interface has such a name; `ip link` lists them".to_owned()));
        }
        let directory = root.join("sys/class/net").join(name);
        let seen = read_text(&directory.join("ifindex"))?;
        if seen.parse() != Ok(ifindex) {
            let directory = directory.display();
            return Err(Error::Other(format!(
                "{directory} is an interface of another network namespace (number {seen}, not {ifindex}): mount sysfs in this namespace, as `ip netns exec` does"
            )));
        }
        let mac = read_text(&directory.join("address")).unwrap_or_default();
        let bus_address = DriverInfo::read(&mut driver).ok().and_then(|info| info.bus_address);
        let is_safe = |name: &String| !name.starts_with('.') && !name.contains('/');
        let bus_address = bus_address.filter(is_safe);
        let device = bus_address.as_ref().map(|address| root.join("sys/bus/pci/devices").join(address));
        Ok(Self {
            root: root.to_owned(),
            interface: Interface { name: name.to_owned(), ifindex, mac, bus_address },
            device,
            driver,
        })
    }

    /// The interface.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The root of the file system.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn of_interface(&self, file: &str) -> PathBuf {
        self.root.join("sys/class/net").join(&self.interface.name).join(file)
    }

    /// The file of a place; `None`: the driver keeps it.
    pub(crate) fn file(&self, place: &Place) -> Option<PathBuf> {
        Some(match place {
            Place::Channels | Place::Rings | Place::RssTable | Place::Coalesce => return None,
            Place::IrqAffinity { irq, .. } => self.root.join(format!("proc/irq/{irq}/smp_affinity_list")),
            Place::XpsCpus { queue } => self.of_interface(&format!("queues/tx-{queue}/xps_cpus")),
            Place::RpsCpus { queue } => self.of_interface(&format!("queues/rx-{queue}/rps_cpus")),
            Place::RpsSockFlowEntries => self.root.join("proc/sys/net/core/rps_sock_flow_entries"),
            Place::RpsFlowCnt { queue } => self.of_interface(&format!("queues/rx-{queue}/rps_flow_cnt")),
            Place::Governor { cpu } => {
                self.root.join(format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"))
            }
        })
    }

    /// The value in force.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn read(&mut self, place: &Place) -> Result<Value, Error> {
        let Some(path) = self.file(place) else {
            return match place {
                Place::Channels => CHANNELS.read(&mut self.driver).map(Value::Fields),
                Place::Rings => RINGS.read(&mut self.driver).map(Value::Fields),
                Place::Coalesce => COALESCE.read(&mut self.driver).map(Value::Fields),
                _ => ethtool::rss_table(&mut self.driver).map(Value::Table),
            };
        };
        let text = read_text(&path)?;
        match place {
            Place::IrqAffinity { .. } => text
                .parse::<CpuSet>()
                .map(|cpus| Value::cpus(&cpus))
                .map_err(|reason| malformed(&path, &reason)),
            Place::XpsCpus { .. } | Place::RpsCpus { .. } => CpuSet::from_mask(&text)
                .map(|cpus| Value::cpus(&cpus))
                .map_err(|reason| malformed(&path, &reason)),
            Place::Governor { .. } => Ok(Value::Word(text)),
            _ => text.parse().map(Value::Number).map_err(|reason| malformed(&path, &reason)),
        }
    }

    /// Sets a value. Whether it took is for the caller to read.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn write(&mut self, place: &Place, value: &Value) -> Result<(), Error> {
        let text = match (place, value) {
            (Place::Channels, Value::Fields(fields)) => return self.write_channels(fields),
            (Place::Rings, Value::Fields(fields)) => return RINGS.write(&mut self.driver, fields),
            (Place::Coalesce, Value::Fields(fields)) => return self.write_coalesce(fields),
            (Place::RssTable, Value::Table(table)) => return self.write_table(table),
            (
                Place::IrqAffinity { .. } | Place::XpsCpus { .. } | Place::RpsCpus { .. },
                Value::Cpus(text),
            ) => {
                let text = if text == "none" { "" } else { text };
                let cpus: CpuSet =
                    text.parse().map_err(|reason| Error::Other(format!("{place}: {reason}")))?;
                match place {
                    Place::IrqAffinity { .. } => cpus.to_string(),
                    _ => mask(&cpus),
                }
            }
            (_, Value::Number(number)) => number.to_string(),
            (Place::Governor { .. }, Value::Word(word)) => word.clone(),
            _ => return Err(Error::Other(format!("{place} cannot be {value}: a value of another kind"))),
        };
        let Some(path) = self.file(place) else {
            return Err(Error::Other(format!("{place} cannot be {value}: a value of another kind")));
        };
        let mut options = fs::OpenOptions::new();
        // No O_CREAT: a file that is not there is a setting that this kernel does not have.
        let written = options
            .write(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()));
        written.map_err(Error::file(&path))
    }

    /// The kernel refuses fewer queues than a table uses that somebody has set.
    fn write_channels(&mut self, fields: &Fields) -> Result<(), Error> {
        let of = |fields: &Fields, name: &str| fields.get(name).copied();
        if let (Ok(table), Ok(now)) = (ethtool::rss_table(&mut self.driver), CHANNELS.read(&mut self.driver))
        {
            let after = |name: &str| of(fields, name).or_else(|| of(&now, name)).unwrap_or(0);
            let queues = after("rx").saturating_add(after("combined"));
            if table.iter().any(|queue| *queue >= queues) {
                ethtool::set_rss_table(&mut self.driver, &[])?;
            }
        }
        CHANNELS.write(&mut self.driver, fields)
    }

    /// ice and iavf refuse other microseconds than those in force together with adaptive moderation.
    fn write_coalesce(&mut self, fields: &Fields) -> Result<(), Error> {
        let is_adaptive = |name: &str| name.starts_with("adaptive-");
        let turns_on = fields.iter().any(|(name, value)| is_adaptive(name) && *value != 0);
        if turns_on && fields.keys().any(|name| !is_adaptive(name)) {
            let fixed = fields.iter().map(|(name, value)| {
                let value = if is_adaptive(name) { 0 } else { *value };
                (name.clone(), value)
            });
            // A driver that refuses this may take all of it at once.
            let _ = COALESCE.write(&mut self.driver, &fixed.collect());
        }
        COALESCE.write(&mut self.driver, fields)
    }

    /// The kernel's own table is asked for first: with it, the number of queues stays free to change.
    fn write_table(&mut self, table: &[u32]) -> Result<(), Error> {
        ethtool::set_rss_table(&mut self.driver, &[])?;
        if ethtool::rss_table(&mut self.driver)? == table {
            return Ok(());
        }
        ethtool::set_rss_table(&mut self.driver, table)
    }

    fn numbered(&self, prefix: &str) -> Vec<u32> {
        let entries = fs::read_dir(self.of_interface("queues")).into_iter().flatten();
        let number = |entry: io::Result<fs::DirEntry>| {
            entry.ok()?.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()
        };
        entries.filter_map(number).collect::<BTreeSet<u32>>().into_iter().collect()
    }

    /// Numbers of the receive queues.
    pub fn rx_queues(&self) -> Vec<u32> {
        self.numbered("rx-")
    }

    /// Numbers of the transmit queues.
    pub fn tx_queues(&self) -> Vec<u32> {
        self.numbered("tx-")
    }

    /// Who handles an interrupt.
    pub(crate) fn action(&self, irq: u32) -> String {
        read_text(&self.root.join(format!("sys/kernel/irq/{irq}/actions"))).unwrap_or_default()
    }

    /// Interrupts of the interface's device; none for an interface without one.
    pub fn irqs(&self) -> Vec<Irq> {
        let numbers = self.device.as_deref().and_then(interrupts::of_device).unwrap_or_default();
        numbers.into_iter().map(|number| Irq { number, action: self.action(number) }).collect()
    }

    /// State of the link, as the kernel calls it; `None` when it is down.
    pub(crate) fn link(&self) -> Option<String> {
        let carrier = read_text(&self.of_interface("carrier")).ok()?;
        (carrier == "1").then(|| read_text(&self.of_interface("operstate")).ok())?
    }

    /// Waits until a link that was up is so again: many drivers close the device for other queues or rings, and the
    /// link negotiates for seconds.
    ///
    /// # Errors
    /// When it is not up within `limit`.
    pub(crate) fn await_link(&self, before: Option<&str>, limit: Duration) -> Result<(), Error> {
        let end = Instant::now() + limit;
        while before.is_some() && self.link().as_deref() != before {
            if Instant::now() >= end {
                return Err(Error::Other(format!(
                    "the link of {} was up, and is not within {} s",
                    self.interface.name,
                    limit.as_secs_f64()
                )));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// CPUs online.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn online(&self) -> Result<CpuSet, Error> {
        let path = self.root.join("sys/devices/system/cpu/online");
        read_text(&path)?.parse().map_err(|reason| malformed(&path, &reason))
    }

    /// CPUs of `isolcpus=` and `nohz_full=`. A kernel that has none says nothing, or `(null)`.
    pub(crate) fn isolated(&self) -> CpuSet {
        let of = |file: &str| {
            let text = read_text(&self.root.join("sys/devices/system/cpu").join(file)).ok()?;
            text.parse::<CpuSet>().ok()
        };
        let sets = ["isolated", "nohz_full"].into_iter().filter_map(of);
        sets.flat_map(|cpus| cpus.iter().collect::<Vec<_>>()).collect()
    }
}

#[cfg(test)]
pub(crate) mod tree {
    use std::fs;
    use std::path::Path;

    use super::System;
    use crate::ethtool::fake::Fake;

    /// Writes a file below a root.
    pub(crate) fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A file below a root, without the end of its line.
    pub(crate) fn read(root: &Path, path: &str) -> String {
        fs::read_to_string(root.join(path)).unwrap().trim_end().to_owned()
    }

    /// A host with two CPUs and an interface `eth0` with as many queues.
    pub(crate) fn host(root: &Path) {
        write(root, "sys/class/net/eth0/ifindex", "2\n");
        write(root, "sys/class/net/eth0/address", "02:00:00:00:00:01\n");
        write(root, "sys/devices/system/cpu/online", "0-1\n");
        write(root, "proc/sys/net/core/rps_sock_flow_entries", "0\n");
        for queue in 0..2 {
            write(root, &format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus"), "00000000\n");
            write(root, &format!("sys/class/net/eth0/queues/rx-{queue}/rps_flow_cnt"), "0\n");
            write(root, &format!("sys/class/net/eth0/queues/tx-{queue}/xps_cpus"), "3\n");
        }
    }

    /// The settings of that interface.
    pub(crate) fn system(root: &Path) -> System<Fake> {
        let driver = Fake {
            channels: Some([0, 0, 0, 0, 8, 0, 0, 0, 2]),
            rings: Some([0, 4096, 0, 0, 4096, 256, 0, 0, 256]),
            table: Some((0..8).map(|at| at % 2).collect()),
            ..Fake::default()
        };
        System::open(root, "eth0", 2, driver).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ethtool::fake::Fake;

    #[test]
    fn places_are_read_and_written_in_the_kernels_forms() {
        let tree = tempfile::tempdir().unwrap();
        tree::host(tree.path());
        tree::write(tree.path(), "proc/irq/41/smp_affinity_list", "0-1\n");
        let mut system = tree::system(tree.path());
        let irq = Place::IrqAffinity { irq: 41, action: "eth0-TxRx-0".into() };
        for (place, before, after, file, text) in [
            (
                Place::RpsCpus { queue: 1 },
                "none",
                "0-1",
                "sys/class/net/eth0/queues/rx-1/rps_cpus",
                "00000003",
            ),
            (
                Place::XpsCpus { queue: 0 },
                "0-1",
                "none",
                "sys/class/net/eth0/queues/tx-0/xps_cpus",
                "00000000",
            ),
            (irq, "0-1", "1", "proc/irq/41/smp_affinity_list", "1"),
        ] {
            assert_eq!(system.read(&place).unwrap(), Value::Cpus(before.into()), "{place}");
            system.write(&place, &Value::Cpus(after.into())).unwrap();
            assert_eq!(tree::read(tree.path(), file), text, "{place}");
        }
        system.write(&Place::RpsSockFlowEntries, &Value::Number(4096)).unwrap();
        assert_eq!(system.read(&Place::RpsSockFlowEntries).unwrap(), Value::Number(4096));
        assert_eq!((system.rx_queues(), system.tx_queues()), (vec![0, 1], vec![0, 1]));

        assert!(system.isolated().is_empty());
        tree::write(tree.path(), "sys/devices/system/cpu/isolated", "1\n");
        tree::write(tree.path(), "sys/devices/system/cpu/nohz_full", "(null)\n");
        assert_eq!(system.isolated().to_string(), "1");

        let absent = Place::RpsCpus { queue: 7 };
        assert!(system.write(&absent, &Value::Cpus("0".into())).unwrap_err().to_string().contains("rx-7"));
        assert!(!tree.path().join("sys/class/net/eth0/queues/rx-7").exists(), "nothing is made");
        assert!(system.write(&absent, &Value::Word("x".into())).is_err());
        assert!(system.write(&Place::Rings, &Value::Number(5)).is_err());
    }

    #[test]
    fn fewer_queues_than_the_table_uses_are_taken_after_the_table() {
        let tree = tempfile::tempdir().unwrap();
        tree::host(tree.path());
        let mut system = tree::system(tree.path());
        let one = Value::Fields([("combined".to_owned(), 1)].into());
        system.write(&Place::RssTable, &Value::Table(vec![1; 8])).unwrap();
        system.write(&Place::Channels, &one).unwrap();
        assert!(one.is_met_by(&system.read(&Place::Channels).unwrap()));
        assert_eq!(system.read(&Place::RssTable).unwrap(), Value::Table(vec![0; 8]));
    }

    #[test]
    fn adaptive_coalescing_comes_back_with_its_numbers() {
        let tree = tempfile::tempdir().unwrap();
        tree::host(tree.path());
        let mut words = [0; 23];
        (words[1], words[5], words[10]) = (50, 50, 1);
        let driver = Fake { coalesce: Some(words), ..Fake::default() };
        let mut system = System::open(tree.path(), "eth0", 2, driver).unwrap();
        let before = system.read(&Place::Coalesce).unwrap();
        let fields = |adaptive, usecs| {
            Value::Fields([("adaptive-rx".to_owned(), adaptive), ("rx-usecs".to_owned(), usecs)].into())
        };
        system.write(&Place::Coalesce, &fields(0, 0)).unwrap();
        assert!(fields(0, 0).is_met_by(&system.read(&Place::Coalesce).unwrap()));
        system.write(&Place::Coalesce, &before).unwrap();
        assert_eq!(system.read(&Place::Coalesce).unwrap(), before);
        system.write(&Place::Coalesce, &fields(1, 20)).unwrap();
        assert!(fields(1, 20).is_met_by(&system.read(&Place::Coalesce).unwrap()));
    }

    #[test]
    fn a_link_that_was_up_is_waited_for() {
        let tree = tempfile::tempdir().unwrap();
        let link = |carrier, state| {
            tree::write(tree.path(), "sys/class/net/eth0/carrier", carrier);
            tree::write(tree.path(), "sys/class/net/eth0/operstate", state);
        };
        tree::host(tree.path());
        let system = tree::system(tree.path());
        let short = Duration::from_millis(1);
        assert!(system.link().is_none() && system.await_link(None, short).is_ok(), "nobody tells");
        link("1\n", "up\n");
        let before = system.link();
        assert_eq!(before.as_deref(), Some("up"));
        link("0\n", "down\n");
        let error = system.await_link(before.as_deref(), short).unwrap_err().to_string();
        assert!(error.contains("the link of eth0 was up"), "{error}");
        assert!(system.await_link(system.link().as_deref(), short).is_ok(), "it was down before");
        thread::scope(|scope| {
            let waits = scope.spawn(|| system.await_link(before.as_deref(), Duration::from_secs(60)));
            link("1\n", "up\n");
            waits.join().unwrap().unwrap();
        });
    }

    #[test]
    fn an_interface_of_another_namespace_is_refused() {
        let tree = tempfile::tempdir().unwrap();
        tree::host(tree.path());
        let open = |name: &str, index| System::open(tree.path(), name, index, Fake::default()).map(drop);
        assert!(open("eth0", 2).is_ok());
        assert!(open("eth0", 3).unwrap_err().to_string().contains("of another network namespace"));
        for bad in ["../eth0", "", ".", "eth0/..", "a-name-that-is-too-long", "eth9"] {
            assert!(open(bad, 2).is_err(), "{bad}");
        }
    }
}
