//! The headers of a frame and their offsets.
//!
//! Ethernet (14 bytes), an optional IEEE 802.1Q tag (4), IPv4 (20) or IPv6 (40), UDP (8) or TCP (20), then
//! the probe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::frame::{FCS_BYTES, FrameSize};
use crate::probe::PROBE_BYTES;

/// Bytes of the Ethernet header.
pub const ETHERNET_BYTES: usize = 14;
/// Bytes of a VLAN tag.
pub const VLAN_TAG_BYTES: usize = 4;

/// A header of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Ethernet addresses.
    Ethernet,
    /// The four bytes of an IEEE 802.1Q tag.
    Vlan,
    /// IPv4 or IPv6.
    Ip,
    /// UDP or TCP.
    Transport,
}

/// Version of the Internet Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpVersion {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

impl IpVersion {
    /// The version of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The address with these bits.
    pub fn address(self, bits: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(bits as u32).into(),
            Self::V6 => Ipv6Addr::from_bits(bits).into(),
        }
    }

    /// Bytes of the header, without options or extensions.
    pub fn header_bytes(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }
}

/// Transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 768.
    #[default]
    Udp,
    /// RFC 9293: segments of no connection, with the ACK flag.
    Tcp,
}

impl std::str::FromStr for Protocol {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "udp" => Ok(Self::Udp),
            "tcp" => Ok(Self::Tcp),
            other => Err(format!("'{other}' is neither udp nor tcp")),
        }
    }
}

impl Protocol {
    /// Bytes of the header, without options.
    pub fn header_bytes(self) -> usize {
        match self {
            Self::Udp => 8,
            Self::Tcp => 20,
        }
    }

    /// IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Udp => 17,
            Self::Tcp => 6,
        }
    }

    /// Offset of the checksum in the header.
    pub fn checksum_at(self) -> usize {
        match self {
            Self::Udp => 6,
            Self::Tcp => 16,
        }
    }
}

/// The headers of a frame. All offsets are in bytes from the frame's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// True with a VLAN tag.
    pub vlan: bool,
    /// Version of IP.
    pub version: IpVersion,
    /// Transport protocol.
    pub protocol: Protocol,
}

impl Shape {
    /// Ethernet, IPv4, UDP.
    pub const PLAIN: Shape = Shape { vlan: false, version: IpVersion::V4, protocol: Protocol::Udp };

    /// Offset of the IP header.
    pub fn ip_at(self) -> usize {
        ETHERNET_BYTES + if self.vlan { VLAN_TAG_BYTES } else { 0 }
    }

    /// Offset of the UDP or TCP header.
    pub fn transport_at(self) -> usize {
        self.ip_at() + self.version.header_bytes()
    }

    /// Offset of the UDP or TCP checksum.
    pub fn checksum_at(self) -> usize {
        self.transport_at() + self.protocol.checksum_at()
    }

    /// Offset of the probe: the first byte of the payload.
    pub fn probe_at(self) -> usize {
        self.transport_at() + self.protocol.header_bytes()
    }

    /// Offset of a header. The VLAN header is the tag, beginning with EtherType 0x8100.
    pub fn layer_at(self, layer: Layer) -> usize {
        match layer {
            Layer::Ethernet => 0,
            Layer::Vlan => ETHERNET_BYTES - 2,
            Layer::Ip => self.ip_at(),
            Layer::Transport => self.transport_at(),
        }
    }

    /// The smallest frame for the headers and the probe, in bytes with frame check sequence.
    pub fn smallest_frame_bytes(self) -> u32 {
        ((self.probe_at() + PROBE_BYTES) as u32 + FCS_BYTES).max(FrameSize::MIN)
    }
}
