//! What the controller writes and refuses without any agent: manifests, schemas, the `profile` commands.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod manifests;
mod profile_commands;
mod schemas;
