//! The real program over real ports: what leaves, what is counted, what is refused, and how it ends.
//!
//! Tests in [`alone`] need the CPUs or the machine's hugepages to themselves. Of the others three run at a time:
//! `cargo test -p linerate-dataplane --test e2e -- --test-threads=3 --skip alone::`, then `-- --test-threads=1 alone::`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agent;
mod alone;
mod capture;
mod capture_fields;
mod common;
mod flows_file;
mod interfaces;
mod known_frames;
mod memif_socket;
mod observers;
mod path;
mod peer_testpmd;
mod refusals;
mod replay;
mod routed;
