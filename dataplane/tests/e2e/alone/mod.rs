//! Tests of rates and times, and those that set how many hugepages the machine has: another test at the same time would be in their way.

mod capture_load;
mod clock;
mod eal_refusals;
mod signals;
