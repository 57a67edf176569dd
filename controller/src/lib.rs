//! Linerate's experiment program: the command line and its modules.

pub mod cli;
pub mod metrics;
pub mod profile;
pub mod schema;
pub mod streams_metrics;
