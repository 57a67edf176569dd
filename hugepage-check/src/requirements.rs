//! Requirements of the caller, parsed once into types.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use linerate_hardware::{AddressError, CpuSet, CpuSetError, PciAddress};

/// Bytes in one of EAL's megabytes.
pub const MEGABYTE: u64 = 1 << 20;

/// Functions that must work; the default requires none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirements {
    /// Hugepage memory that must be free for each process.
    pub socket_mem: Option<SocketMem>,
    /// Number of processes that run side by side under the same limits; `None` means one.
    pub processes: Option<NonZeroU32>,
    /// CPUs that the lcores run on.
    pub lcores: Option<CpuSet>,
    /// Highest lcore number; EAL's builds limit these numbers.
    pub highest_lcore: Option<u32>,
    /// PCI devices that a DPDK process must be able to take.
    pub devices: Vec<PciAddress>,
    /// True when a device plugin must have assigned at least one device.
    pub assigned_devices: bool,
    /// Network interfaces of the Linux stack that must be up.
    pub interfaces: Vec<String>,
    /// True when VFIO groups may be opened briefly, which alone proves that no other process holds them. A
    /// process that opens the group in that moment is refused.
    pub may_open_groups: bool,
}

impl Requirements {
    /// Adds one requirement.
    ///
    /// # Errors
    /// [`RequirementError::Twice`] for a second value where only one is possible. A device or an interface
    /// named twice counts once.
    pub fn add(&mut self, requirement: Requirement) -> Result<(), RequirementError> {
        match requirement {
            Requirement::SocketMem(memory) => once(&mut self.socket_mem, memory, "socket-mem"),
            Requirement::Processes(count) => once(&mut self.processes, count, "processes"),
            Requirement::Lcores { cpus, highest } => {
                once(&mut self.lcores, cpus, "lcores")?;
                self.highest_lcore = Some(highest);
                Ok(())
            }
            Requirement::Device(address) => {
                each_once(&mut self.devices, address);
                Ok(())
            }
            Requirement::Interface(name) => {
                each_once(&mut self.interfaces, name);
                Ok(())
            }
        }
    }

    /// Number of processes that run side by side.
    pub fn process_count(&self) -> u32 {
        self.processes.map_or(1, NonZeroU32::get)
    }
}

fn once<T>(place: &mut Option<T>, value: T, key: &'static str) -> Result<(), RequirementError> {
    match place.replace(value) {
        Some(_) => Err(RequirementError::Twice(key)),
        None => Ok(()),
    }
}

fn each_once<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}

/// One `--require KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// `socket-mem=1024` or `socket-mem=1024,1024`.
    SocketMem(SocketMem),
    /// `processes=4`.
    Processes(NonZeroU32),
    /// `lcores=1-3` or `lcores=0@4,1@5`.
    Lcores {
        /// CPUs of the lcores.
        cpus: CpuSet,
        /// Highest lcore number.
        highest: u32,
    },
    /// `device=0000:03:02.0`.
    Device(PciAddress),
    /// `interface=eth0`.
    Interface(String),
}

/// Error: a requirement could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// Not `KEY=VALUE` with a known key.
    #[error("expected socket-mem=MB, processes=N, lcores=LIST, device=ADDRESS or interface=NAME")]
    Unknown,
    /// The value of `socket-mem`.
    #[error(transparent)]
    SocketMem(#[from] SocketMemError),
    /// The value of `processes`.
    #[error("{0:?} is not a number of processes, 1 or more")]
    Processes(String),
    /// The value of `lcores`.
    #[error("{text:?} is not a list of lcores such as 1-3 or 0@4,1@5", text = .0.text)]
    Lcores(#[from] CpuSetError),
    /// The value of `device`.
    #[error(transparent)]
    Device(#[from] AddressError),
    /// The value of `interface`.
    #[error("{0:?} is not the name of a network interface")]
    Interface(String),
    /// A key that takes one value was given more than once.
    #[error("{0} is required twice; give it once, with all that is needed")]
    Twice(&'static str),
}

impl FromStr for Requirement {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some(("socket-mem", value)) => Ok(Self::SocketMem(value.parse()?)),
            Some(("processes", value)) => Ok(Self::Processes(
                value.parse().map_err(|_| RequirementError::Processes(value.chars().take(40).collect()))?,
            )),
            Some(("lcores", value)) => {
                let (cpus, highest) = CpuSet::from_lcores(value)?;
                Ok(Self::Lcores { cpus, highest })
            }
            Some(("device", value)) => Ok(Self::Device(value.parse()?)),
            Some(("interface", value)) => interface(value).map(Self::Interface),
            _ => Err(RequirementError::Unknown),
        }
    }
}

/// The kernel's own rule (`dev_valid_name`): 1 to 15 bytes, no slash, colon or blank, neither `.` nor `..`.
fn interface(name: &str) -> Result<String, RequirementError> {
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if (1..=15).contains(&name.len()) && name != "." && name != ".." && !name.contains(odd) {
        Ok(name.to_owned())
    } else {
        Err(RequirementError::Interface(name.chars().take(40).collect()))
    }
}

/// Hugepage memory in EAL's megabytes (2^20 bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketMem {
    /// Total, on any nodes.
    Total(u64),
    /// Memory on node 0, node 1, …; always two numbers or more.
    PerNode(Vec<u64>),
}

/// Error: the text is not a list of megabytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not socket memory: give megabytes, such as 1024, or one number per NUMA node, such as \
     1024,1024"
)]
pub struct SocketMemError {
    /// The text, at most 40 characters of it.
    pub text: String,
}

impl FromStr for SocketMem {
    type Err = SocketMemError;

    /// # Errors
    /// When the text is not a list of numbers, or the sum is zero or exceeds 2^44 MB.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || SocketMemError { text: text.chars().take(40).collect() };
        let number = |part: &str| part.parse::<u32>().map(u64::from).map_err(|_| error());
        let nodes = text.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
        match nodes.as_slice() {
            _ if nodes.iter().all(|&megabytes| megabytes == 0) => Err(error()),
            _ if nodes.len() > 1024 => Err(error()),
            [total] => Ok(Self::Total(*total)),
            _ => Ok(Self::PerNode(nodes)),
        }
    }
}

impl SocketMem {
    /// The memory of `processes` processes together.
    pub fn times(&self, processes: u32) -> Self {
        let times = |megabytes: &u64| megabytes.saturating_mul(u64::from(processes));
        match self {
            Self::Total(total) => Self::Total(times(total)),
            Self::PerNode(nodes) => Self::PerNode(nodes.iter().map(times).collect()),
        }
    }

    /// Sum over all nodes, in megabytes.
    pub fn total(&self) -> u64 {
        match self {
            Self::Total(total) => *total,
            Self::PerNode(nodes) => nodes.iter().fold(0, |sum, &node| sum.saturating_add(node)),
        }
    }
}

impl fmt::Display for SocketMem {
    /// Formats it as EAL's `--socket-mem` expects.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total(total) => write!(f, "{total}"),
            Self::PerNode(nodes) => {
                let nodes: Vec<_> = nodes.iter().map(u64::to_string).collect();
                f.write_str(&nodes.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_memory_is_a_list_of_megabytes() {
        for (text, parsed) in [
            ("1024", Some(SocketMem::Total(1024))),
            ("1024,1024", Some(SocketMem::PerNode(vec![1024, 1024]))),
            ("0,2048", Some(SocketMem::PerNode(vec![0, 2048]))),
            ("0", None),
            ("0,0", None),
            ("", None),
            ("1024,", None),
            ("1G", None),
            ("-1", None),
            ("99999999999", None),
        ] {
            assert_eq!(text.parse().ok(), parsed, "{text:?}");
        }
    }

    #[test]
    fn requirements_are_keys_and_values() {
        for text in [
            "socket-mem=64",
            "socket-mem=64,0",
            "device=03:02.0",
            "lcores=1-3",
            "lcores=0@4",
            "processes=2",
            "interface=eth0",
        ] {
            assert!(text.parse::<Requirement>().is_ok(), "{text}");
        }
        for text in [
            "",
            "socket-mem",
            "device=",
            "device=eth0",
            "hugepages=4",
            "socket-mem=four",
            "lcores=",
            "lcores=all",
            "processes=0",
            "processes=-1",
            "interface=",
            "interface=..",
            "interface=a/b",
            "interface=sixteen-letters-",
        ] {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_device_counts_once_and_memory_is_given_once() {
        let mut wanted = Requirements::default();
        for _ in 0..2 {
            wanted.add("device=03:02.0".parse().unwrap()).unwrap();
        }
        assert_eq!(wanted.devices.len(), 1);
        wanted.add("socket-mem=1".parse().unwrap()).unwrap();
        assert_eq!(wanted.add("socket-mem=2".parse().unwrap()), Err(RequirementError::Twice("socket-mem")));
    }
}
