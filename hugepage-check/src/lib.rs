//! Preflight: will DPDK work here, and if not, what has to be typed?
//!
//! The library reads what the kernel says about hugepages, hugetlbfs, the IOMMU, VFIO and single PCI devices,
//! and turns it into [`check::Check`]s: a status, the evidence it rests on, why it matters, and a remedy.
//!
//! ```no_run
//! use hugepage_check::{requirements::Requirements, root::Root, run};
//!
//! let mut wanted = Requirements::default();
//! wanted.add("socket-mem=1024,1024".parse()?)?;
//! wanted.add("device=0000:03:02.0".parse()?)?;
//! let report = run(&Root::host(), &wanted);
//! for check in &report.checks {
//!     println!("{} {}: {}", check.status, check.title, check.summary);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Two questions have a short way of their own: [`hugepages::free_bytes`] (hugepages or `--no-huge`?) and
//! [`device::explain`] (why did EAL not find this PCI address?).
//!
//! Design: `root` is the only module that touches the file system. Above it each topic first gathers facts
//! and then decides by a function that reads nothing. What cannot be read becomes [`check::Status::Unknown`]
//! and names the path; nothing panics, nothing is guessed.
//!
//! Limits: nothing is opened for use, so a VFIO group held by another process looks ready; cgroup limits on
//! hugepages and the locked-memory limit of the later DPDK process are not looked at.

pub mod address;
pub mod check;
pub mod device;
pub mod finding;
pub mod hugepages;
pub mod iommu;
pub mod kernel;
pub mod leftover;
pub mod mounts;
pub mod report;
pub mod requirements;
pub mod root;
pub mod socket_mem;
pub mod vfio;

use check::Report;
use requirements::Requirements;
use root::Root;

/// Runs every check below `root` and judges it by `wanted`.
///
/// What `wanted` does not name can only warn: memif, af_packet and null ports need neither IOMMU nor VFIO,
/// and EAL starts without hugepages when told `--no-huge`. The order of the checks is fixed.
pub fn run(root: &Root, wanted: &Requirements) -> Report {
    let survey = hugepages::survey(root);
    let mounts = mounts::read(root);
    let devices: Vec<_> = wanted.devices.iter().map(|address| device::gather(root, address)).collect();
    let vfio_required = devices.iter().any(device::DeviceFacts::needs_vfio);
    let iommu_required = devices.iter().any(device::DeviceFacts::needs_iommu);

    let mut checks = vec![
        hugepages::check(root, &survey),
        leftover::check(root, &mounts),
        mounts::check(root, &mounts, &survey),
    ];
    if let Some(socket_mem) = &wanted.socket_mem {
        checks.push(socket_mem::check(socket_mem, &survey));
    }
    checks.push(iommu::check(root, iommu_required));
    checks.extend(vfio::checks(root, vfio_required, iommu_required));
    checks.extend(devices.iter().map(device::check));
    Report { root: root.base().display().to_string(), checks }
}
