//! HTTP/2 of a client (RFC 9113), without I/O: bytes of the connection in and out.
//!
//! A [`blocks::Blocks`] is a request, encoded once. A [`connection::Connection`] has many of them on their way at
//! the same time, and tells by [`connection::Event`]s what became of each.

pub mod blocks;
pub mod connection;
mod frame;
mod hpack;
mod receive;
pub mod stream;

#[cfg(test)]
mod tests;
