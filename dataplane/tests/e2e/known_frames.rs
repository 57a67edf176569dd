//! What a receiver makes of frames of which every one is known: damaged, foreign, stale, duplicate, impossible.

use std::time::Duration;

use pcap_file::DataLink;
use serde_json::Value;

use super::observers::{adds_up, lossless, numbers};
use crate::common::netns::{FAR, Lab, report_of};
use crate::common::recording::{Capture, write_pcap};
use crate::common::{Running, number};

/// A frame to the far end: what stands behind the addresses.
pub(crate) fn frame(rest: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 3];
    frame.extend_from_slice(rest);
    frame
}

/// An IPv4 packet with its Ethernet type.
fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    let mut packet = vec![0x08, 0x00, 0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2]);
    packet.extend_from_slice(payload);
    packet
}

/// `rx` at the far end while the frames come in from the side.
fn observed(lab: &Lab, frames: &[Vec<u8>]) -> Value {
    let receiver = lab.start("0@1,1@1", &["far"], "rx");
    lab.inject("side", frames);
    let report = report_of(receiver);
    adds_up(&report);
    report
}

/// A trial that goes on until it is interrupted: to inject frames takes seconds on a busy machine.
const ENDLESS: &str = "pair --rate 2kpps --flows 7 --json --interval 100ms";

fn assert_none_lost(report: &Value) {
    let (sent, received) = (number(&report["tx"], "sent_packets"), number(&report["rx"], "received_packets"));
    assert!(sent > 0 && received == sent && number(report, "lost_packets") == 0, "{report}");
}

#[test]
fn foreign_frames_are_counted_by_kind() {
    let Some(lab) = Lab::new("foreign_frames_are_counted_by_kind") else { return };
    let mut broadcast = frame(&[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    broadcast[..6].fill(0xff);
    broadcast.resize(42, 0);
    let mut multicast = frame(&[0x86, 0xdd, 0x60, 0, 0, 0]);
    multicast[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    multicast.resize(86, 0);
    let kinds: [(&str, u64, Vec<u8>); 12] = [
        ("arp", 3, broadcast),
        ("icmp", 5, frame(&ipv4(1, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]))),
        ("ipv6", 7, multicast),
        ("vlan", 11, frame(&[&[0x81, 0, 0, 5][..], &ipv4(17, &[0; 40])].concat())),
        ("vlan", 2, frame(&[0x81, 0, 0, 5, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1])),
        // UDP without a probe, TCP, a protocol of its own, an unknown type, a length in place of a type (as LLC has it).
        ("other", 13, frame(&ipv4(17, &[4, 0, 4, 0, 0, 34, 0, 0, b'X', b'r', 0, 0, 0, 0, 0, 0]))),
        ("other", 1, frame(&ipv4(6, &[0; 40]))),
        ("other", 1, frame(&ipv4(132, &[0; 20]))),
        ("other", 1, frame(&[0x88, 0xb5, 1, 2, 3])),
        ("other", 1, frame(&[0x00, 0x03, 0x42, 0x42, 0x03])),
        // An IPv4 packet cut off in its header, and nothing behind the type.
        ("other", 1, frame(&[0x08, 0x00, 0x45, 0])),
        ("other", 1, frame(&[0x08, 0x00])),
    ];
    let frames: Vec<Vec<u8>> =
        kinds.iter().flat_map(|(_, times, frame)| vec![frame.clone(); *times as usize]).collect();
    let report = observed(&lab, &frames);
    for kind in ["arp", "icmp", "ipv6", "vlan", "other"] {
        let sent: u64 = kinds.iter().filter(|(name, ..)| *name == kind).map(|(_, times, _)| times).sum();
        assert_eq!(number(&report["foreign_by_kind"], kind), sent, "{kind}: {report}");
    }
    let bytes: u64 = frames.iter().map(|frame| frame.len() as u64).sum();
    assert_eq!(
        (number(&report, "received_frames"), number(&report, "received_bytes")),
        (frames.len() as u64, bytes)
    );
}

#[test]
fn frames_of_other_kinds_do_not_disturb_a_trial() {
    let Some(lab) = Lab::new("frames_of_other_kinds_do_not_disturb_a_trial") else { return };
    let mut running = Running::start(&mut lab.dataplane("0@0,1@0,2@1", &["near", "far"], ENDLESS));
    running.wait_for_stderr("rx 0.00");
    let mut arp = frame(&[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp[..6].fill(0xff);
    lab.inject("side", &vec![arp; 250]);
    let report = report_of(running);
    adds_up(&report["rx"]);
    assert_eq!(number(&report["rx"]["foreign_by_kind"], "arp"), 250, "{report}");
    assert_none_lost(&report);
    assert_eq!(number(&report["rx"], "received_frames"), lab.counters("far").rx_packets);
}

/// Frames of ours, as DPDK's pcap port wrote them.
pub(crate) fn recorded(options: &str) -> Vec<Vec<u8>> {
    Capture::of(&format!("--peer-mac {FAR} {options}")).frames()
}

#[test]
fn a_damaged_byte_is_a_bad_checksum() {
    let Some(lab) = Lab::new("a_damaged_byte_is_a_bad_checksum") else { return };
    let mut frames = recorded("--flows 7 --packets 700 --rate 100kpps --size 128");
    assert_eq!(frames.len(), 700);
    // One byte of every tenth frame: of its headers, of the probe's sequence number and time, and of what is behind it.
    let places = [15, 16, 22, 26, 33, 35, 37, 46, 47, 54, 70, 123];
    for (i, frame) in frames.iter_mut().step_by(10).enumerate() {
        frame[places[i % places.len()]] ^= 0x10;
    }
    let report = observed(&lab, &frames);
    assert_eq!(number(&report, "bad_checksum_packets"), 70, "{report}");
    assert_eq!(number(&report, "received_packets"), 630, "{report}");
    assert_eq!(number(&report, "foreign_packets"), 0);
    assert_eq!(number(&report, "received_frames"), 700);
    // The very first frame was damaged too, and its flow was joined at the next.
    assert_eq!(number(&report, "lost_packets"), 69, "a damaged frame is as good as lost: {report}");
}

#[test]
fn a_recording_of_damaged_frames_is_sent_as_it_is() {
    let Some(lab) = Lab::new("a_recording_of_damaged_frames_is_sent_as_it_is") else { return };
    let mut frames = recorded("--flows 7 --packets 1000 --rate 100kpps");
    for frame in frames.iter_mut().skip(7).step_by(8) {
        frame[26] ^= 1;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("damaged.pcap");
    let spaced =
        |(i, frame): (u64, &Vec<u8>)| (Duration::from_micros(200 * i), frame.len() as u32, frame.clone());
    write_pcap(&file, DataLink::ETHERNET, &(0..).zip(&frames).map(spaced).collect::<Vec<_>>());
    let receiver = lab.start("0@1,1@1", &["far"], "rx");
    let command = format!("tx --peer-mac {FAR} --pcap {} --keep-macs --rate 5kpps --json", file.display());
    let sent = lab.report("0@0,1@0", &["near"], &command);
    let report = report_of(receiver);
    adds_up(&report);
    assert_eq!(number(&sent, "sent_packets"), 1000, "{sent}");
    assert_eq!(number(&report, "bad_checksum_packets"), 125, "{report}");
    assert_eq!(number(&report, "received_packets"), 875, "{report}");
}

#[test]
fn frames_of_another_trial_are_stale() {
    let Some(lab) = Lab::new("frames_of_another_trial_are_stale") else { return };
    let old = recorded("--flows 7 --packets 300 --rate 100kpps");
    let mut running = Running::start(&mut lab.dataplane("0@0,1@0,2@1", &["near", "far"], ENDLESS));
    running.wait_for_stderr("rx 0.00");
    lab.inject("side", &old);
    let report = report_of(running);
    adds_up(&report["rx"]);
    assert_eq!(number(&report["rx"], "stale_packets"), 300, "{report}");
    assert_none_lost(&report);
}

#[test]
fn a_receiver_on_its_own_follows_the_latest_trial() {
    let Some(lab) = Lab::new("a_receiver_on_its_own_follows_the_latest_trial") else { return };
    let (first, second) = (
        recorded("--flows 7 --packets 70 --rate 100kpps"),
        recorded("--flows 7 --packets 140 --rate 100kpps"),
    );
    let frames = [first[..35].to_vec(), second.clone(), first[35..].to_vec()].concat();
    let report = observed(&lab, &frames);
    assert_eq!(number(&report, "received_packets"), 35 + 140, "{report}");
    assert_eq!(number(&report, "stale_packets"), 35, "stragglers of the first: {report}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("packets of more than one trial arrived"), "{report}");
    assert!(notes.contains("35 packets of a trial came after the first of the next one"), "{report}");
    assert_eq!(number(&report, "lost_packets"), 0, "{report}");
}

#[test]
fn a_receiver_on_its_own_tells_what_was_sent_before_the_first_frames_that_arrived() {
    let Some(lab) =
        Lab::new("a_receiver_on_its_own_tells_what_was_sent_before_the_first_frames_that_arrived")
    else {
        return;
    };
    let frames = recorded("--flows 10 --packets 600 --rate 100kpps");
    for (first, noted) in [(60, true), (0, false)] {
        let report = observed(&lab, &frames[first..]);
        assert_eq!(number(&report, "received_packets"), 600 - first as u64, "{report}");
        assert_eq!(number(&report, "lost_packets"), 0, "{report}");
        assert_eq!(number(&report, "before_first_packets"), first as u64, "{report}");
        let note = "60 packets of the received flows were sent before the first that arrived";
        assert_eq!(report["notes"].to_string().contains(note), noted, "{report}");
    }
}

#[test]
fn frames_of_every_shape_show_their_damage() {
    let Some(lab) = Lab::new("frames_of_every_shape_show_their_damage") else { return };
    for (options, tag, ip) in [
        ("", 0, 20),
        ("--vlan 5", 4, 20),
        ("--protocol tcp", 0, 20),
        ("--src-ip fd00::1 --dst-ip fd00::2:1", 0, 40),
        ("--src-ip fd00::1 --dst-ip fd00::2:1 --protocol tcp --vlan 5", 4, 40),
    ] {
        let mut frames = recorded(&format!("--flows 7 --packets 210 --rate 100kpps --size 128 {options}"));
        let transport = 14 + tag + ip;
        let last = frames[0].len() - 1;
        // Addresses, ports, and the end of what is behind the probe.
        let places = [transport - 1, transport - 8, transport, transport + 3, last];
        for (i, frame) in frames.iter_mut().skip(7).step_by(10).enumerate() {
            frame[places[i % places.len()]] ^= 0x80;
        }
        let report = observed(&lab, &frames);
        assert_eq!(number(&report, "bad_checksum_packets"), 21, "{options}: {report}");
        assert_eq!(number(&report, "received_packets"), 189, "{options}: {report}");
        assert_eq!(number(&report, "received_bytes"), 210 * 124, "{options}: {report}");
    }
}

#[test]

fn a_receiver_on_its_own_has_the_flows_of_all_its_lcores() {
    let Some(lab) = Lab::new("a_receiver_on_its_own_has_the_flows_of_all_its_lcores") else { return };
    lab.rule_at("side1", "numgen inc mod 10 == 9 counter name hits drop");
    let receiver = lab.start("0@1,1@1,2@1", &["far,qpairs=2"], "rx");
    lab.inject("side", &recorded("--flows 7 --flow-mode sdpp --packets 777 --rate 100kpps"));
    let report = report_of(receiver);
    adds_up(&report);
    let dropped = lab.counted("side1");
    let flows = report["worst_flows"].as_array().unwrap();
    let lost: u64 = flows.iter().map(|flow| number(flow, "lost")).sum();
    assert!(numbers(&report, "frames_per_queue").iter().all(|frames| *frames > 0), "{report}");
    assert_eq!(
        (number(&report, "received_packets"), number(&report, "lost_packets")),
        (777 - dropped, dropped)
    );
    assert_eq!((flows.len(), lost), (7, dropped), "{report}");
}

#[test]

fn a_receiver_on_its_own_recognises_duplicates() {
    let Some(lab) = Lab::new("a_receiver_on_its_own_recognises_duplicates") else { return };
    let frames = recorded("--flows 3 --packets 30 --rate 100kpps");
    let twice: Vec<Vec<u8>> = frames.iter().flat_map(|frame| [frame.clone(), frame.clone()]).collect();
    let report = observed(&lab, &twice);
    assert_eq!(
        (number(&report, "received_packets"), number(&report, "duplicate_packets")),
        (30, 30),
        "{report}"
    );
}

/// Writes the right UDP checksum into a frame without VLAN tag or padding.
fn seal(frame: &mut [u8]) {
    frame[40..42].fill(0);
    let mut covered = frame[26..].to_vec();
    covered.extend([0, 17]);
    covered.extend((frame.len() as u16 - 34).to_be_bytes());
    let sum: u64 =
        covered.chunks(2).map(|two| u64::from(two[0]) << 8 | u64::from(*two.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    frame[40..42].copy_from_slice(&(!(folded as u16)).to_be_bytes());
}

#[test]
fn a_probe_of_an_impossible_flow_is_bad() {
    let Some(lab) = Lab::new("a_probe_of_an_impossible_flow_is_bad") else { return };
    let mut frames = recorded("--flows 3 --packets 300 --rate 100kpps");
    for frame in frames.iter_mut().skip(5).step_by(10) {
        // The three bytes of the flow's number stand last in the probe's first sixteen.
        frame[42 + 13..42 + 16].fill(0xff);
        seal(frame);
    }
    let report = observed(&lab, &frames);
    assert_eq!(number(&report, "bad_probe_packets"), 30, "{report}");
    assert_eq!(
        (number(&report, "received_packets"), number(&report, "bad_checksum_packets")),
        (270, 0),
        "{report}"
    );
}

#[test]
fn tagged_frames_of_ours_cross_a_port_that_strips_tags() {
    let Some(lab) = Lab::new("tagged_frames_of_ours_cross_a_port_that_strips_tags") else { return };
    let report = lossless(&lab, "0@0,1@0,2@1", &["near", "far"], "--flows 7 --rate 2kpps --vlan 5", 2000);
    assert_eq!(number(&report["rx"], "received_bytes"), number(&report["tx"], "sent_bytes"), "{report}");
}
