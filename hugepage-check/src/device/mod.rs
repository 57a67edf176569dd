//! Diagnosis of one PCI device: whether DPDK can take it, and the reason if it cannot.
//!
//! EAL logs nothing for a wrong address, for a device without a driver, or for one on a kernel driver. This
//! module distinguishes these cases. Source: `/sys/bus/pci/devices/<address>` (kernel
//! `Documentation/ABI/testing/sysfs-bus-pci`), `/sys/kernel/iommu_groups` and `/dev/vfio`.

use linerate_hardware::PciAddress;

use crate::check::Evidence;
use crate::finding::{DeviceFinding, DeviceState, GroupMember};
use crate::iommu;
use crate::root::{Access, ReadError, Root};
use crate::vfio::{self, VFIO_PCI};

pub(crate) mod binding;
pub mod function;
pub(crate) mod pcie;
pub(crate) mod plugin;
pub(crate) mod rdma;
pub(crate) mod vf;

const DEVICES: &str = "/sys/bus/pci/devices";

/// Drivers besides VFIO that DPDK uses without an IOMMU.
const UIO_DRIVERS: &[&str] = &["igb_uio", "uio_pci_generic"];

/// Drivers that keep the device while DPDK uses its queues through rdma-core.
const SHARING_DRIVERS: &[&str] = &["mlx4_core", "mlx5_core", "mana"];

/// How DPDK uses a device that this driver has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DriverKind {
    Vfio,
    Uio,
    Sharing,
    /// DPDK cannot use the device; or no driver has it.
    Other,
}

fn driver_kind(driver: Option<&str>) -> DriverKind {
    match driver {
        Some(VFIO_PCI) => DriverKind::Vfio,
        Some(driver) if UIO_DRIVERS.contains(&driver) => DriverKind::Uio,
        Some(driver) if SHARING_DRIVERS.contains(&driver) => DriverKind::Sharing,
        _ => DriverKind::Other,
    }
}

/// Facts read about one device; each may be unreadable.
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

    /// The file of the device's VFIO group, for a device on vfio-pci, and this user's access to it.
    pub(crate) fn group_file(&self) -> Option<(&str, Access)> {
        let is_bound = matches!(&self.driver, Ok(Some(driver)) if driver == VFIO_PCI);
        let group = self.group.as_ref().ok()?.as_ref().filter(|_| is_bound)?;
        Some((&group.file, group.access))
    }

    /// True when the device's driver shares it with DPDK and the driver's RDMA part is loaded.
    pub(crate) fn is_shared(&self) -> bool {
        let driver = self.driver.as_ref().ok().and_then(Option::as_deref);
        self.has_verbs == Ok(true) && driver_kind(driver) == DriverKind::Sharing
    }

    /// True when, as far as known, DPDK must take the device through VFIO.
    pub fn needs_vfio(&self) -> bool {
        let driver = self.driver.as_ref().ok().and_then(Option::as_deref);
        !matches!(driver_kind(driver), DriverKind::Uio | DriverKind::Sharing)
    }

    /// True when the device also needs an IOMMU, because VFIO is not in no-IOMMU mode.
    pub fn needs_iommu(&self) -> bool {
        let is_fake = match &self.group {
            Ok(Some(group)) => group.is_fake,
            Ok(None) => self.has_fake_mode == Ok(true),
            Err(_) => false,
        };
        self.needs_vfio() && !is_fake
    }
}

/// Explains whether DPDK can take the device at `address` (`0000:03:02.0` or `03:02.0`), and the reason. A
/// wrong address and an unreadable file are findings, not errors.
pub fn explain(root: &Root, address: &str) -> DeviceFinding {
    match address.parse() {
        Ok(address) => binding::finding(&gather(root, &address)),
        Err(error) => DeviceFinding { address: error.text.clone(), state: DeviceState::Invalid(error) },
    }
}

/// Reads all facts about a device.
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

/// Kernel network interfaces of the device; a virtio device has them one level down.
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
