//! Messages of the kernel's routing socket (`rtnetlink(7)`) about addresses and neighbours. Pure.

use std::net::IpAddr;

use ipnet::IpNet;
use linerate_netlink::message::{self, attribute, family, number, octets, put, short};
use linerate_traffic::mac::MacAddr;

/// Kinds of requests.
pub(super) const GET_ADDRESSES: u16 = 22;
pub(super) const NEW_NEIGHBOUR: u16 = 28;
pub(super) const GET_NEIGHBOURS: u16 = 30;

/// `struct ifaddrmsg`.
const ADDRESS_HEADER_BYTES: usize = 8;
const ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_TENTATIVE: u8 = 0x40;
const ADDRESS_DUPLICATE: u8 = 0x08;

/// `struct ndmsg`.
const NEIGHBOUR_HEADER_BYTES: usize = 12;
const NEIGHBOUR_IP: u16 = 1;
const NEIGHBOUR_MAC: u16 = 2;
/// Asks the kernel to use the neighbour, which makes it resolve the neighbour's address.
const NEIGHBOUR_USE: u8 = 0x01;

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) interface: u32,
    pub(super) network: IpNet,
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

/// Body of a request for all addresses of all interfaces.
pub(super) fn all_addresses() -> Vec<u8> {
    vec![0; ADDRESS_HEADER_BYTES]
}

/// Body of a request for all neighbours of an IP version.
pub(super) fn all_neighbours(of: IpAddr) -> Vec<u8> {
    let mut body = vec![0; NEIGHBOUR_HEADER_BYTES];
    body[0] = family(of);
    body
}

/// Body of a request to resolve a neighbour; requires the capability NET_ADMIN.
pub(super) fn use_neighbour(ip: IpAddr, interface: u32) -> Vec<u8> {
    let mut body = all_neighbours(ip);
    body[4..8].copy_from_slice(&interface.to_ne_bytes());
    body[10] = NEIGHBOUR_USE;
    put(&mut body, NEIGHBOUR_IP, &octets(ip));
    body
}

/// An address of the answer; `None` for one that is not in use, too.
pub(super) fn address(body: &[u8]) -> Option<Address> {
    let (prefix, flags, interface) = (*body.get(1)?, *body.get(2)?, number(body, 4)?);
    if flags & (ADDRESS_TENTATIVE | ADDRESS_DUPLICATE) != 0 {
        return None;
    }
    let value = |kind: u16| attribute(body, ADDRESS_HEADER_BYTES, kind);
    // On a point-to-point link one attribute is the peer's address, the other the interface's own.
    let ip = message::address(value(ADDRESS_LOCAL).or_else(|| value(ADDRESS))?)?;
    Some(Address { interface, network: IpNet::new(ip, prefix).ok()? })
}

/// A neighbour of the answer.
pub(super) fn neighbour(body: &[u8]) -> Option<Neighbour> {
    let (interface, state) = (number(body, 4)?, State(short(body, 8)?));
    let value = |kind: u16| attribute(body, NEIGHBOUR_HEADER_BYTES, kind);
    let mac = value(NEIGHBOUR_MAC).and_then(|bytes| <[u8; 6]>::try_from(bytes).ok()).map(MacAddr);
    Some(Neighbour { interface, ip: message::address(value(NEIGHBOUR_IP)?)?, state, mac })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_point_to_point_links_are_ones_own() {
        let mut body = vec![2, 32, 0x80, 0, 7, 0, 0, 0];
        put(&mut body, ADDRESS, &[169, 254, 1, 1]);
        put(&mut body, ADDRESS_LOCAL, &[10, 78, 1, 2]);
        let expected = Address { interface: 7, network: "10.78.1.2/32".parse().unwrap() };
        assert_eq!(address(&body), Some(expected));
        for length in 0..body.len() {
            let _ = address(&body[..length]);
        }
        body[2] |= ADDRESS_TENTATIVE;
        assert_eq!(address(&body), None);
    }

    #[test]
    fn neighbours_have_states_with_names() {
        let body = |state: u16, mac: Option<[u8; 6]>| {
            let mut body = vec![2, 0, 0, 0, 2, 0, 0, 0];
            body.extend(state.to_ne_bytes());
            body.extend([0, 0]);
            put(&mut body, NEIGHBOUR_IP, &[10, 0, 0, 1]);
            if let Some(mac) = mac {
                put(&mut body, NEIGHBOUR_MAC, &mac);
            }
            body
        };
        let reachable = body(2, Some([2, 0, 0, 0, 0, 9]));
        let known = neighbour(&reachable).unwrap();
        assert!(known.state.is_known() && known.mac == Some(MacAddr([2, 0, 0, 0, 0, 9])));
        assert_eq!((known.interface, known.ip), (2, [10, 0, 0, 1].into()));
        for (state, name) in [(1, "INCOMPLETE"), (0x20, "FAILED"), (0, "NONE")] {
            let unknown = neighbour(&body(state, None)).unwrap();
            assert_eq!((unknown.state.name(), unknown.state.is_known()), (name, false));
        }
        for length in 0..reachable.len() {
            let _ = neighbour(&reachable[..length]);
        }
    }

    #[test]
    fn a_neighbour_is_asked_for_by_interface_and_address() {
        let body = use_neighbour([10, 0, 0, 1].into(), 7);
        assert_eq!((body[0], number(&body, 4), body[10]), (2, Some(7), NEIGHBOUR_USE));
        assert_eq!(attribute(&body, NEIGHBOUR_HEADER_BYTES, NEIGHBOUR_IP), Some(&[10, 0, 0, 1][..]));
        assert_eq!(all_neighbours("fe80::1".parse().unwrap())[0], 10);
    }
}
