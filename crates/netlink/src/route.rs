//! Routes (`RTM_GETROUTE`, `struct rtmsg`).

use std::io;
use std::net::IpAddr;

use crate::Socket;
use crate::message::{address, attribute, family, number, octets, put};

const GET_ROUTE: u16 = 26;
/// `struct rtmsg`.
const HEADER_BYTES: usize = 12;
const DESTINATION: u16 = 1;
const SENDER: u16 = 2;
const OUTPUT: u16 = 4;
const GATEWAY: u16 = 5;
const SOURCE: u16 = 7;
const METRICS: u16 = 8;
const METRIC_MTU: u16 = 2;
const VIA: u16 = 18;

/// Flag of a request for the entry itself (`RTM_F_FIB_MATCH`).
pub const MATCH_ENTRY: u32 = 0x2000;

/// Packets whose route is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packets {
    /// Their destination.
    pub to: IpAddr,
    /// Their source; `None`: the kernel's choice. One of the other IP version does not count.
    pub from: Option<IpAddr>,
    /// Index of the interface through which they leave; `None`: any.
    pub through: Option<u32>,
}

/// What a route does with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// It sends them out of an interface.
    Unicast,
    /// Their destination belongs to this host.
    Local,
    /// It sends them to all on the link.
    Broadcast,
    /// It sends them to a group.
    Multicast,
    /// Another kind, such as a route that rejects packets.
    Other,
}

/// A route of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// What it does with packets.
    pub kind: RouteKind,
    /// Index of the outgoing interface; `None` for an entry with several routes, too.
    pub interface: Option<u32>,
    /// The router; `None` when the destination is on the link, or the router is in `via`.
    pub gateway: Option<IpAddr>,
    /// The router, when it has an address of the other IP version.
    pub via: Option<IpAddr>,
    /// Source address of packets.
    pub source: Option<IpAddr>,
    /// MTU that the route itself sets, or that the kernel has learnt for it; `None`: the interface's.
    pub mtu: Option<u32>,
}

/// The route of packets, with flags such as [`MATCH_ENTRY`]. `None`: the kernel's answer is no route.
///
/// # Errors
/// What the kernel says, such as that the network is unreachable.
pub fn ask(socket: &mut Socket, packets: Packets, flags: u32) -> io::Result<Option<Route>> {
    let mut route = None;
    socket.ask(GET_ROUTE, 0, &request(packets, flags), |body| route = parse(body))?;
    Ok(route)
}

/// Header, destination, source and interface.
fn request(Packets { to, from, through }: Packets, flags: u32) -> Vec<u8> {
    let bits = |address: IpAddr| if address.is_ipv6() { 128 } else { 32 };
    let from = from.filter(|from| from.is_ipv6() == to.is_ipv6());
    let mut body = vec![family(to), bits(to), from.map_or(0, bits), 0, 0, 0, 0, 0];
    body.extend(flags.to_ne_bytes());
    put(&mut body, DESTINATION, &octets(to));
    if let Some(from) = from {
        put(&mut body, SENDER, &octets(from));
    }
    if let Some(index) = through {
        put(&mut body, OUTPUT, &index.to_ne_bytes());
    }
    body
}

/// The route in the answer.
pub fn parse(body: &[u8]) -> Option<Route> {
    let value = |kind: u16| attribute(body, HEADER_BYTES, kind);
    let kind = match *body.get(..HEADER_BYTES)?.get(7)? {
        1 => RouteKind::Unicast,
        2 => RouteKind::Local,
        3 => RouteKind::Broadcast,
        5 => RouteKind::Multicast,
        _ => RouteKind::Other,
    };
    let mtu = value(METRICS).and_then(|metrics| attribute(metrics, 0, METRIC_MTU));
    Some(Route {
        kind,
        interface: value(OUTPUT).and_then(|index| number(index, 0)),
        gateway: value(GATEWAY).and_then(address),
        // Its address family, then its address.
        via: value(VIA).and_then(|via| address(via.get(2..)?)),
        source: value(SOURCE).and_then(address),
        mtu: mtu.and_then(|mtu| number(mtu, 0)).filter(|mtu| *mtu > 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_name_router_interface_source_and_mtu() {
        let mut body = vec![2, 32, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0];
        put(&mut body, OUTPUT, &3u32.to_ne_bytes());
        put(&mut body, SOURCE, &[10, 0, 0, 5]);
        let on_link = Route {
            kind: RouteKind::Unicast,
            interface: Some(3),
            gateway: None,
            via: None,
            source: Some([10, 0, 0, 5].into()),
            mtu: None,
        };
        assert_eq!(parse(&body), Some(on_link));
        let router: IpAddr = "fe80::1".parse().unwrap();
        let mut by_v6 = body.clone();
        put(&mut by_v6, VIA, &[&10u16.to_ne_bytes()[..], &octets(router)].concat());
        assert_eq!(parse(&by_v6), Some(Route { via: Some(router), ..on_link }));
        put(&mut body, GATEWAY, &[10, 0, 0, 1]);
        let mut metrics = Vec::new();
        put(&mut metrics, METRIC_MTU, &1400u32.to_ne_bytes());
        put(&mut body, METRICS, &metrics);
        let by_router = Route { gateway: Some([10, 0, 0, 1].into()), mtu: Some(1400), ..on_link };
        assert_eq!(parse(&body), Some(by_router));
        for (number, kind) in [(2, RouteKind::Local), (3, RouteKind::Broadcast), (5, RouteKind::Multicast)] {
            let body = [&body[..7], &[number], &body[8..]].concat();
            assert_eq!(parse(&body), Some(Route { kind, ..by_router }));
        }
        for length in 0..body.len() {
            assert_eq!(parse(&body[..length]).is_some(), length >= HEADER_BYTES);
        }
    }

    #[test]
    fn a_request_has_only_what_is_wanted() {
        let to = IpAddr::from([10, 0, 0, 1]);
        let plain = Packets { to, from: None, through: None };
        let body = request(plain, MATCH_ENTRY);
        assert_eq!((&body[..3], number(&body, 8)), (&[2, 32, 0][..], Some(MATCH_ENTRY)));
        assert_eq!(attribute(&body, HEADER_BYTES, DESTINATION), Some(&[10, 0, 0, 1][..]));
        let other = Packets { from: Some("fe80::1".parse().unwrap()), ..plain };
        assert_eq!(request(other, MATCH_ENTRY), body, "a source of the other IP version");
        let body = request(Packets { from: Some([10, 0, 0, 9].into()), through: Some(7), ..plain }, 0);
        assert_eq!(body[2], 32);
        assert_eq!(attribute(&body, HEADER_BYTES, SENDER), Some(&[10, 0, 0, 9][..]));
        assert_eq!(attribute(&body, HEADER_BYTES, OUTPUT), Some(&7u32.to_ne_bytes()[..]));
    }

    #[test]
    fn the_kernel_knows_the_way_to_this_host() {
        let packets = Packets { to: [127, 0, 0, 1].into(), from: None, through: None };
        // Unreachable while the namespace's loopback interface is down.
        if let Ok(route) = ask(&mut Socket::open(None).unwrap(), packets, 0) {
            let route = route.unwrap();
            assert_eq!((route.kind, route.interface), (RouteKind::Local, Some(1)));
        }
    }
}
