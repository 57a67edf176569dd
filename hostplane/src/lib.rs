//! Streams of Linerate: TCP and UDP through the kernel's sockets, counted at both ends.
//!
//! The layers, from the bottom: `sys` (system calls, the only unsafe folder), `streams` (worker threads and
//! their sockets), `door` (where streams arrive), `control` (what the two ends of a trial say to each other),
//! `server` and `client` (the two ends), `exchange` (requests and responses), `diagnose` (what is wrong with a
//! path), `monitor` (what an interface and its host count), `tune_text` (its settings in words), `routing` (routes and queues of the kernel), `http` (load of HTTP requests, and a backend), `engine`
//! (for an agent), `iperf3` (both ends for clients and servers of iperf3), `result` (from both
//! ends' reports to figures and a verdict) and [`command`]. The program `linerate-hostplane` is
//! [`command::main`].

pub mod command;

mod client;
mod control;
mod diagnose;
mod door;
mod engine;
mod exchange;
mod http;
mod iperf3;
mod monitor;
mod result;
mod routing;
mod server;
mod spec;
mod strangers;
mod streams;
mod sys;
mod tune_text;
