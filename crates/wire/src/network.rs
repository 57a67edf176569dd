//! The addresses of ports, and the next hop on the way from one to another.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::IpVersion;

/// The addresses of a port, and how it finds its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortNetwork {
    /// The kernel's interface that the port uses; absent for ports of their own, such as VFs and memif.
    #[serde(default)]
    pub interface: Option<String>,
    /// Addresses with the length of their network's prefix.
    #[serde(with = "networks")]
    pub addresses: Vec<IpNet>,
    /// Routers that were given to a port of its own, at most one for each version of IP.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// Who answers for the addresses and finds the next hop.
    pub resolver: Resolver,
}

/// Who answers ARP, neighbour discovery and ping for a port's addresses, and finds the next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolver {
    /// The kernel, whose interface it is.
    Kernel,
    /// The agent, on the port.
    Port,
}

impl PortNetwork {
    /// The first address of a version of IP. Link-local IPv6 addresses are none to send to: every interface has one.
    pub fn address(&self, version: IpVersion) -> Option<IpAddr> {
        let addresses = self.addresses.iter().map(IpNet::addr);
        addresses.filter(|ip| IpVersion::of(*ip) == version).find(|ip| match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        })
    }

    /// True when the port has this address.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|network| network.addr() == ip)
    }
}

/// How frames get from a port to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// The address to be reached.
    pub to: IpAddr,
    /// The address that the port sends from; absent when the port has none of that version.
    pub source: Option<IpAddr>,
    /// The router on the way; absent when the address is on the link.
    pub gateway: Option<IpAddr>,
    /// Ethernet address of the router, or of the address itself when it is on the link; absent when the address is one of the agent's own host.
    pub mac: Option<MacAddr>,
}

/// Networks as they are written: `10.0.1.2/24`.
pub mod networks {
    use ipnet::IpNet;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes a list of texts.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(networks.iter().map(ToString::to_string))
    }

    /// Reads a list of texts.
    ///
    /// # Errors
    /// Names the text that is no network.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let read = |text: &String| {
            let wrong = || {
                de::Error::custom(format!("'{text}' is not an address with its prefix, such as 10.0.1.2/24"))
            };
            text.parse().map_err(|_| wrong())
        };
        texts.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_of_ipv6_do_not_count() {
        let network = |addresses: &[&str]| PortNetwork {
            interface: None,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            gateways: Vec::new(),
            resolver: Resolver::Kernel,
        };
        let both = network(&["fe80::1/64", "fd00::1/64", "169.254.0.9/16"]);
        assert_eq!(both.address(IpVersion::V6), Some("fd00::1".parse().unwrap()));
        assert_eq!(both.address(IpVersion::V4), Some("169.254.0.9".parse().unwrap()));
        assert_eq!(network(&["fe80::1/64"]).address(IpVersion::V6), None);
        assert!(both.has("fd00::1".parse().unwrap()) && !both.has("fd00::2".parse().unwrap()));
    }
}
