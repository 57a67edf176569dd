//! Trials on a port: prepare, arm, start, sample, stop, report. Used by the command line and by the agent.

mod active;
mod answering;
mod bench;
mod hop;
mod launch;
mod link_watch;
mod port_watch;
mod report;

pub use active::{Active, Finished, PortReport, Sender};
pub use bench::{Bench, BenchConfig, Order, Prepared, Replayed, Task, TrialError};
