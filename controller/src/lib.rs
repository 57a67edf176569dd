//! Linerate's experiment program: the command line, and what only it needs.

pub mod cli;
pub mod metrics;
pub mod profile;
pub mod schema;
