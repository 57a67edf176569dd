//! Messages of the kernel's routing socket (rtnetlink): requests for addresses, routes and neighbours, and
//! their answers. Pure.
//!
//! Formats: Linux `netlink(7)` and `rtnetlink(7)`. Numbers are in the machine's byte order, addresses in
//! network order; every part is padded to four bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use linerate_traffic::mac::MacAddr;

const HEADER_BYTES: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESSES: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOURS: u16 = 30;

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;

const INET: u8 = 2;
const INET6: u8 = 10;
/// Asks the kernel to use the neighbour, which makes it resolve the neighbour's address.
const NEIGHBOUR_USE: u8 = 0x01;
const ADDRESS_TENTATIVE: u8 = 0x40;
const ADDRESS_DUPLICATE: u8 = 0x08;
const ROUTE_LOCAL: u8 = 2;
const ROUTE_UNICAST: u8 = 1;

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) interface: u32,
    pub(super) network: IpNet,
}

/// A route of the kernel to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) kind: RouteKind,
    /// Index of the outgoing interface.
    pub(super) interface: Option<u32>,
    /// The router; `None` when the address is on the link.
    pub(super) gateway: Option<IpAddr>,
    /// Source address of packets.
    pub(super) source: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteKind {
    Unicast,
    /// The address belongs to this host.
    Local,
    /// Broadcast, multicast, or a route that rejects packets.
    Other,
}

/// The kernel's entry for a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) interface: u32,
    pub(super) ip: IpAddr,
    pub(super) state: State,
    pub(super) mac: Option<MacAddr>,
}

/// State of a neighbour, named as in `ip neighbour`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State(u16);

impl State {
    pub(super) const NONE: Self = Self(0);
    const NO_ARP: u16 = 0x40;
    const NAMES: [(u16, &'static str); 8] = [
        (0x01, "INCOMPLETE"),
        (0x02, "REACHABLE"),
        (0x04, "STALE"),
        (0x08, "DELAY"),
        (0x10, "PROBE"),
        (0x20, "FAILED"),
        (Self::NO_ARP, "NOARP"),
        (0x80, "PERMANENT"),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::NAMES.into_iter().find(|(bit, _)| self.0 & bit != 0).map_or("NONE", |(_, name)| name)
    }

    /// True when the interface has no address resolution.
    pub(super) fn is_no_arp(self) -> bool {
        self.0 & Self::NO_ARP != 0
    }

    /// True when the neighbour's Ethernet address is known.
    pub(super) fn is_known(self) -> bool {
        self.0 & (0x02 | 0x04 | 0x08 | 0x10 | 0x80) != 0
    }
}

/// A message from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Address(Address),
    Route(Route),
    Neighbour(Neighbour),
    /// The request failed with this errno, or succeeded (0).
    Outcome(i32),
    /// The last message of a list.
    Done,
    /// A message of another kind, or too short for its kind.
    Other,
}

/// A request for all addresses of all interfaces.
pub(super) fn addresses() -> Vec<u8> {
    message(GET_ADDRESSES, DUMP, &[0; 8])
}

/// A request for the route to an address, over the given interface or any.
pub(super) fn route(to: IpAddr, interface: Option<u32>) -> Vec<u8> {
    let (family, bytes) = octets(to);
    let mut body = vec![0; 12];
    (body[0], body[1]) = (family, bytes.len() as u8 * 8);
    attribute(&mut body, 1, &bytes);
    if let Some(interface) = interface {
        attribute(&mut body, 4, &interface.to_ne_bytes());
    }
    message(GET_ROUTE, 0, &body)
}

/// A request for all neighbours of an IP version.
pub(super) fn neighbours(of: IpAddr) -> Vec<u8> {
    let mut body = vec![0; 12];
    body[0] = octets(of).0;
    message(GET_NEIGHBOURS, DUMP, &body)
}

/// A request to resolve a neighbour; requires the capability NET_ADMIN.
pub(super) fn use_neighbour(ip: IpAddr, interface: u32) -> Vec<u8> {
    let (family, bytes) = octets(ip);
    let mut body = vec![0; 12];
    body[0] = family;
    body[4..8].copy_from_slice(&interface.to_ne_bytes());
    body[10] = NEIGHBOUR_USE;
    attribute(&mut body, 1, &bytes);
    message(NEW_NEIGHBOUR, ACKNOWLEDGE | CREATE, &body)
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = (HEADER_BYTES + body.len()) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    // Sequence number and port: each request has its own socket.
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend((4 + value.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn octets(ip: IpAddr) -> (u8, Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => (INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (INET6, ip.octets().to_vec()),
    }
}

/// The messages of a datagram.
pub(super) fn messages(datagram: &[u8]) -> Vec<Message> {
    parts(datagram, HEADER_BYTES, |head| read_u32(head, 0).map(|length| length as usize))
        .map(|(head, body)| {
            let kind = read_u16(head, 4).unwrap_or(0);
            let read = match kind {
                ERROR => read_u32(body, 0).map(|errno| Message::Outcome((errno as i32).saturating_neg())),
                DONE => Some(Message::Done),
                NEW_ADDRESS => address_of(body).map(Message::Address),
                NEW_ROUTE => route_of(body).map(Message::Route),
                NEW_NEIGHBOUR => neighbour_of(body).map(Message::Neighbour),
                _ => None,
            };
            read.unwrap_or(Message::Other)
        })
        .collect()
}

fn address_of(body: &[u8]) -> Option<Address> {
    let (prefix, flags, interface) = (*body.get(1)?, *body.get(2)?, read_u32(body, 4)?);
    if flags & (ADDRESS_TENTATIVE | ADDRESS_DUPLICATE) != 0 {
        return None;
    }
    // On a point-to-point link the first attribute is the peer's address, the second the interface's own.
    let ip = attributes(body, 8)
        .find(|(kind, _)| *kind == 2)
        .or_else(|| attributes(body, 8).find(|(kind, _)| *kind == 1))?;
    Some(Address { interface, network: IpNet::new(ip_of(ip.1)?, prefix).ok()? })
}

fn route_of(body: &[u8]) -> Option<Route> {
    let kind = match *body.get(7)? {
        ROUTE_UNICAST => RouteKind::Unicast,
        ROUTE_LOCAL => RouteKind::Local,
        _ => RouteKind::Other,
    };
    let mut route = Route { kind, interface: None, gateway: None, source: None };
    for (kind, value) in attributes(body, 12) {
        match kind {
            4 => route.interface = read_u32(value, 0),
            5 => route.gateway = ip_of(value),
            7 => route.source = ip_of(value),
            // A router of the other IP version: its family, then its address.
            18 => route.gateway = value.get(2..).and_then(ip_of),
            _ => {}
        }
    }
    Some(route)
}

fn neighbour_of(body: &[u8]) -> Option<Neighbour> {
    let (interface, state) = (read_u32(body, 4)?, State(read_u16(body, 8)?));
    let value = |wanted| attributes(body, 12).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let mac = value(2).and_then(|bytes| <[u8; 6]>::try_from(bytes).ok()).map(MacAddr);
    Some(Neighbour { interface, ip: value(1).and_then(ip_of)?, state, mac })
}

fn attributes(body: &[u8], from: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let length = |head: &[u8]| read_u16(head, 0).map(usize::from);
    parts(body.get(from..).unwrap_or_default(), 4, length)
        .map(|(head, value)| (read_u16(head, 2).unwrap_or(0), value))
}

/// Consecutive parts: each has a head with the part's length, and a body. Ends at the first part that does
/// not fit.
fn parts(
    mut bytes: &[u8],
    head_bytes: usize,
    length: impl Fn(&[u8]) -> Option<usize>,
) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let length = length(bytes.get(..head_bytes)?)?;
        let part = bytes.get(..length).filter(|part| part.len() >= head_bytes)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(part.split_at(head_bytes))
    })
}

fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|octets| Ipv4Addr::from(octets).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, body: &[u8]) -> Vec<u8> {
        message(kind, 0, body)
    }

    #[test]
    fn addresses_of_point_to_point_links_are_ones_own() {
        let mut body = vec![INET, 32, 0x80, 0, 7, 0, 0, 0];
        attribute(&mut body, 1, &[169, 254, 1, 1]);
        attribute(&mut body, 2, &[10, 78, 1, 2]);
        let expected = Address { interface: 7, network: "10.78.1.2/32".parse().unwrap() };
        assert_eq!(messages(&answer(NEW_ADDRESS, &body)), [Message::Address(expected)]);
        body[2] |= ADDRESS_TENTATIVE;
        assert_eq!(messages(&answer(NEW_ADDRESS, &body)), [Message::Other]);
    }

    #[test]
    fn routes_name_router_interface_and_source() {
        let mut body = vec![INET, 32, 0, 0, 254, 0, 0, ROUTE_UNICAST, 0, 0, 0, 0];
        attribute(&mut body, 4, &3u32.to_ne_bytes());
        attribute(&mut body, 7, &[10, 0, 0, 5]);
        let on_link = Route {
            kind: RouteKind::Unicast,
            interface: Some(3),
            gateway: None,
            source: Some("10.0.0.5".parse().unwrap()),
        };
        assert_eq!(messages(&answer(NEW_ROUTE, &body)), [Message::Route(on_link)]);
        let mut by_v6 = body.clone();
        let mut via = INET6.to_ne_bytes().to_vec();
        via.push(0);
        via.extend("fe80::1".parse::<Ipv6Addr>().unwrap().octets());
        attribute(&mut by_v6, 18, &via);
        attribute(&mut body, 5, &[10, 0, 0, 1]);
        for (body, gateway) in [(body, "10.0.0.1"), (by_v6, "fe80::1")] {
            let expected = Route { gateway: Some(gateway.parse().unwrap()), ..on_link };
            assert_eq!(messages(&answer(NEW_ROUTE, &body)), [Message::Route(expected)]);
        }
    }

    #[test]
    fn neighbours_have_states_with_names() {
        let neighbour = |state: u16, mac: Option<[u8; 6]>| {
            let mut body = vec![INET, 0, 0, 0, 2, 0, 0, 0];
            body.extend(state.to_ne_bytes());
            body.extend([0, 0]);
            attribute(&mut body, 1, &[10, 0, 0, 1]);
            if let Some(mac) = mac {
                attribute(&mut body, 2, &mac);
            }
            match messages(&answer(NEW_NEIGHBOUR, &body))[..] {
                [Message::Neighbour(neighbour)] => neighbour,
                ref other => panic!("{other:?}"),
            }
        };
        let known = neighbour(2, Some([2, 0, 0, 0, 0, 9]));
        assert!(known.state.is_known() && known.mac == Some(MacAddr([2, 0, 0, 0, 0, 9])));
        for (state, name) in [(1, "INCOMPLETE"), (0x20, "FAILED"), (0, "NONE")] {
            let unknown = neighbour(state, None);
            assert_eq!((unknown.state.name(), unknown.state.is_known()), (name, false));
        }
    }

    #[test]
    fn outcomes_and_broken_datagrams() {
        let refused = answer(ERROR, &(-101i32).to_ne_bytes());
        assert_eq!(messages(&refused), [Message::Outcome(101)]);
        let two = [refused.clone(), answer(DONE, &[0; 4])].concat();
        assert_eq!(messages(&two), [Message::Outcome(101), Message::Done]);
        for cut in 0..two.len() {
            assert!(messages(&two[..cut]).len() <= 2);
        }
        let mut endless = refused;
        endless[..4].copy_from_slice(&0u32.to_ne_bytes());
        assert_eq!(messages(&endless), []);
    }
}
