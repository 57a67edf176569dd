//! Recognition of received frames: test frames, damaged test frames, and foreign frames.

use linerate_traffic::probe::{PROBE_BYTES, Probe};
use linerate_traffic::profile::{IpVersion, Protocol, Shape};
use linerate_wire::report::ForeignFrames;

use super::checksum;
use super::frame::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, IPV4_VERSION_IHL};

const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
/// Service tag of IEEE 802.1ad.
const ETHERTYPE_SERVICE_VLAN: [u8; 2] = [0x88, 0xa8];
const PROTOCOL_ICMP: u8 = 1;

/// Kind of a received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// A test frame: carries a probe, and all checked checksums are right.
    Ours(Probe, UdpChecksum),
    /// A damaged test frame: carries the mark of a probe, and an IPv4, UDP or TCP checksum is wrong.
    Damaged,
    /// A foreign frame.
    Foreign(Foreign),
}

/// State of a frame's UDP checksum field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdpChecksum {
    /// Computed, or the frame has another protocol.
    Present,
    /// The field is 0 over IPv4: not computed (RFC 768). Over IPv6 that is an error (RFC 8200, section 8.1).
    Absent,
}

/// Kinds of foreign frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// Address resolution.
    Arp,
    /// ICMP over IPv4.
    Icmp,
    /// IPv6, ICMPv6 included.
    Ipv6,
    /// With a VLAN tag, whatever the payload.
    Vlan,
    /// Anything else.
    Other,
}

impl Foreign {
    /// The kind of a foreign frame.
    #[inline(never)]
    pub fn of(frame: &[u8]) -> Self {
        match frame.get(12..14) {
            Some(kind) if kind == ETHERTYPE_ARP => Self::Arp,
            Some(kind) if kind == ETHERTYPE_IPV6 => Self::Ipv6,
            Some(kind) if kind == ETHERTYPE_VLAN || kind == ETHERTYPE_SERVICE_VLAN => Self::Vlan,
            Some(kind) if kind == ETHERTYPE_IPV4 && frame.get(23) == Some(&PROTOCOL_ICMP) => Self::Icmp,
            _ => Self::Other,
        }
    }

    /// Counts one of this kind.
    pub fn count(self, frames: &mut ForeignFrames) {
        *match self {
            Self::Arp => &mut frames.arp,
            Self::Icmp => &mut frames.icmp,
            Self::Ipv6 => &mut frames.ipv6,
            Self::Vlan => &mut frames.vlan,
            Self::Other => &mut frames.other,
        } += 1;
    }
}

/// The port's verdict on a frame's checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PortVerdict {
    /// None: software computes the checksums.
    #[default]
    Unknown,
    /// The checksums are right.
    Good,
    /// A checksum is wrong.
    Bad,
}

/// Recognises a frame by its first segment; `length` is that of the whole frame. Checksums are computed when
/// the port has no verdict and the segment holds the whole frame.
#[inline(always)]
pub fn recognise(frame: &[u8], length: u32, verdict: PortVerdict) -> Frame {
    if is_plain(frame) {
        // Compiled for the offsets of this shape alone.
        recognise_as(Shape::PLAIN, frame, length, verdict)
    } else {
        recognise_other(frame, length, verdict)
    }
}

#[inline(never)]
fn recognise_other(frame: &[u8], length: u32, verdict: PortVerdict) -> Frame {
    match other_shape(frame) {
        Some(shape) => recognise_as(shape, frame, length, verdict),
        None => Frame::Foreign(Foreign::of(frame)),
    }
}

#[inline(always)]
fn recognise_as(shape: Shape, frame: &[u8], length: u32, verdict: PortVerdict) -> Frame {
    let Some(probe) = probe_of(frame, shape) else { return Frame::Foreign(Foreign::of(frame)) };
    let udp = udp_checksum(frame, shape);
    let damaged = match verdict {
        PortVerdict::Good => false,
        // Some ports report a missing UDP checksum as wrong; then the IPv4 header is checked here.
        PortVerdict::Bad => udp == UdpChecksum::Present || !ipv4_header_is_right(frame, shape),
        PortVerdict::Unknown => frame.len() == length as usize && !checksums_are_right(frame, shape, udp),
    };
    if damaged { Frame::Damaged } else { Frame::Ours(probe, udp) }
}

#[inline(always)]
fn udp_checksum(frame: &[u8], shape: Shape) -> UdpChecksum {
    let field = shape.transport_at() + 6;
    let may_be_absent = shape.version == IpVersion::V4 && shape.protocol == Protocol::Udp;
    if may_be_absent && frame.get(field..field + 2) == Some(&[0, 0]) {
        UdpChecksum::Absent
    } else {
        UdpChecksum::Present
    }
}

#[inline(always)]
fn ipv4_header_is_right(frame: &[u8], shape: Shape) -> bool {
    let header = frame.get(shape.ip_at()..shape.transport_at());
    header.is_some_and(|header| checksum::fold(checksum::sum(header)) == 0xffff)
}

/// The headers of a frame that carries the mark of a probe.
#[inline(always)]
pub fn probe_shape(frame: &[u8]) -> Option<Shape> {
    let shape = if is_plain(frame) { Shape::PLAIN } else { other_shape(frame)? };
    probe_of(frame, shape).map(|_| shape)
}

#[inline(always)]
fn probe_of(frame: &[u8], shape: Shape) -> Option<Probe> {
    Probe::from_bytes(frame.get(shape.probe_at()..)?.first_chunk::<PROBE_BYTES>()?)
}

/// True for a frame with the most frequent headers that profiles describe: Ethernet, IPv4, UDP.
#[inline(always)]
fn is_plain(frame: &[u8]) -> bool {
    frame.first_chunk::<24>().is_some_and(|head| {
        head[12..14] == ETHERTYPE_IPV4 && head[14] == IPV4_VERSION_IHL && head[23] == Protocol::Udp.number()
    })
}

/// The other headers that profiles can describe.
#[inline(never)]
fn other_shape(frame: &[u8]) -> Option<Shape> {
    let vlan = frame.get(12..14)? == ETHERTYPE_VLAN;
    let ip = if vlan { 18 } else { 14 };
    let (version, protocol) = match frame.get(ip - 2..ip)? {
        kind if kind == ETHERTYPE_IPV4 && *frame.get(ip)? == IPV4_VERSION_IHL => {
            (IpVersion::V4, *frame.get(ip + 9)?)
        }
        kind if kind == ETHERTYPE_IPV6 => (IpVersion::V6, *frame.get(ip + 6)?),
        _ => return None,
    };
    let protocol = [Protocol::Udp, Protocol::Tcp].into_iter().find(|known| known.number() == protocol)?;
    Some(Shape { vlan, version, protocol })
}

/// A header with its checksum sums to all ones (RFC 1071). Bytes after the IP packet are padding and not part
/// of it.
#[inline(always)]
fn checksums_are_right(frame: &[u8], shape: Shape, udp: UdpChecksum) -> bool {
    let (ip, transport) = (shape.ip_at(), shape.transport_at());
    let Some(header) = frame.get(ip..transport) else { return false };
    let (end, addresses) = match shape.version {
        IpVersion::V4 => {
            if checksum::fold(checksum::sum(header)) != 0xffff {
                return false;
            }
            if udp == UdpChecksum::Absent {
                return true;
            }
            (ip + usize::from(u16::from_be_bytes([header[2], header[3]])), &header[12..])
        }
        IpVersion::V6 => (transport + usize::from(u16::from_be_bytes([header[4], header[5]])), &header[8..]),
    };
    let Some(segment) = frame.get(transport..end) else { return false };
    let pseudo = checksum::word(segment.len() as u16) + checksum::word(u16::from(shape.protocol.number()));
    let sum = checksum::add(checksum::sum(segment), checksum::add(checksum::sum(addresses), pseudo));
    checksum::fold(sum) == 0xffff
}
