//! The kernel's netlink sockets: requests, and the messages that answer them. Needs no privilege.
//!
//! Formats: `netlink(7)`, `rtnetlink(7)`, kernel `Documentation/userspace-api/netlink`. [`message`] builds and
//! reads messages and their attributes, [`route`] those of routes; both are pure. [`Socket`] asks the kernel.
//! Whoever asks for something else knows the kinds and attributes of it.

pub mod generic;
pub mod message;
pub mod route;
mod socket;

pub use socket::{Socket, interface_index};
