//! Socket options that `rustix` does not have. Two functions make the system calls; all others are safe and
//! use them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::{c_int, socklen_t};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// Sets an option to these bytes.
fn set(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which outlives the call; the kernel only reads it. `fd` is
    // open as long as it is borrowed.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), value.len() as socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option into `value`; returns the number of bytes that the kernel wrote.
fn get(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &mut [u8]) -> io::Result<usize> {
    let mut length = value.len() as socklen_t;
    // SAFETY: pointer and length describe `value`, which is borrowed exclusively for the call, and the kernel
    // writes at most `length` bytes; `length` is a local variable. `fd` is open as long as it is borrowed.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length) };
    if result == 0 { Ok((length as usize).min(value.len())) } else { Err(io::Error::last_os_error()) }
}

/// The kernel's cookie of this thread's network namespace, which no other one gets until the machine starts again (`SO_NETNS_COOKIE`);
/// `None` before Linux 5.14.
pub(crate) fn namespace_cookie() -> Option<u64> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    let mut cookie = [0; size_of::<u64>()];
    let length = get(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, &mut cookie).ok()?;
    (length == cookie.len()).then(|| u64::from_ne_bytes(cookie))
}

fn set_int(fd: impl AsFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set(fd.as_fd(), level, name, &value.to_ne_bytes())
}

/// Has the kernel pace the socket at this many bytes per second (`SO_MAX_PACING_RATE`): TCP by itself, other
/// protocols only under the queueing discipline `fq`.
pub(crate) fn set_pacing_rate(fd: impl AsFd, bytes_per_second: u64) -> io::Result<()> {
    set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &bytes_per_second.to_ne_bytes())
}

/// Limits the bytes that the kernel holds unsent (`TCP_NOTSENT_LOWAT`).
pub(crate) fn set_unsent_limit(fd: impl AsFd, bytes: u32) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, c_int::try_from(bytes).unwrap_or(c_int::MAX))
}

/// Limits the payload of a segment (`TCP_MAXSEG`); takes effect before the connection is made.
pub(crate) fn set_segment_limit(fd: impl AsFd, bytes: u16) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, c_int::from(bytes))
}

/// Has the socket send and receive on this interface alone (`SO_BINDTODEVICE`).
pub(crate) fn bind_to_interface(fd: impl AsFd, name: &str) -> io::Result<()> {
    set(fd.as_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_bytes())
}

/// Has the kernel cut what is sent into datagrams of this payload (`UDP_SEGMENT`).
pub(crate) fn set_udp_segment(fd: impl AsFd, bytes: u16) -> io::Result<()> {
    set_int(fd, libc::SOL_UDP, libc::UDP_SEGMENT, c_int::from(bytes))
}

/// Has the kernel deliver several datagrams of a sender at once (`UDP_GRO`).
pub(crate) fn set_udp_gro(fd: impl AsFd, on: bool) -> io::Result<()> {
    set_int(fd, libc::SOL_UDP, libc::UDP_GRO, on.into())
}

/// Has the kernel report datagrams that it drops on the way out, and errors from the path (`IP_RECVERR`).
pub(crate) fn set_error_queue(fd: impl AsFd, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    } else {
        set_int(fd, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    }
}

/// Has the kernel send datagrams whole or not at all, whatever it knows of the path's MTU
/// (`IP_PMTUDISC_PROBE`).
pub(crate) fn set_whole(fd: impl AsFd, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)
    } else {
        set_int(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
    }
}

/// Has the kernel take times of packets (`SO_TIMESTAMPING`) as these flags say.
pub(super) fn set_stamping(fd: impl AsFd, flags: u32) -> io::Result<()> {
    set_int(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags.cast_signed())
}

/// The CPU on which the kernel took the socket's last packet (`SO_INCOMING_CPU`); `None` when there was none.
pub(crate) fn incoming_cpu(fd: impl AsFd) -> io::Result<Option<u32>> {
    let mut bytes = [0; size_of::<c_int>()];
    get(fd.as_fd(), libc::SOL_SOCKET, libc::SO_INCOMING_CPU, &mut bytes)?;
    Ok(u32::try_from(c_int::from_ne_bytes(bytes)).ok())
}

/// Datagrams that the kernel dropped at the socket because its receive buffer was full (`SO_MEMINFO`), modulo
/// 2³².
pub(crate) fn socket_drops(fd: impl AsFd) -> io::Result<u32> {
    /// Index of the drops among the numbers (`SK_MEMINFO_DROPS`, since Linux 4.12).
    const DROPS: usize = 8;
    let mut bytes = [0; 16 * size_of::<u32>()];
    let length = get(fd.as_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, &mut bytes)?;
    let number = bytes[..length].as_chunks().0.get(DROPS).copied();
    number.map(u32::from_ne_bytes).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// The kernel's account of a TCP connection (`TCP_INFO`), as many bytes as it has.
pub(crate) fn tcp_info(fd: impl AsFd, bytes: &mut [u8]) -> io::Result<usize> {
    get(fd.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, bytes)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn a_network_namespace_has_one_cookie() {
        let cookie = namespace_cookie();
        // Linux 5.14.
        assert!(cookie.is_some_and(|cookie| cookie > 0), "{cookie:?}");
        assert_eq!(std::thread::spawn(namespace_cookie).join().unwrap(), cookie);
    }

    #[test]
    fn options_are_set_and_read_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set_pacing_rate(&stream, 5_000_000_000).unwrap();
        set_unsent_limit(&stream, 1 << 17).unwrap();
        let mut info = [0; 512];
        let length = tcp_info(&stream, &mut info).unwrap();
        assert!(length >= 192, "{length}");
        let error = bind_to_interface(&stream, "no-such-interf").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn a_full_receive_buffer_counts_its_drops() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        set_udp_gro(&receiver, true).unwrap();
        set_error_queue(&sender, false).unwrap();
        assert_eq!(socket_drops(&receiver).unwrap(), 0);
        for _ in 0..1000 {
            sender.send(&[0; 8192]).unwrap();
        }
        assert!(socket_drops(&receiver).unwrap() > 0);
    }
}
