//! What the caller needs, parsed once into types.

use std::fmt;
use std::str::FromStr;

use crate::address::{AddressError, PciAddress};

/// Bytes in one of EAL's megabytes.
pub const MEGABYTE: u64 = 1 << 20;

/// What must work; the default requires nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirements {
    /// Hugepage memory that must be free.
    pub socket_mem: Option<SocketMem>,
    /// PCI devices that a DPDK process must be able to take.
    pub devices: Vec<PciAddress>,
}

impl Requirements {
    /// Adds one requirement.
    ///
    /// # Errors
    /// [`RequirementError::Twice`] for a second `socket-mem`. A device named twice counts once.
    pub fn add(&mut self, requirement: Requirement) -> Result<(), RequirementError> {
        match requirement {
            Requirement::SocketMem(_) if self.socket_mem.is_some() => Err(RequirementError::Twice),
            Requirement::SocketMem(memory) => {
                self.socket_mem = Some(memory);
                Ok(())
            }
            Requirement::Device(address) => {
                if !self.devices.contains(&address) {
                    self.devices.push(address);
                }
                Ok(())
            }
        }
    }
}

/// One `--require KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// `socket-mem=1024` or `socket-mem=1024,1024`.
    SocketMem(SocketMem),
    /// `device=0000:03:02.0`.
    Device(PciAddress),
}

/// Why a requirement was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// Not `KEY=VALUE` with a known key.
    #[error("expected socket-mem=MB or device=ADDRESS")]
    Unknown,
    /// The value of `socket-mem`.
    #[error(transparent)]
    SocketMem(#[from] SocketMemError),
    /// The value of `device`.
    #[error(transparent)]
    Device(#[from] AddressError),
    /// `socket-mem` was given more than once.
    #[error("socket-mem is required twice; give one list, such as socket-mem=1024,1024")]
    Twice,
}

impl FromStr for Requirement {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some(("socket-mem", value)) => Ok(Self::SocketMem(value.parse()?)),
            Some(("device", value)) => Ok(Self::Device(value.parse()?)),
            _ => Err(RequirementError::Unknown),
        }
    }
}

/// Hugepage memory in EAL's megabytes (2^20 bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketMem {
    /// So much in all, on whatever node.
    Total(u64),
    /// So much on node 0, node 1, …; always two or more.
    PerNode(Vec<u64>),
}

/// The text is not a list of megabytes.
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
    /// Not a list of numbers, a sum of zero, or a sum beyond 2^44 MB.
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

impl fmt::Display for SocketMem {
    /// As EAL's `--socket-mem` takes it.
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
        for text in ["socket-mem=64", "socket-mem=64,0", "device=03:02.0"] {
            assert!(text.parse::<Requirement>().is_ok(), "{text}");
        }
        for text in ["", "socket-mem", "device=", "device=eth0", "hugepages=4", "socket-mem=four"] {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_device_counts_once_and_memory_is_said_once() {
        let mut wanted = Requirements::default();
        for _ in 0..2 {
            wanted.add("device=03:02.0".parse().unwrap()).unwrap();
        }
        assert_eq!(wanted.devices.len(), 1);
        wanted.add("socket-mem=1".parse().unwrap()).unwrap();
        assert_eq!(wanted.add("socket-mem=2".parse().unwrap()), Err(RequirementError::Twice));
    }
}
