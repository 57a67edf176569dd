//! A capture by DPDK's pcap port, judged by tshark: what leaves us is what the profile says.
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use crate::common::{dataplane, eal, json, number, run, stderr, tool};

const FIELDS: [&str; 14] = [
    "frame.len",
    "eth.src",
    "eth.dst",
    "ip.src",
    "ip.dst",
    "udp.srcport",
    "udp.dstport",
    "ip.checksum.status",
    "udp.checksum.status",
    "ip.ttl",
    "ip.flags.df",
    "ip.len",
    "udp.length",
    "udp.payload",
];

/// Sends with the given options and returns tshark's view of each frame, in the order of [`FIELDS`].
fn capture(options: &str) -> Vec<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tx.pcap");
    let vdev = format!("net_pcap0,tx_pcap={}", file.display());
    let command = format!("tx --peer-mac 02:00:00:00:00:02 --json {options}");
    let output = run(&mut dataplane(&eal(0, &[&vdev]), &command));
    assert!(output.status.success(), "{}", stderr(&output));
    let frames = tshark(&file);
    assert_eq!(number(&json(&output), "sent_packets"), frames.len() as u64);
    frames
}

fn tshark(file: &Path) -> Vec<Vec<String>> {
    let mut command = Command::new(tool("tshark"));
    command.args(["-r", &file.display().to_string(), "-T", "fields", "-E", "separator=,"]);
    command.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// Distinct values of a field.
fn distinct(frames: &[Vec<String>], field: &str) -> BTreeSet<String> {
    let at = FIELDS.iter().position(|name| *name == field).unwrap();
    frames.iter().map(|frame| frame[at].clone()).collect()
}

fn one(frames: &[Vec<String>], field: &str) -> String {
    let values = distinct(frames, field);
    assert_eq!(values.len(), 1, "{field}: {values:?}");
    values.into_iter().next().unwrap()
}

#[test]
fn frames_are_right_in_every_size() {
    for size in [64, 65, 128, 512, 1500, 1518] {
        let frames =
            capture(&format!("--size {size} --packets 200 --rate 100kpps --flows 7 --flow-mode sdpd"));
        assert_eq!(frames.len(), 200);
        assert_eq!(one(&frames, "frame.len"), (size - 4).to_string());
        assert_eq!(one(&frames, "ip.len"), (size - 18).to_string());
        assert_eq!(one(&frames, "udp.length"), (size - 38).to_string());
        assert_eq!(one(&frames, "eth.dst"), "02:00:00:00:00:02");
        assert_eq!(one(&frames, "ip.checksum.status"), "1", "good");
        assert_eq!(one(&frames, "udp.checksum.status"), "1", "good");
        assert_eq!(one(&frames, "ip.ttl"), "64");
        // tshark 4.4 writes flags as words.
        assert!(["1", "True"].contains(&one(&frames, "ip.flags.df").as_str()));
    }
}

#[test]
fn the_source_address_is_the_ports() {
    let frames = capture("--packets 10 --rate 10kpps");
    let source = one(&frames, "eth.src");
    let ports = run(&mut dataplane(&eal(0, &["net_pcap0,tx_pcap=/dev/null"]), "ports --json"));
    // Each start makes the pcap port's address anew; its first three octets stay.
    let mac = json(&ports)[0]["mac"].as_str().unwrap().to_owned();
    assert_eq!(source[..8], mac[..8]);
    assert_ne!(source, "00:00:00:00:00:00");
}

#[test]
fn each_mode_varies_exactly_its_fields_over_exactly_its_flows() {
    for (mode, varied) in [
        ("s", [true, false, false, false]),
        ("d", [false, true, false, false]),
        ("sd", [true, true, false, false]),
        ("sp", [true, false, true, false]),
        ("dp", [true, false, false, true]),
        ("spd", [true, true, true, false]),
        ("sdpp", [true, true, true, true]),
        ("sdpd", [true, true, true, true]),
    ] {
        let frames = capture(&format!(
            "--flows 300 --flow-mode {mode} --packets 900 --rate 200kpps --src-ip 10.1.0.250 --dst-ip 10.2.0.1 --src-port 2000 --dst-port 3000"
        ));
        assert_eq!(frames.len(), 900);
        for (field, varies) in ["ip.src", "ip.dst", "udp.srcport", "udp.dstport"].into_iter().zip(varied) {
            assert_eq!(distinct(&frames, field).len(), if varies { 300 } else { 1 }, "{mode}: {field}");
        }
        let tuples: BTreeSet<_> = frames.iter().map(|frame| frame[3..7].to_vec()).collect();
        assert_eq!(tuples.len(), 300, "{mode}");
        if varied[0] {
            let first: Vec<Ipv4Addr> = frames[..300].iter().map(|frame| frame[3].parse().unwrap()).collect();
            let expected: Vec<Ipv4Addr> =
                (0..300).map(|i| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 1, 0, 250)) + i)).collect();
            assert_eq!(first, expected, "addresses advance by one per packet");
        }
        assert_eq!(one(&frames, "ip.checksum.status"), "1");
        assert_eq!(one(&frames, "udp.checksum.status"), "1");
    }
}

#[test]
fn every_frame_carries_its_probe() {
    let frames = capture("--flows 3 --packets 10 --rate 10kpps");
    let probes: Vec<(u32, u32)> = frames
        .iter()
        .map(|frame| {
            let payload = &frame[13];
            assert_eq!(payload[..4], *"4c72", "the letters Lr");
            let byte = |i: usize| u8::from_str_radix(&payload[2 * i..2 * i + 2], 16).unwrap();
            let sequence = u32::from_le_bytes([byte(4), byte(5), byte(6), byte(7)]);
            (u32::from_le_bytes([byte(13), byte(14), byte(15), 0]), sequence)
        })
        .collect();
    let expected: Vec<(u32, u32)> = (0..10).map(|i| (i % 3, i / 3)).collect();
    assert_eq!(probes, expected, "flow id and sequence number");
}
