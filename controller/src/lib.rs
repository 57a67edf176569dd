//! Linerate's experiment program: an experiment document goes in, honestly counted results come out.
//!
//! Pure decisions stand apart from input and output: [`experiment`] (what is asked), [`plan`] (which trials that makes),
//! [`figures`] and [`verdict`] (what came of a trial) read and write nothing.

pub mod experiment;

pub mod cli;
pub mod clock;
pub mod compare;
pub mod events;
pub mod export;
pub mod figures;
pub mod housekeeping;
pub mod metrics;
pub mod pktgen;
pub mod plan;
pub mod platform;
pub mod profile;
pub mod report;
pub mod run;
pub mod schema;
pub mod session;
pub mod store;
pub mod summary;
pub mod upload;
pub mod validate;
pub mod verdict;
mod yaml;
