//! Header fields on the wire: what a profile varies varies, over as many flows as asked, and nothing else does.
use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use crate::common::tshark::{Frames, capture, capture_profile};

/// Each flow mode and the fields it varies.
const MODES: [(&str, &[&str]); 8] = [
    ("s", &["ip.src"]),
    ("d", &["ip.dst"]),
    ("sd", &["ip.src", "ip.dst"]),
    ("sp", &["ip.src", "udp.srcport"]),
    ("dp", &["ip.src", "udp.dstport"]),
    ("spd", &["ip.src", "ip.dst", "udp.srcport"]),
    ("sdpp", &["ip.src", "ip.dst", "udp.srcport", "udp.dstport"]),
    ("sdpd", &["ip.src", "ip.dst", "udp.srcport", "udp.dstport"]),
];

fn every_mode(size: u64, flows: usize) {
    let mtu = size.saturating_sub(18).max(1500);
    for (mode, fields) in MODES {
        let (frames, _) = capture(&format!(
            "--size {size} --mtu {mtu} --flows {flows} --flow-mode {mode} --packets {} --rate 50kpps \
             --src-ip 10.1.0.250 --dst-ip 10.2.255.250 --src-port 2000 --dst-port 60000",
            3 * flows
        ));
        assert_eq!(frames.len(), 3 * flows, "{mode}");
        let varied: Vec<(&str, usize)> = fields.iter().map(|field| (*field, flows)).collect();
        frames.vary_exactly(&varied);
        assert_eq!(frames.headers(), flows, "{mode}: distinct headers");
        assert_eq!(frames.one("frame.len"), (size - 4).to_string());
        frames.checksums_are_good();
        // Every field begins at its base and advances by one.
        for (field, first) in [
            ("ip.src", "10.1.0.250"),
            ("ip.dst", "10.2.255.250"),
            ("udp.srcport", "2000"),
            ("udp.dstport", "60000"),
        ] {
            assert_eq!(frames.column(field)[0], first, "{mode}: {field}");
        }
    }
}

#[test]
fn modes_vary_their_fields_in_frames_of_64_bytes() {
    every_mode(64, 300);
}

#[test]
fn modes_vary_their_fields_in_frames_of_512_bytes() {
    every_mode(512, 77);
}

#[test]
fn modes_vary_their_fields_in_frames_of_1518_bytes() {
    every_mode(1518, 20);
}

#[test]
fn modes_vary_their_fields_in_frames_of_9000_bytes() {
    every_mode(9000, 13);
}

#[test]
fn one_flow_has_one_header_in_every_mode() {
    for (mode, _) in MODES {
        let (frames, _) = capture(&format!("--flow-mode {mode} --packets 5 --rate 10kpps"));
        frames.vary_exactly(&[]);
    }
}

#[test]
fn addresses_carry_over_octets() {
    let (frames, _) = capture(
        "--flows 600 --flow-mode sd --packets 600 --rate 50kpps --src-ip 10.0.255.0 --dst-ip 10.255.254.0",
    );
    assert_eq!(frames.column("ip.src")[255..258], ["10.0.255.255", "10.1.0.0", "10.1.0.1"]);
    assert_eq!(frames.column("ip.dst")[511..514], ["10.255.255.255", "11.0.0.0", "11.0.0.1"]);
    frames.checksums_are_good();
}

#[test]
fn ipv6_addresses_vary_over_all_128_bits() {
    let (frames, _) = capture_profile(
        "{flows: 40, rate: 20kpps, ttl: 17, dscp: 10, source: {ip: '2001:db8::ffff:ffff:ffff:fff0', port: 5}, \
          destination: {ip: '2001:db8:1::1', port: 6}, vary: {sourceIp: {}, destinationIp: {step: '0:1::'}}}",
        "--packets 120",
    );
    frames.vary_exactly(&[("ipv6.src", 40), ("ipv6.dst", 40)]);
    let at = |text: &str, by: u128| {
        Ipv6Addr::from_bits(text.parse::<Ipv6Addr>().unwrap().to_bits() + by).to_string()
    };
    let (from, to) = (frames.column("ipv6.src"), frames.column("ipv6.dst"));
    for i in 0..40u8 {
        let by = u128::from(i);
        assert_eq!(from[usize::from(i)], at("2001:db8::ffff:ffff:ffff:fff0", by));
        assert_eq!(to[usize::from(i)], at("2001:db8:1::1", by << 96));
    }
    assert_eq!((frames.one("ipv6.hlim"), frames.one("ipv6.tclass.dscp")), ("17", "10"));
    assert_eq!((frames.one("udp.srcport"), frames.one("udp.dstport")), ("5", "6"));
    frames.checksums_are_good();
}

#[test]
fn ipv6_flow_label_and_hop_limit_vary() {
    let (frames, _) = capture_profile(
        "{flows: 50, rate: 20kpps, source: {ip: 'fd00::1', port: 1}, destination: {ip: 'fd00::2', port: 2}, \
          vary: {flowLabel: {start: 0xff000, step: 17}, ttl: {start: 3, count: 10}}}",
        "--packets 100",
    );
    frames.vary_exactly(&[("ipv6.flow", 50), ("ipv6.hlim", 10)]);
    let labels: Vec<u32> = frames
        .column("ipv6.flow")
        .into_iter()
        .map(|label| u32::from_str_radix(label.trim_start_matches("0x"), 16).unwrap())
        .collect();
    assert_eq!(labels[..50], (0..50).map(|i| 0xff000 + 17 * i).collect::<Vec<_>>());
    let limits: Vec<u64> = (0..100).map(|i| 3 + i % 50 % 10).collect();
    assert_eq!(frames.numbers("ipv6.hlim"), limits);
    frames.checksums_are_good();
}

#[test]
fn ipv6_frames_of_every_size_are_whole() {
    for size in [66, 512, 1518, 9000] {
        for protocol in ["udp", "tcp"] {
            let size = if protocol == "tcp" { size.max(94) } else { size.max(82) };
            let (frames, _) = capture(&format!(
                "--size {size} --mtu 9000 --protocol {protocol} --src-ip fd00::1 --dst-ip fd00::2 --flows 3 --flow-mode sdpd \
                 --packets 9 --rate 10kpps"
            ));
            assert_eq!(frames.one("frame.len"), (size - 4).to_string());
            assert_eq!(frames.headers(), 3);
            frames.checksums_are_good();
        }
    }
}

#[test]
fn vlan_tag_is_on_every_frame_of_either_version() {
    for (from, to) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        let (frames, _) = capture_profile(
            &format!(
                "{{flows: 4, rate: 20kpps, vlan: {{id: 4094, priority: 7}}, flowMode: sd, \
                   source: {{ip: '{from}', port: 1}}, destination: {{ip: '{to}', port: 2}}}}"
            ),
            "--packets 20",
        );
        assert_eq!((frames.one("vlan.id"), frames.one("vlan.priority")), ("4094", "7"));
        assert_eq!(frames.headers(), 4);
        frames.checksums_are_good();
    }
}

#[test]
fn vlan_identifier_and_priority_vary() {
    for (from, to) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        let (frames, _) = capture_profile(
            &format!(
                "{{flows: 40, rate: 20kpps, vary: {{vlanId: {{start: 100}}, vlanPriority: {{count: 8}}}}, \
                   source: {{ip: '{from}', port: 1}}, destination: {{ip: '{to}', port: 2}}}}"
            ),
            "--packets 80",
        );
        frames.vary_exactly(&[("vlan.id", 40), ("vlan.priority", 8)]);
        assert_eq!(frames.numbers("vlan.id")[..40], (100..140).collect::<Vec<u64>>());
        assert_eq!(frames.numbers("vlan.priority")[..16], (0..8).chain(0..8).collect::<Vec<u64>>());
        frames.checksums_are_good();
    }
}

#[test]
fn tcp_ports_vary_and_checksums_hold() {
    let (frames, _) = capture_profile(
        "{protocol: tcp, flows: 100, frameSize: 200, rate: 20kpps, vary: {sourcePort: {start: 10000, step: 3}, destinationPort: {count: 4}}, \
          payload: 'random:9'}",
        "--packets 200",
    );
    frames.vary_exactly(&[("tcp.srcport", 100), ("tcp.dstport", 4)]);
    assert_eq!(frames.numbers("tcp.srcport")[..100], (0..100).map(|i| 10_000 + 3 * i).collect::<Vec<u64>>());
    assert_eq!(frames.one("frame.len"), "196");
    frames.checksums_are_good();
}

#[test]
fn service_class_and_time_to_live_vary() {
    let (frames, _) = capture_profile(
        "{flows: 64, rate: 20kpps, vary: {dscp: {}, ttl: {start: 192}}, source: {ip: 10.0.0.1, port: 7}, destination: {ip: 10.0.0.2, port: 8}}",
        "--packets 128",
    );
    frames.vary_exactly(&[("ip.dsfield.dscp", 64), ("ip.ttl", 64)]);
    assert_eq!(frames.numbers("ip.dsfield.dscp")[..64], (0..64).collect::<Vec<u64>>());
    assert_eq!(frames.numbers("ip.ttl")[..64], (192..256).collect::<Vec<u64>>());
    frames.checksums_are_good();
    let (frames, _) = capture("--dscp 46 --ttl 1 --packets 3 --rate 10kpps");
    assert_eq!((frames.one("ip.dsfield.dscp"), frames.one("ip.ttl")), ("46", "1"));
}

#[test]
fn ethernet_addresses_vary() {
    let (frames, _) = capture_profile(
        "{flows: 300, rate: 20kpps, vary: {sourceMac: {}, destinationMac: {step: '00:00:00:01:00:00', count: 5}}, \
          source: {ip: 10.0.0.1, port: 7, mac: '02:00:00:00:ff:f0'}, destination: {ip: 10.0.0.2, port: 8, mac: '02:aa:00:00:00:01'}}",
        "--packets 600",
    );
    frames.vary_exactly(&[("eth.src", 300), ("eth.dst", 5)]);
    assert_eq!(frames.column("eth.src")[15..17], ["02:00:00:00:ff:ff", "02:00:00:01:00:00"]);
    assert_eq!(frames.column("eth.dst")[4..6], ["02:aa:00:04:00:01", "02:aa:00:00:00:01"]);
}

fn random_ports(seed: u64) -> Vec<u64> {
    let (frames, _) = capture_profile(
        &format!(
            "{{flows: 500, rate: 50kpps, vary: {{sourcePort: {{start: 20000, count: 500, random: {seed}}}}}}}"
        ),
        "--packets 1000",
    );
    frames.vary_exactly(&[("udp.srcport", 500)]);
    frames.checksums_are_good();
    frames.numbers("udp.srcport")
}

#[test]
fn random_ports_are_drawn_from_their_seed() {
    let ports = random_ports(7);
    let all: BTreeSet<u64> = ports.iter().copied().collect();
    assert_eq!(all, (20_000..20_500).collect(), "every port of the range, each once");
    assert_ne!(ports[..500], (20_000..20_500).collect::<Vec<u64>>()[..], "not in ascending order");
    assert_eq!(ports[..500], ports[500..], "the same order again");
    assert_eq!(ports, random_ports(7), "the same in another run");
    assert_ne!(ports, random_ports(8), "another seed, another order");
}

#[test]
fn step_and_count_shape_the_values() {
    let (frames, _) = capture_profile(
        "{flows: 12, rate: 20kpps, vary: {sourceIp: {start: 10.0.0.0, step: 0.0.1.0, count: 4}, destinationPort: {start: 100, step: 10, count: 3}}}",
        "--packets 24",
    );
    frames.vary_exactly(&[("ip.src", 4), ("udp.dstport", 3)]);
    assert_eq!(frames.headers(), 12, "four and three values name twelve flows");
    assert_eq!(frames.column("ip.src")[..5], ["10.0.0.0", "10.0.1.0", "10.0.2.0", "10.0.3.0", "10.0.0.0"]);
    assert_eq!(frames.numbers("udp.dstport")[..4], [100, 110, 120, 100]);
}

/// What stands behind the probe of 16 bytes; the same in every frame.
fn fill(options: &str) -> Vec<u8> {
    let (frames, _) = capture(&format!("--packets 4 --rate 10kpps {options}"));
    frames.checksums_are_good();
    let fills: BTreeSet<Vec<u8>> =
        frames.payloads().into_iter().map(|payload| payload[16..].to_vec()).collect();
    assert_eq!(fills.len(), 1, "{options}");
    fills.into_iter().next().unwrap()
}

#[test]
fn payload_fills_stand_behind_the_probe() {
    for (size, more) in [(128, 66), (1518, 1456)] {
        let size = format!("--size {size}");
        assert_eq!(fill(&size), vec![0; more]);
        assert_eq!(fill(&format!("{size} --payload zeros")), vec![0; more]);
        let increment: Vec<u8> = (0..more).map(|i| i as u8).collect();
        assert_eq!(fill(&format!("{size} --payload increment")), increment);
        let pattern: Vec<u8> = [0xde, 0xad, 0xbe].into_iter().cycle().take(more).collect();
        assert_eq!(fill(&format!("{size} --payload hex:deadbe")), pattern);
        let random = fill(&format!("{size} --payload random:3"));
        assert_eq!(random.len(), more);
        assert_eq!(random, fill(&format!("{size} --payload random:3")));
        assert_ne!(random, fill(&format!("{size} --payload random:4")));
    }
    let tcp = fill("--size 128 --protocol tcp --payload increment");
    assert_eq!(tcp, (0..54).collect::<Vec<u8>>());
}

fn is_in_order(frames: &Frames, sizes: &[u64]) {
    let seen = frames.numbers("frame.len");
    for (i, (size, wanted)) in seen.iter().zip(sizes.iter().cycle()).enumerate() {
        assert_eq!(size + 4, *wanted, "frame {i}");
    }
}

#[test]
fn imix_has_exact_shares_in_every_twelve_frames() {
    let (frames, _) = capture("--size imix --flows 5 --flow-mode sd --packets 1200 --rate 50kpps");
    frames.checksums_are_good();
    for (i, twelve) in frames.numbers("frame.len").chunks(12).enumerate() {
        let count = |size: u64| twelve.iter().filter(|bytes| **bytes + 4 == size).count();
        assert_eq!((count(64), count(594), count(1518)), (7, 4, 1), "frames {} on", 12 * i);
    }
}

#[test]
fn weights_share_out_the_frames() {
    let (frames, _) = capture("--size 70:1,1000:3 --packets 400 --rate 50kpps");
    let sizes = frames.numbers("frame.len");
    assert_eq!(sizes.iter().filter(|size| **size == 66).count(), 100);
    assert_eq!(sizes.iter().filter(|size| **size == 996).count(), 300);
    frames.checksums_are_good();
}

#[test]
fn genome_and_list_keep_their_order() {
    let (frames, _) = capture("--size genome:aabgi --mtu 9000 --packets 100 --rate 20kpps");
    is_in_order(&frames, &[64, 64, 128, 1518, 9000]);
    frames.checksums_are_good();
    let (frames, _) = capture("--size 1518,64,512 --packets 100 --rate 20kpps");
    is_in_order(&frames, &[1518, 64, 512]);
    frames.checksums_are_good();
}

#[test]
fn mixed_sizes_and_flows_meet_in_every_combination() {
    // Five flows and three sizes: after fifteen frames every flow has had every size.
    let (frames, _) = capture("--size 64,128,256 --flows 5 --flow-mode s --packets 150 --rate 50kpps");
    let pairs: BTreeSet<(&str, &str)> =
        frames.column("ip.src").into_iter().zip(frames.column("frame.len")).collect();
    assert_eq!(pairs.len(), 15);
    frames.checksums_are_good();
}
