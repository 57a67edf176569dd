//! A socket to the kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, sendto,
    socket_with,
};

use crate::message::{DONE, DUMP, ERROR, messages, number, request};

/// Time limit for the kernel's answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// How often a list is asked for when it changes while the kernel gives it out.
const ATTEMPTS: usize = 8;
/// Longest datagram from the kernel.
const ROOM_BYTES: usize = 64 << 10;

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
    pub fn ask(&mut self, kind: u16, flags: u16, body: &[u8], each: impl FnMut(&[u8])) -> io::Result<()> {
        self.answer(kind, flags, body, each).map(drop)
    }

    /// Asks for all entries, and puts those that `read` finds into `entries`, in place of what is there. A
    /// list that changed while the kernel gave it out is asked for again.
    ///
    /// # Errors
    /// What the kernel says, that it does not answer in time, or that the list changed every time.
    pub fn list<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        entries: &mut Vec<T>,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            entries.clear();
            match self.answer(kind, DUMP, body, |body| entries.extend(read(body))) {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(error) => {
                    entries.clear();
                    return Err(error);
                }
            }
        }
        entries.clear();
        Err(io::Error::other(format!(
            "the list changed each of {ATTEMPTS} times that the kernel gave it out"
        )))
    }

    /// Whether the list changed while the kernel gave it out.
    fn answer(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(kind, flags, self.sequence, body);
        sendto(&self.socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut changed = false;
        loop {
            let (length, _) = recv(&self.socket, &mut self.room[..], RecvFlags::empty())?;
            let mut any = false;
            for message in messages(self.room.get(..length).unwrap_or_default()) {
                // The answer to a request that was given up.
                if message.sequence != self.sequence {
                    continue;
                }
                changed |= message.has_changed;
                match message.kind {
                    // The end of a dump has a result, too.
                    DONE | ERROR => match number(message.body, 0).unwrap_or(0).cast_signed() {
                        errno if errno < 0 => return Err(io::Error::from_raw_os_error(errno.wrapping_neg())),
                        _ => return Ok(changed),
                    },
                    _ => {
                        any = true;
                        each(message.body);
                    }
                }
            }
            if any && flags & DUMP == 0 {
                return Ok(changed);
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Index of an interface of this network namespace.
///
/// # Errors
/// When there is no such interface.
pub fn interface_index(name: &str) -> io::Result<u32> {
    Ok(netdevice::name_to_index(Socket::open(None)?, name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_have_an_index_or_are_not_there() {
        assert_eq!(interface_index("lo").unwrap(), 1);
        assert!(interface_index("nothere0").is_err());
    }
}
