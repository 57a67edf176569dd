//! Trials on a port: prepare, arm, start, sample, stop, report. What the command line and the agent both run.

mod active;
mod answering;
mod bench;
mod hop;
mod launch;
mod link_watch;
mod port_watch;
mod report;

pub use active::{Active, Finished, Sender};
pub use bench::{Bench, BenchConfig, Order, Prepared, Replayed, TrialError, Work};
