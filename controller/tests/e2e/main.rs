//! The real controller with real agents over memif: runs, their interruption, and the use of their results.
//! One test program, because each one links all of the controller.
//!
//! Tests in [`alone`] need all CPUs. Of the others three run at a time: `cargo test -p linerate --test e2e --
//! --test-threads=3 --skip alone::`, then `-- --test-threads=1 alone::`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alone;
mod bridge;
mod ceilings;
mod compare;
mod diagnose;
mod directions;
mod engines;
mod exports;
mod foreign_results;
mod host_settings;
mod http;
mod local_run;
mod measure_self;
mod metrics;
mod other_paths;
mod pktgen_capture;
mod reports;
mod resume;
mod searches;
mod store_faults;
mod streams;
mod sudden_end;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod wandb;
mod worst_flows;
