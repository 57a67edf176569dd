//! Sockets of streams, with the options that a trial asks for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use linerate_wire::streams::{Load, Protocol, SocketOptions, StreamsSpec};
use rustix::io::Errno;
use rustix::net::sockopt as options;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::sys::sockopt;

/// Bytes that the kernel may hold unsent on a TCP socket: enough to keep it busy, and few enough that thousands
/// of streams do not fill its memory.
const UNSENT_LIMIT_BYTES: u32 = 512 * 1024;
/// Receive buffer of UDP that is asked for where the user gives none: at 10 Gbit/s, some milliseconds.
const DATAGRAM_BUFFER_BYTES: usize = 4 << 20;
/// Factor by which the kernel's own pacing of a stream exceeds its share of the load: the budget decides.
const PACING_MARGIN: f64 = 1.1;

/// Where a client's sockets are bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Local address.
    pub(crate) address: Option<IpAddr>,
    /// Interface, by its name.
    pub(crate) interface: Option<String>,
}

/// Error: a socket cannot be made, or does not take an option.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error(
        "no file descriptor is left for a socket ({0})\n  remedy: fewer streams, or a higher limit of open files (ulimit -n)"
    )]
    NoDescriptor(io::Error),
    #[error("interface {name}: {error}\n  remedy: `ip link` lists the interfaces")]
    Interface { name: String, error: io::Error },
    #[error("local address {address}: {error}\n  remedy: give an address of this host (`ip address`)")]
    Address { address: IpAddr, error: io::Error },
    #[error(
        "congestion control '{name}': {error}\n  remedy: one of {available}, or load the kernel's module tcp_{name}"
    )]
    Congestion { name: String, available: String, error: io::Error },
    #[error(
        "congestion control '{name}' is not allowed to this user\n  remedy: one of {allowed}, or as root: sysctl net.ipv4.tcp_allowed_congestion_control"
    )]
    CongestionDenied { name: String, allowed: String },
    #[error("{option}: the kernel refuses it: {error}")]
    Option { option: &'static str, error: io::Error },
    #[error("no socket: {0}")]
    Other(io::Error),
}

fn made(result: Result<OwnedFd, Errno>) -> Result<OwnedFd, SocketError> {
    result.map_err(|errno| match errno {
        Errno::MFILE | Errno::NFILE => SocketError::NoDescriptor(errno.into()),
        other => SocketError::Other(other.into()),
    })
}

fn refused<E: Into<io::Error>>(option: &'static str) -> impl FnOnce(E) -> SocketError {
    move |error| SocketError::Option { option, error: error.into() }
}

/// A socket towards an address, bound to a place, not connected.
pub(crate) fn towards(to: SocketAddr, protocol: Protocol, place: &Place) -> Result<OwnedFd, SocketError> {
    let family = if to.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = made(socket_with(family, kind, flags, None))?;
    if let Some(name) = &place.interface {
        sockopt::bind_to_interface(&fd, name)
            .map_err(|error| SocketError::Interface { name: name.clone(), error })?;
    }
    if let Some(address) = place.address {
        bind(&fd, &SocketAddr::new(address, 0))
            .map_err(|errno| SocketError::Address { address, error: errno.into() })?;
    }
    Ok(fd)
}

/// A UDP socket of a server: bound to the local address that a client uses, connected to the client. Datagrams
/// of the client reach this socket and no other one, though they share a port.
pub(crate) fn datagrams_from(local: SocketAddr, peer: SocketAddr) -> Result<OwnedFd, SocketError> {
    let family = if local.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = made(socket_with(family, SocketType::DGRAM, flags, None))?;
    options::set_socket_reuseaddr(&fd, true).map_err(refused("SO_REUSEADDR"))?;
    let bound = match bind(&fd, &local) {
        // The client's address of this host is not the host's own: one that is translated on the way.
        Err(Errno::ADDRNOTAVAIL) => bind(&fd, &SocketAddr::new(any_of(local.ip()), local.port())),
        bound => bound,
    };
    bound.map_err(|errno| SocketError::Other(errno.into()))?;
    rustix::net::connect(&fd, &peer).map_err(|errno| SocketError::Other(errno.into()))?;
    Ok(fd)
}

fn any_of(address: IpAddr) -> IpAddr {
    if address.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// Sets the options that must be there before a TCP connection is made.
pub(crate) fn prepare_connection(fd: impl AsFd, options: &SocketOptions) -> Result<(), SocketError> {
    if let Some(mss) = options.mss {
        sockopt::set_segment_limit(&fd, mss).map_err(refused("--mss"))?;
    }
    set_window(&fd, options)
}

fn set_window(fd: impl AsFd, options: &SocketOptions) -> Result<(), SocketError> {
    if let Some(bytes) = options.window_bytes {
        options::set_socket_recv_buffer_size(&fd, bytes as usize).map_err(refused("--window"))?;
        options::set_socket_send_buffer_size(&fd, bytes as usize).map_err(refused("--window"))?;
    }
    Ok(())
}

/// Sets the options of a connected socket at one end of a trial.
pub(crate) fn prepare_stream(
    fd: impl AsFd,
    spec: &StreamsSpec,
    sends: bool,
    address: IpAddr,
    ceiling_bytes: Option<f64>,
) -> Result<(), SocketError> {
    let asked = &spec.sockets;
    set_window(&fd, asked)?;
    if let Some(dscp) = asked.dscp.filter(|_| sends) {
        set_dscp(&fd, dscp, address)?;
    }
    match spec.protocol {
        Protocol::Tcp if sends => {
            if let Some(name) = &asked.congestion {
                set_congestion(&fd, name)?;
            }
            // With a buffer of the user's, the kernel limits what is unsent anyway.
            if asked.window_bytes.is_none() {
                sockopt::set_unsent_limit(&fd, UNSENT_LIMIT_BYTES).map_err(refused("TCP_NOTSENT_LOWAT"))?;
            }
            options::set_tcp_nodelay(&fd, spec.load != Load::Max).map_err(refused("TCP_NODELAY"))?;
        }
        Protocol::Udp if sends => {
            sockopt::set_error_queue(&fd, address.is_ipv6()).map_err(refused("IP_RECVERR"))?;
            if asked.gso.is_some() {
                sockopt::set_udp_segment(&fd, spec.block_bytes as u16).map_err(refused("--gso"))?;
            }
        }
        Protocol::Udp => {
            if asked.window_bytes.is_none() {
                options::set_socket_recv_buffer_size(&fd, DATAGRAM_BUFFER_BYTES)
                    .map_err(refused("SO_RCVBUF"))?;
            }
            if asked.gro {
                sockopt::set_udp_gro(&fd, true).map_err(refused("--gro"))?;
            }
        }
        Protocol::Tcp => {}
    }
    if sends && let Some(rate) = pacing_rate(spec, ceiling_bytes) {
        sockopt::set_pacing_rate(&fd, rate).map_err(refused("SO_MAX_PACING_RATE"))?;
    }
    Ok(())
}

/// Bytes per second at which the kernel paces each stream. Under a ceiling it holds what has waited in buffers
/// to the ceiling, too.
fn pacing_rate(spec: &StreamsSpec, ceiling_bytes: Option<f64>) -> Option<u64> {
    let share = |bytes_per_second: f64| bytes_per_second / f64::from(spec.streams.max(1));
    let load = spec.load.bits_per_second(spec.block_bytes).filter(|_| spec.sockets.kernel_pacing);
    let of_load = load.map(|bps| share(bps / 8.0) * PACING_MARGIN);
    let of_ceiling = ceiling_bytes.filter(|_| spec.protocol == Protocol::Tcp).map(share);
    let least = [of_load, of_ceiling].into_iter().flatten().reduce(f64::min)?;
    Some(least.ceil().max(1.0) as u64)
}

fn set_dscp(fd: impl AsFd, dscp: u8, address: IpAddr) -> Result<(), SocketError> {
    let class = dscp << 2;
    match address {
        IpAddr::V4(_) => options::set_ip_tos(&fd, class).map_err(refused("--dscp")),
        IpAddr::V6(address) => {
            if address.to_ipv4_mapped().is_some() {
                // An IPv6 socket that speaks IPv4.
                options::set_ip_tos(&fd, class).map_err(refused("--dscp"))?;
            }
            options::set_ipv6_tclass(&fd, class.into()).map_err(refused("--dscp"))
        }
    }
}

fn set_congestion(fd: impl AsFd, name: &str) -> Result<(), SocketError> {
    let list = |file: &str| {
        let names = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{file}")).unwrap_or_default();
        names.split_whitespace().collect::<Vec<_>>().join(", ")
    };
    options::set_tcp_congestion(fd, name).map_err(|errno| match errno {
        Errno::PERM => SocketError::CongestionDenied {
            name: name.to_owned(),
            allowed: list("tcp_allowed_congestion_control"),
        },
        _ => SocketError::Congestion {
            name: name.to_owned(),
            available: list("tcp_available_congestion_control"),
            error: errno.into(),
        },
    })
}

/// MTU of the path to an address, as far as the kernel knows it: of its own interface, or smaller.
pub(crate) fn path_mtu(to: SocketAddr, place: &Place) -> Result<u32, SocketError> {
    let fd = towards(to, Protocol::Udp, place)?;
    let known = rustix::net::connect(&fd, &to)
        .and_then(|()| if to.is_ipv6() { options::ipv6_mtu(&fd) } else { options::ip_mtu(&fd) });
    known.map_err(|errno| SocketError::Other(errno.into()))
}

/// A remark on datagrams to `peer` that do not fit the path's MTU; `None` when they do.
pub(super) fn fragments(peer: SocketAddr, spec: &StreamsSpec) -> Option<String> {
    if spec.protocol == Protocol::Tcp {
        return None;
    }
    // A stream's own socket forgets its route when an option of it is set.
    let mtu = path_mtu(peer, &Place::default()).ok()?;
    let packet = spec.block_bytes + if peer.is_ipv6() { 48 } else { 28 };
    (packet > mtu).then(|| {
        format!(
            "datagrams of {} bytes do not fit the path's MTU of {mtu}: each is sent in fragments, and is lost when one of them is",
            spec.block_bytes
        )
    })
}

/// A socket that is to be bound, and the address that it is to be bound to. All addresses (`[::]`) are those of IPv4 and IPv6,
/// whatever the host's default is; where the kernel has no IPv6, those of IPv4.
pub(crate) fn unbound(address: SocketAddr, kind: SocketType) -> rustix::io::Result<(OwnedFd, SocketAddr)> {
    let is_all = address.ip() == Ipv6Addr::UNSPECIFIED;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let of = |address: SocketAddr| -> rustix::io::Result<(OwnedFd, SocketAddr)> {
        let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        Ok((socket_with(family, kind, flags, None)?, address))
    };
    let (fd, address) = match of(address) {
        Err(Errno::AFNOSUPPORT) if is_all => of((Ipv4Addr::UNSPECIFIED, address.port()).into()),
        made => made,
    }?;
    options::set_socket_reuseaddr(&fd, true)?;
    if is_all && address.is_ipv6() {
        options::set_ipv6_v6only(&fd, false)?;
    }
    Ok((fd, address))
}

/// The address of a socket's peer; `None` when it has none any more.
pub(crate) fn peer(fd: impl AsFd) -> Option<SocketAddr> {
    let peer = rustix::net::getpeername(fd).ok().flatten();
    peer.and_then(|address| SocketAddr::try_from(address).ok()).map(canonical)
}

/// An address in its shortest form: IPv4 in place of IPv4-mapped IPv6. Others stay as they are: without its scope, a
/// link-local address is none.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(mapped) => SocketAddr::new(mapped.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::spec::tcp_spec;

    #[test]
    fn refusals_name_the_thing_and_the_remedy() {
        let to: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let place = Place { interface: Some("nowhere0".into()), ..Place::default() };
        let error = towards(to, Protocol::Tcp, &place).unwrap_err().to_string();
        assert!(error.contains("interface nowhere0") && error.contains("ip link"), "{error}");
        let place = Place { address: Some("192.0.2.77".parse().unwrap()), ..Place::default() };
        let error = towards(to, Protocol::Udp, &place).unwrap_err().to_string();
        assert!(error.contains("192.0.2.77") && error.contains("ip address"), "{error}");
        let fd = towards(to, Protocol::Tcp, &Place::default()).unwrap();
        let error = set_congestion(&fd, "no-such-thing").unwrap_err().to_string();
        assert!(error.contains("no-such-thing") && error.contains("reno"), "{error}");
    }

    #[test]
    fn only_mapped_addresses_have_a_shorter_form() {
        for (long, short) in [("[::ffff:192.0.2.7]:9", "192.0.2.7:9"), ("[2001:db8::7]:9", "[2001:db8::7]:9")]
        {
            assert_eq!(canonical(long.parse().unwrap()), short.parse().unwrap());
        }
        let link_local = SocketAddr::V6(std::net::SocketAddrV6::new("fe80::7".parse().unwrap(), 9, 3, 4));
        assert_eq!(canonical(link_local), link_local, "the interface is part of it");
    }

    #[test]
    fn a_socket_at_all_addresses_is_reached_by_both_versions_of_ip() {
        let (fd, address) = unbound("[::]:0".parse().unwrap(), SocketType::STREAM).unwrap();
        bind(&fd, &address).unwrap();
        rustix::net::listen(&fd, 8).unwrap();
        let listener = TcpListener::from(fd);
        let port = listener.local_addr().unwrap().port();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        // A kernel without IPv6 has the one, and tells so.
        let ipv6 = std::net::TcpStream::connect(("::1", port));
        assert!(ipv6.is_ok() || address.is_ipv4(), "{ipv6:?} {address}");
        assert!(!options::ipv6_v6only(&listener).unwrap_or(false));
    }

    #[test]
    fn a_connected_datagram_socket_takes_its_clients_datagrams_from_the_common_port() {
        let fd = towards("127.0.0.1:9".parse().unwrap(), Protocol::Udp, &Place::default()).unwrap();
        options::set_socket_reuseaddr(&fd, true).unwrap();
        bind(&fd, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
        let listener = UdpSocket::from(fd);
        let local = listener.local_addr().unwrap();
        let [one, two] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        one.connect(local).unwrap();
        two.connect(local).unwrap();
        let of_one = UdpSocket::from(datagrams_from(local, one.local_addr().unwrap()).unwrap());
        let of_two = UdpSocket::from(datagrams_from(local, two.local_addr().unwrap()).unwrap());
        one.send(b"one").unwrap();
        two.send(b"two").unwrap();
        let mut room = [0; 8];
        assert_eq!(of_one.recv(&mut room).unwrap(), 3);
        assert_eq!(&room[..3], b"one");
        assert_eq!(of_two.recv(&mut room).unwrap(), 3);
        assert_eq!(&room[..3], b"two");
        let translated = SocketAddr::new("192.0.2.9".parse().unwrap(), local.port());
        let three = UdpSocket::bind("127.0.0.1:0").unwrap();
        let of_three = UdpSocket::from(datagrams_from(translated, three.local_addr().unwrap()).unwrap());
        three.send_to(b"three", local).unwrap();
        assert_eq!(of_three.recv(&mut room).unwrap(), 5);
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(b"hello", local).unwrap();
        assert_eq!(listener.recv(&mut room).unwrap(), 5);
    }

    #[test]
    fn options_reach_the_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let fd = towards(to, Protocol::Tcp, &Place::default()).unwrap();
        let asked = SocketOptions {
            congestion: Some("reno".into()),
            window_bytes: Some(100_000),
            mss: Some(900),
            dscp: Some(10),
            ..SocketOptions::default()
        };
        let spec = StreamsSpec { sockets: asked.clone(), load: Load::BitsPerSecond(1e6), ..tcp_spec() };
        prepare_connection(&fd, &asked).unwrap();
        prepare_stream(&fd, &spec, true, to.ip(), Some(1e6)).unwrap();
        assert_eq!(options::tcp_congestion(&fd).unwrap(), "reno");
        assert_eq!(options::ip_tos(&fd).unwrap(), 40);
        assert_eq!(options::socket_recv_buffer_size(&fd).unwrap(), 200_000);
        assert!(options::tcp_nodelay(&fd).unwrap());
    }

    #[test]
    fn the_kernel_paces_shares() {
        let spec = StreamsSpec {
            streams: 4,
            load: Load::BitsPerSecond(32e6),
            sockets: SocketOptions { kernel_pacing: true, ..SocketOptions::default() },
            ..tcp_spec()
        };
        assert_eq!(pacing_rate(&spec, None), Some(1_100_000));
        assert_eq!(pacing_rate(&spec, Some(4e6)), Some(1_000_000));
        assert_eq!(pacing_rate(&tcp_spec(), None), None);
    }
}
