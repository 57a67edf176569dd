//! Tests of rates and times: another test at the same time would take the CPUs that they count on.

mod compare;
mod time;
