//! Housekeeping of a results directory: scan, purge, backup.

pub mod backup;
pub mod purge;
pub mod scan;
#[cfg(test)]
mod tests;
