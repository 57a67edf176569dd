//! Header fields: which of them vary, how, and over how many flows.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use crate::common::judge::{Capture, PEER, Table};

const SENT: &str = "--packets 240";

#[test]
fn each_mode_varies_its_fields_alike_in_every_size() {
    const NAMES: [&str; 9] = [
        "frame.len",
        "ip.src",
        "ip.dst",
        "udp.srcport",
        "udp.dstport",
        "eth.src",
        "eth.dst",
        "ip.checksum.status",
        "udp.checksum.status",
    ];
    for (mode, varied) in [
        ("s", "ip.src"),
        ("d", "ip.dst"),
        ("sd", "ip.src ip.dst"),
        ("sp", "ip.src udp.srcport"),
        ("dp", "ip.src udp.dstport"),
        ("spd", "ip.src ip.dst udp.srcport"),
        ("sdpp", "ip.src ip.dst udp.srcport udp.dstport"),
        ("sdpd", "ip.src ip.dst udp.srcport udp.dstport"),
    ] {
        // 101 flows and four sizes have no common divisor: every flow has frames of every size.
        let all = Capture::of(&format!(
            "--size 64,512,1518,9000 --mtu 9000 --flows 101 --flow-mode {mode} --packets 808 --rate 100kpps"
        ))
        .table(&NAMES);
        for size in [64, 512, 1518, 9000] {
            let frames = all.only("frame.len", &(size - 4).to_string());
            assert_eq!(frames.rows.len(), 202, "{mode}, {size} bytes");
            for field in &NAMES[1..7] {
                let values = if varied.split(' ').any(|name| name == *field) { 101 } else { 1 };
                assert_eq!(frames.distinct(field).len(), values, "{mode}, {size} bytes: {field}");
            }
            let flows: BTreeSet<_> = frames.rows.iter().map(|row| &row[1..5]).collect();
            assert_eq!(flows.len(), 101, "{mode}, {size} bytes");
            assert_eq!(frames.one("ip.checksum.status"), "1", "{mode}, {size} bytes");
            assert_eq!(frames.one("udp.checksum.status"), "1", "{mode}, {size} bytes");
        }
    }
}

#[test]
fn ipv6_addresses_step_by_subnet_with_flow_label_and_hop_limit() {
    let frames = Capture::of_profile(
        "{rate: 100kpps, flows: 60, source: {ip: '2001:db8::1', port: 5000}, destination: {ip: '2001:db8:1::1', port: 5000}, dscp: 46, \
         vary: {sourceIp: {step: '::1:0:0:0:0'}, flowLabel: {start: 1048500}, ttl: {start: 10, count: 20}}}",
        SENT,
    )
    .table(&["ipv6.src", "ipv6.dst", "ipv6.flow", "ipv6.hlim", "ipv6.tclass.dscp", "udp.checksum.status", "frame.len"]);
    let first = u128::from("2001:db8::1".parse::<Ipv6Addr>().unwrap());
    let sources: Vec<String> =
        (0..240u128).map(|i| Ipv6Addr::from(first + ((i % 60) << 64)).to_string()).collect();
    assert_eq!(frames.column("ipv6.src"), sources);
    assert_eq!(frames.one("ipv6.dst"), "2001:db8:1::1");
    assert_eq!(frames.numbers("ipv6.flow"), (0..240).map(|i| 1_048_500 + i % 60).collect::<Vec<_>>());
    assert_eq!(frames.numbers("ipv6.hlim"), (0..240).map(|i| 10 + i % 20).collect::<Vec<_>>());
    assert_eq!(frames.one("ipv6.tclass.dscp"), "46");
    assert_eq!(frames.one("udp.checksum.status"), "1");
    assert_eq!(frames.one("frame.len"), "78", "the smallest frame that holds the headers: 82 bytes");
}

#[test]
fn vlan_tags_vary_in_front_of_both_versions_of_ip() {
    for (ends, ethertype) in [
        ("", "0x0800"),
        ("source: {ip: '::1:1', port: 5000}, destination: {ip: '::2:1', port: 5000}, ", "0x86dd"),
    ] {
        let frames = Capture::of_profile(
            &format!(
                "{{rate: 100kpps, flows: 80, {ends}vary: {{sourceIp: {{}}, vlanId: {{start: 4085, count: 10}}, \
                 vlanPriority: {{count: 8}}}}}}"
            ),
            SENT,
        )
        .table(&["vlan.id", "vlan.priority", "vlan.etype", "eth.type", "udp.checksum.status"]);
        assert_eq!(frames.numbers("vlan.id"), (0..240).map(|i| 4085 + i % 80 % 10).collect::<Vec<_>>());
        assert_eq!(frames.numbers("vlan.priority"), (0..240).map(|i| i % 80 % 8).collect::<Vec<_>>());
        assert_eq!(frames.one("eth.type"), "0x8100");
        assert_eq!(frames.one("vlan.etype"), ethertype);
        assert_eq!(frames.one("udp.checksum.status"), "1");
    }
}

#[test]
fn a_constant_vlan_tag_keeps_identifier_and_priority() {
    let frames = Capture::of_profile("{rate: 100kpps, vlan: {id: 4094, priority: 7}}", "--packets 20")
        .table(&["vlan.id", "vlan.priority"]);
    assert_eq!((frames.one("vlan.id").as_str(), frames.one("vlan.priority").as_str()), ("4094", "7"));
}

#[test]
fn tcp_segments_are_plain_acknowledgements() {
    let capture = Capture::of(
        "--protocol tcp --size 74,75,1518 --flows 10 --flow-mode sdpp --packets 300 --rate 100kpps",
    );
    let frames = capture.table(&[
        "tcp.flags",
        "tcp.hdr_len",
        "tcp.checksum.status",
        "ip.checksum.status",
        "tcp.srcport",
    ]);
    assert_eq!(frames.rows.len(), 300);
    assert_eq!(frames.numbers("tcp.flags").into_iter().collect::<BTreeSet<_>>(), [0x10].into());
    assert_eq!(frames.one("tcp.hdr_len"), "20");
    assert_eq!(frames.one("tcp.checksum.status"), "1");
    assert_eq!(frames.one("ip.checksum.status"), "1");
    assert_eq!(frames.distinct("tcp.srcport").len(), 10);
}

#[test]
fn dscp_and_time_to_live_go_through_all_their_values() {
    let frames = Capture::of_profile(
        "{rate: 100kpps, flows: 300, vary: {sourceIp: {}, dscp: {count: 64}, ttl: {start: 1, count: 255}}}",
        "--packets 600",
    )
    .table(&["ip.dsfield.dscp", "ip.ttl", "ip.checksum.status", "udp.checksum.status"]);
    assert_eq!(frames.numbers("ip.dsfield.dscp"), (0..600).map(|i| i % 300 % 64).collect::<Vec<_>>());
    assert_eq!(frames.numbers("ip.ttl"), (0..600).map(|i| 1 + i % 300 % 255).collect::<Vec<_>>());
    assert_eq!(frames.one("ip.checksum.status"), "1");
    assert_eq!(frames.one("udp.checksum.status"), "1");
}

#[test]
fn constant_dscp_and_time_to_live_stand_in_every_frame() {
    let frames =
        Capture::of("--dscp 63 --ttl 255 --packets 20 --rate 10kpps").table(&["ip.dsfield.dscp", "ip.ttl"]);
    assert_eq!((frames.one("ip.dsfield.dscp").as_str(), frames.one("ip.ttl").as_str()), ("63", "255"));
}

#[test]
fn ethernet_addresses_vary_from_their_start_or_the_peers() {
    let frames = Capture::of_profile(
        "{rate: 100kpps, flows: 40, vary: {sourceMac: {start: '02:00:00:00:ff:f0', step: '00:00:00:00:00:04'}, destinationMac: {}}}",
        SENT,
    )
    .table(&["eth.src", "eth.dst", "ip.src"]);
    let bits = |text: &String| u64::from_str_radix(&text.replace(':', ""), 16).unwrap();
    let column = |field| frames.column(field).iter().map(bits).collect::<Vec<_>>();
    assert_eq!(column("eth.src"), (0..240).map(|i| 0x0200_0000_fff0 + 4 * (i % 40)).collect::<Vec<_>>());
    let peer = bits(&PEER.to_owned());
    assert_eq!(column("eth.dst"), (0..240).map(|i| peer + i % 40).collect::<Vec<_>>());
    assert_eq!(frames.one("ip.src"), "192.168.1.1");
}

#[test]
fn step_and_count_shape_the_values() {
    let frames = Capture::of_profile(
        "{rate: 100kpps, flows: 60, vary: {sourceIp: {start: 10.0.0.9, step: 0.0.1.0, count: 15}, \
         destinationPort: {start: 100, step: 7, count: 4}}}",
        SENT,
    )
    .table(&["ip.src", "udp.dstport", "ip.dst", "udp.srcport"]);
    let sources: Vec<String> = (0..240).map(|i| format!("10.0.{}.9", i % 60 % 15)).collect();
    assert_eq!(frames.column("ip.src"), sources);
    assert_eq!(frames.numbers("udp.dstport"), (0..240).map(|i| 100 + 7 * (i % 60 % 4)).collect::<Vec<_>>());
    assert_eq!(frames.one("ip.dst"), "192.168.2.1");
    assert_eq!(frames.one("udp.srcport"), "1024");
}

#[test]
fn a_seed_gives_ports_an_order_of_their_own() {
    let ports = |seed: u32| {
        let spec = format!(
            "{{rate: 100kpps, flows: 1000, vary: {{destinationPort: {{start: 2000, count: 1000, random: {seed}}}}}}}"
        );
        Capture::of_profile(&spec, "--packets 2000").table(&["udp.dstport"]).numbers("udp.dstport")
    };
    let first = ports(1);
    let ascending: Vec<u64> = (2000..3000).collect();
    assert_ne!(first[..1000], ascending);
    let mut sorted = first[..1000].to_vec();
    sorted.sort_unstable();
    assert_eq!(sorted, ascending, "each port once");
    assert_eq!(first[..1000], first[1000..], "each flow keeps its port");
    assert_eq!(first, ports(1));
    let other = ports(2);
    assert_ne!(first, other);
    assert_eq!(other.iter().collect::<BTreeSet<_>>(), first.iter().collect());
}

#[test]
fn checksums_are_good_under_every_header() {
    for protocol in ["udp", "tcp"] {
        for vlan in ["", "--vlan 5"] {
            for (version, ends) in [
                ("ip", "--src-ip 10.255.255.1 --dst-ip 1.2.3.4"),
                ("ipv6", "--src-ip fe80::ffff:1 --dst-ip ff02::1"),
            ] {
                let options = format!("--protocol {protocol} {vlan} {ends}");
                let frames: Table = Capture::of(&format!(
                    "{options} --size 98,99,101,777,1518 --payload random:9 --src-port 50000 --dst-port 50000 --flows 301 --flow-mode sdpp --packets 1505 --rate 200kpps"
                ))
                .table(&["ip.checksum.status", &format!("{protocol}.checksum.status"), &format!("{version}.version"), "_ws.malformed"]);
                assert_eq!(frames.rows.len(), 1505);
                assert_eq!(
                    frames.one("ip.checksum.status"),
                    if version == "ip" { "1" } else { "" },
                    "{options}"
                );
                assert_eq!(frames.one(&format!("{protocol}.checksum.status")), "1", "{options}");
                assert_eq!(frames.one("_ws.malformed"), "", "{options}");
            }
        }
    }
}
