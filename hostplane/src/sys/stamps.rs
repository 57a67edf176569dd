//! The kernel's own times of sending and receiving (`SO_TIMESTAMPING`, software): when a packet was handed to the
//! device, and when the device handed it over. They are of the clock `CLOCK_REALTIME`.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use libc::{c_int, c_void, cmsghdr, iovec, msghdr};

use super::sockopt::set_stamping;

/// Bytes of ancillary data: the times, and the description of what was sent.
const CONTROL_WORDS: usize = 32;
/// Flags of `SO_TIMESTAMPING` (`linux/net_tstamp.h`).
const TX_SOFTWARE: u32 = 1 << 1;
const RX_SOFTWARE: u32 = 1 << 3;
const SOFTWARE: u32 = 1 << 4;
const OPT_ID: u32 = 1 << 7;
const OPT_TSONLY: u32 = 1 << 11;
/// Origin of an entry of the error queue that is a time (`SO_EE_ORIGIN_TIMESTAMPING`).
const ORIGIN_TIME: u8 = 4;

/// Has the kernel take the times of this socket.
pub(crate) fn enable(fd: impl AsFd) -> io::Result<()> {
    set_stamping(fd, TX_SOFTWARE | RX_SOFTWARE | SOFTWARE | OPT_ID | OPT_TSONLY)
}

/// Receives bytes, and the time of the last packet among them in nanoseconds; `None` when the kernel took none.
pub(crate) fn receive(fd: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
    let (length, found) = message(fd, bytes, 0)?;
    Ok((length, found.time_ns))
}

/// Next time of sending: what was sent (bytes of TCP, datagrams of UDP, counted from [`enable`]), and the time in
/// nanoseconds. `None` when there is none now.
pub(crate) fn sent(fd: impl AsFd) -> Option<(u32, u64)> {
    // Other entries of the queue are passed over; there are few.
    for _ in 0..8 {
        let (_, found) = message(&fd, &mut [], libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT).ok()?;
        if let (Some(id), Some(time)) = (found.id, found.time_ns) {
            return Some((id, time));
        }
    }
    None
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Found {
    time_ns: Option<u64>,
    id: Option<u32>,
}

fn message(fd: impl AsFd, bytes: &mut [u8], flags: c_int) -> io::Result<(usize, Found)> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut vector = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all bits zero are a valid `msghdr`: null pointers and lengths of zero.
    let mut header: msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast::<c_void>();
    header.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the header points to one vector, which describes `bytes`, and to `control`; all are borrowed
    // exclusively and outlive the call. `fd` is open as long as it is borrowed.
    let length = unsafe { libc::recvmsg(fd.as_fd().as_raw_fd(), &raw mut header, flags) };
    let Ok(length) = usize::try_from(length) else { return Err(io::Error::last_os_error()) };
    let mut found = Found::default();
    // SAFETY: the kernel has set `msg_controllen` to the bytes that it wrote into `control`, which lives on.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !next.is_null() {
        // SAFETY: `CMSG_FIRSTHDR` and `CMSG_NXTHDR` return headers within `control` only, which is aligned for
        // them.
        let part: cmsghdr = unsafe { ptr::read(next) };
        // SAFETY: as above; data of that length follows the header within `control`.
        let data = unsafe {
            let start = libc::CMSG_DATA(next);
            let header_bytes = start.offset_from(next.cast::<u8>()).unsigned_abs();
            std::slice::from_raw_parts(start, (part.cmsg_len as usize).saturating_sub(header_bytes))
        };
        read_part(part.cmsg_level, part.cmsg_type, data, &mut found);
        // SAFETY: `next` came from these functions, and the header is unchanged.
        next = unsafe { libc::CMSG_NXTHDR(&raw const header, next) };
    }
    Ok((length, found))
}

fn read_part(level: c_int, kind: c_int, data: &[u8], found: &mut Found) {
    let eight = |at: usize| data.get(at..)?.first_chunk().map(|bytes| i64::from_ne_bytes(*bytes));
    let four = |at: usize| data.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    if level == libc::SOL_SOCKET && kind == libc::SCM_TIMESTAMPING {
        // Three `timespec`; the first is the software's.
        let time = eight(0).zip(eight(8)).filter(|(seconds, _)| *seconds > 0);
        found.time_ns = time.map(|(seconds, ns)| seconds.unsigned_abs() * 1_000_000_000 + ns.unsigned_abs());
    } else if (level == libc::SOL_IP && kind == libc::IP_RECVERR)
        || (level == libc::SOL_IPV6 && kind == libc::IPV6_RECVERR)
    {
        // `struct sock_extended_err`: errno, origin, type, code, padding, info, data.
        found.id = four(12).filter(|_| data.get(4) == Some(&ORIGIN_TIME));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::{Duration, Instant};

    use super::*;

    fn wait_for_sent(fd: impl AsFd) -> (u32, u64) {
        let began = Instant::now();
        loop {
            if let Some(stamp) = sent(&fd) {
                return stamp;
            }
            assert!(began.elapsed() < Duration::from_secs(5));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn datagrams_have_times_of_sending_and_receiving() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        enable(&sender).unwrap();
        enable(&receiver).unwrap();
        let (began, mut stamped) = (Instant::now(), 0);
        for number in 0.. {
            sender.send(&[7; 40]).unwrap();
            let mut room = [0; 64];
            let (length, received_ns) = receive(&receiver, &mut room).unwrap();
            let (id, sent_ns) = wait_for_sent(&sender);
            assert_eq!((length, id), (40, number));
            // The kernel begins to take receive times a moment after it was asked to.
            let Some(received_ns) = received_ns else {
                assert!(began.elapsed() < Duration::from_secs(5));
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            let took = received_ns.checked_sub(sent_ns).expect("sent before it was received");
            assert!(took < 1_000_000_000, "{took}");
            stamped += 1;
            if stamped == 3 {
                break;
            }
        }
        assert_eq!(sent(&sender), None);
    }

    #[test]
    fn the_times_of_a_connection_are_counted_in_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        enable(&sender).unwrap();
        let mut ids = Vec::new();
        for _ in 0..2 {
            sender.write_all(&[1; 100]).unwrap();
            receiver.read_exact(&mut [0; 100]).unwrap();
            ids.push(wait_for_sent(&sender).0);
        }
        assert_eq!(ids[1] - ids[0], 100);
    }
}
