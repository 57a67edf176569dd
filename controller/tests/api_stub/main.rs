//! The real controller on a cluster that can be given any fault: a stub of the API server, with kubelets and agents that exist in memory
//! only. What a real cluster can be made to do is in `scripts/cluster`.

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
