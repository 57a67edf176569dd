//! Queues of a port: each handle is the only one of its queue.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use linerate_dpdk_sys as sys;
use sys::rte_mbuf;

use super::burst::{MAX_BURST, RxBurst, TxBurst};
use super::pool::Pool;
use super::port::Started;
use crate::core::frame::HEAD_BYTES;
use crate::loops::queue::{ReceiveQueue, TransmitQueue};

/// A transmit queue with its own pool of buffers, each stamped with the trial's template.
#[derive(Debug)]
pub struct TxQueue {
    port: Arc<Started>,
    queue: u16,
    pool: Arc<Pool>,
    frame_bytes: u16,
    /// Send, not Sync: DPDK queues take one caller at a time.
    _not_sync: PhantomData<Cell<()>>,
}

impl TxQueue {
    pub(super) fn new(port: Arc<Started>, queue: u16, pool: Arc<Pool>) -> Self {
        Self { port, queue, pool, frame_bytes: 0, _not_sync: PhantomData }
    }

    /// Gives every buffer of this queue the template's bytes; from now on frames are of that length.
    ///
    /// # Errors
    /// The largest frame in bytes, when the template exceeds what the port's MTU admits or is shorter than the smallest frame.
    pub fn stamp(&mut self, template: &[u8]) -> Result<(), u16> {
        let largest = self.port.largest_frame_bytes();
        match u16::try_from(template.len()) {
            Ok(bytes) if bytes <= largest && template.len() >= HEAD_BYTES => {
                self.pool.stamp(template);
                self.frame_bytes = bytes;
                Ok(())
            }
            _ => Err(largest),
        }
    }
}

impl TxQueue {
    /// Allocates and sends bursts of `burst` frames of `bytes`, writing nothing into them; returns the frames the port accepted. The
    /// yardstick for our own loop.
    pub fn bare_loop(&mut self, bytes: u16, burst: u16, bursts: u64) -> u64 {
        // SAFETY: the port is started and this is the queue's only handle; the shim owns what it allocates and the data room holds
        // any frame the MTU admits.
        unsafe {
            sys::lr_bare_tx_loop(
                self.port.id(),
                self.queue,
                self.pool.as_ptr(),
                bytes.min(self.port.largest_frame_bytes()),
                burst,
                bursts,
            )
        }
    }
}

impl TransmitQueue for TxQueue {
    type Burst = TxBurst;

    fn frame_bytes(&self) -> u32 {
        u32::from(self.frame_bytes)
    }

    #[inline(always)]
    fn allocate(&mut self, burst: &mut TxBurst, count: usize) -> usize {
        let buffers = &mut burst.0;
        let count = count.min(MAX_BURST - buffers.len);
        if self.frame_bytes == 0 || !buffers.belongs_to(&self.pool) {
            return 0;
        }
        let free = &mut buffers.pointers[buffers.len..buffers.len + count];
        // SAFETY: `free` has room for `count` pointers; the pool is alive. All are taken or none.
        if unsafe { sys::lr_buffers_take(self.pool.as_ptr(), free.as_mut_ptr(), count as u32) } != 0 {
            return 0;
        }
        for buffer in free {
            // SAFETY: the buffer was just taken and is ours alone; a buffer at rest in its pool has one owner, one segment and no
            // successor, as rte_mempool's users must leave it. The data room holds frame_bytes behind the headroom (see stamp).
            let head: &mut rte_mbuf = unsafe { &mut **buffer };
            head.data_off = sys::LR_MBUF_HEADROOM as u16;
            head.refcnt = 1;
            head.nb_segs = 1;
            head.port = sys::LR_MBUF_PORT_INVALID as u16;
            head.ol_flags = 0;
            head.packet_type = 0;
            head.pkt_len = u32::from(self.frame_bytes);
            head.data_len = self.frame_bytes;
        }
        buffers.len += count;
        count
    }

    #[inline(always)]
    fn transmit(&mut self, burst: &mut TxBurst) -> usize {
        let buffers = &mut burst.0;
        // A port that frees in bulk must only see one pool per queue; and some ports look at the first buffer unasked.
        if buffers.len == 0 || !buffers.belongs_to(&self.pool) {
            return 0;
        }
        // SAFETY: the port is started and this is the queue's only handle; the first `len` buffers are owned by the burst.
        let accepted = unsafe {
            sys::lr_tx_burst(self.port.id(), self.queue, buffers.pointers.as_mut_ptr(), buffers.len as u16)
        };
        let accepted = usize::from(accepted);
        buffers.give_away(accepted);
        accepted
    }
}

/// A receive queue.
#[derive(Debug)]
pub struct RxQueue {
    port: Arc<Started>,
    queue: u16,
    pool: Arc<Pool>,
    _not_sync: PhantomData<Cell<()>>,
}

impl RxQueue {
    pub(super) fn new(port: Arc<Started>, queue: u16, pool: Arc<Pool>) -> Self {
        Self { port, queue, pool, _not_sync: PhantomData }
    }
}

impl ReceiveQueue for RxQueue {
    type Burst = RxBurst;

    #[inline(always)]
    fn receive(&mut self, burst: &mut RxBurst) -> usize {
        let buffers = &mut burst.0;
        buffers.free();
        buffers.keep_alive(&self.pool);
        // SAFETY: the port is started and this is the queue's only handle; there is room for MAX_BURST pointers, and those written
        // become ours.
        let count = unsafe {
            sys::lr_rx_burst(self.port.id(), self.queue, buffers.pointers.as_mut_ptr(), MAX_BURST as u16)
        };
        buffers.len = usize::from(count);
        buffers.len
    }
}
