//! Tests of rates and times; a parallel test would take CPUs that they need.

mod compare;
mod search;
mod time;
