//! Addresses of several receivers: multicast and broadcast.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use linerate_traffic::mac::MacAddr;

use super::HopError;

/// Why an address of several receivers has no next hop; `None` for an address of one. A network's own broadcast
/// address is known from the network alone: see [`broadcast_of`].
pub(super) fn refuse(to: IpAddr) -> Option<HopError> {
    if to == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Some(broadcast(to));
    }
    to.is_multicast().then(|| HopError::Group { to, kind: "multicast", mac: multicast_mac(to) })
}

/// The error for a broadcast address.
pub(super) fn broadcast(to: IpAddr) -> HopError {
    HopError::Group { to, kind: "broadcast", mac: MacAddr([0xff; 6]) }
}

/// True for the broadcast address of the network. Networks of two addresses or one have none (RFC 3021).
pub(super) fn broadcast_of(network: &IpNet, to: IpAddr) -> bool {
    to.is_ipv4() && network.prefix_len() < 31 && network.broadcast() == to
}

/// The Ethernet address of a multicast group: its last 23 bits (IPv4, RFC 1112) or 32 bits (IPv6, RFC 2464).
fn multicast_mac(group: IpAddr) -> MacAddr {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            MacAddr([0x33, 0x33, a, b, c, d])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_told_with_their_ethernet_address() {
        for (to, part) in [
            ("224.0.0.5", "multicast address, which has no next hop; --peer-mac 01:00:5e:00:00:05"),
            ("239.255.1.2", "--peer-mac 01:00:5e:7f:01:02"),
            ("ff02::1:ff00:1234", "--peer-mac 33:33:ff:00:12:34"),
            ("255.255.255.255", "broadcast address, which has no next hop; --peer-mac ff:ff:ff:ff:ff:ff"),
        ] {
            let message = refuse(to.parse().unwrap()).unwrap().to_string();
            assert!(message.starts_with(to) && message.contains(part), "{message}");
        }
        for to in ["10.99.0.255", "fe80::1"] {
            assert!(refuse(to.parse().unwrap()).is_none(), "{to}");
        }
        for (network, to, expected) in [
            ("10.99.0.1/24", "10.99.0.255", true),
            ("10.99.0.1/16", "10.99.0.255", false),
            ("10.99.0.254/31", "10.99.0.255", false),
            ("fd00::1/112", "fd00::ffff", false),
        ] {
            assert_eq!(broadcast_of(&network.parse().unwrap(), to.parse().unwrap()), expected, "{network}");
        }
    }
}
