//! The kernel's interfaces as they are: with an MTU of their own, and as AF_XDP ports with default options.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::netns::Lab;
use common::{json, number, run, stderr};

/// Two ports of one process, each with an lcore on its own CPU.
const PAIR: (&str, &[&str]) = ("0@0,1@0,2@1", &["near", "far"]);

fn lossless(lab: &Lab, size: u32) {
    let options = format!("pair --quiet --json --size {size} --packets 2000 --rate 5kpps");
    let report = lab.report(PAIR.0, PAIR.1, &options);
    assert_eq!(number(&report["tx"], "sent_packets"), 2000, "{size}: {report}");
    assert_eq!(number(&report["rx"], "received_packets"), 2000, "{size}: {report}");
    assert_eq!(number(&report, "lost_packets"), 0, "{size}: {report}");
}

fn refused(lab: &Lab, own: &str, parts: &[&str]) {
    let output = run(&mut lab.dataplane(PAIR.0, PAIR.1, own));
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{own}: {message}");
    for part in parts {
        assert!(message.contains(part), "{own}: no '{part}' in {message}");
    }
}

#[test]
fn frames_that_an_interface_cannot_carry_are_refused_with_both_sizes() {
    let Some(lab) = Lab::new("frames_that_an_interface_cannot_carry_are_refused_with_both_sizes") else {
        return;
    };
    lab.set("ip link set near mtu 1450");
    let ports = json(&run(&mut lab.dataplane(PAIR.0, PAIR.1, "ports --json")));
    assert_eq!((&ports[0]["mtu"], &ports[1]["mtu"]), (&1450.into(), &1500.into()), "{ports}");
    assert_eq!(ports[0]["interface"], serde_json::json!({"name": "near", "mtu": 1450}), "{ports}");
    for size in [64, 512, 1468] {
        lossless(&lab, size);
    }
    let parts =
        ["frames of 1518 bytes", "interface near", "MTU of 1450 bytes", "at most 1468 bytes", "mtu 1500"];
    refused(&lab, "pair --size 1518 --packets 10", &parts);
    refused(&lab, "pair --size 64,512,1469 --packets 10", &["frames of 1469 bytes", "mtu 1451"]);
    refused(&lab, "tx --peer-mac 02:00:00:00:00:02 --size 1518 --packets 10", &parts);

    lab.set("ip link set near mtu 1500");
    lab.set("ip link set far mtu 1450");
    let receiver = parts.map(|part| if part == "interface near" { "interface far" } else { part });
    refused(&lab, "pair --size 1518 --packets 10", &receiver);
    assert_eq!(lab.counters("near1").rx_packets, 3 * 2000, "no frame that is refused leaves");

    let parts = ["MTU of 9000 bytes", "net_af_packet", "1518 bytes", "MTU 1500"];
    refused(&lab, "pair --mtu 9000 --packets 10", &parts);
}
