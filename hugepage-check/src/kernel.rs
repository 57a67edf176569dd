//! The kernel command line, as evidence only: an option does not prove that its effect is present.
//!
//! Source: `/proc/cmdline`; the options are in the kernel's
//! `Documentation/admin-guide/kernel-parameters.txt`.

use crate::check::Evidence;
use crate::root::Root;

const PATH: &str = "/proc/cmdline";

/// Command line options about hugepages.
pub const HUGEPAGE_OPTIONS: &[&str] = &["default_hugepagesz", "hugepagesz", "hugepages", "hugetlb"];

/// Command line options about the IOMMU and VFIO.
pub const IOMMU_OPTIONS: &[&str] =
    &["intel_iommu", "amd_iommu", "iommu", "arm-smmu", "vfio", "vfio-pci", "vfio_pci", "vfio_iommu_type1"];

/// Command line options that keep tasks and interrupts off some CPUs.
pub const CPU_OPTIONS: &[&str] = &["isolcpus", "nohz_full", "nohz", "rcu_nocbs", "irqaffinity"];

/// The options of the running kernel whose name, or module name before a dot, is in `wanted`. The rest is
/// omitted: a command line may contain private data.
pub fn options(root: &Root, wanted: &[&str]) -> Evidence {
    match root.read(PATH) {
        Ok(text) => Evidence::new(root, PATH, describe(&text, wanted)),
        Err(error) => Evidence::from(&error),
    }
}

fn describe(cmdline: &str, wanted: &[&str]) -> String {
    let name = |option: &str| option.split(['=', '.']).next().unwrap_or_default().to_owned();
    let found: Vec<_> = cmdline
        .split_ascii_whitespace()
        .take_while(|&option| option != "--") // what follows belongs to init
        .filter(|option| wanted.contains(&name(option).as_str()))
        .collect();
    if found.is_empty() { format!("none of {}", wanted.join(", ")) } else { found.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_options_are_shown() {
        let line = "token=secret intel_iommu=on iommu.passthrough=1 hugepagesz=1G -- intel_iommu=off\n";
        assert_eq!(describe(line, IOMMU_OPTIONS), "intel_iommu=on iommu.passthrough=1");
        assert_eq!(describe(line, HUGEPAGE_OPTIONS), "hugepagesz=1G");
        assert_eq!(describe("quiet", &["a", "b"]), "none of a, b");
    }
}
