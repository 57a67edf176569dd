//! Settings of a port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{Payload, Protocol};

use super::argument::At;
use super::range::{Range, Ranged};
use super::sequence::Entry;

/// Pktgen's mode: the packet of `set`, a range, or a sequence. Only one is active at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Single,
    Range,
    Sequence,
}

/// Settings of a port. Values that the script does not set are `None`, for Pktgen's default.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Settings {
    pub(super) rate: Option<f64>,
    pub(super) size: Option<u32>,
    /// Line that set the size.
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
    /// True when `set_type` asked for IPv6.
    pub(super) ipv6: Option<bool>,
    pub(super) ttl: Option<u8>,
    pub(super) dscp: Option<u8>,
    /// True when frames are tagged.
    pub(super) vlan: Option<bool>,
    pub(super) vlan_id: Option<u16>,
    /// Priority in the tag.
    pub(super) cos: Option<u8>,
    pub(super) payload: Option<Payload>,
    /// The text of `userPattern`.
    pub(super) pattern: Option<String>,
    /// Line that set TCP flags.
    pub(super) tcp_flags: Option<At>,
    /// The mode that the script turned on or off last.
    pub(super) mode: Option<Mode>,
    pub(super) ranges: BTreeMap<Ranged, Range>,
    pub(super) sequence: BTreeMap<u64, Entry>,
    /// Number of the sequence's packets to send.
    pub(super) sequence_count: Option<u64>,
    /// True when latency measurement was set up.
    pub(super) latency: bool,
    /// Line of the last change.
    pub(super) changed: At,
}

impl Settings {
    /// The settings that affect frames and their rate.
    pub(super) fn traffic(&self) -> Self {
        Self { count: None, burst: None, latency: false, ..self.clone() }
    }

    /// The settings that affect frames, without the rate.
    pub(super) fn frames(&self) -> Self {
        Self { rate: None, ..self.traffic() }
    }
}

/// Pktgen's default rate, in percent.
pub(super) const RATE: f64 = 100.0;
/// Pktgen's default frame size in bytes.
pub(super) const SIZE: u32 = 64;
/// Pktgen's default source port.
pub(super) const SRC_PORT: u16 = 1234;
/// Pktgen's default destination port.
pub(super) const DST_PORT: u16 = 5678;
/// Pktgen's default VLAN identifier.
pub(super) const VLAN_ID: u16 = 1;

/// Pktgen's default source and destination address of a port.
pub(super) fn addresses(port: u8) -> (Ipv4Addr, Ipv4Addr) {
    (Ipv4Addr::new(192, 168, port, 1), Ipv4Addr::new(192, 168, port.wrapping_add(1), 1))
}
