//! The CPUs that a data plane may use, and its actual share of them.
//!
//! Source: `/proc/self/status`, `/proc/stat`, `/sys/devices/system/cpu` (kernel
//! `Documentation/ABI/testing/sysfs-devices-system-cpu`) and the cgroup controllers cpuset and cpu. All
//! values apply to this process; a process started from the same shell or in the same container inherits
//! them.

pub(crate) mod allowed;
pub(crate) mod exclusive;
pub(crate) mod frequency;
pub(crate) mod isolation;
pub(crate) mod locality;
pub(crate) mod quota;
pub(crate) mod siblings;
pub(crate) mod steal;

use linerate_hardware::CpuSet;

use crate::root::{ReadError, Root};

/// The smallest CPU quota of this process's control groups, in CPUs; `None` when there is none.
pub(crate) fn smallest_quota(root: &Root) -> Result<Option<f64>, ReadError> {
    Ok(quota::read(root)?.0.map(|quota| quota.0 as f64 / 1000.0))
}

const CPUS: &str = "/sys/devices/system/cpu";
const STATUS: &str = "/proc/self/status";

/// The CPUs on which the scheduler lets this process run: its affinity within its cpuset.
///
/// # Errors
/// `/proc/self/status` cannot be read or has no such line.
pub(crate) fn read_allowed(root: &Root) -> Result<CpuSet, ReadError> {
    let text = root.read(STATUS)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let line = line.ok_or_else(|| root.malformed(STATUS, "no line Cpus_allowed_list"))?;
    line.parse().map_err(|error: linerate_hardware::CpuSetError| root.malformed(STATUS, error.to_string()))
}

/// The CPUs that are online.
fn read_online(root: &Root) -> Result<CpuSet, ReadError> {
    root.parse(&format!("{CPUS}/online"))
}

/// A list of CPUs in a file that only some kernels have; `None` without the file. Some kernels write the
/// empty list of `nohz_full` as `(null)`.
fn read_list(root: &Root, name: &str) -> Result<Option<CpuSet>, ReadError> {
    let path = format!("{CPUS}/{name}");
    match root.read_if_there(&path)?.as_deref().map(str::trim) {
        None => Ok(None),
        Some("(null)") => Ok(Some(CpuSet::default())),
        Some(_) => root.parse(&path).map(Some),
    }
}
