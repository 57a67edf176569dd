//! Protocol between Linerate's programs: control messages, states, trials, samples and reports.
//!
//! The crate is pure: no I/O, no clock, no DPDK. [`message`] defines the messages between a controller and an
//! agent, [`trial`] the work that an agent receives, [`sample`] and [`report`] its results.
//!
//! Work, samples, reports and the description of an engine have a common part, and a part that is tagged with
//! the kind of traffic: `frames`, `streams` or `http`, `diagnosis` or `watch`.
//!
//! All packet counts are frames. All byte counts are bytes handed to or taken from a port, without the 4-byte
//! frame check sequence; a [`linerate_traffic::frame::FrameSize`] includes it.

pub mod buffers;
pub mod counters;
pub mod diagnosis;
pub mod engine;
pub mod flow_lines;
pub mod host;
pub mod host_report;
pub mod http;
pub mod loss;
pub mod message;
pub mod network;
pub mod plausible;
pub mod port;
pub mod report;
pub mod sample;
pub mod state;
pub mod streams;
pub mod time;
pub mod trial;
pub mod watch;
pub mod worst_flows;
