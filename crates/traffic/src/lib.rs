//! What is sent: profiles, rates, frame sizes, the probe that every packet carries, and the ceilings that bound a load.
//!
//! Everything here is pure: no I/O, no clock, no DPDK. A [`profile::Profile`] says what the traffic looks like, a [`rate::Rate`] how much of
//! it is sent, a [`limit::Limit`] when sending ends, and [`safety::Ceilings`] what may not be exceeded.
//!
//! A [`frame::FrameSize`] includes the 4-byte frame check sequence.

pub mod document;
pub mod frame;
pub mod limit;
pub mod mac;
pub mod probe;
pub mod profile;
pub mod rate;
pub mod safety;
pub mod sizes;
pub mod span;
