//! Care for a results directory: what is pending, what may go, what is to be kept elsewhere.

pub mod backup;
pub mod purge;
pub mod scan;
#[cfg(test)]
mod tests;
