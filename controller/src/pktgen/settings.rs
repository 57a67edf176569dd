//! What a script leaves on a port.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use linerate_protocol::mac::MacAddr;
use linerate_protocol::profile::Protocol;

use super::range::{Range, Ranged};

/// Settings of a port. What a script has not given is `None`, and has Pktgen's default.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Settings {
    pub(super) rate: Option<f64>,
    pub(super) size: Option<u32>,
    pub(super) count: Option<u64>,
    pub(super) burst: Option<u64>,
    pub(super) src_port: Option<u16>,
    pub(super) dst_port: Option<u16>,
    pub(super) src_ip: Option<Ipv4Addr>,
    pub(super) dst_ip: Option<Ipv4Addr>,
    pub(super) src_mac: Option<MacAddr>,
    pub(super) dst_mac: Option<MacAddr>,
    pub(super) protocol: Option<Protocol>,
    /// Whether range mode is on.
    pub(super) range_mode: Option<bool>,
    pub(super) ranges: BTreeMap<Ranged, Range>,
    /// Latency measurement was set up.
    pub(super) latency: bool,
}

/// Pktgen's rate, in percent.
pub(super) const RATE: f64 = 100.0;
/// Pktgen's frame size.
pub(super) const SIZE: u32 = 64;
/// Pktgen's source port.
pub(super) const SRC_PORT: u16 = 1234;
/// Pktgen's destination port.
pub(super) const DST_PORT: u16 = 5678;

/// Pktgen's source and destination address on a port.
pub(super) fn addresses(port: u8) -> (Ipv4Addr, Ipv4Addr) {
    (Ipv4Addr::new(192, 168, port, 1), Ipv4Addr::new(192, 168, port.wrapping_add(1), 1))
}
