//! Protocol between Linerate's programs: control messages, states, trials, samples and reports.
//!
//! The crate is pure: no I/O, no clock, no DPDK. [`message`] defines the messages between a controller and an
//! agent, [`trial`] the work that an agent receives, [`counters`] and [`report`] its results.
//!
//! All packet counts are frames. All byte counts are bytes handed to or taken from a port, without the 4-byte
//! frame check sequence; a [`linerate_traffic::frame::FrameSize`] includes it.

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
