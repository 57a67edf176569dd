//! Preflight check: whether DPDK will work on this machine, and the commands that make it work.
//!
//! The library reads the kernel's information about hugepages, hugetlbfs, the IOMMU, VFIO, PCI devices, CPUs
//! and the Linux network stack, and turns it into [`check::Check`]s: a status, its evidence, its importance,
//! and a remedy.
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
//! Two functions answer single questions: [`hugepages::free_bytes`] (hugepages or `--no-huge`?) and
//! [`device::explain`] (why did EAL not find this PCI address?).
//!
//! Design: `root` is the only module that accesses the file system. Above it each topic first gathers facts
//! and then decides by a pure function. An unreadable source becomes [`check::Status::Unknown`] with its
//! path; the library neither panics nor guesses.
//!
//! `checks` lists all checks in the order of the report; a new check is one function in that list.
//!
//! Limits: control groups above a container's own namespace are invisible. VFIO groups are opened only when
//! allowed; otherwise a holder in another PID namespace stays undetected. The limits of this process are
//! assumed to be those of a data plane that is started the same way.

pub mod cgroup;
pub mod check;
mod checks;
mod cpu;
pub mod cpu_limit;
pub mod device;
pub mod environment;
pub mod finding;
pub mod hugepages;
pub mod iommu;
pub mod kernel;
pub mod leftover;
pub mod mounts;
mod network;
pub mod report;
pub mod requirements;
pub mod root;
pub mod scene;
pub mod socket_mem;
pub mod vfio;

use check::Report;
use environment::Environment;
use requirements::Requirements;
use root::Root;
use scene::Scene;

/// Runs every check below `root` and judges it by `wanted`, with the variables of this process.
///
/// Anything that `wanted` does not name can only warn: memif, af_packet and null ports need neither IOMMU nor
/// VFIO, and EAL starts without hugepages when given `--no-huge`. The order of the checks is fixed.
pub fn run(root: &Root, wanted: &Requirements) -> Report {
    run_with(root, wanted, &Environment::of_this_process())
}

/// As [`run`], with the given variables.
pub fn run_with(root: &Root, wanted: &Requirements, environment: &Environment) -> Report {
    let scene = Scene::read(root, wanted, environment);
    let checks = checks::ALL.iter().flat_map(|check| check(&scene)).collect();
    Report { root: root.base().display().to_string(), checks }
}
