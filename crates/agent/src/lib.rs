//! An agent: serves one controller at a time over loopback TCP, and runs its trials on an engine that it holds over many of them.
//!
//! [`serve()`] moves messages; [`Agent`] knows what they mean and where a trial stands; `connection` bounds and authenticates connections;
//! an [`engine::Engine`] moves the traffic. Nothing here knows DPDK or the command line.

mod agent;
mod connection;
pub mod cpu_time;
pub mod engine;
pub mod host;
pub mod machine;
mod metrics;
mod refusal;
mod serve;
pub mod token;

pub use agent::{Agent, Identity};
pub use serve::{AgentConfig, Solitude, serve};
