//! Rate search: the highest load at which a system keeps its loss within a goal. Pure and deterministic: a
//! function from the goals and the trials so far to the next trial, without a clock and without I/O, so a
//! search that was killed resumes by replaying its trials. Decisions use integers only.
//!
//! Other benchmarks, which need a throughput or stand alone, are in [`methods`].
//!
//! Classification of loads, bounds and conditional throughput are those of MLRsearch (RFC 9971); which load is
//! tried next is our choice within its limits.

pub mod bounds;
pub mod classify;
pub mod conclusion;
pub mod goal;
pub mod grid;
pub mod measurement;
pub mod methods;
pub mod model;
pub mod search;
mod selector;
pub mod simulate;
mod target;

pub use conclusion::{GoalConclusion, Irregular, Limiter};
pub use goal::{Goal, GoalError};
pub use measurement::Measurement;
pub use search::{Next, Request, Search, SearchSpec, SpecError};

/// Parts of a ratio of 1: ratios are whole parts per billion.
pub const PPB: u64 = 1_000_000_000;
