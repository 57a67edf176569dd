//! Two ports exchange requests and answers, and learn addresses from them. An independent parser reads the
//! frames.

use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};

use super::*;

const HERE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THERE: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn addresses(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_request_is_answered_and_gives_the_requesters_address() {
    for (source, target, own, kind) in [
        ("10.0.1.2", "10.0.1.1", "10.0.1.1/24", RequestKind::Arp),
        ("fd00::2", "fd00::1:2", "fd00::1:2/64", RequestKind::Solicitation),
    ] {
        let asked = request(HERE, ip(source), ip(target)).unwrap();
        let Meaning::Request { answer, kind: found, requester } =
            interpret(&asked, THERE, &addresses(&[own]))
        else {
            panic!("{asked:02x?} is no request");
        };
        assert_eq!((found, requester), (kind, Some((ip(source), HERE))));
        assert_eq!((&answer[..6], &answer[6..12]), (&HERE.0[..], &THERE.0[..]));
        assert_eq!(interpret(&answer, HERE, &[]), Meaning::Neighbour(ip(target), THERE));
        // No other port answers the request, and an answer is not answered.
        assert_eq!(interpret(&asked, THERE, &addresses(&["10.0.1.9/24", "fd00::9/64"])), Meaning::Nothing);
        for cut in 0..answer.len().min(42) {
            assert_eq!(interpret(&answer[..cut], HERE, &[]), Meaning::Nothing);
        }
    }
    assert_eq!(request(HERE, ip("10.0.0.1"), ip("::1")), None);
}

#[test]
fn discovery_is_read_by_others() {
    let asked = request(HERE, ip("fd00::2"), ip("fd00::1:2")).unwrap();
    let packet = SlicedPacket::from_ethernet(&asked).unwrap();
    let Some(NetSlice::Ipv6(header)) = &packet.net else { panic!("no IPv6") };
    assert_eq!(header.header().destination_addr().to_string(), "ff02::1:ff01:2");
    let Some(TransportSlice::Icmpv6(message)) = &packet.transport else { panic!("no ICMPv6") };
    let (source, destination) = (header.header().source(), header.header().destination());
    assert!(message.is_checksum_valid(source, destination));
}

#[test]
fn pings_come_back() {
    let builder = etherparse::PacketBuilder::ethernet2(HERE.0, THERE.0)
        .ipv4([10, 0, 0, 9], [10, 0, 1, 1], 3)
        .icmpv4_echo_request(7, 8);
    let mut asked = Vec::new();
    builder.write(&mut asked, b"linerate").unwrap();
    // Padding is not part of the packet.
    asked.resize(70, 0xaa);
    let Meaning::Request { answer, kind, requester } = interpret(&asked, THERE, &addresses(&["10.0.1.1/24"]))
    else {
        panic!("no ping")
    };
    assert_eq!((kind, requester), (RequestKind::Ping, None));
    let packet = SlicedPacket::from_ethernet(&answer).unwrap();
    let Some(NetSlice::Ipv4(header)) = &packet.net else { panic!("no IPv4") };
    let header = header.header();
    assert_eq!((header.source(), header.destination()), ([10, 0, 1, 1], [10, 0, 0, 9]));
    assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
    let Some(TransportSlice::Icmpv4(message)) = &packet.transport else { panic!("no ICMP") };
    assert!(matches!(message.icmp_type(), Icmpv4Type::EchoReply(echo) if (echo.id, echo.seq) == (7, 8)));
    assert_eq!(message.payload(), b"linerate");
    assert_eq!(checksum::fold(checksum::sum(message.slice())), 0xffff);
    // Another port's IP address, another port's frame.
    assert_eq!(interpret(&asked, THERE, &addresses(&["10.0.1.2/24"])), Meaning::Nothing);
    assert_eq!(interpret(&asked, HERE, &addresses(&["10.0.1.1/24"])), Meaning::Nothing);
}

#[test]
fn pings_over_ipv6_come_back() {
    let octets = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let builder = etherparse::PacketBuilder::ethernet2(HERE.0, THERE.0)
        .ipv6(octets("fd00::9"), octets("fd00::1"), 3)
        .icmpv6_echo_request(7, 8);
    let mut asked = Vec::new();
    builder.write(&mut asked, b"odd").unwrap();
    let Meaning::Request { answer, kind, .. } = interpret(&asked, THERE, &addresses(&["fd00::1/64"])) else {
        panic!("no ping")
    };
    assert_eq!(kind, RequestKind::Ping);
    let packet = SlicedPacket::from_ethernet(&answer).unwrap();
    let Some(NetSlice::Ipv6(header)) = &packet.net else { panic!("no IPv6") };
    let Some(TransportSlice::Icmpv6(message)) = &packet.transport else { panic!("no ICMPv6") };
    assert!(matches!(message.icmp_type(), Icmpv6Type::EchoReply(echo) if (echo.id, echo.seq) == (7, 8)));
    assert!(message.is_checksum_valid(header.header().source(), header.header().destination()));
}

#[test]
fn no_frame_causes_a_panic() {
    let asked = [
        request(HERE, ip("10.0.1.2"), ip("10.0.1.1")).unwrap(),
        request(HERE, ip("fd00::2"), ip("fd00::1")).unwrap(),
    ];
    let own = addresses(&["10.0.1.1/24", "fd00::1/64"]);
    for frame in asked {
        for at in (0..frame.len()).step_by(if cfg!(miri) { 3 } else { 1 }) {
            for value in if cfg!(miri) { &[0xff][..] } else { &[0, 1, 0x7f, 0x80, 0xff] } {
                let mut broken = frame.clone();
                broken[at] = *value;
                let _ = interpret(&broken, THERE, &own);
                let _ = interpret(&broken[..at], THERE, &own);
            }
        }
    }
}

#[test]
fn a_port_is_asked_for_its_addresses_in_their_groups_and_in_that_of_all_nodes() {
    assert_eq!(groups(&addresses(&["10.0.0.1/24"])), []);
    // The second address has the first one's group.
    let given = addresses(&["10.0.0.1/24", "fd00:1::1:2/64", "fe80::201:2/64", "fd00:1::ab:cdef/64"]);
    let words: Vec<String> = groups(&given).iter().map(MacAddr::to_string).collect();
    assert_eq!(words, ["33:33:00:00:00:01", "33:33:ff:01:00:02", "33:33:ff:ab:cd:ef"]);
}
