//! How packets are sent at a rate, and how what arrives is counted and timed.
//!
//! Everything here is pure: no I/O, no DPDK, no clock but the one it is given. [`flows`] writes frames, [`pacer`] says when they leave,
//! [`recognise`], [`order`] and [`analysis`] account for those that arrive, [`drain`] says when all have. [`loops`] are the polling loops of
//! worker lcores, generic over the queues that frames go to and come from.

pub mod analysis;
pub mod calibration;
pub mod capture;
pub mod ceiling;
pub mod checksum;
pub mod drain;
pub mod flow_table;
pub mod flows;
pub mod frame;
pub mod histogram;
pub mod idle;
pub mod loops;
pub mod mailbox;
pub mod neighbour;
pub mod order;
pub mod pacer;
pub mod recognise;
pub mod recording;
pub mod reflect;
