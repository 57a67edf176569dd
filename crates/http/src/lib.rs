//! HTTP of a load generator and of its backend (RFC 9110, RFC 9112, RFC 9113). Pure: bytes in, values out.
//!
//! A [`request::Request`] is built once and sent many times. A [`response::ResponseReader`] takes a response in
//! whatever pieces it comes, and tells when it is whole, malformed or too large. It keeps no body, so memory
//! does not depend on what a server sends. A [`incoming::RequestReader`] does the same with requests. A
//! [`tls::session::Session`] encrypts and decrypts either. A [`h2::connection::Connection`] is HTTP/2.

mod body;
pub mod h2;
pub mod incoming;
pub mod request;
pub mod response;
pub mod target;
pub mod tls;
