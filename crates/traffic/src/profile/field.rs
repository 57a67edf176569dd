//! The header fields that may differ between flows.
//!
//! A new field needs a variant, its name, its place in the header and its start value, all in this file.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RawProfile;
use super::shape::{IpVersion, Layer};

/// A header field that may differ between flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Field {
    /// Ethernet source address.
    SourceMac,
    /// Ethernet destination address.
    DestinationMac,
    /// VLAN identifier (IEEE 802.1Q); varying it adds the tag.
    VlanId,
    /// VLAN priority code point (IEEE 802.1Q); varying it adds the tag.
    VlanPriority,
    /// IPv4 or IPv6 source address.
    SourceIp,
    /// IPv4 or IPv6 destination address.
    DestinationIp,
    /// Differentiated services code point (RFC 2474).
    Dscp,
    /// IPv4 time to live, IPv6 hop limit.
    Ttl,
    /// IPv6 flow label (RFC 6437).
    FlowLabel,
    /// UDP or TCP source port.
    SourcePort,
    /// UDP or TCP destination port.
    DestinationPort,
}

/// Place of a field: bits from the beginning of its header, in network order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The header.
    pub layer: Layer,
    /// First bit.
    pub bit: u32,
    /// Number of bits: at most 128.
    pub bits: u32,
}

impl Field {
    /// Every field, in the order of the frame.
    pub const ALL: [Field; 11] = [
        Field::SourceMac,
        Field::DestinationMac,
        Field::VlanId,
        Field::VlanPriority,
        Field::SourceIp,
        Field::DestinationIp,
        Field::Dscp,
        Field::Ttl,
        Field::FlowLabel,
        Field::SourcePort,
        Field::DestinationPort,
    ];

    /// The name used in documents.
    pub fn name(self) -> &'static str {
        match self {
            Field::SourceMac => "sourceMac",
            Field::DestinationMac => "destinationMac",
            Field::VlanId => "vlanId",
            Field::VlanPriority => "vlanPriority",
            Field::SourceIp => "sourceIp",
            Field::DestinationIp => "destinationIp",
            Field::Dscp => "dscp",
            Field::Ttl => "ttl",
            Field::FlowLabel => "flowLabel",
            Field::SourcePort => "sourcePort",
            Field::DestinationPort => "destinationPort",
        }
    }

    /// Place of the field; `None` when the IP version lacks it.
    pub fn place(self, version: IpVersion) -> Option<Place> {
        use IpVersion::{V4, V6};
        let (layer, bit, bits) = match (self, version) {
            (Field::DestinationMac, _) => (Layer::Ethernet, 0, 48),
            (Field::SourceMac, _) => (Layer::Ethernet, 48, 48),
            (Field::VlanPriority, _) => (Layer::Vlan, 16, 3),
            (Field::VlanId, _) => (Layer::Vlan, 20, 12),
            (Field::Dscp, V4) => (Layer::Ip, 8, 6),
            (Field::Ttl, V4) => (Layer::Ip, 64, 8),
            (Field::SourceIp, V4) => (Layer::Ip, 96, 32),
            (Field::DestinationIp, V4) => (Layer::Ip, 128, 32),
            (Field::FlowLabel, V4) => return None,
            (Field::Dscp, V6) => (Layer::Ip, 4, 6),
            (Field::FlowLabel, V6) => (Layer::Ip, 12, 20),
            (Field::Ttl, V6) => (Layer::Ip, 56, 8),
            (Field::SourceIp, V6) => (Layer::Ip, 64, 128),
            (Field::DestinationIp, V6) => (Layer::Ip, 192, 128),
            (Field::SourcePort, _) => (Layer::Transport, 0, 16),
            (Field::DestinationPort, _) => (Layer::Transport, 16, 16),
        };
        Some(Place { layer, bit, bits })
    }

    /// Value of the first flow; `None` for an Ethernet address (own or peer's) that only the port knows.
    pub(super) fn base(self, profile: &RawProfile) -> Option<u128> {
        let ip = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        Some(match self {
            Field::SourceMac => mac_bits(profile.source.mac?),
            Field::DestinationMac => mac_bits(profile.destination.mac?),
            Field::VlanId => profile.vlan.map_or(1, |vlan| vlan.id).into(),
            Field::VlanPriority => profile.vlan.map_or(0, |vlan| vlan.priority).into(),
            Field::SourceIp => ip(profile.addresses().0),
            Field::DestinationIp => ip(profile.addresses().1),
            Field::Dscp => profile.dscp.into(),
            Field::Ttl => profile.ttl.into(),
            Field::FlowLabel => 0,
            Field::SourcePort => profile.source.port.into(),
            Field::DestinationPort => profile.destination.port.into(),
        })
    }

    /// A value of this field as users write it.
    pub fn show(self, value: u128, version: IpVersion) -> String {
        match self {
            Field::SourceMac | Field::DestinationMac => mac_of(value).to_string(),
            Field::SourceIp | Field::DestinationIp => version.address(value).to_string(),
            _ => value.to_string(),
        }
    }
}

/// An Ethernet address as a number.
pub fn mac_bits(mac: crate::mac::MacAddr) -> u128 {
    mac.0.iter().fold(0, |bits, octet| bits << 8 | u128::from(*octet))
}

/// The Ethernet address of a number's low 48 bits.
pub fn mac_of(bits: u128) -> crate::mac::MacAddr {
    let [.., a, b, c, d, e, f] = bits.to_be_bytes();
    crate::mac::MacAddr([a, b, c, d, e, f])
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
