//! What the command lines of the programs of traffic have in common: output, failures with their exit codes,
//! and the options of ceilings.

pub mod output;
pub mod safety;
