//! What the command lines of the programs have in common: output, failures with their exit codes, signals,
//! the options of ceilings and of diagnoses.

pub mod bytes;
pub mod diagnosis;
pub mod output;
pub mod rate;
pub mod safety;
pub mod signals;
