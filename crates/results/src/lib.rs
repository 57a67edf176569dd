//! Results: records of trials, the store that holds them, and the figures and verdicts computed from them.
//!
//! [`figures`] and [`verdict`] are pure: they compute a trial's result from the agents' reports. [`store`]
//! writes and reads results directories, [`summary`] is the result of an experiment, and [`validate`] checks
//! recorded results.

pub mod clock;
pub mod engines;
pub mod figures;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod host;
pub mod host_setting;
pub mod housekeeping;
pub mod http;
pub mod nodes;
pub mod planned;
pub mod search;
pub mod self_measurement;
pub mod store;
pub mod streams;
pub mod summary;
pub mod validate;
pub mod verdict;
