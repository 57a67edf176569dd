//! The agent: serves one controller at a time over loopback TCP, and holds the port over many trials.
//!
//! [`serve()`] moves messages; [`desk::Desk`] knows what they mean; `wire` bounds and authenticates connections.

pub mod desk;
pub mod machine;
mod metrics;
mod refusal;
mod serve;
pub mod token;
mod wire;

pub use serve::{AgentConfig, Solitude, serve};
