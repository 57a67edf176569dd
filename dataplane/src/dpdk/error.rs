//! DPDK's error numbers, with their names.

use std::ffi::CStr;
use std::fmt;

use linerate_dpdk_sys as sys;

/// Error of a DPDK function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {errno}")]
pub struct DpdkError {
    /// The attempted action and its object.
    pub what: String,
    /// Reason of the failure.
    pub errno: Errno,
}

/// An error number as DPDK uses it: errno, or one of DPDK's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// `rte_errno` of this thread.
    pub fn last() -> Self {
        // SAFETY: reads a thread-local integer of EAL; needs no initialisation.
        Self(unsafe { sys::lr_errno() })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: rte_strerror returns a NUL-terminated string, static or in this thread's own buffer; it is
        // read at once.
        let text = unsafe { CStr::from_ptr(sys::lr_strerror(self.0)) };
        write!(f, "{} (errno {})", text.to_string_lossy(), self.0)
    }
}

/// Turns DPDK's "0 or negative errno" into a result; `what` names the attempt.
pub(super) fn check(code: i32, what: impl FnOnce() -> String) -> Result<(), DpdkError> {
    if code >= 0 { Ok(()) } else { Err(DpdkError { what: what(), errno: Errno(-code) }) }
}
