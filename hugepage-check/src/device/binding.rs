//! Check: DPDK can take a device from its present driver.

use super::{DeviceFacts, DriverKind, driver_kind};
use crate::check::{Check, Topic, Verdict};
use crate::finding::{DeviceFinding, DeviceState};
use crate::root::{Access, ReadError};
use crate::vfio::{self, VFIO_PCI};

const TOPIC: Topic = Topic {
    id: "device.binding",
    title: "Device",
    why: "EAL says nothing about an allowed PCI address that it cannot take; it only finds no ports in the \
          end.",
};

/// Drivers besides VFIO's that do not use the memory of a group, so that the group stays viable.
const HARMLESS_DRIVERS: &[&str] = &["pci-stub", "pcieport", "xen-pciback"];

/// The check `device.binding`.
pub(crate) fn check(facts: &DeviceFacts, required: bool) -> Check {
    let finding = finding(facts);
    let cause = finding.cause();
    let verdict = match (&finding.state, finding.remedy()) {
        (DeviceState::Unknown(error), _) => Verdict::unknown(error),
        (DeviceState::Uio { .. }, Some(remedy)) => Verdict::warn(cause, remedy),
        (_, Some(remedy)) => Verdict::fault(required, cause, remedy),
        (_, None) => Verdict::pass(cause),
    };
    verdict.on(&TOPIC, required, facts.evidence.clone()).about(finding.address)
}

/// The device and its state.
pub(super) fn finding(facts: &DeviceFacts) -> DeviceFinding {
    let state = decide(facts).unwrap_or_else(DeviceState::Unknown);
    DeviceFinding { address: facts.address.to_string(), state }
}

/// The first problem to solve, in the order of the solutions: an IOMMU before VFIO, VFIO before the
/// binding, the binding before permissions. Reads no fact before it is needed, so that an unreadable one
/// does not hide a known cause.
fn decide(facts: &DeviceFacts) -> Result<DeviceState, ReadError> {
    if !facts.present.clone()? {
        return Ok(DeviceState::Absent);
    }
    let driver = facts.driver.clone()?;
    match (driver_kind(driver.as_deref()), driver.clone()) {
        (DriverKind::Uio, Some(driver)) => return Ok(DeviceState::Uio { driver }),
        (DriverKind::Sharing, Some(driver)) if facts.has_verbs.clone()? => {
            return Ok(DeviceState::Ready { driver });
        }
        (DriverKind::Sharing, Some(driver)) => return Ok(DeviceState::NoVerbs { driver }),
        _ => {}
    }
    let group = facts.group.clone()?;
    if group.is_none() && !facts.has_fake_mode.clone()? {
        return Ok(DeviceState::NoIommuGroup { driver });
    }
    if driver.as_deref() != Some(VFIO_PCI) {
        if !facts.has_vfio_driver.clone()? {
            return Ok(DeviceState::NoVfioDriver { driver });
        }
        let interfaces = facts.interfaces.clone();
        return Ok(
            driver.map_or(DeviceState::NoDriver, |name| DeviceState::KernelDriver { name, interfaces })
        );
    }
    // vfio-pci took the device without a group before no-IOMMU mode was turned on.
    let Some(group) = group else {
        return Ok(DeviceState::NoIommuGroup { driver });
    };
    if !group.is_fake && !facts.has_type1.clone()? {
        return Ok(DeviceState::NoIommuType1);
    }
    let foreign: Vec<_> = group.members.into_iter().filter(|member| !is_harmless(&member.driver)).collect();
    if !foreign.is_empty() {
        return Ok(DeviceState::GroupNotViable { foreign });
    }
    for (path, access) in [(vfio::CONTAINER, facts.container.clone()?), (&group.file, group.access)] {
        let path = path.to_owned();
        match access {
            Access::Granted => {}
            Access::Denied => return Ok(DeviceState::NoPermission { path, user: facts.user }),
            Access::Missing => return Ok(DeviceState::NoDeviceFile { path }),
        }
    }
    Ok(DeviceState::Ready { driver: VFIO_PCI.to_owned() })
}

// Vendors' VFIO drivers have names such as mlx5_vfio_pci and nvgrace-gpu-vfio-pci.
fn is_harmless(driver: &str) -> bool {
    HARMLESS_DRIVERS.contains(&driver) || driver.replace('_', "-").ends_with(VFIO_PCI)
}

#[cfg(test)]
mod tests {
    use super::super::Group;
    use super::*;
    use crate::finding::GroupMember;
    use crate::root::Reason;

    fn unreadable() -> ReadError {
        ReadError { path: "/sys/x".into(), reason: Reason::Denied }
    }

    fn member(address: &str, driver: &str) -> GroupMember {
        GroupMember { address: address.to_owned(), driver: driver.to_owned() }
    }

    /// A device that DPDK can take.
    fn good() -> DeviceFacts {
        DeviceFacts {
            address: "0000:03:02.0".parse().unwrap(),
            present: Ok(true),
            driver: Ok(Some(VFIO_PCI.to_owned())),
            interfaces: vec!["eth7".to_owned()],
            has_verbs: Ok(false),
            group: Ok(Some(Group {
                is_fake: false,
                members: vec![member("0000:03:02.0", VFIO_PCI), member("0000:00:01.0", "pcieport")],
                file: "/dev/vfio/6".to_owned(),
                access: Access::Granted,
            })),
            has_fake_mode: Ok(false),
            has_vfio_driver: Ok(true),
            has_type1: Ok(true),
            container: Ok(Access::Granted),
            user: 1000,
            evidence: Vec::new(),
        }
    }

    fn with(change: impl FnOnce(&mut DeviceFacts)) -> DeviceFacts {
        let mut facts = good();
        change(&mut facts);
        facts
    }

    fn with_group(change: impl FnOnce(&mut Group)) -> DeviceFacts {
        with(|facts| {
            if let Ok(Some(group)) = &mut facts.group {
                change(group);
            }
        })
    }

    fn on(driver: &str) -> DeviceFacts {
        with(|facts| facts.driver = Ok(Some(driver.to_owned())))
    }

    #[test]
    fn each_fault_has_its_own_finding() {
        let igbvf = || "igbvf".to_owned();
        let file = || "/dev/vfio/6".to_owned();
        for (facts, state) in [
            (good(), DeviceState::Ready { driver: VFIO_PCI.to_owned() }),
            (with(|facts| facts.present = Ok(false)), DeviceState::Absent),
            (with(|facts| facts.driver = Ok(None)), DeviceState::NoDriver),
            (on("igbvf"), DeviceState::KernelDriver { name: igbvf(), interfaces: vec!["eth7".to_owned()] }),
            (
                with(|facts| facts.group = Ok(None)),
                DeviceState::NoIommuGroup { driver: Some(VFIO_PCI.to_owned()) },
            ),
            (
                with(|facts| {
                    facts.driver = Ok(Some(igbvf()));
                    facts.has_vfio_driver = Ok(false);
                }),
                DeviceState::NoVfioDriver { driver: Some(igbvf()) },
            ),
            (with(|facts| facts.has_type1 = Ok(false)), DeviceState::NoIommuType1),
            (
                with_group(|group| group.members.push(member("0000:03:00.0", "igb"))),
                DeviceState::GroupNotViable { foreign: vec![member("0000:03:00.0", "igb")] },
            ),
            (
                with_group(|group| group.access = Access::Denied),
                DeviceState::NoPermission { path: file(), user: 1000 },
            ),
            (with_group(|group| group.access = Access::Missing), DeviceState::NoDeviceFile { path: file() }),
            (
                with(|facts| facts.container = Ok(Access::Missing)),
                DeviceState::NoDeviceFile { path: "/dev/vfio/vfio".to_owned() },
            ),
            (on("uio_pci_generic"), DeviceState::Uio { driver: "uio_pci_generic".to_owned() }),
            (on("mlx5_core"), DeviceState::NoVerbs { driver: "mlx5_core".to_owned() }),
        ] {
            assert_eq!(decide(&facts), Ok(state));
        }
    }

    #[test]
    fn a_mellanox_port_needs_neither_vfio_nor_an_iommu() {
        let facts = with(|facts| {
            facts.driver = Ok(Some("mlx5_core".to_owned()));
            facts.has_verbs = Ok(true);
            facts.group = Ok(None);
            facts.has_vfio_driver = Ok(false);
        });
        assert_eq!(decide(&facts), Ok(DeviceState::Ready { driver: "mlx5_core".to_owned() }));
        assert!(!facts.needs_vfio() && !facts.needs_iommu());
    }

    #[test]
    fn no_iommu_mode_needs_no_iommu_module() {
        let mut facts = with_group(|group| group.is_fake = true);
        facts.has_type1 = Ok(false);
        assert_eq!(decide(&facts), Ok(DeviceState::Ready { driver: VFIO_PCI.to_owned() }));
        assert!(facts.needs_vfio() && !facts.needs_iommu());
    }

    #[test]
    fn with_no_iommu_mode_turned_on_the_binding_is_next() {
        let mut facts = on("ena");
        facts.group = Ok(None);
        facts.has_fake_mode = Ok(true);
        assert!(matches!(decide(&facts), Ok(DeviceState::KernelDriver { .. })));
        assert!(!facts.needs_iommu());
    }

    #[test]
    fn an_unreadable_fact_matters_only_when_it_decides() {
        let hidden = with(|facts| {
            facts.driver = Ok(Some("igbvf".to_owned()));
            facts.has_type1 = Err(unreadable());
            facts.container = Err(unreadable());
        });
        assert!(matches!(decide(&hidden), Ok(DeviceState::KernelDriver { .. })));
        assert_eq!(decide(&with(|facts| facts.has_type1 = Err(unreadable()))), Err(unreadable()));
        assert_eq!(decide(&with(|facts| facts.present = Err(unreadable()))), Err(unreadable()));
    }

    #[test]
    fn vfio_drivers_of_vendors_do_not_spoil_a_group() {
        for (driver, harmless) in [
            ("vfio-pci", true),
            ("mlx5_vfio_pci", true),
            ("nvgrace-gpu-vfio-pci", true),
            ("pcieport", true),
            ("igb", false),
            ("uio_pci_generic", false),
        ] {
            assert_eq!(is_harmless(driver), harmless, "{driver}");
        }
    }
}
