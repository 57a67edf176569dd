//! Sending packets at a rate, and counting and timing the received ones.
//!
//! The crate is pure: no I/O, no DPDK, no clock except the one passed in. [`flows`] writes frames, [`pacer`]
//! schedules them, [`recognise`], [`order`] and [`analysis`] evaluate received frames, [`losses`] and
//! [`loss_timeline`] tell when packets were lost, [`drain`] detects the end of reception. [`loops`] are the polling loops of worker lcores, generic over their queues.

pub mod analysis;
pub mod arrival;
pub mod calibration;
pub mod capture;
pub mod ceiling;
pub mod checksum;
pub mod drain;
pub mod flow_table;
pub mod flows;
pub mod frame;
pub mod gap_log;
pub mod histogram;
pub mod idle;
pub mod loops;
pub mod loss_timeline;
pub mod losses;
pub mod mailbox;
pub mod neighbour;
pub mod order;
pub mod pacer;
pub mod recognise;
pub mod recording;
pub mod reflect;
