//! Outputs and refusals of the controller without agents: manifests, schemas, the `profile` commands.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod manifests;
mod odd_paths;
#[path = "../support/mod.rs"]
mod support;

mod profile_commands;
mod schemas;
mod search;
mod standard_output;
