//! The kernel's interfaces as they are: with an MTU of their own, and as AF_XDP ports with default options.
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::common::netns::{FAR, Lab, report_of};
use crate::common::recording::write_pcap;
use crate::common::{Running, dataplane, eal, json, number, run, stderr};
use pcap_file::DataLink;

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

/// Ports of AF_XDP, with the options that EAL and we have by default.
fn af_xdp(interfaces: &[&str]) -> Vec<String> {
    let vdev = |(i, interface): (usize, &&str)| format!("net_af_xdp{i},iface={interface}");
    interfaces.iter().enumerate().map(vdev).collect()
}

#[test]
fn af_xdp_works_with_default_options_both_ways() {
    let Some(lab) = Lab::new("af_xdp_works_with_default_options_both_ways") else { return };
    for (interfaces, options) in [
        (["near", "far"], ""),
        (["far", "near"], ""),
        (["near", "far"], "--size 1518"),
        (["near", "far"], "--rxd 4096 --txd 512"),
    ] {
        let own = format!("pair --quiet --json --packets 20000 --rate 20kpps --flows 10 {options}");
        let output = run(&mut lab.dataplane_on("0@0,1@0,2@1", &af_xdp(&interfaces), &own));
        let message = stderr(&output);
        assert!(output.status.success(), "{interfaces:?} {options}: {message}");
        // The driver leaves what is in the kernel's rings; that is no leak of ours.
        assert!(!message.contains("did not come back"), "{message}");
        let report = json(&output);
        let (sent, received) =
            (number(&report["tx"], "sent_packets"), number(&report["rx"], "received_packets"));
        assert_eq!(sent, 20_000, "{report}");
        assert_eq!(sent, received + number(&report, "lost_packets"), "{report}");
        assert!(received > 0, "{report}");
        assert_eq!(number(&report["tx"]["port"], "tx_packets"), sent, "{report}");
    }
}

#[test]
fn af_xdp_sends_back_what_it_receives() {
    let Some(lab) = Lab::new("af_xdp_sends_back_what_it_receives") else { return };
    let own = "reflect --json --interval 100ms";
    let mut reflector = Running::start(&mut lab.dataplane_on("0@1,1@1", &af_xdp(&["far"]), own));
    reflector.wait_for_stderr("rx 0.000 Mpps");
    let own =
        format!("tx --round-trip --quiet --json --packets 20000 --rate 10kpps --rxd 4096 --peer-mac {FAR}");
    let output = run(&mut lab.dataplane_on("0@0,1@0,2@0", &af_xdp(&["near"]), &own));
    assert!(output.status.success(), "{}", stderr(&output));
    let (sent, reflected) = (json(&output), report_of(reflector));
    assert_eq!(number(&sent, "sent_packets"), 20_000, "{sent}");
    assert_eq!(20_000, number(&sent, "received_packets") + number(&sent, "lost_packets"), "{sent}");
    // Far more than the buffers that one of its rings holds.
    assert!(number(&sent, "received_packets") > 15_000, "{sent}\n{reflected}");
    assert_eq!(number(&reflected["port"], "rx_nombuf"), 0, "{reflected}");
}

#[test]
fn a_link_that_goes_down_in_a_trial_leaves_a_note() {
    let Some(lab) = Lab::new("a_link_that_goes_down_in_a_trial_leaves_a_note") else { return };
    for (down, expected) in [(false, false), (true, true)] {
        let receiver = lab.start("0@1,1@1", &["far"], "rx");
        if down {
            lab.set("ip link set far1 down");
            sleep(Duration::from_millis(500));
            lab.set("ip link set far1 up");
            sleep(Duration::from_millis(500));
        }
        let report = report_of(receiver);
        let notes = report["notes"].to_string();
        assert_eq!(notes.contains("the link was down for"), expected, "{report}");
        assert_eq!(notes.contains("s during the trial (once"), expected, "{report}");
    }
}

#[test]
fn an_interface_that_is_removed_in_a_trial_leaves_a_note() {
    let Some(lab) = Lab::new("an_interface_that_is_removed_in_a_trial_leaves_a_note") else { return };
    let receiver = lab.start("0@1,1@1", &["far"], "rx");
    lab.set("ip link del far");
    sleep(Duration::from_millis(500));
    let report = report_of(receiver);
    let notes = report["notes"].to_string();
    assert!(notes.contains("the interface far behind the port is gone since "), "{report}");
}

#[test]
fn every_frame_of_a_file_that_a_port_reads_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rx.pcap");
    let frames: Vec<_> = (0..100).map(|i| (Duration::from_millis(i), 60, vec![i as u8; 60])).collect();
    write_pcap(&file, DataLink::ETHERNET, &frames);
    let vdev = format!("net_pcap0,rx_pcap={}", file.display());
    let output = run(&mut dataplane(&eal(0, &[&vdev]), "rx --duration 300ms --quiet --json"));
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!(number(&report, "received_frames"), 100, "{report}");
    assert_eq!(number(&report["port"], "rx_packets"), 100, "{report}");
}

#[test]
fn no_folder_of_eal_is_left_behind() {
    let prefix = crate::common::unique("prefix");
    let mut options = eal(0, &["net_null0"]);
    options.extend(["--file-prefix".to_owned(), prefix.clone()]);
    let output =
        run(&mut dataplane(&options, "tx --peer-mac 02:00:00:00:00:02 --packets 100 --linger 0s --quiet"));
    assert!(output.status.success(), "{}", stderr(&output));
    let runtime = std::env::var("XDG_RUNTIME_DIR").unwrap_or_else(|_| "/tmp".to_owned());
    for folder in ["/var/run/dpdk".to_owned(), format!("{runtime}/dpdk")] {
        let left = Path::new(&folder).join(&prefix);
        assert!(!left.exists(), "{}", left.display());
    }
}
