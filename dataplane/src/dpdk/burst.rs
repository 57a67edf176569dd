//! Bursts of packet buffers, owned.

use std::slice;
use std::sync::Arc;

use linerate_dpdk_sys as sys;
use sys::rte_mbuf;

use super::pool::Pool;
use linerate_measure::frame::FrameHead;
use linerate_measure::loops::queue::{FrameBurst, Received, ReceivedBurst, TurnableBurst};
use linerate_measure::recognise::PortVerdict;

/// Most frames of a burst.
pub const MAX_BURST: usize = linerate_wire::buffers::MAX_BURST as usize;
const IP_BAD: u64 = sys::LR_RX_IP_BAD as u64;
const IP_GOOD: u64 = sys::LR_RX_IP_GOOD as u64;
const L4_BAD: u64 = sys::LR_RX_L4_BAD as u64;
const L4_GOOD: u64 = sys::LR_RX_L4_GOOD as u64;
/// Distance in frames at which first bytes are prefetched into the cache.
const PREFETCH_AHEAD: usize = 4;

/// Buffers that this burst owns: the first `len` pointers are valid and exclusively owned.
#[derive(Debug)]
pub(super) struct Buffers {
    pub(super) pointers: [*mut rte_mbuf; MAX_BURST],
    pub(super) len: usize,
    /// The buffers' pool, kept alive as long as they exist; set by the first queue that uses the burst.
    pool: Option<Arc<Pool>>,
}

// SAFETY: buffers are plain memory that moves between lcores with their owner.
unsafe impl Send for Buffers {}

impl Default for Buffers {
    fn default() -> Self {
        Self { pointers: [std::ptr::null_mut(); MAX_BURST], len: 0, pool: None }
    }
}

impl Buffers {
    /// True when the burst's buffers come from this pool, or the burst has no pool yet.
    #[inline(always)]
    pub(super) fn belongs_to(&mut self, pool: &Arc<Pool>) -> bool {
        Arc::ptr_eq(self.pool.get_or_insert_with(|| pool.clone()), pool)
    }

    /// The pool of the burst's buffers.
    #[inline(always)]
    pub(super) fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref()
    }

    /// Keeps the pool alive for the buffers that an empty burst is about to hold.
    #[inline(always)]
    pub(super) fn keep_alive(&mut self, pool: &Arc<Pool>) {
        if !self.belongs_to(pool) {
            self.pool = Some(pool.clone());
        }
    }

    pub(super) fn free(&mut self) {
        self.free_from(0);
    }

    /// Frees all but the first `kept` buffers.
    #[inline(always)]
    fn free_from(&mut self, kept: usize) {
        let rest = &mut self.pointers[kept.min(self.len)..self.len];
        if rest.is_empty() {
            return;
        }
        // SAFETY: the first `len` pointers are buffers owned here; the length is shortened, so each is freed
        // once.
        unsafe { sys::lr_buffers_free(rest.as_mut_ptr(), rest.len() as u32) };
        self.len = kept;
    }

    /// Bytes of all frames.
    pub(super) fn bytes(&self) -> u64 {
        let buffers = &self.pointers[..self.len];
        // SAFETY: the first `len` pointers are buffers owned here.
        buffers.iter().map(|buffer| u64::from(unsafe { (**buffer).pkt_len })).sum()
    }

    /// Removes the first `count` buffers, which now have another owner, without freeing them.
    #[inline(always)]
    pub(super) fn give_away(&mut self, count: usize) {
        debug_assert!(count <= self.len);
        self.pointers.copy_within(count..self.len, 0);
        self.len -= count;
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        self.free();
    }
}

/// Address of the frame in a buffer.
///
/// # Safety
/// `buffer` points to a valid buffer.
#[inline(always)]
unsafe fn data(buffer: *mut rte_mbuf) -> *mut u8 {
    // SAFETY: by contract; data_off lies within the buffer.
    unsafe { (*buffer).buf_addr.cast::<u8>().add(usize::from((*buffer).data_off)) }
}

/// Frames to send, all made by a [`super::queue::TxQueue`]: single-segment, in buffers of which at least
/// [`FrameHead`]'s bytes were initialised.
#[derive(Debug, Default)]
pub struct TxBurst {
    pub(super) buffers: Buffers,
    /// Bytes of all frames.
    pub(super) bytes: u64,
}

impl TxBurst {
    /// Recomputes the bytes after some frames were handed over.
    pub(super) fn recount(&mut self) {
        self.bytes = self.buffers.bytes();
    }
}

impl FrameBurst for TxBurst {
    #[inline(always)]
    fn len(&self) -> usize {
        self.buffers.len
    }

    #[inline(always)]
    fn bytes(&self) -> u64 {
        self.bytes
    }

    #[inline(always)]
    fn heads(&mut self) -> impl Iterator<Item = &mut FrameHead> {
        self.buffers.pointers[..self.buffers.len].iter().map(|buffer| {
            // SAFETY: the buffer is owned by this burst, which is borrowed mutably; buffers in a burst are
            // distinct, so the heads do not overlap; the template that initialised the buffer is at least as
            // long as a head.
            unsafe { &mut *data(*buffer).cast::<FrameHead>() }
        })
    }
}

/// Frames received.
#[derive(Debug, Default)]
pub struct RxBurst(pub(super) Buffers);

impl TurnableBurst for RxBurst {
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len
    }

    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn retain(&mut self, mut keep: impl FnMut(&mut [u8]) -> bool) {
        // `keep` may panic, so every buffer stays in the burst, with one owner, until `keep` has seen all of
        // them. The buffers to free are moved behind the others.
        let buffers = &mut self.0;
        let mut kept = 0;
        for i in 0..buffers.len {
            let buffer = buffers.pointers[i];
            // SAFETY: the buffer is owned by this burst, borrowed mutably; the port has written data_len
            // bytes from the frame's beginning on.
            let frame = unsafe { slice::from_raw_parts_mut(data(buffer), usize::from((*buffer).data_len)) };
            if keep(frame) {
                // SAFETY: as above. The flags that the port set on receipt must not act as offload requests
                // on sending.
                unsafe { (*buffer).ol_flags = 0 };
                buffers.pointers.swap(kept, i);
                kept += 1;
            }
        }
        buffers.free_from(kept);
    }
}

impl ReceivedBurst for RxBurst {
    #[inline(always)]
    fn frames(&self) -> impl Iterator<Item = Received<'_>> {
        let buffers = &self.0.pointers[..self.0.len];
        buffers.iter().enumerate().map(|(i, buffer)| {
            if let Some(later) = buffers.get(i + PREFETCH_AHEAD) {
                prefetch(*later);
            }
            // SAFETY: the buffer is owned by this burst, borrowed for the item's life; the port has written
            // data_len bytes from the frame's beginning on.
            unsafe {
                Received {
                    bytes: slice::from_raw_parts(data(*buffer), usize::from((**buffer).data_len)),
                    length: (**buffer).pkt_len,
                    verdict: verdict((**buffer).ol_flags),
                }
            }
        })
    }
}

/// The verdict in the port's flags. "Good" and "bad" together mean that the checksum is not in the frame and
/// the data are known to be right.
#[inline(always)]
fn verdict(flags: u64) -> PortVerdict {
    const IP: u64 = IP_BAD | IP_GOOD;
    const L4: u64 = L4_BAD | L4_GOOD;
    if flags & (IP | L4) == 0 {
        PortVerdict::Unknown
    } else if flags & IP == IP_BAD || flags & L4 == L4_BAD {
        PortVerdict::Bad
    } else if flags & IP_GOOD != 0 && flags & L4_GOOD != 0 {
        PortVerdict::Good
    } else {
        PortVerdict::Unknown
    }
}

#[inline(always)]
fn prefetch(buffer: *mut rte_mbuf) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the buffer is valid, owned by the burst; prefetching has no effect but on the cache.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(data(buffer).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = buffer;
}
