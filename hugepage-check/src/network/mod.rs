//! Settings of the Linux network stack, for trials that run over it: reference runs beside DPDK.
//!
//! Source: `/proc/sys/net` (kernel `Documentation/admin-guide/sysctl/net.rst` and `networking/ip-sysctl.rst`)
//! and `/sys/class/net` (`Documentation/ABI/testing/sysfs-class-net` and `-queues`). DPDK does not depend on
//! them, so only a required interface can fail.

pub(crate) mod buffers;
pub(crate) mod conntrack;
pub(crate) mod link;
pub(crate) mod steering;

use crate::root::{ReadError, Root};
use crate::scene::Scene;

const INTERFACES: &str = "/sys/class/net";

/// The required interfaces, or else those of hardware devices: a link `device` distinguishes them from
/// bridges, tunnels and the loopback.
///
/// # Errors
/// When the interfaces cannot be listed.
fn chosen(scene: &Scene<'_>) -> Result<Vec<String>, ReadError> {
    if !scene.wanted.interfaces.is_empty() {
        return Ok(scene.wanted.interfaces.clone());
    }
    let mut chosen = scene.root.names(INTERFACES)?;
    chosen.retain(|name| is_hardware(scene.root, name));
    Ok(chosen)
}

fn is_hardware(root: &Root, name: &str) -> bool {
    root.contains(&format!("{INTERFACES}/{name}"), "device").unwrap_or(false)
}
