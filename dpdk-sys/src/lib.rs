//! Raw bindings to the parts of DPDK that Linerate uses.
//!
//! All calls go through the C shim in `shim/`: it gives DPDK's inline functions a symbol and hides the
//! differences between releases. `shim/shim.h` documents the functions. All of them are unsafe; the safe
//! layer is the `dpdk` folder of the data plane.

#![no_std]

mod mbuf;

pub use mbuf::{rte_mbuf, rte_mempool};

#[allow(missing_docs, non_camel_case_types, non_upper_case_globals, non_snake_case)]
#[allow(unreachable_pub, unnameable_types, clippy::all, clippy::undocumented_unsafe_blocks)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;
