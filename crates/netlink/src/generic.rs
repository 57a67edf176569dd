//! Generic netlink: families that the kernel numbers when it starts.

use std::io;
use std::num::NonZeroU32;

use rustix::net::Protocol;

use crate::Socket;
use crate::message::{attribute, put, short};

/// `struct genlmsghdr`.
pub const HEADER_BYTES: usize = 4;

const GENERIC: u32 = 16;
/// The family that finds the others.
const CONTROL: u16 = 0x10;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;

/// A generic netlink socket, and the number of the family with this name, which ends with a zero.
///
/// # Errors
/// When the kernel has no such family.
pub fn open(name: &[u8]) -> io::Result<(Socket, u16)> {
    let mut socket = Socket::open(NonZeroU32::new(GENERIC).map(Protocol::from_raw))?;
    let mut request = vec![CONTROL_GET_FAMILY, 1, 0, 0];
    put(&mut request, CONTROL_FAMILY_NAME, name);
    let mut family = None;
    socket.ask(CONTROL, 0, &request, |body| {
        family = attribute(body, HEADER_BYTES, CONTROL_FAMILY_ID).and_then(|value| short(value, 0));
    })?;
    Ok((socket, family.ok_or(io::ErrorKind::NotFound)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_a_number_or_are_not_there() {
        assert_eq!(open(b"nlctrl\0").unwrap().1, CONTROL);
        assert!(open(b"nothere\0").is_err());
    }
}
