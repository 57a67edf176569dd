//! Input of the checks: the root, the requirements, and the facts that several checks share.

use linerate_hardware::{CpuSet, PciAddress};

use crate::check::Check;
use crate::device::function::{self, Function};
use crate::device::{self, DeviceFacts};
use crate::environment::Environment;
use crate::hugepages::{self, Survey};
use crate::mounts::{self, Mounts};
use crate::requirements::Requirements;
use crate::root::{ReadError, Root};

/// One check. It returns no result when it does not apply, and several when it has several subjects.
pub type CheckFn = fn(&Scene<'_>) -> Vec<Check>;

/// Input of a check.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Access to the files.
    pub root: &'a Root,
    /// The requirements.
    pub wanted: &'a Requirements,
    /// The variables of device plugins.
    pub environment: &'a Environment,
    /// The hugepages.
    pub survey: Survey,
    /// The hugetlbfs mounts.
    pub mounts: Result<Mounts, ReadError>,
    /// The required devices.
    pub devices: Vec<DeviceFacts>,
    /// Devices that a device plugin assigned but that are not required.
    pub assigned: Vec<DeviceFacts>,
    /// Every network function on the PCI bus, each with its own read error.
    pub functions: Result<Vec<Result<Function, ReadError>>, ReadError>,
    /// The CPUs that this process may run on.
    pub allowed: Result<CpuSet, ReadError>,
}

impl<'a> Scene<'a> {
    /// Reads the shared facts.
    pub fn read(root: &'a Root, wanted: &'a Requirements, environment: &'a Environment) -> Self {
        let gather = |address: &PciAddress| device::gather(root, address);
        let others = environment.devices().into_iter().filter(|address| !wanted.devices.contains(address));
        Self {
            root,
            wanted,
            environment,
            survey: hugepages::survey(root),
            mounts: mounts::read(root),
            devices: wanted.devices.iter().map(gather).collect(),
            assigned: others.map(|address| gather(&address)).collect(),
            functions: function::read_all(root),
            allowed: crate::cpu::read_allowed(root),
        }
    }

    /// True when DPDK must take a required device through VFIO.
    pub fn needs_vfio(&self) -> bool {
        self.devices.iter().any(DeviceFacts::needs_vfio)
    }

    /// True when a required device needs an IOMMU.
    pub fn needs_iommu(&self) -> bool {
        self.devices.iter().any(DeviceFacts::needs_iommu)
    }

    /// The relevant CPUs: those of the required lcores, or else all allowed ones.
    ///
    /// # Errors
    /// When no lcores are required and the allowed CPUs are unknown.
    pub fn cpus(&self) -> Result<&CpuSet, ReadError> {
        match (&self.wanted.lcores, &self.allowed) {
            (Some(lcores), _) => Ok(lcores),
            (None, Ok(allowed)) => Ok(allowed),
            (None, Err(error)) => Err(error.clone()),
        }
    }
}
