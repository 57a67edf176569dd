//! The data plane of Linerate: sends, receives and counts packets over DPDK.
//!
//! The layers, from the bottom: [`dpdk`] (the only unsafe folder), [`trial`] (a trial on a port), [`agent`] and [`command`] (who asks for
//! trials). What lcores run is in `linerate-measure`. The program `linerate-dataplane` is [`command::main`].

pub mod agent;
pub mod command;
pub mod dpdk;
pub mod eal_args;
pub mod eal_refusal;
pub mod host;
pub mod lcore_layout;
pub mod network;
pub mod trial;
