//! Trials on a port: prepare, arm, start, sample, stop, report. Used by the command line and by the agent.

mod active;
mod answering;
mod error;
mod hop;
mod jobs;
mod launch;
mod left_queues;
mod link_watch;
mod order;
mod plan;
mod port_setup;
mod port_watch;
mod report;

pub use active::{Active, Finished, Sender};
pub use error::TrialError;
pub use left_queues::LeftQueues;
pub use order::{Order, Replayed, Task};
pub use plan::Prepared;
pub use port_setup::{PortSetup, PortSetupConfig};
pub use report::PortReport;
