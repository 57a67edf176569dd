//! Several datagrams per system call: `sendmmsg` and `recvmmsg`.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use libc::{c_int, c_uint, iovec, mmsghdr, msghdr};

/// Most datagrams of one system call.
pub(crate) const BATCH: usize = 64;
/// Bytes of ancillary data per received datagram: one header and one number, and room to spare.
const CONTROL_BYTES: usize = 64;

/// Equal messages in one buffer, which are sent together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Messages<'a> {
    /// The buffer; message *i* begins at `i * stride`.
    pub(crate) bytes: &'a [u8],
    /// Distance between two messages, in bytes.
    pub(crate) stride: usize,
}

/// Headers of the system calls, kept between calls. The pointers in them are valid during a call only.
#[derive(Debug)]
pub(crate) struct Batch {
    headers: Box<[mmsghdr; BATCH]>,
    vectors: Box<[iovec; BATCH]>,
    control: Box<[[u8; CONTROL_BYTES]; BATCH]>,
}

/// A received message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    /// Its bytes, as far as the buffer held them.
    pub(crate) bytes: &'a [u8],
    /// True when it was longer than the buffer.
    pub(crate) cut: bool,
    /// Length of each datagram in it but the last one; `None`: it is one datagram.
    pub(crate) segment: Option<usize>,
}

const EMPTY_VECTOR: iovec = iovec { iov_base: ptr::null_mut(), iov_len: 0 };

fn empty_header() -> mmsghdr {
    // SAFETY: a `mmsghdr` consists of integers and pointers, for which all-zero bytes are valid values.
    unsafe { std::mem::zeroed() }
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            headers: Box::new([empty_header(); BATCH]),
            vectors: Box::new([EMPTY_VECTOR; BATCH]),
            control: Box::new([[0; CONTROL_BYTES]; BATCH]),
        }
    }

    /// Sends messages of these lengths, at most [`BATCH`], on a connected socket. Returns how many the kernel
    /// took.
    ///
    /// # Errors
    /// That of the first message; an error of a later one is returned by the next call.
    pub(crate) fn send(
        &mut self,
        fd: impl AsFd,
        messages: Messages<'_>,
        lengths: impl Iterator<Item = usize>,
    ) -> io::Result<usize> {
        let mut count = 0;
        let heads = self.headers.iter_mut().zip(self.vectors.iter_mut());
        for (length, (header, vector)) in lengths.zip(heads) {
            let bytes = messages.bytes.get(count * messages.stride..).and_then(|rest| rest.get(..length));
            let Some(bytes) = bytes else { break };
            // `sendmsg` does not write through the pointer, whose type is shared with `recvmsg`.
            *vector = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: length };
            *header = mmsghdr {
                msg_hdr: msghdr { msg_iov: &raw mut *vector, msg_iovlen: 1, ..empty_header().msg_hdr },
                msg_len: 0,
            };
            count += 1;
        }
        // SAFETY: the first `count` headers each point to one element of `vectors`, which points into
        // `messages.bytes`; both outlive the call and are not moved during it. The kernel writes the headers'
        // lengths only. `fd` is open as long as it is borrowed.
        let sent = unsafe {
            libc::sendmmsg(
                fd.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Receives at most `most` messages into `bytes`, message *i* at `i * stride`; returns their number.
    /// [`Self::received`] reads them.
    pub(crate) fn receive(
        &mut self,
        fd: impl AsFd,
        bytes: &mut [u8],
        stride: usize,
        most: usize,
    ) -> io::Result<usize> {
        let mut count = 0;
        let each = bytes.chunks_exact_mut(stride.max(1)).zip(self.headers.iter_mut()).take(most);
        for ((room, header), (vector, control)) in
            each.zip(self.vectors.iter_mut().zip(self.control.iter_mut()))
        {
            *vector = iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            *header = mmsghdr {
                msg_hdr: msghdr {
                    msg_iov: &raw mut *vector,
                    msg_iovlen: 1,
                    msg_control: control.as_mut_ptr().cast(),
                    msg_controllen: CONTROL_BYTES,
                    ..empty_header().msg_hdr
                },
                msg_len: 0,
            };
            count += 1;
        }
        // SAFETY: the first `count` headers point to as many elements of `vectors` and `control`, and those
        // to parts of `bytes` that do not overlap; all are borrowed exclusively for the call. Without a time
        // limit the kernel takes a null pointer. `fd` is open as long as it is borrowed.
        let received = unsafe {
            libc::recvmmsg(
                fd.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// Message `index` of the last [`Self::receive`], whose buffer and stride these are.
    pub(crate) fn received<'a>(&self, index: usize, bytes: &'a [u8], stride: usize) -> Received<'a> {
        let header = &self.headers[index % BATCH];
        let room = bytes.get(index * stride..).unwrap_or_default();
        let room = room.get(..stride).unwrap_or(room);
        let control = &self.control[index % BATCH];
        let control = control.get(..header.msg_hdr.msg_controllen).unwrap_or(control);
        Received {
            bytes: room.get(..header.msg_len as usize).unwrap_or(room),
            cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            segment: gro_segment(control),
        }
    }
}

/// Length of the datagrams that the kernel delivered as one message (`UDP_GRO`), from its ancillary data: a
/// `cmsghdr` of length, level and type, and a number.
fn gro_segment(control: &[u8]) -> Option<usize> {
    const LENGTH_BYTES: usize = size_of::<usize>();
    let number = |at: usize| -> Option<c_int> {
        control.get(at..)?.first_chunk().map(|bytes| c_int::from_ne_bytes(*bytes))
    };
    let (level, kind) = (number(LENGTH_BYTES)?, number(LENGTH_BYTES + 4)?);
    let segment = number(LENGTH_BYTES + 8).filter(|_| level == libc::SOL_UDP && kind == libc::UDP_GRO)?;
    usize::try_from(segment).ok().filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::sys::sockopt::{set_udp_gro, set_udp_segment};

    fn pair() -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (sender, receiver)
    }

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let (sender, receiver) = pair();
        let bytes: Vec<u8> = (0..=255).collect();
        let mut batch = Batch::new();
        let messages = Messages { bytes: &bytes, stride: 64 };
        let sent = batch.send(&sender, messages, [10, 64, 33].into_iter()).unwrap();
        assert_eq!(sent, 3);
        let mut room = vec![0; 4 * 40];
        let count = batch.receive(&receiver, &mut room, 40, 4).unwrap();
        let received: Vec<_> = (0..count).map(|index| batch.received(index, &room, 40)).collect();
        assert_eq!(
            received,
            [
                Received { bytes: &bytes[..10], cut: false, segment: None },
                Received { bytes: &bytes[64..104], cut: true, segment: None },
                Received { bytes: &bytes[128..161], cut: false, segment: None },
            ]
        );
        let empty = batch.receive(&receiver, &mut room, 40, 4).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn segments_arrive_together_or_alone() {
        let (sender, receiver) = pair();
        set_udp_segment(&sender, 100).unwrap();
        let bytes = vec![7; 1000];
        let messages = Messages { bytes: &bytes, stride: 1000 };
        let mut batch = Batch::new();
        let mut room = vec![0; 16 * 2000];
        assert_eq!(batch.send(&sender, messages, std::iter::once(950)).unwrap(), 1);
        assert_eq!(batch.receive(&receiver, &mut room, 2000, 16).unwrap(), 10);
        assert_eq!(batch.received(9, &room, 2000).bytes.len(), 50);
        set_udp_gro(&receiver, true).unwrap();
        assert_eq!(batch.send(&sender, messages, std::iter::once(950)).unwrap(), 1);
        assert_eq!(batch.receive(&receiver, &mut room, 2000, 16).unwrap(), 1);
        let whole = batch.received(0, &room, 2000);
        assert_eq!((whole.bytes.len(), whole.segment), (950, Some(100)));
    }

    #[test]
    fn other_ancillary_data_is_no_segment() {
        assert_eq!(gro_segment(&[]), None);
        assert_eq!(gro_segment(&[0; CONTROL_BYTES]), None);
    }
}
