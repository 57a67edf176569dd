//! Pools of packet buffers.

use std::ffi::CString;
use std::ptr::NonNull;

use linerate_dpdk_sys as sys;

use super::eal::{Eal, EalHandle, early_log};
use super::error::{DpdkError, Errno};
use crate::eal_refusal::explain_lack_of_files;
use crate::host::open_files_limit;

/// A pool of buffers, freed when dropped.
#[derive(Debug)]
pub struct Pool {
    raw: NonNull<sys::rte_mempool>,
    _eal: EalHandle,
}

// SAFETY: a mempool is designed for use by many lcores at once; its functions synchronise among themselves.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Pool {
    /// A pool of `buffers` buffers with room for `data_bytes` each, on the given NUMA node (negative: any).
    /// Each lcore may keep `cache` of them in its cache.
    ///
    /// # Errors
    /// When memory or file descriptors are insufficient; the message states the required amount and how to
    /// provide more.
    pub fn new(
        eal: &Eal,
        name: &str,
        (buffers, cache): (u32, u32),
        data_bytes: u32,
        numa_node: i32,
    ) -> Result<Self, DpdkError> {
        let room = data_bytes + sys::LR_MBUF_HEADROOM;
        let failed = |errno| match explain_lack_of_files(&early_log(), open_files_limit()) {
            Some(refusal) => DpdkError {
                what: format!(
                    "pool '{name}' of {buffers} buffers cannot be made: {}; {}",
                    refusal.cause, refusal.remedy
                ),
                errno,
            },
            None => DpdkError {
                what: format!(
                    "no memory for pool '{name}' of {buffers} buffers ({} MiB); give more with --socket-mem or -m, or ask for \
                 fewer descriptors",
                    (u64::from(buffers) * u64::from(room + sys::LR_MBUF_SIZE)).div_ceil(1 << 20)
                ),
                errno,
            },
        };
        let c_name = CString::new(name).map_err(|_| failed(Errno(libc::EINVAL)))?;
        let room = u16::try_from(room).map_err(|_| failed(Errno(libc::EINVAL)))?;
        // SAFETY: EAL is up; the name is copied; the node may be any (negative means any node).
        let raw = unsafe { sys::lr_pool_create(c_name.as_ptr(), buffers, cache, room, numa_node) };
        let raw = NonNull::new(raw).ok_or_else(|| failed(Errno::last()))?;
        Ok(Self { raw, _eal: eal.handle() })
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.raw.as_ptr()
    }

    /// Number of free buffers.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives as long as self; counting only reads.
        unsafe { sys::lr_pool_available(self.as_ptr()) }
    }

    /// Number of all buffers.
    pub fn size(&self) -> u32 {
        // SAFETY: the pool lives as long as self.
        unsafe { sys::lr_pool_size(self.as_ptr()) }
    }

    /// Writes the bytes into every buffer, after the headroom. The caller does this between trials, because
    /// it would change frames in flight.
    pub(super) fn stamp(&self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= usize::from(u16::MAX));
        // SAFETY: a stamp is a frame that the port's MTU admits or a head, and the data room was sized for
        // that MTU and holds any head.
        unsafe { sys::lr_pool_stamp(self.as_ptr(), bytes.as_ptr().cast(), bytes.len() as u32) };
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: ports and bursts that may hold buffers hold the pool too, and are closed or freed before.
        unsafe { sys::lr_pool_free(self.as_ptr()) };
    }
}
