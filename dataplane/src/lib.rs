//! The data plane of Linerate: sends, receives and counts packets over DPDK.
//!
//! The layers, from the bottom: [`dpdk`] (the only unsafe folder), [`core`] (pure), [`loops`] (what lcores run), [`trial`] (a trial
//! on a port), [`agent`] and [`command`] (who asks for trials). The program `linerate-dataplane` is [`command::main`].

pub mod agent;
pub mod command;
pub mod core;
pub mod dpdk;
pub mod host;
pub mod loops;
pub mod network;
pub mod trial;
