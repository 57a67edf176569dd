//! What a script sets on a port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{Payload, Protocol};

use super::argument::At;
use super::range::{Range, Ranged};
use super::sequence::Entry;

/// What a port sends: the packet of `set`, one of a range, or a sequence. Pktgen has one mode at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Single,
    Range,
    Sequence,
}

/// Settings of a port. What a script has not given is `None`, and has Pktgen's default.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Settings {
    pub(super) rate: Option<f64>,
    pub(super) size: Option<u32>,
    /// Line that gave the size.
    pub(super) size_at: At,
    pub(super) count: Option<u64>,
    pub(super) burst: Option<u64>,
    pub(super) src_port: Option<u16>,
    pub(super) dst_port: Option<u16>,
    pub(super) src_ip: Option<IpAddr>,
    pub(super) dst_ip: Option<IpAddr>,
    pub(super) src_mac: Option<MacAddr>,
    pub(super) dst_mac: Option<MacAddr>,
    pub(super) protocol: Option<Protocol>,
    /// Protocol of range mode, in place of `protocol`.
    pub(super) range_protocol: Option<Protocol>,
    /// IPv6 was asked for by `set_type`.
    pub(super) ipv6: Option<bool>,
    pub(super) ttl: Option<u8>,
    pub(super) dscp: Option<u8>,
    /// Whether frames are tagged.
    pub(super) vlan: Option<bool>,
    pub(super) vlan_id: Option<u16>,
    /// Priority in the tag.
    pub(super) cos: Option<u8>,
    pub(super) payload: Option<Payload>,
    /// The text of `userPattern`.
    pub(super) pattern: Option<String>,
    /// Line that set TCP flags.
    pub(super) tcp_flags: Option<At>,
    /// What the script turned on or off last.
    pub(super) mode: Option<Mode>,
    pub(super) ranges: BTreeMap<Ranged, Range>,
    pub(super) sequence: BTreeMap<u64, Entry>,
    /// Number of the sequence's packets that are sent.
    pub(super) sequence_count: Option<u64>,
    /// Latency measurement was set up.
    pub(super) latency: bool,
    /// Line of the last change.
    pub(super) changed: At,
}

impl Settings {
    /// The settings that frames and their rate depend on: changes of the others leave the traffic as it is.
    pub(super) fn traffic(&self) -> Self {
        Self { count: None, burst: None, latency: false, ..self.clone() }
    }

    /// As `traffic`, without the rate.
    pub(super) fn frames(&self) -> Self {
        Self { rate: None, ..self.traffic() }
    }
}

/// Pktgen's rate, in percent.
pub(super) const RATE: f64 = 100.0;
/// Pktgen's frame size.
pub(super) const SIZE: u32 = 64;
/// Pktgen's source port.
pub(super) const SRC_PORT: u16 = 1234;
/// Pktgen's destination port.
pub(super) const DST_PORT: u16 = 5678;
/// Pktgen's VLAN identifier.
pub(super) const VLAN_ID: u16 = 1;

/// Pktgen's source and destination address on a port.
pub(super) fn addresses(port: u8) -> (Ipv4Addr, Ipv4Addr) {
    (Ipv4Addr::new(192, 168, port, 1), Ipv4Addr::new(192, 168, port.wrapping_add(1), 1))
}
