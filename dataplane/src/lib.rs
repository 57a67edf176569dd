//! The data plane of Linerate: sends, receives and counts packets over DPDK.
//!
//! The layers, from the bottom: [`dpdk`] (the only unsafe folder), [`trial`] (a trial on a port), [`engine`] (which serves an agent) and
//! [`command`]. What lcores run is in `linerate-measure`, how an agent serves its controller in `linerate-agent`. The program `linerate-dataplane` is [`command::main`].

pub mod command;
pub mod dpdk;
pub mod eal_args;
pub mod eal_refusal;
pub mod engine;
pub mod host;
pub mod lcore_layout;
pub mod network;
pub mod trial;
