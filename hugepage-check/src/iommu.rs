//! Check: the kernel uses an IOMMU.
//!
//! Source: `/sys/kernel/iommu_groups` (kernel `Documentation/ABI/testing/sysfs-kernel-iommu_groups`), which
//! has an entry only when an IOMMU translates. The command line and the boot log are not conclusive: they
//! may announce an absent IOMMU, and some kernels use one without an option.

use std::collections::BTreeMap;

use crate::check::{Check, Evidence, Remedy, Status, Topic, Verdict};
use crate::kernel;
use crate::root::{ReadError, Reason, Root};

const GROUPS: &str = "/sys/kernel/iommu_groups";
const UNITS: &str = "/sys/class/iommu";

/// The kernel's name for a group that it creates in VFIO's no-IOMMU mode.
const FAKE_NAME: &str = "vfio-noiommu";

const TOPIC: Topic = Topic {
    id: "iommu.groups",
    title: "IOMMU",
    why: "vfio-pci hands a device to DPDK only as a member of an IOMMU group, so that the device can reach \
          no memory but the process's. memif, af_packet and null ports do without.",
};

/// Number of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Groups {
    real: usize,
    fake: usize,
}

impl Groups {
    const NONE: Self = Self { real: 0, fake: 0 };
}

/// The check `iommu.groups`.
pub fn check(root: &Root, required: bool) -> Check {
    let mut evidence = Vec::new();
    let mut kinds = Vec::new();
    let verdict = match count(root) {
        Ok(groups) => {
            let fake =
                if groups.fake > 0 { format!(", {} of no-IOMMU mode", groups.fake) } else { String::new() };
            let seen = if groups == Groups::NONE {
                "no group".to_owned()
            } else {
                format!("{} groups{fake}", groups.real)
            };
            evidence.push(Evidence::new(root, GROUPS, seen));
            if groups.real > 0 {
                kinds = modes(root);
                evidence.push(Evidence::new(root, &format!("{GROUPS}/*/type"), kinds.join(", ")));
            }
            decide(groups, required)
        }
        Err(error) => {
            evidence.push(Evidence::from(&error));
            Verdict::unknown(&error)
        }
    };
    let units = root.names(UNITS);
    let maker = units.as_ref().ok().and_then(|units| units.iter().find_map(|unit| maker(unit)));
    evidence.push(match units {
        Ok(units) if units.is_empty() => Evidence::new(root, UNITS, "empty"),
        Ok(units) => Evidence::new(root, UNITS, units.join(" ")),
        Err(error) => Evidence::from(&error),
    });
    evidence.push(kernel::options(root, kernel::IOMMU_OPTIONS));
    let known: Vec<_> = maker.map(str::to_owned).into_iter().chain(kinds).collect();
    let mut check = verdict.on(&TOPIC, required, evidence);
    if check.status == Status::Pass && !known.is_empty() {
        check.summary = format!("{}; {}", check.summary, known.join(", "));
    }
    check
}

/// The vendor of an IOMMU unit, from the name that its driver gives it.
fn maker(unit: &str) -> Option<&'static str> {
    let makers = [
        ("dmar", "Intel VT-d"),
        ("ivhd", "AMD-Vi"),
        ("smmu3", "Arm SMMUv3"),
        ("arm-smmu-v3", "Arm SMMUv3"),
        ("smmu", "Arm SMMU"),
        ("arm-smmu", "Arm SMMU"),
        ("riscv-iommu", "RISC-V IOMMU"),
    ];
    makers.into_iter().find(|(prefix, _)| unit.starts_with(prefix)).map(|(_, maker)| maker)
}

/// Number of groups per translation mode of the kernel's drivers (`type`, kernel
/// `Documentation/ABI/testing/sysfs-kernel-iommu_groups`). DPDK works with every mode; passthrough has the
/// least cost for the kernel's drivers. A group without a readable file is left out.
fn modes(root: &Root) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for group in root.names(GROUPS).unwrap_or_default() {
        let kind = root.read(&format!("{GROUPS}/{group}/type")).unwrap_or_default();
        let mode = match kind.trim() {
            "identity" => "in passthrough",
            "DMA" | "DMA-FQ" => "translated",
            "blocked" => "blocked",
            _ => continue,
        };
        *counts.entry(mode).or_default() += 1;
    }
    counts.into_iter().map(|(mode, count)| format!("{count} {mode}")).collect()
}

fn count(root: &Root) -> Result<Groups, ReadError> {
    let mut groups = Groups::NONE;
    // A kernel without IOMMU support has no such directory.
    if root.contains("/sys/kernel", "iommu_groups")? {
        for group in root.names(GROUPS)? {
            if is_fake(root, &group)? {
                groups.fake += 1;
            } else {
                groups.real += 1;
            }
        }
    }
    Ok(groups)
}

/// True when no-IOMMU mode created the group.
///
/// # Errors
/// When the group's name exists but cannot be read.
pub(crate) fn is_fake(root: &Root, group: &str) -> Result<bool, ReadError> {
    match root.read(&format!("{GROUPS}/{group}/name")) {
        Ok(name) => Ok(name.trim() == FAKE_NAME),
        Err(ReadError { reason: Reason::Missing, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// True when VFIO takes devices without an IOMMU. Only kernels built for it have the file.
///
/// # Errors
/// When the file exists but cannot be read.
pub(crate) fn has_fake_mode(root: &Root) -> Result<bool, ReadError> {
    match root.read("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode") {
        Ok(value) => Ok(matches!(value.trim(), "Y" | "1")),
        Err(ReadError { reason: Reason::Missing, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The devices of a group and their drivers, by name; not only PCI devices.
///
/// # Errors
/// When the group's directory cannot be read.
pub(crate) fn members(root: &Root, group: &str) -> Result<Vec<(String, Option<String>)>, ReadError> {
    let dir = format!("{GROUPS}/{group}/devices");
    let with_driver = |name: String| Ok((root.link_name(&format!("{dir}/{name}/driver"))?, name));
    let swap = |pair: Result<(Option<String>, String), ReadError>| pair.map(|(driver, name)| (name, driver));
    root.names(&dir)?.into_iter().map(with_driver).map(swap).collect()
}

fn decide(groups: Groups, required: bool) -> Verdict {
    match groups {
        Groups::NONE => Verdict::fault(
            required,
            if required {
                "no IOMMU group: vfio-pci can take no device"
            } else {
                "no IOMMU group: vfio-pci can take no device, but not every port needs it"
            },
            turn_on(),
        ),
        Groups { real: 0, fake } => Verdict::warn(
            format!(
                "no IOMMU; {fake} groups of VFIO's no-IOMMU mode: devices work, but may write to any memory"
            ),
            turn_on(),
        ),
        Groups { real: 1, .. } => Verdict::pass("1 group"),
        Groups { real, .. } => Verdict::pass(format!("{real} groups")),
    }
}

/// Remedy that turns on an IOMMU.
pub(crate) fn turn_on() -> Remedy {
    Remedy::type_in([
        "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&intel_iommu=on iommu=pt /' /etc/default/grub",
        "update-grub",
        "reboot",
    ])
    .note(
        "First turn on VT-d or AMD-Vi in the firmware, or give the virtual machine an IOMMU. Without \
         update-grub: grubby --update-kernel=ALL --args=\"intel_iommu=on iommu=pt\". Afterwards \
         /sys/kernel/iommu_groups must have entries. Where there can be no IOMMU: modprobe vfio \
         enable_unsafe_noiommu_mode=1, without protection of memory.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_after_their_maker() {
        for (unit, name) in [
            ("dmar0", Some("Intel VT-d")),
            ("ivhd1", Some("AMD-Vi")),
            ("smmu3.0x0000000009050000", Some("Arm SMMUv3")),
            ("arm-smmu-v3.0.auto", Some("Arm SMMUv3")),
            ("smmu.0x1", Some("Arm SMMU")),
            ("other", None),
        ] {
            assert_eq!(maker(unit), name, "{unit}");
        }
    }

    #[test]
    fn groups_decide_and_the_requirement_weighs() {
        for (real, fake, required, status) in [
            (12, 0, true, Status::Pass),
            (12, 1, false, Status::Pass),
            (0, 0, true, Status::Fail),
            (0, 0, false, Status::Warn),
            (0, 2, true, Status::Warn),
        ] {
            let verdict = decide(Groups { real, fake }, required);
            assert_eq!(verdict.status, status, "{real} {fake} {required}");
        }
    }
}
