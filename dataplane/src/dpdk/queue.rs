//! Queues of a port: each queue has exactly one handle.

use std::cell::Cell;
use std::marker::PhantomData;
use std::slice;
use std::sync::Arc;

use linerate_dpdk_sys as sys;
use sys::rte_mbuf;

use super::burst::{MAX_BURST, RxBurst, TxBurst};
use super::pool::Pool;
use super::started::Started;
use linerate_measure::frame::HEAD_BYTES;
use linerate_measure::loops::own_frames::OwnFrames;
use linerate_measure::loops::queue::{ForwardQueue, ReceiveQueue, TransmitQueue};

/// A transmit queue with its own pool of buffers, each stamped with the trial's template.
#[derive(Debug)]
pub struct TxQueue {
    port: Arc<Started>,
    queue: u16,
    pool: Arc<Pool>,
    /// Bytes of each buffer that are initialised.
    room: u16,
    /// Largest frame, in bytes.
    largest: u16,
    /// Send, not Sync: a DPDK queue allows one caller at a time.
    _not_sync: PhantomData<Cell<()>>,
}

impl TxQueue {
    pub(super) fn new(port: Arc<Started>, queue: u16, pool: Arc<Pool>) -> Self {
        Self { port, queue, pool, room: 0, largest: 0, _not_sync: PhantomData }
    }

    /// Initialises every buffer of this queue with the template, for frames of at most `frame_bytes` from now
    /// on. A template is at least as long as a head, [`HEAD_BYTES`], and as the frames.
    ///
    /// # Errors
    /// The largest frame in bytes, when the frames exceed the port's MTU or the template is too short.
    pub fn stamp(&mut self, template: &[u8], frame_bytes: u32) -> Result<(), u16> {
        let largest = self.port.largest_frame_bytes();
        let long_enough = template.len() >= HEAD_BYTES.max(frame_bytes as usize);
        let fits = template.len() <= HEAD_BYTES.max(usize::from(largest));
        match u16::try_from(frame_bytes) {
            Ok(bytes) if bytes <= largest && long_enough && fits => {
                self.pool.stamp(template);
                (self.room, self.largest) = (template.len() as u16, bytes);
                Ok(())
            }
            _ => Err(largest),
        }
    }
}

impl TxQueue {
    /// Allocates and sends bursts of `burst` frames of `bytes` without writing to them; returns the frames
    /// that the port accepted. The reference for Linerate's own loop.
    pub fn bare_loop(&mut self, bytes: u16, burst: u16, bursts: u64) -> u64 {
        // SAFETY: the port is started and this is the queue's only handle; the shim owns what it allocates
        // and the data room holds any frame the MTU admits.
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

    #[inline(always)]
    fn build(&mut self, burst: &mut TxBurst, count: usize, mut write: impl FnMut(&mut [u8]) -> u16) -> usize {
        let buffers = &mut burst.buffers;
        let count = count.min(MAX_BURST - buffers.len);
        let (room, largest) = (usize::from(self.room), self.largest);
        if room == 0 || !buffers.belongs_to(&self.pool) {
            return 0;
        }
        let free = &mut buffers.pointers[buffers.len..buffers.len + count];
        // SAFETY: `free` has room for `count` pointers; the pool is alive. All are taken or none.
        if unsafe { sys::lr_buffers_take(self.pool.as_ptr(), free.as_mut_ptr(), count as u32) } != 0 {
            return 0;
        }
        let mut bytes = 0;
        for buffer in free {
            // SAFETY: the buffer was just taken and is exclusively owned; a buffer at rest in its pool has
            // one owner, one segment and no successor, as users of rte_mempool must leave it.
            let head: &mut rte_mbuf = unsafe { &mut **buffer };
            // SAFETY: after the headroom, the stamp has initialised `room` bytes, which the data room holds.
            let frame = unsafe {
                let data = head.buf_addr.cast::<u8>().add(sys::LR_MBUF_HEADROOM as usize);
                slice::from_raw_parts_mut(data, room)
            };
            let length = write(frame).min(largest);
            head.data_off = sys::LR_MBUF_HEADROOM as u16;
            head.refcnt = 1;
            head.nb_segs = 1;
            head.port = sys::LR_MBUF_PORT_INVALID as u16;
            head.ol_flags = 0;
            head.packet_type = 0;
            head.pkt_len = u32::from(length);
            head.data_len = length;
            bytes += u64::from(length);
        }
        buffers.len += count;
        burst.bytes += bytes;
        count
    }

    #[inline(always)]
    fn transmit(&mut self, burst: &mut TxBurst) -> usize {
        let buffers = &mut burst.buffers;
        // A port that frees in bulk may get buffers of one pool only per queue; and some ports read the first
        // buffer of an empty burst.
        if buffers.len == 0 || !buffers.belongs_to(&self.pool) {
            return 0;
        }
        // SAFETY: the port is started and this is the queue's only handle; the first `len` buffers are owned
        // by the burst.
        let accepted = unsafe {
            sys::lr_tx_burst(self.port.id(), self.queue, buffers.pointers.as_mut_ptr(), buffers.len as u16)
        };
        let accepted = usize::from(accepted);
        buffers.give_away(accepted);
        if buffers.len == 0 {
            burst.bytes = 0;
        } else {
            burst.recount();
        }
        accepted
    }
}

impl ForwardQueue for TxQueue {
    type Burst = RxBurst;

    #[inline(always)]
    fn forward(&mut self, burst: &mut RxBurst) -> usize {
        let buffers = &mut burst.0;
        // The port's pools outlive the buffers that it holds; another port's pools may not.
        let own = buffers.pool().is_some_and(|pool| self.port.owns(pool));
        if buffers.len == 0 || self.port.frees_in_bulk() || !own {
            return 0;
        }
        // SAFETY: the port is started and this is the queue's only handle; the first `len` buffers are owned
        // by the burst. The port frees each buffer to the pool it came from.
        let accepted = unsafe {
            sys::lr_tx_burst(self.port.id(), self.queue, buffers.pointers.as_mut_ptr(), buffers.len as u16)
        };
        let accepted = usize::from(accepted);
        buffers.give_away(accepted);
        accepted
    }

    fn reclaim(&mut self) {
        // SAFETY: the port is started and this is the queue's only handle. A driver without support returns
        // an error and does nothing.
        unsafe { sys::lr_tx_done_cleanup(self.port.id(), self.queue) };
    }
}

impl OwnFrames for TxQueue {
    fn send_own(&mut self, frame: &[u8]) -> bool {
        let Some(pool) = self.port.own_pool() else { return false };
        let Ok(length) = u16::try_from(frame.len()) else { return false };
        if length > self.port.largest_frame_bytes() {
            return false;
        }
        // SAFETY: the port is started and this is the queue's only handle; the pool lives as long as the
        // port, which frees its buffers one by one; `length` bytes are read.
        let code = unsafe {
            sys::lr_send_frame(self.port.id(), self.queue, pool.as_ptr(), frame.as_ptr().cast(), length)
        };
        code == 0
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

    /// Number of the queue on the port.
    pub fn index(&self) -> u16 {
        self.queue
    }
}

impl ReceiveQueue for RxQueue {
    type Burst = RxBurst;

    #[inline(always)]
    fn receive(&mut self, burst: &mut RxBurst) -> usize {
        let buffers = &mut burst.0;
        buffers.free();
        buffers.keep_alive(&self.pool);
        // SAFETY: the port is started and this is the queue's only handle; there is room for MAX_BURST
        // pointers, and this burst owns the received buffers.
        let count = unsafe {
            sys::lr_rx_burst(self.port.id(), self.queue, buffers.pointers.as_mut_ptr(), MAX_BURST as u16)
        };
        buffers.len = usize::from(count);
        buffers.len
    }
}
