//! Tests of the real controller on a stub of the API server with in-memory kubelets and agents, which can
//! simulate any fault. Tests that a real cluster supports are in `scripts/cluster`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod agent;
mod answer;
mod api;
mod cluster;
mod faults;
mod forward;
mod kubelet;
mod objects;
mod on_stub;
mod report;
mod request;
mod role;
mod security;
mod server;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod watching;
mod wire;
