//! What was measured: records of trials, the store that keeps them, figures and verdicts drawn from them.
//!
//! [`figures`] and [`verdict`] are pure: they draw a trial's result from what agents reported. [`store`] writes and reads results directories,
//! [`summary`] is the result of an experiment, [`validate`] judges whether recorded results can be trusted.

pub mod clock;
pub mod figures;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod housekeeping;
pub mod store;
pub mod summary;
pub mod validate;
pub mod verdict;
