//! What Linerate's programs say to each other: control messages, states, work, samples and reports.
//!
//! Everything here is pure: no I/O, no clock, no DPDK. [`message`] is how a controller and an agent talk, [`trial`] what an agent is asked to
//! do, [`counters`] and [`report`] what came of it.
//!
//! All packet counts are frames. All byte counts are the bytes handed to or taken from a port, that is, without the 4-byte frame check
//! sequence; a [`linerate_traffic::frame::FrameSize`] includes it.

pub mod buffers;
pub mod counters;
pub mod flow_lines;
pub mod host;
pub mod message;
pub mod network;
pub mod port;
pub mod report;
pub mod state;
pub mod time;
pub mod trial;
pub mod worst_flows;
