//! Tests of rates and times; a parallel test would take CPUs that they need.

mod benchmarks;
mod compare;
mod loss_times;
mod search;
mod time;
