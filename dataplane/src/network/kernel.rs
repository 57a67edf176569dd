//! Addresses, routes and neighbours of a kernel interface.

use std::io;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use linerate_traffic::mac::MacAddr;
use linerate_wire::network::NextHop;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, recv, sendto, socket_with,
};

use super::rtnetlink::{self, Message, Neighbour, Route, RouteKind, State};
use super::{HopError, RETRY, TIME_LIMIT};

/// Time limit for the kernel's answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// Longest datagram from the kernel.
const DATAGRAM_BYTES: usize = 64 << 10;
/// Interval at which a neighbour's state is polled.
const LOOK: Duration = Duration::from_millis(10);
/// UDP's discard port (RFC 863): a datagram to it makes the kernel resolve the address, and its receiver
/// ignores it.
const DISCARD_PORT: u16 = 9;

/// A kernel interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) index: u32,
    pub(crate) name: String,
}

impl Interface {
    /// The interface of this name in the network namespace of this process.
    ///
    /// # Errors
    /// When there is no such interface.
    pub(crate) fn named(name: &str) -> io::Result<Self> {
        let socket = Routing::open()?.0;
        Ok(Self { index: netdevice::name_to_index(&socket, name)?, name: name.to_owned() })
    }

    /// The interface's addresses.
    ///
    /// # Errors
    /// When the kernel does not report them.
    pub(crate) fn addresses(&self) -> io::Result<Vec<IpNet>> {
        let answers = Routing::open()?.ask(&rtnetlink::addresses())?;
        let of_this = answers.into_iter().filter_map(|answer| match answer {
            Message::Address(address) if address.interface == self.index => Some(address.network),
            _ => None,
        });
        Ok(of_this.collect())
    }

    /// The router towards an address, and the source address. `None`: the address belongs to this host.
    ///
    /// # Errors
    /// When the interface has no route to it.
    pub(super) fn route(&self, to: IpAddr) -> Result<Option<Route>, HopError> {
        let routing = Routing::open()?;
        let any = routing.route(to, None);
        if any.as_ref().is_ok_and(|route| route.kind == RouteKind::Local) {
            return Ok(None);
        }
        let no_route = |reason: String| HopError::NoRoute { to, interface: self.name.clone(), reason };
        match routing.route(to, Some(self.index)) {
            Ok(route) if route.kind == RouteKind::Unicast => Ok(Some(route)),
            Ok(_) => Err(no_route("the route there forbids it".to_owned())),
            Err(error) => Err(no_route(error.to_string())),
        }
    }

    /// Finds the next hop towards an address: the kernel resolves it.
    ///
    /// # Errors
    /// When there is no route, or the next hop does not answer; then with the neighbour's state in the
    /// kernel.
    pub(super) fn next_hop(&self, to: IpAddr) -> Result<NextHop, HopError> {
        let Some(Route { gateway, source, .. }) = self.route(to)? else {
            return Ok(NextHop { to, source: None, gateway: None, mac: None });
        };
        let mac = self.resolve(gateway.unwrap_or(to), source)?;
        Ok(NextHop { to, source, gateway, mac })
    }

    /// The neighbour's Ethernet address; `None` on an interface without address resolution.
    fn resolve(&self, hop: IpAddr, source: Option<IpAddr>) -> Result<Option<MacAddr>, HopError> {
        let routing = Routing::open()?;
        let began = Instant::now();
        let mut asked: Option<Instant> = None;
        loop {
            let neighbour = routing.neighbour(hop, self.index)?;
            let state = neighbour.map_or(State::NONE, |neighbour| neighbour.state);
            if state.is_no_arp() {
                return Ok(None);
            }
            if let Some(mac) = neighbour.and_then(|neighbour| neighbour.mac).filter(|_| state.is_known()) {
                return Ok(Some(mac));
            }
            if began.elapsed() > TIME_LIMIT {
                return Err(HopError::Silent {
                    hop,
                    interface: self.name.clone(),
                    state: format!("the kernel gives it the state {}", state.name()),
                    after_s: TIME_LIMIT.as_secs_f64(),
                });
            }
            if asked.is_none_or(|asked| asked.elapsed() >= RETRY) {
                asked = Some(Instant::now());
                if routing.ask(&rtnetlink::use_neighbour(hop, self.index)).is_err() {
                    // Without the permission for a request: by a datagram, which needs no answer.
                    let _ = send_datagram(hop, source, self.index);
                }
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn send_datagram(hop: IpAddr, source: Option<IpAddr>, interface: u32) -> io::Result<()> {
    let any: IpAddr = if hop.is_ipv4() { [0, 0, 0, 0].into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((source.unwrap_or(any), 0)).or_else(|_| UdpSocket::bind((any, 0)))?;
    match hop {
        IpAddr::V6(hop) => {
            socket.send_to(&[], std::net::SocketAddrV6::new(hop, DISCARD_PORT, 0, interface))?
        }
        IpAddr::V4(hop) => socket.send_to(&[], (hop, DISCARD_PORT))?,
    };
    Ok(())
}

/// A routing socket of the kernel (rtnetlink).
struct Routing(OwnedFd);

impl Routing {
    fn open() -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIME))?;
        Ok(Self(socket))
    }

    /// Sends a request and collects the answer.
    fn ask(&self, request: &[u8]) -> io::Result<Vec<Message>> {
        sendto(&self.0, request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            let (length, _) = recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
            let messages = rtnetlink::messages(buffer.get(..length).unwrap_or_default());
            for message in messages {
                match message {
                    Message::Outcome(0) | Message::Done => return Ok(answers),
                    Message::Outcome(errno) => return Err(io::Error::from_raw_os_error(errno)),
                    // The answer to a request for one route is one message.
                    Message::Route(_) => return Ok(vec![message]),
                    other => answers.push(other),
                }
            }
        }
    }

    fn route(&self, to: IpAddr, interface: Option<u32>) -> io::Result<Route> {
        match self.ask(&rtnetlink::route(to, interface))?[..] {
            [Message::Route(route)] => Ok(route),
            _ => Err(io::Error::other("the kernel's answer is no route")),
        }
    }

    fn neighbour(&self, ip: IpAddr, interface: u32) -> io::Result<Option<Neighbour>> {
        let answers = self.ask(&rtnetlink::neighbours(ip))?;
        Ok(answers.into_iter().find_map(|answer| match answer {
            Message::Neighbour(neighbour) if neighbour.ip == ip && neighbour.interface == interface => {
                Some(neighbour)
            }
            _ => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_address_and_is_this_host() {
        let lo = Interface::named("lo").unwrap();
        let addresses = lo.addresses().unwrap();
        if addresses.is_empty() {
            // The namespace's loopback interface is down.
            return;
        }
        let own: IpAddr = [127, 0, 0, 1].into();
        assert!(addresses.iter().any(|network| network.addr() == own), "{addresses:?}");
        assert_eq!(lo.route(own).unwrap(), None);
        assert_eq!(lo.next_hop(own).unwrap().mac, None);
    }
}
