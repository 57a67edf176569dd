//! VFIO: the kernel modules and the device file through which DPDK takes PCI devices.
//!
//! Source: `/sys/bus/pci/drivers`, `/sys/module` and `/dev/vfio`, described in the kernel's
//! `Documentation/driver-api/vfio.rst`.

pub(crate) mod busy;
pub(crate) mod memlock;
pub(crate) mod no_iommu;

use crate::check::{Check, Evidence, Remedy, Topic, Verdict};
use crate::root::{Access, ReadError, Root};

/// The driver that DPDK uses with an IOMMU.
pub(crate) const VFIO_PCI: &str = "vfio-pci";
/// The file through which every VFIO group is opened.
pub(crate) const CONTAINER: &str = "/dev/vfio/vfio";
const DRIVERS: &str = "/sys/bus/pci/drivers";
const MODULES: &str = "/sys/module";
const TYPE1: &str = "vfio_iommu_type1";

const DRIVER_TOPIC: Topic = Topic {
    id: "vfio.driver",
    title: "vfio-pci driver",
    why: "DPDK takes a PCI device from the driver vfio-pci. While the driver is not there nothing can be \
          bound to it, and EAL passes over every device without a word.",
};
const TYPE1_TOPIC: Topic = Topic {
    id: "vfio.iommu-type1",
    title: "VFIO IOMMU module",
    why: "VFIO maps DPDK's memory for the device through this module. Without it a device is found and \
          then refused.",
};
const CONTAINER_TOPIC: Topic = Topic {
    id: "vfio.container",
    title: "/dev/vfio/vfio",
    why: "EAL opens this file, for reading and writing, before any group of devices.",
};

/// The checks `vfio.driver`, `vfio.iommu-type1` and `vfio.container`.
///
/// `required`: a device must be taken through VFIO; `iommu_required`: it also needs an IOMMU.
pub fn checks(root: &Root, required: bool, iommu_required: bool) -> [Check; 3] {
    [
        presence(root, DRIVERS, VFIO_PCI, has_driver(root), required).on(&DRIVER_TOPIC, required),
        presence(root, MODULES, TYPE1, has_type1(root), iommu_required).on(&TYPE1_TOPIC, iommu_required),
        container(root, required),
    ]
}

/// True when vfio-pci is registered as a PCI driver.
pub(crate) fn has_driver(root: &Root) -> Result<bool, ReadError> {
    root.contains(DRIVERS, VFIO_PCI)
}

/// True when the IOMMU module for memory mapping is present, loaded or built in.
pub(crate) fn has_type1(root: &Root) -> Result<bool, ReadError> {
    root.contains(MODULES, TYPE1)
}

/// Access to [`CONTAINER`]; an absent `/dev/vfio` is an absent file.
pub(crate) fn container_access(root: &Root) -> Result<Access, ReadError> {
    // Checked first, so that a tree without /dev is unknown rather than without VFIO.
    if root.contains("/dev", "vfio")? { root.access(CONTAINER) } else { Ok(Access::Missing) }
}

/// Access to a device file, in words for the evidence.
pub(crate) fn access_words(access: Access) -> &'static str {
    match access {
        Access::Granted => "readable and writable by this user",
        Access::Denied => "not readable and writable by this user",
        Access::Missing => "not there",
    }
}

/// Remedy that loads the driver or the IOMMU module.
pub(crate) fn load(module: &str) -> Remedy {
    let now = format!("modprobe {module}");
    let always = format!("echo {module} > /etc/modules-load.d/{module}.conf");
    Remedy::type_in([now, always])
        .note("The second line loads it after a reboot, too. Without such a module the kernel has no VFIO.")
}

struct Presence {
    verdict: Verdict,
    evidence: Evidence,
}

impl Presence {
    fn on(self, topic: &Topic, required: bool) -> Check {
        self.verdict.on(topic, required, vec![self.evidence])
    }
}

fn presence(root: &Root, dir: &str, name: &str, found: Result<bool, ReadError>, required: bool) -> Presence {
    let path = format!("{dir}/{name}");
    match found {
        Ok(true) => {
            Presence { verdict: Verdict::pass("present"), evidence: Evidence::new(root, &path, "present") }
        }
        Ok(false) => Presence {
            verdict: Verdict::fault(required, format!("not there{}", needless(required)), load(name)),
            evidence: Evidence::new(root, &path, "not there"),
        },
        Err(error) => Presence { verdict: Verdict::unknown(&error), evidence: Evidence::from(&error) },
    }
}

fn container(root: &Root, required: bool) -> Check {
    let access = container_access(root);
    let (verdict, evidence) = match &access {
        Ok(access) => {
            (decide_container(*access, required), Evidence::new(root, CONTAINER, access_words(*access)))
        }
        Err(error) => (Verdict::unknown(error), Evidence::from(error)),
    };
    verdict.on(&CONTAINER_TOPIC, required, vec![evidence])
}

fn decide_container(access: Access, required: bool) -> Verdict {
    match access {
        Access::Granted => Verdict::pass("present, readable and writable"),
        Access::Denied => Verdict::fault(
            required,
            "permission denied",
            Remedy::type_in([format!("chmod 0666 {CONTAINER}")])
                .note("The file gives access to no device by itself; each group has a file of its own."),
        ),
        Access::Missing => Verdict::fault(
            required,
            format!("not there{}", needless(required)),
            Remedy::type_in(["modprobe vfio-pci"]).note(
                "In a container, the file has to be passed in: --device /dev/vfio, or a device \
                 plugin's resource.",
            ),
        ),
    }
}

fn needless(required: bool) -> &'static str {
    if required { "" } else { "; only devices on vfio-pci need it" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn the_container_file_must_be_there_and_open() {
        for (access, required, status) in [
            (Access::Granted, true, Status::Pass),
            (Access::Granted, false, Status::Pass),
            (Access::Denied, true, Status::Fail),
            (Access::Denied, false, Status::Warn),
            (Access::Missing, true, Status::Fail),
            (Access::Missing, false, Status::Warn),
        ] {
            assert_eq!(decide_container(access, required).status, status, "{access:?} {required}");
        }
    }
}
