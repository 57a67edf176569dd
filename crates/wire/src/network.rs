//! Addresses of ports, and the next hop from one port to another.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::IpVersion;

/// The addresses and routers of a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortNetwork {
    /// The kernel's interface that the port uses; absent for ports without one, such as VFs and memif.
    #[serde(default)]
    pub interface: Option<String>,
    /// Addresses with their prefix lengths.
    #[serde(with = "networks")]
    pub addresses: Vec<IpNet>,
    /// Configured routers of a port without a kernel interface, at most one per IP version.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
    /// Component that answers for the addresses and resolves the next hop.
    pub resolver: Resolver,
}

/// Component that answers ARP, neighbour discovery and ping for a port's addresses, and resolves the next
/// hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolver {
    /// The kernel, for a port that uses a kernel interface.
    Kernel,
    /// The agent, on the port itself.
    Port,
}

impl PortNetwork {
    /// The port's first address of an IP version. Link-local IPv6 addresses do not count: every interface has
    /// one.
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

/// Next hop from a port to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// The destination address.
    pub to: IpAddr,
    /// The port's source address; absent when the port has none of that IP version.
    pub source: Option<IpAddr>,
    /// The router towards the destination; absent when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Ethernet address of the router, or of the destination when that is on the link; absent when the
    /// destination is an address of the agent's own host.
    pub mac: Option<MacAddr>,
}

/// Serde representation of networks as text: `10.0.1.2/24`.
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
    /// Names the text that does not parse as a network.
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
