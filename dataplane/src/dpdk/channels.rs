//! Queues of an interface of the kernel, as AF_XDP sees them.

use std::ffi::CString;

use linerate_dpdk_sys as sys;

/// Numbers of queues of a kernel interface (ethtool's channels).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// Receive queues.
    pub receive: u32,
    /// Receive queues that are paired with a transmit queue: DPDK's af_xdp takes only these, or the first queue where there is
    /// none.
    pub combined: u32,
}

impl Channels {
    /// Those of this interface; `None` when its driver does not tell.
    pub fn of(interface: &str) -> Option<Self> {
        let name = CString::new(interface).ok()?;
        let mut told = sys::lr_channels { receive: 0, combined: 0 };
        // SAFETY: the name ends with a NUL, and `told` lives during the call, which needs neither EAL nor a port.
        let code = unsafe { sys::lr_interface_channels(name.as_ptr(), &mut told) };
        (code == 0).then_some(Self { receive: told.receive, combined: told.combined })
    }
}
