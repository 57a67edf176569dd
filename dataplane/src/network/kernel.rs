//! Addresses, routes and neighbours of a kernel interface.

use std::io;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use linerate_netlink::message::{ACKNOWLEDGE, CREATE};
use linerate_netlink::route::{self, Packets, Route, RouteKind};
use linerate_netlink::{Socket, interface_index};
use linerate_wire::network::NextHop;

use super::rtnetlink::{self, GET_ADDRESSES, GET_NEIGHBOURS, NEW_NEIGHBOUR, Neighbour, State};
use super::{HopError, RETRY, TIME_LIMIT, group};

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
        Ok(Self { index: interface_index(name)?, name: name.to_owned() })
    }

    /// The interface's addresses.
    ///
    /// # Errors
    /// When the kernel does not report them.
    pub(crate) fn addresses(&self) -> io::Result<Vec<IpNet>> {
        let mut of_this = Vec::new();
        Socket::open(None)?.list(GET_ADDRESSES, &rtnetlink::all_addresses(), &mut of_this, |body| {
            let address = rtnetlink::address(body).filter(|address| address.interface == self.index);
            address.map(|address| address.network)
        })?;
        Ok(of_this)
    }

    /// The router towards an address, and the source address. `None`: the address belongs to this host.
    ///
    /// # Errors
    /// When the interface has no route to it, or it is no single host.
    pub(super) fn route(&self, to: IpAddr) -> Result<Option<Route>, HopError> {
        if let Some(error) = group::refuse(to) {
            return Err(error);
        }
        let mut socket = Socket::open(None)?;
        let any = route(&mut socket, to, None);
        if any.as_ref().is_ok_and(|route| route.kind == RouteKind::Local) {
            return Ok(None);
        }
        let no_route = |reason: String| HopError::NoRoute { to, interface: self.name.clone(), reason };
        match route(&mut socket, to, Some(self.index)) {
            Ok(route) if route.kind == RouteKind::Unicast => Ok(Some(route)),
            Ok(route) if route.kind == RouteKind::Broadcast => Err(group::broadcast(to)),
            Ok(_) => Err(no_route("the route there forbids it".to_owned())),
            Err(error) => Err(no_route(error.to_string())),
        }
    }

    /// Begins a search for the next hop towards an address.
    ///
    /// # Errors
    /// When there is no route.
    pub(super) fn search(&self, to: IpAddr) -> Result<KernelSearch, HopError> {
        let route = self.route(to)?;
        let gateway = route.as_ref().and_then(router);
        let source = route.as_ref().and_then(|route| route.source);
        Ok(KernelSearch {
            interface: self.clone(),
            hop: route.map(|_| gateway.unwrap_or(to)),
            next: NextHop { to, source, gateway, mac: None },
            socket: Socket::open(None)?,
            began: Instant::now(),
            asked: None,
        })
    }
}

/// Search for a next hop that the kernel resolves.
#[derive(Debug)]
pub(crate) struct KernelSearch {
    interface: Interface,
    /// The address to resolve; `None` for an address of this host.
    hop: Option<IpAddr>,
    /// The next hop, without its Ethernet address.
    next: NextHop,
    socket: Socket,
    began: Instant,
    asked: Option<Instant>,
}

impl KernelSearch {
    /// Interval at which to look.
    pub(crate) const LOOK: Duration = Duration::from_millis(10);

    /// The next hop as soon as it is known, without an Ethernet address on an interface without address resolution.
    ///
    /// # Errors
    /// When the next hop does not answer; then with the neighbour's state in the kernel.
    pub(crate) fn look(&mut self) -> Result<Option<NextHop>, HopError> {
        let Self { interface, next, socket, .. } = self;
        let Some(hop) = self.hop else { return Ok(Some(*next)) };
        let neighbour = neighbour(socket, hop, interface.index)?;
        let state = neighbour.map_or(State::NONE, |neighbour| neighbour.state);
        if state.is_no_arp() {
            return Ok(Some(*next));
        }
        if let Some(mac) = neighbour.and_then(|neighbour| neighbour.mac).filter(|_| state.is_known()) {
            return Ok(Some(NextHop { mac: Some(mac), ..*next }));
        }
        if self.began.elapsed() > TIME_LIMIT {
            return Err(HopError::Silent {
                hop,
                interface: interface.name.clone(),
                state: format!("the kernel gives it the state {}", state.name()),
                after_s: TIME_LIMIT.as_secs_f64(),
            });
        }
        if self.asked.is_none_or(|asked| asked.elapsed() >= RETRY) {
            self.asked = Some(Instant::now());
            let request = rtnetlink::use_neighbour(hop, interface.index);
            if socket.ask(NEW_NEIGHBOUR, ACKNOWLEDGE | CREATE, &request, |_| {}).is_err() {
                // Without the permission for a request: by a datagram, which needs no answer.
                let _ = send_datagram(hop, next.source, interface.index);
            }
        }
        Ok(None)
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

/// The router of a route, of either IP version; `None` when the destination is on the link.
pub(super) fn router(route: &Route) -> Option<IpAddr> {
    route.gateway.or(route.via)
}

fn route(socket: &mut Socket, to: IpAddr, through: Option<u32>) -> io::Result<Route> {
    let route = route::ask(socket, Packets { to, from: None, through }, 0)?;
    route.ok_or_else(|| io::Error::other("the kernel's answer is no route"))
}

fn neighbour(socket: &mut Socket, ip: IpAddr, interface: u32) -> io::Result<Option<Neighbour>> {
    let mut found = Vec::new();
    socket.list(GET_NEIGHBOURS, &rtnetlink::all_neighbours(ip), &mut found, |body| {
        rtnetlink::neighbour(body).filter(|one| one.ip == ip && one.interface == interface)
    })?;
    Ok(found.first().copied())
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
        assert_eq!(lo.search(own).unwrap().look().unwrap().unwrap().mac, None);
        let broadcast = lo.search([127, 255, 255, 255].into()).unwrap_err().to_string();
        assert!(broadcast.contains("--peer-mac ff:ff:ff:ff:ff:ff"), "{broadcast}");
    }
}
