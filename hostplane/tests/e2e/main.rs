//! The real program over real sockets: what is sent, what is counted, what is refused, and how it ends.
//!
//! Tests in [`alone`] need the CPUs to themselves, those in [`host_limits`] change what every other program would notice. Of the others three
//! run at a time: `cargo test -p linerate-hostplane --test e2e -- --test-threads=3 --skip alone:: --skip host_limits::`, then
//! `-- --test-threads=1 alone:: host_limits::`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agent;
mod alone;
mod capture;
mod common;
mod counters;
mod datagrams;
mod diagnose;
mod host_limits;
mod http;
mod http2;
mod iperf3;
mod iperf3_peers;
mod limits;
mod loopback;
mod monitor;
mod namespaces;
mod node_watch;
mod peers;
mod refusals;
mod requests;
mod tls;
mod tune;
