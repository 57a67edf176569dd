//! Interrupts per number and CPU, from the best source that is readable.
//!
//! Container runtimes mask `/proc/interrupts` since 2025; `/sys/kernel/irq` has the same counts. Where both
//! are hidden, `/proc/stat` still has the totals of each number.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::NotKnown;
use crate::counter::widen;
use crate::procfs::interrupts::{Table, per_cpu_count, totals};
use crate::source::KeptFile;

/// Most interrupts that are followed in sysfs, a file each.
const MOST_IRQS: usize = 512;

/// Where counts of interrupts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `/sys/kernel/irq/N/per_cpu_count`.
    Sysfs,
    /// `/proc/interrupts`.
    Interrupts,
    /// The line `intr` of `/proc/stat`: without CPUs.
    Totals,
}

impl Origin {
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
    pub origin: Origin,
    /// The interrupts.
    pub list: BTreeMap<u32, Interrupt>,
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
            if !irq.cpus.is_empty() {
                irq.total = irq.cpus.iter().map(|(_, count)| count).sum();
            }
        }
        self
    }

    /// Each interrupt's counts since `then`. Interrupts that are new, or whose counts were set back, are left
    /// out.
    pub fn since(&self, then: &Self) -> BTreeMap<u32, Interrupt> {
        let difference = |now: &Interrupt, then: &Interrupt| {
            let pairs = now.cpus.iter().zip(&then.cpus);
            let cpus = pairs.map(|((cpu, now), (_, then))| Some((*cpu, now.checked_sub(*then)?)));
            let (cpus, total) = (cpus.collect::<Option<_>>()?, now.total.checked_sub(then.total)?);
            Some(Interrupt { action: now.action.clone(), cpus, total })
        };
        let both = self.list.iter().filter_map(|(number, now)| Some((*number, now, then.list.get(number)?)));
        both.filter_map(|(number, now, then)| Some((number, difference(now, then)?))).collect()
    }
}

/// Numbers of the interrupts of an interface's device; `None` when it has no device, as virtual interfaces.
pub fn of_interface(root: &Path, interface: &str) -> Option<Vec<u32>> {
    let device = root.join("sys/class/net").join(interface).join("device");
    // The device of a virtio interface is a child of the PCI device.
    let numbers = [device.join("msi_irqs"), device.join("../msi_irqs")].into_iter().find_map(|directory| {
        let names =
            fs::read_dir(directory).ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut numbers: Vec<u32> = names.collect();
        numbers.sort_unstable();
        (!numbers.is_empty()).then_some(numbers)
    });
    numbers.or_else(|| Some(vec![fs::read_to_string(device.join("irq")).ok()?.trim().parse().ok()?]))
}

/// A file of sysfs for each interrupt.
#[derive(Debug)]
struct SysfsIrq {
    number: u32,
    action: String,
    counts: KeptFile,
}

/// Reader of interrupts.
#[derive(Debug)]
pub struct Reader {
    root: PathBuf,
    only: Option<Vec<u32>>,
    sysfs: Vec<SysfsIrq>,
    table: KeptFile,
    stat: KeptFile,
}

impl Reader {
    /// Reads the interrupts of these numbers, or all.
    pub fn new(root: &Path, only: Option<Vec<u32>>) -> Self {
        let mut numbers = only.clone().unwrap_or_else(|| all(root));
        numbers.truncate(MOST_IRQS);
        let irq = |number: u32| {
            let directory = root.join("sys/kernel/irq").join(number.to_string());
            let action = fs::read_to_string(directory.join("actions")).unwrap_or_default();
            let counts = KeptFile::new(directory.join("per_cpu_count"));
            SysfsIrq { number, action: action.trim().replace(',', ", "), counts }
        };
        Self {
            root: root.to_owned(),
            only,
            sysfs: numbers.into_iter().map(irq).collect(),
            table: KeptFile::new(root.join("proc/interrupts")),
            stat: KeptFile::new(root.join("proc/stat")),
        }
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
        let mut reasons = Vec::new();
        for source in [Self::sysfs_counts, Self::table_counts, Self::totals_only] {
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
        let mut counts = Vec::new();
        let mut list = BTreeMap::new();
        let directory = self.root.join("sys/kernel/irq");
        let mut reason = NotKnown::Empty { path: directory };
        for irq in &mut self.sysfs {
            let path = irq.counts.path().to_owned();
            let parsed = irq.counts.read(buffer).and_then(|bytes| {
                per_cpu_count(bytes, &mut counts).map_err(|reason| NotKnown::Malformed { path, reason })
            });
            // An interrupt may end while others go on.
            if let Err(error) = parsed {
                reason = error;
                continue;
            }
            let of_cpu = |cpu: &u32| Some((*cpu, u64::from(*counts.get(*cpu as usize)?)));
            let cpus: Vec<(u32, u64)> = online.iter().filter_map(of_cpu).collect();
            let total = cpus.iter().map(|(_, count)| count).sum();
            list.insert(irq.number, Interrupt { action: irq.action.clone(), cpus, total });
        }
        if list.is_empty() { Err(reason) } else { Ok(Interrupts { origin: Origin::Sysfs, list }) }
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
        Ok(Interrupts { origin: Origin::Interrupts, list })
    }

    fn totals_only(&mut self, buffer: &mut Vec<u8>, _online: &[u32]) -> Result<Interrupts, NotKnown> {
        let path = self.stat.path().to_owned();
        let totals =
            totals(self.stat.read(buffer)?).map_err(|reason| NotKnown::Malformed { path, reason })?;
        let numbered = (0..).zip(totals).filter(|(number, _)| self.is_wanted(*number));
        let list = numbered.map(|(number, total)| (number, Interrupt { total, ..Interrupt::default() }));
        Ok(Interrupts { origin: Origin::Totals, list: list.collect() })
    }
}

fn all(root: &Path) -> Vec<u32> {
    let entries = fs::read_dir(root.join("sys/kernel/irq")).into_iter().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
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
        write(root, "proc/stat", "cpu  1\nintr 30 0 10 20\n");
        write(root, "proc/interrupts", "");
        let masked = Reader::new(root, None).read(&mut buffer, &[0, 1], None).unwrap();
        assert_eq!(masked.origin, Origin::Totals);
        assert_eq!(masked.list[&2], Interrupt { action: String::new(), cpus: Vec::new(), total: 20 });

        write(root, "proc/interrupts", " CPU0 CPU1\n 2: 15 5 PCI-MSI 0-edge eth0\n");
        let table = Reader::new(root, Some(vec![2])).read(&mut buffer, &[0, 1], None).unwrap();
        assert_eq!((table.origin, table.list[&2].total), (Origin::Interrupts, 20));

        write(root, "sys/kernel/irq/2/per_cpu_count", "15,9,6\n");
        write(root, "sys/kernel/irq/2/actions", "eth0\n");
        let mut reader = Reader::new(root, None);
        let first = reader.read(&mut buffer, &[0, 2], None).unwrap();
        assert_eq!(first.origin, Origin::Sysfs);
        assert_eq!(
            first.list[&2],
            Interrupt { action: "eth0".into(), cpus: vec![(0, 15), (2, 6)], total: 21 }
        );
        write(root, "sys/kernel/irq/2/per_cpu_count", "20,9,7\n");
        let second = reader.read(&mut buffer, &[0, 2], Some(&first)).unwrap();
        assert_eq!(second.since(&first)[&2].cpus, [(0, 5), (2, 1)]);
    }

    #[test]
    fn what_no_source_tells_has_every_reason() {
        let tree = tempfile::tempdir().unwrap();
        let error = Reader::new(tree.path(), Some(vec![7])).read(&mut Vec::new(), &[0], None).unwrap_err();
        for file in ["irq/7/per_cpu_count", "proc/interrupts", "proc/stat"] {
            assert!(error.to_string().contains(file), "{error}");
        }
    }

    #[test]
    fn interrupts_of_an_interface_are_those_of_its_device() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path();
        assert_eq!(of_interface(root, "veth0"), None);
        write(root, "sys/class/net/eth0/device/msi_irqs/41", "msix\n");
        write(root, "sys/class/net/eth0/device/msi_irqs/9", "msix\n");
        assert_eq!(of_interface(root, "eth0"), Some(vec![9, 41]));
        write(root, "sys/class/net/old0/device/irq", "17\n");
        assert_eq!(of_interface(root, "old0"), Some(vec![17]));
    }
}
