//! The kernel's netlink sockets: an interface's counters and its queues' statistics. Needs no privilege.
//!
//! Formats: `netlink(7)`, `rtnetlink(7)`, kernel `Documentation/userspace-api/netlink`. Numbers are in the
//! machine's byte order; messages and attributes are padded to four bytes.

pub mod link;
pub mod queue_stats;
pub mod queues;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// Time limit for the kernel's answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// Longest message of the kernel.
const ROOM_BYTES: usize = 64 << 10;
const HEADER_BYTES: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 0x1;
/// Flag of a request for all entries (`NLM_F_DUMP`).
pub const DUMP: u16 = 0x300;

/// A message of the kernel: its kind and its body.
pub type Message<'a> = (u16, &'a [u8]);

/// A socket to the kernel, and room for its answers.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
    room: Vec<u8>,
    sequence: u32,
}

impl Socket {
    /// A socket to a part of the kernel; `None`: its routing tables.
    ///
    /// # Errors
    /// When the kernel has no such socket.
    pub fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIME))?;
        Ok(Self { socket, room: vec![0; ROOM_BYTES], sequence: 0 })
    }

    /// Sends a request, and shows the body of each message of the answer.
    ///
    /// # Errors
    /// What the kernel says, or that it does not answer in time.
    pub fn ask(&mut self, kind: u16, flags: u16, body: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(kind, flags, self.sequence, body);
        sendto(&self.socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        loop {
            let (length, _) = recv(&self.socket, &mut self.room[..], RecvFlags::empty())?;
            let mut any = false;
            for (sequence, kind, body) in messages(self.room.get(..length).unwrap_or_default()) {
                // The answer to a request that was given up.
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    // The end of a dump has a result, too.
                    DONE | ERROR => match number(body, 0).unwrap_or(0).cast_signed() {
                        errno if errno < 0 => return Err(io::Error::from_raw_os_error(errno.wrapping_neg())),
                        _ => return Ok(()),
                    },
                    _ => {
                        any = true;
                        each(body);
                    }
                }
            }
            if any && flags & DUMP == 0 {
                return Ok(());
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Generic netlink's own family, which finds the others.
const CONTROL: u16 = 0x10;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;
const GENERIC: u32 = 16;

/// A generic netlink socket, and the number of the family with this name, which ends with a zero.
fn generic(name: &[u8]) -> io::Result<(Socket, u16)> {
    let mut socket = Socket::open(std::num::NonZeroU32::new(GENERIC).map(Protocol::from_raw))?;
    let mut request = vec![CONTROL_GET_FAMILY, 1, 0, 0];
    put(&mut request, CONTROL_FAMILY_NAME, name);
    let mut family = None;
    socket.ask(CONTROL, 0, &request, |body| {
        let mut known = attributes(body.get(queue_stats::HEADER_BYTES..).unwrap_or_default());
        let id = known.find(|(kind, _)| *kind == CONTROL_FAMILY_ID);
        family = id.and_then(|(_, value)| value.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes)));
    })?;
    Ok((socket, family.ok_or(io::ErrorKind::NotFound)?))
}

fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

/// Adds an attribute to a request.
pub fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend((4 + value.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// 32 bits at a place.
pub fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// 64 bits at a place.
pub fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

/// The first part of a sequence whose elements begin with their length, and the rest after its padding.
fn split(bytes: &[u8], header: usize, length: Option<usize>) -> Option<(&[u8], &[u8])> {
    let length = length.filter(|length| *length >= header)?;
    let part = bytes.get(..length)?;
    Some((part, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Messages: sequence number, kind and body. What follows a damaged one is not read.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = (u32, u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = number(rest, 0).map(|length| length as usize);
        let (part, next) = split(rest, HEADER_BYTES, length)?;
        rest = next;
        Some((number(part, 8)?, short(part, 4)?, part.get(HEADER_BYTES..)?))
    })
}

/// Attributes: kind and value. What follows a damaged one is not read.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (part, next) = split(rest, 4, short(rest, 0).map(usize::from))?;
        rest = next;
        // The highest bits of a kind are flags.
        Some((short(part, 2)? & 0x3fff, part.get(4..)?))
    })
}

/// An unsigned attribute of 32 or 64 bits.
pub(crate) fn unsigned(value: &[u8]) -> Option<u64> {
    match value.len() {
        4 => number(value, 0).map(u64::from),
        8 => long(value, 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_end_at_damage() {
        let mut body = Vec::new();
        put(&mut body, 3, &[1, 2, 3]);
        put(&mut body, 0x8004, &7u32.to_ne_bytes());
        let bytes = [request(9, DUMP, 5, &body), request(DONE, 0, 5, &[])].concat();
        let seen: Vec<_> = messages(&bytes).map(|(sequence, kind, _)| (sequence, kind)).collect();
        assert_eq!(seen, [(5, 9), (5, DONE)]);
        let (_, _, body) = messages(&bytes).next().unwrap();
        assert_eq!(attributes(body).collect::<Vec<_>>(), [(3, &[1, 2, 3][..]), (4, &7u32.to_ne_bytes()[..])]);
        for length in 0..bytes.len() {
            assert!(messages(&bytes[..length]).count() <= 2);
            assert!(attributes(&bytes[..length]).count() < bytes.len());
        }
        assert_eq!(attributes(&[0; 64]).count(), 0, "no endless loop");
    }
}
