//! An agent: serves one controller at a time over loopback TCP, and runs its trials on an engine that
//! outlives them.
//!
//! [`serve()`] transports messages; [`Agent`] handles them and holds the trial's state; `connection` bounds
//! and authenticates connections; an [`engine::Engine`] runs the traffic. The crate depends on neither DPDK
//! nor the command line.

mod agent;
mod connection;
pub mod cpu_time;
pub mod engine;
pub mod host;
mod host_report;
mod host_watch;
pub mod machine;
mod metrics;
mod refusal;
mod serve;
pub mod token;

pub use agent::{Agent, Identity};
pub use serve::{AgentConfig, OrphanRule, serve};
