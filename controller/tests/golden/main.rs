//! What users rely on, held to files below `tests/golden`: documents and their ids, command lines and help texts, recorded results and what
//! is made of them, events, metrics and what Weights & Biases is told.
//!
//! These tests run the built programs and use nothing of the libraries. After an intended change of an output,
//! `LINERATE_RECORD=1 cargo test -p linerate --test golden` writes the files anew; the difference is then for a reviewer to read. Documents
//! and recorded results are inputs and are never written anew: `golden/README.md` says how they came about.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod archives;
mod command_lines;
mod documents;
mod files;
mod ids;
mod live_run;
mod programs;
mod results;
