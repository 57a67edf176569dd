//! Interrupts per number and CPU, from the best source that is readable.
//!
//! Container runtimes mask `/proc/interrupts` since 2025; `/sys/kernel/irq` has the same counts. Where both
//! are hidden, `/proc/stat` still has the totals of each number.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::NotKnown;
use crate::clock::monotonic_ns;
use crate::counter::widen;
use crate::procfs::interrupts::{Table, per_cpu_count, totals};
use crate::source::KeptFile;

/// Most interrupts that are followed in sysfs, a file each.
const MOST_IRQS: usize = 512;
/// Interrupts are listed again after this time.
const LIST_HOLDS_NS: u64 = 10_000_000_000;

/// Where counts of interrupts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterruptOrigin {
    /// `/sys/kernel/irq/N/per_cpu_count`.
    Sysfs,
    /// `/proc/interrupts`.
    Interrupts,
    /// The line `intr` of `/proc/stat`: without CPUs.
    Totals,
}

impl InterruptOrigin {
    /// The file, as users know it.
    pub fn path(self) -> &'static str {
        match self {
            Self::Sysfs => "/sys/kernel/irq",
            Self::Interrupts => "/proc/interrupts",
            Self::Totals => "/proc/stat",
        }
    }
}

/// Interrupts of one number since the start of the node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interrupt {
    /// Who handles it; empty where nobody does or the kernel does not tell.
    pub action: String,
    /// On each CPU, by its number; empty where only the total is known.
    pub cpus: Vec<(u32, u64)>,
    /// On all CPUs.
    pub total: u64,
}

/// Interrupts by their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupts {
    /// The source.
    pub origin: InterruptOrigin,
    /// The interrupts.
    pub list: BTreeMap<u32, Interrupt>,
    /// Number of interrupts, those with the lowest numbers, that are not followed: there are too many.
    pub left_out: usize,
}

impl Interrupts {
    /// Continues counters of 32 bits from the reading before.
    fn continued(mut self, before: Option<&Self>) -> Self {
        let Some(before) = before.filter(|before| before.origin == self.origin) else { return self };
        for (number, irq) in &mut self.list {
            let Some(last) = before.list.get(number).filter(|last| last.cpus.len() == irq.cpus.len()) else {
                continue;
            };
            for ((cpu, count), (of, last)) in irq.cpus.iter_mut().zip(&last.cpus) {
                if cpu == of {
                    *count = widen(*last, *count as u32);
                }
            }
            irq.total = match irq.cpus.as_slice() {
                [] => widen(last.total, irq.total as u32),
                cpus => cpus.iter().map(|(_, count)| count).sum(),
            };
        }
        self
    }

    /// Each interrupt's counts since `then`. Interrupts that are new, or whose counts were set back, are left
    /// out, and all of them when CPUs came or went.
    pub fn since(&self, then: &Self) -> BTreeMap<u32, Interrupt> {
        let difference = |now: &Interrupt, then: &Interrupt| {
            if !now.cpus.iter().map(|(cpu, _)| cpu).eq(then.cpus.iter().map(|(cpu, _)| cpu)) {
                return None;
            }
            let pairs = now.cpus.iter().zip(&then.cpus);
            let cpus = pairs.map(|((cpu, now), (_, then))| Some((*cpu, now.checked_sub(*then)?)));
            let (cpus, total) = (cpus.collect::<Option<_>>()?, now.total.checked_sub(then.total)?);
            Some(Interrupt { action: now.action.clone(), cpus, total })
        };
        let both = self.list.iter().filter_map(|(number, now)| Some((*number, now, then.list.get(number)?)));
        both.filter_map(|(number, now, then)| Some((number, difference(now, then)?))).collect()
    }
}

/// Numbers of the interrupts of a PCI device, whose directory in sysfs this is; `None` when it has none, or there
/// is no such device.
pub fn of_device(directory: &Path) -> Option<Vec<u32>> {
    let numbers = numbers_in(&directory.join("msi_irqs"));
    if !numbers.is_empty() {
        return Some(numbers);
    }
    let irq: u32 = fs::read_to_string(directory.join("irq")).ok()?.trim().parse().ok()?;
    (irq > 0).then(|| vec![irq])
}

/// The numbers among a directory's names, in order.
fn numbers_in(directory: &Path) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// A file of sysfs for each interrupt.
#[derive(Debug)]
struct SysfsIrq {
    number: u32,
    action: String,
    counts: KeptFile,
    has_been_read: bool,
}

/// Reader of interrupts.
#[derive(Debug)]
pub struct InterruptReader {
    root: PathBuf,
    device: Option<PathBuf>,
    /// The numbers of the device; `None`: all of the node.
    only: Option<Vec<u32>>,
    sysfs: Vec<SysfsIrq>,
    left_out: usize,
    listed_ns: u64,
    /// True when an interrupt of the list that was there is gone.
    is_outdated: bool,
    table: KeptFile,
    stat: KeptFile,
}

impl InterruptReader {
    /// Reads the interrupts of the device at this address of the PCI bus, such as `0000:3b:00.0`; all of the node
    /// where there is no such device, or it has none.
    pub fn new(root: &Path, bus_address: Option<&str>) -> Self {
        let is_name = |name: &&str| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
        let device = bus_address.filter(is_name).map(|name| root.join("sys/bus/pci/devices").join(name));
        let mut reader = Self {
            root: root.to_owned(),
            device,
            only: None,
            sysfs: Vec::new(),
            left_out: 0,
            listed_ns: 0,
            is_outdated: false,
            table: KeptFile::new(root.join("proc/interrupts")),
            stat: KeptFile::new(root.join("proc/stat")),
        };
        reader.list();
        reader
    }

    /// True when the interrupts are the device's, false when they are all of the node.
    pub fn is_of_device(&self) -> bool {
        self.only.is_some()
    }

    /// Lists the interrupts anew: a driver whose queues are changed takes others.
    fn list(&mut self) {
        self.listed_ns = monotonic_ns();
        self.is_outdated = false;
        let of_device = self.device.as_deref().and_then(of_device);
        // A device that is being reset has none for a while.
        self.only = of_device.or_else(|| self.only.take().map(|_| Vec::new()));
        let directory = self.root.join("sys/kernel/irq");
        let numbers = self.only.clone().unwrap_or_else(|| numbers_in(&directory));
        // Those of network devices have the highest numbers.
        self.left_out = numbers.len().saturating_sub(MOST_IRQS);
        let mut known: BTreeMap<u32, SysfsIrq> = self.sysfs.drain(..).map(|irq| (irq.number, irq)).collect();
        let irq = |number: u32| {
            let directory = directory.join(number.to_string());
            let action = fs::read_to_string(directory.join("actions")).unwrap_or_default();
            let action = action.trim().replace(',', ", ");
            match known.remove(&number) {
                Some(irq) => SysfsIrq { action, has_been_read: false, ..irq },
                None => SysfsIrq {
                    number,
                    action,
                    counts: KeptFile::new(directory.join("per_cpu_count")),
                    has_been_read: false,
                },
            }
        };
        self.sysfs = numbers.into_iter().skip(self.left_out).map(irq).collect();
    }

    /// Reads the first source that tells anything. `online` are the CPUs to which counts belong; `before` is
    /// the reading before.
    ///
    /// # Errors
    /// The reasons of all sources.
    pub fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        online: &[u32],
        before: Option<&Interrupts>,
    ) -> Result<Interrupts, NotKnown> {
        let has_none = self.only.as_ref().is_some_and(Vec::is_empty);
        if has_none || monotonic_ns().saturating_sub(self.listed_ns) > LIST_HOLDS_NS {
            self.list();
        }
        if self.only.as_ref().is_some_and(Vec::is_empty) {
            return Err(NotKnown::Other("the interface's device has no interrupts now".to_owned()));
        }
        // One file for all, where there are too many for a file each.
        let mut sources = [Self::sysfs_counts, Self::table_counts, Self::totals_only];
        if self.left_out > 0 {
            sources.swap(0, 1);
        }
        let mut reasons = Vec::new();
        for source in sources {
            match source(self, buffer, online) {
                Ok(interrupts) => return Ok(interrupts.continued(before)),
                Err(reason) => reasons.push(reason.to_string()),
            }
        }
        Err(NotKnown::Other(reasons.join("; ")))
    }

    fn is_wanted(&self, number: u32) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&number))
    }

    fn sysfs_counts(&mut self, buffer: &mut Vec<u8>, online: &[u32]) -> Result<Interrupts, NotKnown> {
        let read = self.read_files(buffer, online);
        if !self.is_outdated {
            return read;
        }
        self.list();
        self.read_files(buffer, online)
    }

    fn read_files(&mut self, buffer: &mut Vec<u8>, online: &[u32]) -> Result<Interrupts, NotKnown> {
        let mut counts = Vec::new();
        let mut list = BTreeMap::new();
        let mut reason = NotKnown::Empty { path: self.root.join("sys/kernel/irq") };
        for irq in &mut self.sysfs {
            match irq.counts.read(buffer) {
                Ok(bytes) => per_cpu_count(bytes, &mut counts)
                    .map_err(|reason| NotKnown::Malformed { path: irq.counts.path().to_owned(), reason })?,
                // An interrupt may end while others go on, and others come for it.
                Err(error) => {
                    reason = error;
                    self.is_outdated |= irq.has_been_read;
                    continue;
                }
            }
            irq.has_been_read = true;
            let of_cpu = |cpu: &u32| Some((*cpu, u64::from(*counts.get(*cpu as usize)?)));
            let cpus: Vec<(u32, u64)> = online.iter().filter_map(of_cpu).collect();
            let total = cpus.iter().map(|(_, count)| count).sum();
            list.insert(irq.number, Interrupt { action: irq.action.clone(), cpus, total });
        }
        if list.is_empty() {
            return Err(reason);
        }
        Ok(Interrupts { origin: InterruptOrigin::Sysfs, list, left_out: self.left_out })
    }

    fn table_counts(&mut self, buffer: &mut Vec<u8>, _online: &[u32]) -> Result<Interrupts, NotKnown> {
        let path = self.table.path().to_owned();
        let table = self.table.read(buffer)?;
        let table =
            Table::parse(table).map_err(|reason| NotKnown::Malformed { path: path.clone(), reason })?;
        let Table { cpus, irqs } = table;
        let wanted = irqs.into_iter().filter(|irq| self.is_wanted(irq.number));
        let interrupt = |irq: crate::procfs::interrupts::Irq| {
            let counts: Vec<(u32, u64)> =
                cpus.iter().copied().zip(irq.counts.into_iter().map(u64::from)).collect();
            let total = counts.iter().map(|(_, count)| count).sum();
            (irq.number, Interrupt { action: irq.action, cpus: counts, total })
        };
        let list: BTreeMap<_, _> = wanted.map(interrupt).collect();
        if list.is_empty() {
            return Err(NotKnown::Malformed { path, reason: "has none of the interrupts" });
        }
        Ok(Interrupts { origin: InterruptOrigin::Interrupts, list, left_out: 0 })
    }

    fn totals_only(&mut self, buffer: &mut Vec<u8>, _online: &[u32]) -> Result<Interrupts, NotKnown> {
        let path = self.stat.path().to_owned();
        let totals =
            totals(self.stat.read(buffer)?).map_err(|reason| NotKnown::Malformed { path, reason })?;
        // The kernel says 0 for numbers that nobody uses as well.
        let numbered = (0..).zip(totals).filter(|(number, total)| *total > 0 && self.is_wanted(*number));
        let list: BTreeMap<_, _> =
            numbered.map(|(number, total)| (number, Interrupt { total, ..Interrupt::default() })).collect();
        if list.is_empty() {
            return Err(NotKnown::Malformed {
                path: self.stat.path().to_owned(),
                reason: "counts none of the interrupts",
            });
        }
        Ok(Interrupts { origin: InterruptOrigin::Totals, list, left_out: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_masked_file_is_not_zero_and_the_next_source_is_taken() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path();
        let mut buffer = Vec::new();
        write(root, "proc/stat", "cpu  1\nintr 4294967301 0 10 4294967290\n");
        write(root, "proc/interrupts", "");
        let masked = InterruptReader::new(root, None).read(&mut buffer, &[0, 1], None).unwrap();
        assert_eq!(masked.origin, InterruptOrigin::Totals);
        let total = |total| Interrupt { action: String::new(), cpus: Vec::new(), total };
        assert_eq!(
            masked.list,
            [(1, total(10)), (2, total(4_294_967_290))].into(),
            "0 is also what nobody uses"
        );
        write(root, "proc/stat", "cpu  1\nintr 4294967321 0 10 4\n");
        let wrapped = InterruptReader::new(root, None).read(&mut buffer, &[0, 1], Some(&masked)).unwrap();
        assert_eq!(wrapped.since(&masked), [(1, total(0)), (2, total(10))].into());

        write(root, "proc/interrupts", " CPU0 CPU1\n 2: 15 5 PCI-MSI 0-edge eth0\n");
        write(root, "sys/bus/pci/devices/0000:01:00.0/msi_irqs/2", "msix\n");
        let table =
            InterruptReader::new(root, Some("0000:01:00.0")).read(&mut buffer, &[0, 1], None).unwrap();
        assert_eq!((table.origin, table.list[&2].total), (InterruptOrigin::Interrupts, 20));

        write(root, "sys/kernel/irq/2/per_cpu_count", "15,9,6\n");
        write(root, "sys/kernel/irq/2/actions", "eth0\n");
        let mut reader = InterruptReader::new(root, None);
        let first = reader.read(&mut buffer, &[0, 2], None).unwrap();
        assert_eq!(first.origin, InterruptOrigin::Sysfs);
        assert_eq!(
            first.list[&2],
            Interrupt { action: "eth0".into(), cpus: vec![(0, 15), (2, 6)], total: 21 }
        );
        write(root, "sys/kernel/irq/2/per_cpu_count", "20,9,7\n");
        let second = reader.read(&mut buffer, &[0, 2], Some(&first)).unwrap();
        assert_eq!(second.since(&first)[&2].cpus, [(0, 5), (2, 1)]);
        for online in [&[0, 1][..], &[0], &[0, 1, 2]] {
            let other = reader.read(&mut buffer, online, Some(&second)).unwrap();
            assert_eq!(other.since(&second), BTreeMap::new(), "CPUs came or went");
        }
    }

    #[test]
    fn interrupts_that_come_and_go_are_followed() {
        let tree = tempfile::tempdir().unwrap();
        let (root, mut buffer) = (tree.path(), Vec::new());
        let device = "sys/bus/pci/devices/0000:01:00.0";
        let add = |number: u32| {
            write(root, &format!("{device}/msi_irqs/{number}"), "msix\n");
            write(root, &format!("sys/kernel/irq/{number}/per_cpu_count"), "1,2\n");
        };
        add(40);
        add(41);
        let mut reader = InterruptReader::new(root, Some("0000:01:00.0"));
        let mut numbers = |reader: &mut InterruptReader| {
            let read = reader.read(&mut buffer, &[0, 1], None);
            read.map(|read| read.list.into_keys().collect::<Vec<_>>())
        };
        assert_eq!(numbers(&mut reader), Ok(vec![40, 41]));
        // A driver that is given another number of queues. Files of sysfs end for those who have them open, too.
        let remove = |reader: &mut InterruptReader| {
            fs::remove_dir_all(root.join(device)).unwrap();
            fs::remove_dir_all(root.join("sys/kernel/irq")).unwrap();
            for irq in &mut reader.sysfs {
                irq.counts = KeptFile::new(irq.counts.path().to_owned());
            }
        };
        remove(&mut reader);
        add(41);
        add(50);
        add(51);
        assert_eq!(numbers(&mut reader), Ok(vec![41, 50, 51]));
        remove(&mut reader);
        let error = numbers(&mut reader).unwrap_err().to_string();
        assert!(error.contains("irq") && reader.is_of_device(), "{error}");
        add(60);
        assert_eq!(numbers(&mut reader), Ok(vec![60]), "it is back");
    }

    #[test]
    fn of_too_many_the_highest_are_followed_and_one_file_is_preferred() {
        let tree = tempfile::tempdir().unwrap();
        let (root, mut buffer) = (tree.path(), Vec::new());
        for number in 1..=MOST_IRQS + 3 {
            write(root, &format!("sys/kernel/irq/{number}/per_cpu_count"), "1\n");
        }
        let mut reader = InterruptReader::new(root, None);
        let read = reader.read(&mut buffer, &[0], None).unwrap();
        assert_eq!(
            (read.origin, read.left_out, read.list.keys().next()),
            (InterruptOrigin::Sysfs, 3, Some(&4))
        );
        write(root, "proc/interrupts", " CPU0\n 2: 15 PCI-MSI 0-edge eth0\n");
        let read = reader.read(&mut buffer, &[0], None).unwrap();
        assert_eq!((read.origin, read.left_out), (InterruptOrigin::Interrupts, 0));
    }

    #[test]
    fn what_no_source_tells_has_every_reason() {
        let tree = tempfile::tempdir().unwrap();
        write(tree.path(), "sys/bus/pci/devices/0000:01:00.0/irq", "7\n");
        let error = InterruptReader::new(tree.path(), Some("0000:01:00.0"))
            .read(&mut Vec::new(), &[0], None)
            .unwrap_err();
        for file in ["irq/7/per_cpu_count", "proc/interrupts", "proc/stat"] {
            assert!(error.to_string().contains(file), "{error}");
        }
    }

    #[test]
    fn interrupts_of_an_interface_are_those_of_its_device() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path();
        write(root, "sys/bus/pci/devices/0000:01:00.0/msi_irqs/41", "msix\n");
        write(root, "sys/bus/pci/devices/0000:01:00.0/msi_irqs/9", "msix\n");
        write(root, "sys/bus/pci/devices/0000:02:00.0/irq", "17\n");
        write(root, "sys/bus/pci/devices/0000:03:00.0/irq", "0\n");
        let only = |bus_address| InterruptReader::new(root, bus_address).only;
        assert_eq!(only(Some("0000:01:00.0")), Some(vec![9, 41]));
        assert_eq!(only(Some("0000:02:00.0")), Some(vec![17]));
        for none in [None, Some(""), Some("0000:03:00.0"), Some("../devices/0000:01:00.0"), Some("vmbus_7")] {
            assert_eq!(only(none), None, "{none:?}");
        }
    }
}
