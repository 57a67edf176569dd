//! The addresses of a port, and next hops from it: from the kernel for a port on a kernel interface,
//! otherwise from the port itself.

mod group;
pub(crate) mod kernel;
mod rtnetlink;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::IpVersion;
use linerate_wire::network::{PortNetwork, Resolver};

use self::kernel::{Interface, KernelSearch, router};

/// Time limit for a next hop's answer: slightly more than the kernel's own three attempts take.
pub(crate) const TIME_LIMIT: Duration = Duration::from_millis(3500);
/// Interval between attempts.
pub(crate) const RETRY: Duration = Duration::from_millis(500);

/// Drivers on an interface whose frames reach the kernel as well, which then answers for its addresses
/// itself.
const SHARED_WITH_KERNEL: [&str; 2] = ["net_af_packet", "net_pcap"];
/// Drivers on an interface whose frames do not reach the kernel.
const TAKEN_FROM_KERNEL: [&str; 1] = ["net_af_xdp"];

/// Error: the next hop was not found.
#[derive(Debug, thiserror::Error)]
pub enum HopError {
    /// The port has no source address for the request.
    #[error(
        "the port has no {version} address of its own, so it cannot ask for the Ethernet address of {to}; give one with --address, as in --address 10.0.0.2/24"
    )]
    NoAddress {
        /// The destination address.
        to: IpAddr,
        /// `IPv4` or `IPv6`.
        version: &'static str,
    },
    /// No router is configured.
    #[error(
        "{to} is in none of the port's networks ({networks}), and no router was given for it; give one with --gateway"
    )]
    NoGateway {
        /// The destination address.
        to: IpAddr,
        /// The port's networks.
        networks: String,
    },
    /// The destination is no single host.
    #[error("{to} is a {kind} address, which has no next hop; --peer-mac {mac} sends there")]
    Group {
        /// The destination address.
        to: IpAddr,
        /// `multicast` or `broadcast`.
        kind: &'static str,
        /// The Ethernet address of its receivers.
        mac: MacAddr,
    },
    /// The kernel has no route.
    #[error(
        "the kernel has no route from {interface} to {to}: {reason}; see `ip route get {to} oif {interface}`"
    )]
    NoRoute {
        /// The destination address.
        to: IpAddr,
        /// The port's interface.
        interface: String,
        /// The kernel's reason.
        reason: String,
    },
    /// The next hop does not answer.
    #[error(
        "the next hop {hop} on {interface} did not answer with its Ethernet address: {state}, after {after_s} s; is it up, and on this link?"
    )]
    Silent {
        /// Address of the next hop.
        hop: IpAddr,
        /// The interface or port on which the request was sent.
        interface: String,
        /// Its known state.
        state: String,
        /// Waiting time in seconds.
        after_s: f64,
    },
    /// The kernel does not answer.
    #[error("the kernel's routing tables cannot be read: {0}")]
    Kernel(#[from] io::Error),
}

/// Addresses and routers that the user configured for a port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GivenAddresses {
    /// Addresses with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Routers, at most one per IP version.
    pub gateways: Vec<IpAddr>,
}

/// The addresses and routers of a port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Network {
    pub(crate) interface: Option<Interface>,
    pub(crate) given: GivenAddresses,
    /// True when the port answers for its addresses itself.
    pub(crate) answers: bool,
}

impl Network {
    /// The network of a port of this driver, on this kernel interface, with the configured addresses.
    pub(crate) fn new(driver: &str, interface: Option<&str>, given: GivenAddresses) -> Self {
        let shared = SHARED_WITH_KERNEL.contains(&driver);
        let taken = TAKEN_FROM_KERNEL.contains(&driver);
        let interface = interface.filter(|_| shared || taken).and_then(|name| Interface::named(name).ok());
        let has_given = !given.addresses.is_empty();
        let answers = has_given || (taken && interface.is_some());
        Self { interface, given, answers }
    }

    /// The present addresses: the configured ones, or else those of the interface.
    pub(crate) fn addresses(&self) -> Vec<IpNet> {
        match &self.interface {
            Some(interface) if self.given.addresses.is_empty() => {
                interface.addresses().unwrap_or_else(|error| {
                    tracing::warn!(interface = interface.name, %error, "the addresses are not known");
                    Vec::new()
                })
            }
            _ => self.given.addresses.clone(),
        }
    }

    /// The network as reported to the controller; `None` without addresses.
    pub(crate) fn reported(&self) -> Option<PortNetwork> {
        let addresses = self.addresses();
        (!addresses.is_empty()).then(|| PortNetwork {
            interface: self.interface.as_ref().map(|interface| interface.name.clone()),
            addresses,
            gateways: self.given.gateways.clone(),
            resolver: if self.answers { Resolver::Port } else { Resolver::Kernel },
        })
    }

    /// Begins a search for the next hop through the kernel; `None` when the port must find it itself.
    ///
    /// # Errors
    /// When there is no route.
    pub(crate) fn by_kernel(&self, to: IpAddr) -> Option<Result<KernelSearch, HopError>> {
        self.interface.as_ref().filter(|_| !self.answers).map(|interface| interface.search(to))
    }

    /// The router towards an address (`None`: it is on the link), and the port's source address for requests.
    ///
    /// # Errors
    /// When no address or router fits, or the destination is no single host.
    pub(crate) fn route_to(&self, to: IpAddr) -> Result<(Option<IpAddr>, IpAddr), HopError> {
        if let Some(error) = group::refuse(to) {
            return Err(error);
        }
        let version = IpVersion::of(to);
        let addresses = self.addresses();
        let own = addresses.iter().find(|network| IpVersion::of(network.addr()) == version);
        let named = if version == IpVersion::V4 { "IPv4" } else { "IPv6" };
        let own = own.ok_or(HopError::NoAddress { to, version: named })?.addr();
        // The kernel knows better than the prefix length: pods of one network may have a router between them.
        if let Some(interface) = self.interface.as_ref().filter(|_| self.given.addresses.is_empty()) {
            let route = interface.route(to)?;
            return Ok(route.map_or((None, own), |route| (router(&route), route.source.unwrap_or(own))));
        }
        if addresses.iter().any(|network| group::broadcast_of(network, to)) {
            return Err(group::broadcast(to));
        }
        if let Some(network) = addresses.iter().find(|network| network.contains(&to)) {
            return Ok((None, network.addr()));
        }
        let gateway = self.given.gateways.iter().find(|gateway| IpVersion::of(**gateway) == version);
        let networks = || addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        gateway.map_or_else(
            || Err(HopError::NoGateway { to, networks: networks() }),
            |gateway| Ok((Some(*gateway), own)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_on_the_link_goes_to_the_router_of_its_version() {
        let given = GivenAddresses {
            addresses: ["10.0.1.2/24", "fd00:1::2/64"].map(|text| text.parse().unwrap()).to_vec(),
            gateways: vec!["10.0.1.1".parse().unwrap()],
        };
        let network = Network::new("net_e1000_igb_vf", None, given);
        let way = |to: &str| network.route_to(to.parse().unwrap()).map_err(|error| error.to_string());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(way("10.0.1.9"), Ok((None, ip("10.0.1.2"))));
        assert_eq!(way("10.0.2.9"), Ok((Some(ip("10.0.1.1")), ip("10.0.1.2"))));
        assert_eq!(way("fd00:1::7"), Ok((None, ip("fd00:1::2"))));
        assert!(way("fd00:2::7").unwrap_err().contains("--gateway"));
        assert!(way("10.0.1.255").unwrap_err().contains("--peer-mac ff:ff:ff:ff:ff:ff"));
        assert!(way("ff02::1").unwrap_err().contains("--peer-mac 33:33:00:00:00:01"));
        let none = Network::new("net_memif", None, GivenAddresses::default());
        assert!(none.reported().is_none() && !none.answers);
        assert!(none.route_to(ip("10.0.0.1")).unwrap_err().to_string().contains("--address"));
        assert_eq!(network.reported().unwrap().resolver, Resolver::Port);
    }
}
