//! Pktgen's sequences: up to sixteen packets, sent in turn.

use std::collections::BTreeMap;
use std::net::IpAddr;

use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::Protocol;
use linerate_traffic::profile::field::mac_bits;

use super::argument::{Argument, At, dscp};

/// Largest number of packets in a sequence.
const PACKETS: u64 = 16;
/// Shortest Ethernet frame in bytes; ports pad shorter ones.
const SHORTEST: u64 = 64;

/// A packet of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) src_mac: Option<MacAddr>,
    pub(super) dst_mac: Option<MacAddr>,
    pub(super) src_ip: IpAddr,
    pub(super) dst_ip: IpAddr,
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) protocol: Protocol,
    pub(super) vlan_id: Option<u16>,
    pub(super) cos: Option<u8>,
    pub(super) dscp: Option<u8>,
    pub(super) size: u64,
    /// True when TCP flags were given.
    pub(super) tcp_flags: bool,
    pub(super) line: At,
}

/// Parses the position of a packet in its sequence.
pub(super) fn index(argument: &Argument) -> Result<u64, String> {
    argument.whole("sequence number", 0, PACKETS - 1)
}

/// Parses the number of a sequence's packets to send.
pub(super) fn count(argument: &Argument) -> Result<u64, String> {
    argument.whole("seq_cnt", 0, PACKETS)
}

/// Parses the protocol above IP.
pub(super) fn protocol(argument: &Argument) -> Result<Protocol, String> {
    Ok(match argument.word("protocol", &["udp", "tcp"])? {
        "udp" => Protocol::Udp,
        _ => Protocol::Tcp,
    })
}

/// A packet from a table's fields.
pub(super) fn of_table(fields: &BTreeMap<String, Argument>, line: Option<usize>) -> Result<Entry, String> {
    let given = |name: &str| fields.get(name);
    let needed = |name: &str| given(name).ok_or_else(|| format!("the table has no {name}"));
    let small = |name: &str, last: u64| given(name).map(|value| value.whole(name, 0, last)).transpose();
    let dst_port = needed("dport")?.whole("dport", 0, 65_535)? as u16;
    let teid = small("gtpu_teid", u64::from(u32::MAX))?.unwrap_or(0);
    let kind = given("ethType").and_then(Argument::text).unwrap_or("ipv4");
    if !["ipv4", "ipv6", "vlan"].contains(&kind) {
        return Err(format!("ethType \"{kind}\" is not one of ipv4, ipv6"));
    }
    gtpu(teid, dst_port)?;
    Ok(Entry {
        src_mac: given("eth_src_addr").map(|mac| mac.mac("eth_src_addr")).transpose()?,
        dst_mac: given("eth_dst_addr").map(|mac| mac.mac("eth_dst_addr")).transpose()?,
        src_ip: needed("ip_src_addr")?.ip("ip_src_addr")?,
        dst_ip: needed("ip_dst_addr")?.ip("ip_dst_addr")?,
        src_port: needed("sport")?.whole("sport", 0, 65_535)? as u16,
        dst_port,
        protocol: protocol(needed("ipProto")?)?,
        vlan_id: small("vlanid", 4095)?.map(|id| id as u16),
        cos: small("cos", 7)?.map(|cos| cos as u8),
        dscp: given("tos").map(dscp).transpose()?,
        size: needed("pktSize")?.whole("pktSize", 60, 9000)?.max(SHORTEST),
        tcp_flags: given("tcp_flags").is_some(),
        line: At(line),
    })
}

/// A packet from the arguments of `seq`, without ports and number.
pub(super) fn of_arguments(arguments: &[Argument], line: Option<usize>) -> Result<Entry, String> {
    let names = [
        "eth_dst_addr",
        "eth_src_addr",
        "ip_dst_addr",
        "ip_src_addr",
        "sport",
        "dport",
        "ethType",
        "ipProto",
        "vlanid",
        "pktSize",
        "gtpu_teid",
        "cos",
        "tos",
    ];
    if arguments.len() < 10 || arguments.len() > names.len() {
        return Err(format!(
            "{} arguments are not what this call takes: sequence number, ports, {}",
            arguments.len() + 2,
            names.join(", ")
        ));
    }
    let fields = names.into_iter().map(str::to_owned).zip(arguments.iter().cloned()).collect();
    of_table(&fields, line)
}

fn gtpu(teid: u64, dst_port: u16) -> Result<(), String> {
    if teid == 0 || dst_port != GTPU_PORT {
        return Ok(());
    }
    Err(format!(
        "gtpu_teid {teid}: a profile has no GTP-U header; take gtpu_teid out for plain UDP to port {GTPU_PORT}, or replay a \
         capture of GTP-U frames (linerate-dataplane tx --pcap)"
    ))
}

/// UDP port for which Pktgen adds a GTP-U header.
pub(super) const GTPU_PORT: u16 = 2152;

/// Values of a sequence's packets in order, expressed as equal steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) first: u128,
    /// The step; 0 for a single value.
    pub(super) step: u128,
    pub(super) count: u32,
}

/// The equal upward steps of `values`, repeated; `None` when the steps differ.
pub(super) fn steps(values: &[u128]) -> Option<Steps> {
    let comes_again = |period: usize| {
        values.len().is_multiple_of(period) && values.iter().zip(&values[period..]).all(|(a, b)| a == b)
    };
    let count = (1..=values.len()).find(|period| comes_again(*period))?;
    let first = values[0];
    let step = if count == 1 { 0 } else { values[1].checked_sub(first)? };
    let even = (0u128..).zip(&values[..count]).all(|(i, value)| *value == first + i * step);
    (even && (count == 1 || step > 0)).then_some(Steps { first, step, count: count as u32 })
}

/// An address as a number.
pub(super) fn ip_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// A column of a sequence: the field's name in scripts, and its value in a packet, if the script gives one.
pub(super) type Column = (&'static str, fn(&Entry) -> Option<u128>);

/// Columns of a sequence for header fields, in the order of the frame.
pub(super) const COLUMNS: [Column; 9] = [
    ("eth_dst_addr", |entry| entry.dst_mac.map(mac_bits)),
    ("eth_src_addr", |entry| entry.src_mac.map(mac_bits)),
    ("vlanid", |entry| entry.vlan_id.map(u128::from)),
    ("cos", |entry| entry.cos.map(u128::from)),
    ("tos", |entry| entry.dscp.map(u128::from)),
    ("ip_src_addr", |entry| Some(ip_bits(entry.src_ip))),
    ("ip_dst_addr", |entry| Some(ip_bits(entry.dst_ip))),
    ("sport", |entry| Some(entry.src_port.into())),
    ("dport", |entry| Some(entry.dst_port.into())),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_turn_are_steps_where_they_are_even() {
        for (values, wanted) in [
            (&[5][..], Some((5, 0, 1))),
            (&[5, 5, 5], Some((5, 0, 1))),
            (&[1, 2, 3, 4], Some((1, 1, 4))),
            (&[1, 3, 1, 3], Some((1, 2, 2))),
            (&[1, 2, 1], None),
            (&[4, 3, 2], None),
            (&[1, 2, 4], None),
            (&[1, 1, 2, 2], None),
        ] {
            let found = steps(values).map(|steps| (steps.first, steps.step, steps.count));
            assert_eq!(found, wanted, "{values:?}");
        }
    }
}
