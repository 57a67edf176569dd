//! Traffic: profiles, rates, frame sizes, the probe in every packet, and the ceilings that limit a load.
//!
//! The crate is pure: no I/O, no clock, no DPDK. A [`profile::Profile`] describes the traffic, a
//! [`rate::Rate`] its load, a [`schedule::Schedule`] that load over time, a [`limit::Limit`] the end of
//! sending, and [`safety::Ceilings`] the limits that it must not exceed.
//!
//! A [`frame::FrameSize`] includes the 4-byte frame check sequence.

pub mod apart;
pub mod document;
pub mod environment;
pub mod frame;
pub mod limit;
pub mod mac;
pub mod probe;
pub mod profile;
pub mod random;
pub mod rate;
pub mod safety;
pub mod schedule;
pub mod sizes;
pub mod span;
pub mod url;
