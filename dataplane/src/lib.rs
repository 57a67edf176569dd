//! The data plane of Linerate: sends, receives and counts packets over DPDK.
//!
//! The layers, from the bottom: [`dpdk`] (the only unsafe folder), [`trial`] (a trial on a port), [`engine`]
//! (the engine of an agent) and [`command`]. The lcores run the loops of `linerate-measure`; `linerate-agent`
//! serves the controller. The program `linerate-dataplane` is [`command::main`].

pub mod command;
pub mod dpdk;
pub mod eal_args;
pub mod eal_refusal;
pub mod engine;
pub mod host;
pub mod lcore_layout;
pub mod network;
pub mod trial;
