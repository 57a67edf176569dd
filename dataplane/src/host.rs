//! Properties of this host, read from the kernel: its drivers and limits.

use rustix::process::{Resource, getrlimit};

pub use linerate_agent::host::monotonic_ns;

/// The kernel driver that a PCI device is bound to, from sysfs; `None` for unbound and virtual
/// devices.
pub fn kernel_driver(device: &str) -> Option<String> {
    let link = std::fs::read_link(format!("/sys/bus/pci/devices/{device}/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// Open files that this process may have; `None` without limit.
pub fn open_files_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
