//! Golden tests of what users rely on (files below `tests/golden`): documents and their ids, command lines
//! and help texts, recorded results and their reports and exports, events, metrics and uploads to Weights &
//! Biases.
//!
//! These tests run the built programs without their libraries. After an intended change of an output,
//! `LINERATE_RECORD=1 cargo test -p linerate --test golden` records the files again; a reviewer then reads
//! the difference. Documents and recorded results are inputs and are never recorded again: `golden/README.md`
//! describes their origin.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod archives;
mod command_lines;
mod documents;
mod files;
mod ids;
mod live_run;
mod programs;
mod results;
