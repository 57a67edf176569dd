//! The words that Linerate's controller and its data plane share.
//!
//! Everything here is pure: no I/O, no clock, no DPDK. A [`profile::Profile`] says what traffic looks like, a
//! [`rate::Rate`] how much of it, [`message`] how the two programs talk about it, [`counters`] and
//! [`report`] what came of it.
//!
//! All packet counts are frames. All byte counts are the bytes handed to or taken from a port, that is, without
//! the 4-byte frame check sequence; a [`frame::FrameSize`] includes it.

pub mod buffers;
pub mod counters;
pub mod document;
pub mod flow_lines;
pub mod frame;
pub mod host;
pub mod mac;
pub mod message;
pub mod network;
pub mod port;
pub mod probe;
pub mod profile;
pub mod rate;
pub mod report;
pub mod safety;
pub mod span;
pub mod state;
pub mod time;
pub mod trial;
pub mod worst_flows;
