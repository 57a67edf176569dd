//! CPUs and PCI devices of a machine, in the notations of the kernel and of EAL. Pure.

mod cpu_set;
mod pci_address;

pub use cpu_set::{CpuSet, CpuSetError};
pub use pci_address::{AddressError, PciAddress};
