//! The pure core: no DPDK, no clock, no I/O. What goes into frames, when they go, and what comes of them.

pub mod analysis;
pub mod calibration;
pub mod capture;
pub mod checksum;
pub mod drain;
pub mod eal_args;
pub mod eal_refusal;
pub mod flow_table;
pub mod flows;
pub mod frame;
pub mod histogram;
pub mod idle;
pub mod lcore_layout;
pub mod mailbox;
pub mod neighbour;
pub mod order;
pub mod pacer;
pub mod recognise;
pub mod recording;
pub mod reflect;
