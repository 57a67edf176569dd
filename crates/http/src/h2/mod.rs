//! HTTP/2 (RFC 9113), without I/O: bytes of the connection in and out. Clients send requests; [`server`] gives all of
//! them one answer.
//!
//! A [`blocks::Blocks`] is a request, encoded once. A [`connection::Connection`] has many of them on their way at
//! the same time, and tells by [`connection::Event`]s what became of each.

pub mod blocks;
pub mod connection;
mod frame;
mod hpack;
mod receive;
pub mod server;
pub mod stream;

#[cfg(test)]
mod tests;
