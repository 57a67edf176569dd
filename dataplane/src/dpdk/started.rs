//! A started port, which its queues and its statistics share.

use std::sync::Arc;

use linerate_dpdk_sys as sys;
use linerate_wire::buffers::BufferUse;

use super::eal::EalHandle;
use super::id::PortId;
use super::pool::Pool;

const ETHERNET_HEADER_BYTES: u16 = 14;

/// A started port. When the last handle is dropped, the port is stopped and closed; then its pools are freed.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) id: PortId,
    pub(super) mtu: u16,
    pub(super) buffer_use: BufferUse,
    pub(super) reads_file: bool,
    /// Buffers of a transmit queue come from several pools.
    pub(super) mixes_pools: bool,
    pub(super) own: Option<Arc<Pool>>,
    /// Freed after `drop` has closed the port, which may hold their buffers.
    pub(super) pools: Vec<Arc<Pool>>,
    pub(super) _eal: EalHandle,
}

impl Started {
    pub(super) fn id(&self) -> u16 {
        self.id.0
    }

    /// True when the port assumes that all buffers of a transmit queue come from one pool.
    pub(super) fn frees_in_bulk(&self) -> bool {
        !self.mixes_pools
    }

    /// The pool for the port's own frames.
    pub(super) fn own_pool(&self) -> Option<&Arc<Pool>> {
        self.own.as_ref()
    }

    /// True when the pool belongs to this port, and so is freed after the port is closed.
    #[inline(always)]
    pub(super) fn owns(&self, pool: &Arc<Pool>) -> bool {
        self.pools.iter().any(|own| Arc::ptr_eq(own, pool))
    }

    /// Largest frame in bytes, without check sequence.
    pub(super) fn largest_frame_bytes(&self) -> u16 {
        self.mtu.saturating_add(ETHERNET_HEADER_BYTES)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // SAFETY: the last handle is dropped, so no queue is in use; this object started the port and closes
        // it once.
        unsafe {
            sys::lr_port_stop(self.id.0);
            sys::lr_port_close(self.id.0);
        }
    }
}
