//! ARP (RFC 826), neighbour discovery (RFC 4861) and ping (RFC 792, RFC 4443) for a port without a kernel
//! interface: answers, and the port's own requests. Pure: frames in, frames out, without frame check
//! sequence.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use linerate_traffic::mac::MacAddr;

use super::checksum;
use super::frame::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};

/// EtherType of ARP.
pub const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERNET_BYTES: usize = 14;
/// Hardware type Ethernet, protocol type IPv4, and their address lengths.
const ARP_HEAD: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const ARP_REQUEST: u8 = 1;
const ARP_REPLY: u8 = 2;
const BROADCAST: MacAddr = MacAddr([0xff; 6]);
/// The group of all nodes of a link (RFC 4291, 2.7.1).
const ALL_NODES: (MacAddr, Ipv6Addr) =
    (MacAddr([0x33, 0x33, 0, 0, 0, 1]), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
/// The smallest frame, without check sequence.
const SMALLEST_BYTES: usize = 60;
const PROTOCOL_ICMP: u8 = 1;
const ECHO_REQUEST: u8 = 8;
const PROTOCOL_ICMPV6: u8 = 58;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Hop limit that proves that neighbour discovery comes from the link itself.
const HOP_LIMIT_OF_LINK: u8 = 255;
const TTL: u8 = 64;
/// Flags of an advertisement: solicited, override.
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const OPTION_SOURCE_LINK: u8 = 1;
const OPTION_TARGET_LINK: u8 = 2;

/// Meaning of a received frame for the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A request for one of the port's addresses.
    Request {
        /// The frame that answers it.
        answer: Vec<u8>,
        /// Kind of request.
        kind: RequestKind,
        /// The requester's addresses, when the request contains them.
        requester: Option<(IpAddr, MacAddr)>,
    },
    /// The Ethernet address of another node.
    Neighbour(IpAddr, MacAddr),
    /// Not relevant to the port.
    Nothing,
}

/// Kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// ARP.
    Arp,
    /// Neighbour solicitation.
    Solicitation,
    /// ICMP or ICMPv6 echo.
    Ping,
}

/// True for ARP, ICMP and ICMPv6: frames that may request or announce addresses.
pub fn may_be_request(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some(kind) if kind == ETHERTYPE_ARP => true,
        Some(kind) if kind == ETHERTYPE_IPV4 => frame.get(23) == Some(&PROTOCOL_ICMP),
        Some(kind) if kind == ETHERTYPE_IPV6 => frame.get(20) == Some(&PROTOCOL_ICMPV6),
        _ => false,
    }
}

/// The meaning of a frame for a port with these addresses.
pub fn interpret(frame: &[u8], mac: MacAddr, addresses: &[IpNet]) -> Meaning {
    let own = |ip: IpAddr| addresses.iter().any(|network| network.addr() == ip);
    let meaning = match frame.get(12..14) {
        Some(kind) if kind == ETHERTYPE_ARP => arp(frame, mac, own),
        Some(kind) if kind == ETHERTYPE_IPV4 => ping(frame, mac, own),
        Some(kind) if kind == ETHERTYPE_IPV6 => icmpv6(frame, mac, own),
        _ => None,
    };
    meaning.unwrap_or(Meaning::Nothing)
}

/// The request for the Ethernet address of `target`, sent from `source`, an address of the port.
pub fn request(mac: MacAddr, source: IpAddr, target: IpAddr) -> Option<Vec<u8>> {
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            Some(arp_frame(ARP_REQUEST, (mac, source), (BROADCAST, MacAddr([0; 6]), target)))
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let body = discovery(SOLICITATION, 0, target, OPTION_SOURCE_LINK, mac);
            Some(icmpv6_frame((mac, source), solicited_node(target), body))
        }
        _ => None,
    }
}

/// The Ethernet multicast groups in which a port with these addresses is asked for them: those of its IPv6
/// addresses, and that of all nodes. Empty without IPv6 addresses.
pub fn groups(addresses: &[IpNet]) -> Vec<MacAddr> {
    let mut groups: Vec<MacAddr> = addresses
        .iter()
        .filter_map(|address| match address.addr() {
            IpAddr::V6(own) => Some(solicited_node(own).0),
            IpAddr::V4(_) => None,
        })
        .collect();
    if !groups.is_empty() {
        groups.push(ALL_NODES.0);
    }
    groups.sort_unstable_by_key(|group| group.0);
    groups.dedup();
    groups
}

/// The solicited-node group of an address (RFC 4291, 2.7.1), and its Ethernet address (RFC 2464, 7).
fn solicited_node(address: Ipv6Addr) -> (MacAddr, Ipv6Addr) {
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    (MacAddr([0x33, 0x33, 0xff, a, b, c]), group)
}

fn arp(frame: &[u8], mac: MacAddr, own: impl Fn(IpAddr) -> bool) -> Option<Meaning> {
    let arp = frame.get(ETHERNET_BYTES..)?.first_chunk::<28>()?;
    if arp[..6] != ARP_HEAD || arp[6] != 0 {
        return None;
    }
    let (sender_mac, sender) = (mac_at(arp, 8)?, ipv4_at(arp, 14)?);
    let target = ipv4_at(arp, 24)?;
    // A probe (RFC 5227) has no sender address.
    let requester = (!sender.is_unspecified()).then_some((IpAddr::from(sender), sender_mac));
    match arp[7] {
        ARP_REQUEST if own(target.into()) => {
            let answer = arp_frame(ARP_REPLY, (mac, target), (sender_mac, sender_mac, sender));
            Some(Meaning::Request { answer, kind: RequestKind::Arp, requester })
        }
        ARP_REPLY => requester.map(|(ip, mac)| Meaning::Neighbour(ip, mac)),
        _ => None,
    }
}

fn arp_frame(
    operation: u8,
    (mac, source): (MacAddr, Ipv4Addr),
    (to, target_mac, target): (MacAddr, MacAddr, Ipv4Addr),
) -> Vec<u8> {
    let mut frame = ethernet(to, mac, ETHERTYPE_ARP);
    frame.extend(ARP_HEAD);
    frame.extend([0, operation]);
    frame.extend(mac.0);
    frame.extend(source.octets());
    frame.extend(target_mac.0);
    frame.extend(target.octets());
    frame.resize(SMALLEST_BYTES, 0);
    frame
}

/// The answer to an echo request: the same frame with both ends exchanged.
fn ping(frame: &[u8], mac: MacAddr, own: impl Fn(IpAddr) -> bool) -> Option<Meaning> {
    let ip = frame.get(ETHERNET_BYTES..)?;
    let header = usize::from(ip.first()? & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let whole = ip.get(..total).filter(|ip| ip.len() >= header + 8 && header >= 20)?;
    let fragment = u16::from_be_bytes([whole[6], whole[7]]) & 0x3fff;
    let target = ipv4_at(whole, 16)?;
    let is_request = whole[9] == PROTOCOL_ICMP && whole[header] == ECHO_REQUEST && whole[header + 1] == 0;
    if !is_request || fragment != 0 || mac_at(frame, 0)? != mac || !own(target.into()) {
        return None;
    }
    let mut answer = ethernet(mac_at(frame, 6)?, mac, ETHERTYPE_IPV4);
    answer.extend(whole);
    answer.resize(answer.len().max(SMALLEST_BYTES), 0);
    let packet = &mut answer[ETHERNET_BYTES..];
    packet.copy_within(12..16, 16);
    packet[12..16].copy_from_slice(&target.octets());
    packet[8] = TTL;
    packet[10..12].fill(0);
    let sum = checksum::finish(checksum::sum(&packet[..header]));
    packet[10..12].copy_from_slice(&sum);
    packet[header] = 0;
    packet[header + 2..header + 4].fill(0);
    let sum = checksum::finish(checksum::sum(&packet[header..total]));
    packet[header + 2..header + 4].copy_from_slice(&sum);
    Some(Meaning::Request { answer, kind: RequestKind::Ping, requester: None })
}

fn icmpv6(frame: &[u8], mac: MacAddr, own: impl Fn(IpAddr) -> bool) -> Option<Meaning> {
    let ip = frame.get(ETHERNET_BYTES..)?;
    let length = usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]));
    let (source, target) = (ipv6_at(ip, 8)?, ipv6_at(ip, 24)?);
    let body = ip.get(40..40 + length)?;
    if ip[6] != PROTOCOL_ICMPV6 || body.len() < 8 {
        return None;
    }
    match body[0] {
        ECHO_REQUEST_V6 if own(target.into()) && mac_at(frame, 0)? == mac => {
            let mut answer = body.to_vec();
            answer[0] = ECHO_REPLY_V6;
            let answer = icmpv6_frame((mac, target), (mac_at(frame, 6)?, source), answer);
            Some(Meaning::Request { answer, kind: RequestKind::Ping, requester: None })
        }
        SOLICITATION if ip[7] == HOP_LIMIT_OF_LINK => {
            let wanted = ipv6_at(body, 8).filter(|wanted| own((*wanted).into()))?;
            let asker = option_mac(body, OPTION_SOURCE_LINK).unwrap_or(mac_at(frame, 6)?);
            // Duplicate address detection (RFC 4862) has no source address to answer to.
            let (flags, to) = if source.is_unspecified() {
                (OVERRIDE, ALL_NODES)
            } else {
                (SOLICITED | OVERRIDE, (asker, source))
            };
            let body = discovery(ADVERTISEMENT, flags, wanted, OPTION_TARGET_LINK, mac);
            let requester = (!source.is_unspecified()).then_some((IpAddr::from(source), asker));
            let answer = icmpv6_frame((mac, wanted), to, body);
            Some(Meaning::Request { answer, kind: RequestKind::Solicitation, requester })
        }
        ADVERTISEMENT if ip[7] == HOP_LIMIT_OF_LINK => {
            let mac = option_mac(body, OPTION_TARGET_LINK).unwrap_or(mac_at(frame, 6)?);
            Some(Meaning::Neighbour(ipv6_at(body, 8)?.into(), mac))
        }
        _ => None,
    }
}

/// A solicitation or an advertisement with one option; its checksum is zero.
fn discovery(kind: u8, flags: u8, target: Ipv6Addr, option: u8, mac: MacAddr) -> Vec<u8> {
    let mut body = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    body.extend(target.octets());
    body.extend([option, 1]);
    body.extend(mac.0);
    body
}

/// The first option of this kind that contains an Ethernet address.
fn option_mac(body: &[u8], wanted: u8) -> Option<MacAddr> {
    let mut at = 24;
    loop {
        let (kind, eights) = (*body.get(at)?, usize::from(*body.get(at + 1)?));
        if kind == wanted && eights == 1 {
            return mac_at(body, at + 2);
        }
        // An option of length zero would loop forever.
        at += 8 * Some(eights).filter(|eights| *eights > 0)?;
    }
}

fn icmpv6_frame(
    (mac, source): (MacAddr, Ipv6Addr),
    (to, target): (MacAddr, Ipv6Addr),
    mut body: Vec<u8>,
) -> Vec<u8> {
    let length = body.len() as u16;
    body[2..4].fill(0);
    let pseudo = [
        checksum::sum(&source.octets()),
        checksum::sum(&target.octets()),
        checksum::word(length),
        checksum::word(u16::from(PROTOCOL_ICMPV6)),
    ];
    let sum = pseudo.into_iter().fold(checksum::sum(&body), checksum::add);
    body[2..4].copy_from_slice(&checksum::finish(sum));
    let mut frame = ethernet(to, mac, ETHERTYPE_IPV6);
    frame.extend([6 << 4, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([PROTOCOL_ICMPV6, HOP_LIMIT_OF_LINK]);
    frame.extend(source.octets());
    frame.extend(target.octets());
    frame.extend(body);
    frame
}

fn ethernet(to: MacAddr, from: MacAddr, kind: [u8; 2]) -> Vec<u8> {
    [&to.0[..], &from.0, &kind].concat()
}

fn mac_at(bytes: &[u8], at: usize) -> Option<MacAddr> {
    bytes.get(at..)?.first_chunk().copied().map(MacAddr)
}

fn ipv4_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes.get(at..)?.first_chunk::<4>().copied().map(Ipv4Addr::from)
}

fn ipv6_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    bytes.get(at..)?.first_chunk::<16>().copied().map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests;
