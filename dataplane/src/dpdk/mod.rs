//! A safe interface to DPDK: the only folder of this crate that may use `unsafe`.
//!
//! Invariants that the modules uphold together:
//! - [`eal::Eal`] exists once per process and outlives every port, pool and lcore job: they hold a clone of
//!   its handle.
//! - A queue has exactly one handle, which moves between threads but is not shared.
//! - A buffer has one owner: the pool, a burst, or the port that accepted it.
#![allow(unsafe_code)]

pub mod burst;
pub mod channels;
pub mod clock;
pub mod counter;
pub mod drivers;
pub mod eal;
pub mod error;
pub mod id;
pub mod lcore;
pub mod pool;
pub mod port;
pub mod queue;
mod started;
