//! One PCI device: can DPDK take it, and if not, why not?
//!
//! EAL says the same about a wrong address, a device without a driver and one on a kernel driver: nothing.
//! This module reads what tells them apart. Source: `/sys/bus/pci/devices/<address>` (kernel
//! `Documentation/ABI/testing/sysfs-bus-pci`), `/sys/kernel/iommu_groups` and `/dev/vfio`.

use crate::address::PciAddress;
use crate::check::{Check, Evidence, Topic, Verdict};
use crate::finding::{DeviceFinding, DeviceState, GroupMember};
use crate::iommu;
use crate::root::{Access, ReadError, Root};
use crate::scene::CheckFn;
use crate::vfio;

pub mod function;
mod pcie;
mod plugin;
mod rdma;
mod vf;

/// The checks of this group.
pub(crate) const CHECKS: &[CheckFn] = &[
    function::check,
    |scene| scene.devices.iter().map(|facts| check(facts, true)).collect(),
    |scene| scene.assigned.iter().map(|facts| check(facts, false)).collect(),
    vf::check,
    rdma::check,
    pcie::check,
    plugin::check,
];

const DEVICES: &str = "/sys/bus/pci/devices";

const TOPIC: Topic = Topic {
    id: "device.binding",
    title: "Device",
    why: "EAL says nothing about an allowed PCI address that it cannot take; it only finds no ports in the \
          end.",
};

/// The driver DPDK works with, behind an IOMMU.
pub(crate) const VFIO_PCI: &str = "vfio-pci";

/// Drivers that DPDK works with beside VFIO, without an IOMMU.
const UIO_DRIVERS: &[&str] = &["igb_uio", "uio_pci_generic"];

/// Drivers that keep the device while DPDK uses its queues through rdma-core.
const SHARING_DRIVERS: &[&str] = &["mlx4_core", "mlx5_core", "mana"];

/// Drivers beside VFIO's that leave the memory of a group alone, so that the group stays viable.
const HARMLESS_DRIVERS: &[&str] = &["pci-stub", "pcieport", "xen-pciback"];

/// How DPDK reaches a device on a given driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Vfio,
    Uio,
    Sharing,
    None,
}

fn way(driver: Option<&str>) -> Way {
    match driver {
        Some(VFIO_PCI) => Way::Vfio,
        Some(driver) if UIO_DRIVERS.contains(&driver) => Way::Uio,
        Some(driver) if SHARING_DRIVERS.contains(&driver) => Way::Sharing,
        _ => Way::None,
    }
}

/// What was read about one device; each fact may be unreadable by itself.
#[derive(Debug, Clone)]
pub struct DeviceFacts {
    address: PciAddress,
    present: Result<bool, ReadError>,
    driver: Result<Option<String>, ReadError>,
    interfaces: Vec<String>,
    has_verbs: Result<bool, ReadError>,
    group: Result<Option<Group>, ReadError>,
    has_fake_mode: Result<bool, ReadError>,
    has_vfio_driver: Result<bool, ReadError>,
    has_type1: Result<bool, ReadError>,
    container: Result<Access, ReadError>,
    user: u32,
    evidence: Vec<Evidence>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    is_fake: bool,
    members: Vec<GroupMember>,
    file: String,
    access: Access,
}

impl DeviceFacts {
    /// The device's address.
    pub fn address(&self) -> &PciAddress {
        &self.address
    }

    /// The file of the device's VFIO group, when the device is on vfio-pci, and whether this user may open it.
    pub(crate) fn group_file(&self) -> Option<(&str, Access)> {
        let is_bound = matches!(&self.driver, Ok(Some(driver)) if driver == VFIO_PCI);
        let group = self.group.as_ref().ok()?.as_ref().filter(|_| is_bound)?;
        Some((&group.file, group.access))
    }

    /// Whether the device's driver shares it with DPDK; its RDMA half is loaded.
    pub(crate) fn is_shared(&self) -> bool {
        let driver = self.driver.as_ref().ok().and_then(Option::as_deref);
        self.has_verbs == Ok(true) && way(driver) == Way::Sharing
    }

    /// Whether the device has to be taken through VFIO, as far as is known.
    pub fn needs_vfio(&self) -> bool {
        let driver = self.driver.as_ref().ok().and_then(Option::as_deref);
        !matches!(way(driver), Way::Uio | Way::Sharing)
    }

    /// Whether the device also needs an IOMMU: not in VFIO's no-IOMMU mode.
    pub fn needs_iommu(&self) -> bool {
        let is_fake = match &self.group {
            Ok(Some(group)) => group.is_fake,
            Ok(None) => self.has_fake_mode == Ok(true),
            Err(_) => false,
        };
        self.needs_vfio() && !is_fake
    }
}

/// Why DPDK can or cannot take the device at `address` (`0000:03:02.0` or `03:02.0`). Never fails: a bad
/// address and an unreadable file are findings, too.
pub fn explain(root: &Root, address: &str) -> DeviceFinding {
    match address.parse() {
        Ok(address) => finding(&gather(root, &address)),
        Err(error) => DeviceFinding { address: error.text.clone(), state: DeviceState::Invalid(error) },
    }
}

/// Reads everything about a device.
pub fn gather(root: &Root, address: &PciAddress) -> DeviceFacts {
    let dir = format!("{DEVICES}/{address}");
    let present = root.contains(DEVICES, &address.to_string());
    let mut evidence = vec![Evidence::new(
        root,
        &dir,
        match &present {
            Ok(true) => "present".to_owned(),
            Ok(false) => "not there".to_owned(),
            Err(error) => error.to_string(),
        },
    )];
    let driver = root.link_name(&format!("{dir}/driver"));
    let group = read_group(root, &dir);
    let facts = DeviceFacts {
        address: *address,
        driver,
        interfaces: interfaces(root, &dir),
        has_verbs: if present == Ok(true) { root.contains(&dir, "infiniband") } else { Ok(false) },
        group,
        has_fake_mode: iommu::has_fake_mode(root),
        has_vfio_driver: vfio::has_driver(root),
        has_type1: vfio::has_type1(root),
        container: vfio::container_access(root),
        user: rustix::process::geteuid().as_raw(),
        evidence: Vec::new(),
        present,
    };
    if facts.present == Ok(true) {
        evidence.extend(describe(root, &dir, &facts));
    }
    DeviceFacts { evidence, ..facts }
}

/// The check `device.binding`.
pub fn check(facts: &DeviceFacts, required: bool) -> Check {
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

fn finding(facts: &DeviceFacts) -> DeviceFinding {
    let state = decide(facts).unwrap_or_else(DeviceState::Unknown);
    DeviceFinding { address: facts.address.to_string(), state }
}

/// The first thing that has to be put right, in the order in which it has to be done: an IOMMU before VFIO,
/// VFIO before the binding, the binding before permissions. Asks no fact before it matters, so that an
/// unreadable one does not hide a known cause.
fn decide(facts: &DeviceFacts) -> Result<DeviceState, ReadError> {
    if !facts.present.clone()? {
        return Ok(DeviceState::Absent);
    }
    let driver = facts.driver.clone()?;
    match (way(driver.as_deref()), driver.clone()) {
        (Way::Uio, Some(driver)) => return Ok(DeviceState::Uio { driver }),
        (Way::Sharing, Some(driver)) if facts.has_verbs.clone()? => return Ok(DeviceState::Ready { driver }),
        (Way::Sharing, Some(driver)) => return Ok(DeviceState::NoVerbs { driver }),
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
    // A device that vfio-pci took without a group was taken before no-IOMMU mode was turned on.
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

// VFIO drivers made for one vendor are called mlx5_vfio_pci, nvgrace-gpu-vfio-pci and the like.
fn is_harmless(driver: &str) -> bool {
    HARMLESS_DRIVERS.contains(&driver) || driver.replace('_', "-").ends_with(VFIO_PCI)
}

fn read_group(root: &Root, dir: &str) -> Result<Option<Group>, ReadError> {
    let link = format!("{dir}/iommu_group");
    let Some(number) = root.link_name(&link)? else { return Ok(None) };
    if !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(root.malformed(&link, "expected a link to a numbered group"));
    }
    let is_fake = iommu::is_fake(root, &number)?;
    let members = iommu::members(root, &number)?
        .into_iter()
        .filter_map(|(address, driver)| Some(GroupMember { address, driver: driver? }))
        .collect();
    let file = format!("/dev/vfio/{}{number}", if is_fake { "noiommu-" } else { "" });
    let access = root.access(&file)?;
    Ok(Some(Group { is_fake, members, file, access }))
}

/// Network interfaces that the kernel has made of the device; a virtio device keeps them one level down.
fn interfaces(root: &Root, dir: &str) -> Vec<String> {
    let mut found = root.names(&format!("{dir}/net")).unwrap_or_default();
    let below = root.names(dir).unwrap_or_default();
    for name in below.iter().filter(|name| name.starts_with("virtio")) {
        found.extend(root.names(&format!("{dir}/{name}/net")).unwrap_or_default());
    }
    found
}

fn describe(root: &Root, dir: &str, facts: &DeviceFacts) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    let mut add = |path: &str, seen: String| evidence.push(Evidence::new(root, path, seen));
    add(
        &format!("{dir}/driver"),
        match &facts.driver {
            Ok(Some(driver)) => format!("→ {driver}"),
            Ok(None) => "not there: no driver".to_owned(),
            Err(error) => error.to_string(),
        },
    );
    match &facts.group {
        Ok(None) => add(&format!("{dir}/iommu_group"), "not there".to_owned()),
        Err(error) => add(&format!("{dir}/iommu_group"), error.to_string()),
        Ok(Some(group)) => {
            let members: Vec<_> = group.members.iter().map(ToString::to_string).collect();
            let fake = if group.is_fake { ", made up by no-IOMMU mode" } else { "" };
            add(
                &format!("{dir}/iommu_group"),
                format!("devices with a driver: {}{fake}", members.join(", ")),
            );
            add(&group.file, vfio::access_words(group.access).to_owned());
        }
    }
    if !facts.interfaces.is_empty() {
        add(&format!("{dir}/net"), facts.interfaces.join(" "));
    }
    for file in ["class", "numa_node"] {
        let path = format!("{dir}/{file}");
        if let Ok(text) = root.read(&path) {
            add(&path, text.trim().chars().take(40).collect());
        }
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;
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
