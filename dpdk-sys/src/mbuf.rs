//! The head of DPDK's packet buffer.
//!
//! Rust accesses only the first half of its first cache line. The definition is written by hand, because
//! bindgen's names for nested anonymous unions change between releases; assertions compare it with the header
//! it is compiled against.

use core::ffi::c_void;
use core::mem::{offset_of, size_of};

use crate::bindings as shim;

/// `struct rte_mbuf`: the fields that Linerate accesses; the rest is opaque.
#[repr(C, align(64))]
pub struct rte_mbuf {
    /// Start of the buffer, headroom included.
    pub buf_addr: *mut c_void,
    buf_iova: u64,
    /// Bytes from `buf_addr` to the first byte of the frame.
    pub data_off: u16,
    /// Reference count.
    pub refcnt: u16,
    /// Segments of the frame.
    pub nb_segs: u16,
    /// Port that received the frame.
    pub port: u16,
    /// Offload flags.
    pub ol_flags: u64,
    /// Packet type, as the port classified it.
    pub packet_type: u32,
    /// Bytes of the frame over all segments.
    pub pkt_len: u32,
    /// Bytes of the frame in this segment.
    pub data_len: u16,
    vlan_tci: u16,
    hash: u32,
    rest: [u8; 80],
}

/// A pool of buffers; used only through a pointer.
#[repr(C)]
pub struct rte_mempool {
    _closed: [u8; 0],
}

macro_rules! same_offset {
    ($($field:ident = $offset:ident),* $(,)?) => {
        $(const _: () = assert!(offset_of!(rte_mbuf, $field) == shim::$offset as usize);)*
    };
}

same_offset!(
    buf_addr = LR_MBUF_BUF_ADDR,
    data_off = LR_MBUF_DATA_OFF,
    refcnt = LR_MBUF_REFCNT,
    nb_segs = LR_MBUF_NB_SEGS,
    port = LR_MBUF_PORT,
    ol_flags = LR_MBUF_OL_FLAGS,
    packet_type = LR_MBUF_PACKET_TYPE,
    pkt_len = LR_MBUF_PKT_LEN,
    data_len = LR_MBUF_DATA_LEN,
);
const _: () = assert!(size_of::<rte_mbuf>() == shim::LR_MBUF_SIZE as usize);
