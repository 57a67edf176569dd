//! Profiles of an old kit, from its Lua scripts to captured frames: tshark shows the varying fields and the
//! number of flows.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{dataplane, stderr};
use serde_json::Value;

const FIELDS: [&str; 13] = [
    "frame.len",
    "eth.dst",
    "ip.src",
    "ip.dst",
    "ip.ttl",
    "ip.dsfield.dscp",
    "udp.srcport",
    "udp.dstport",
    "tcp.srcport",
    "tcp.dstport",
    "ip.checksum.status",
    "udp.checksum.status",
    "tcp.checksum.status",
];
const GOOD: &str = "1";

/// A script as profile generators write it: every range is given, constant ones with an increment of zero.
const UDP_SCRIPT: &str = r#"
package.path = package.path .. ";?.lua;test/?.lua;app/?.lua;"
require "Pktgen"

local port, flows = "0", 24
pktgen.clear(port); pktgen.cls(); pktgen.reset("all"); pktgen.clr()
pktgen.screen("off")
pktgen.delay(100)
pktgen.mac_from_arp("off")
pktgen.set(port, "rate", 50)
pktgen.set(port, "count", 0)
pktgen.set(port, "burst", 32)
pktgen.set(port, "size", 128)
pktgen.set_mac(port, "dst", "02:00:00:00:00:0b")
pktgen.set_proto(port, "udp")
pktgen.page("range")
pktgen.range.dst_mac(port, "start", "02:00:00:00:00:0b")
local function ends(field, start, inc, last)
    pktgen.range[field](port, "start", start)
    pktgen.range[field](port, "inc", inc)
    pktgen.range[field](port, "min", start)
    pktgen.range[field](port, "max", last)
end
ends("src_ip", "10.1.0.1", "0.0.0.1", "10.1.0." .. flows)
ends("dst_ip", "10.2.0.1", "0.0.0.1", "10.2.0." .. flows)
ends("src_port", 3000, 1, 3000 + flows - 1)
ends("dst_port", 53, 0, 53)
ends("pkt_size", 128, 0, 128)
pktgen.latency(port, "enable")
pktgen.latency(port, "rate", 1000)
pktgen.latency(port, "entropy", 12)
pktgen.set_range(port, "on")
pktgen.ping4(port)
pktgen.prime(port)
pktgen.start(port)
pktgen.stop(port)
"#;

/// Fields of different lengths and steps: 6 addresses and 4 ports make 12 flows.
const TCP_SCRIPT: &str = r#"
require "Pktgen"
pktgen.set("all", "rate", 100)
pktgen.set("all", "size", 256)
pktgen.set_proto("all", "tcp")
pktgen.range.dst_mac("all", "start", "02:00:00:00:00:0c")
pktgen.range.src_ip("all", "start", "172.16.0.9")
pktgen.range.src_ip("all", "inc", "0.0.0.0")
pktgen.range.src_port("all", "start", 2000)
pktgen.range.src_port("all", "inc", 0)
pktgen.range.dst_ip("all", "start", "172.17.0.1")
pktgen.range.dst_ip("all", "inc", "0.0.1.0")
pktgen.range.dst_ip("all", "min", "172.17.0.1")
pktgen.range.dst_ip("all", "max", "172.17.5.1")
pktgen.range.dst_port("all", "start", 80)
pktgen.range.dst_port("all", "inc", 10)
pktgen.range.dst_port("all", "min", 80)
pktgen.range.dst_port("all", "max", 110)
pktgen.set_range("all", "on")
pktgen.start("all")
"#;

/// Expected frames of a script.
struct Expected {
    frame_bytes: &'static str,
    flows: usize,
    destination_mac: &'static str,
    /// Varying fields with their first and last value and number of values; constant fields with their value.
    varies: &'static [(&'static str, &'static str, &'static str, usize)],
    constant: &'static [(&'static str, &'static str)],
}

/// Captured frames of the script's profile, by [`FIELDS`].
fn sent(directory: &Path, script: &str, rounds: usize, flows: usize) -> Vec<Vec<String>> {
    fs::write(directory.join("old.lua"), script).unwrap();
    let mut import = Command::new(env!("CARGO_BIN_EXE_linerate"));
    import.args(["profile", "import", "old.lua", "--out", "made", "--json"]).current_dir(directory);
    let imported = import.output().unwrap();
    assert!(imported.status.success(), "{}", stderr(&imported));
    let imported: Value = serde_json::from_slice(&imported.stdout).unwrap();
    let made = &imported[0]["profiles"][0];
    assert_eq!(made["document"]["spec"]["flows"], flows, "{made}");

    let capture = directory.join("sent.pcap");
    let mut send = Command::new("timeout");
    send.arg("60").arg(dataplane());
    send.args(["--no-huge", "-m", "128", "--no-pci", "--lcores", "0@0,1@0", "--vdev"]);
    send.arg(format!("net_pcap0,tx_pcap={}", capture.display()));
    send.args(["--", "tx", "--json", "--peer-mac", "02:00:00:00:00:02", "--packets"]);
    send.args([&(rounds * flows).to_string(), "--profile", made["file"].as_str().unwrap()]);
    let output = send.current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["sent_packets"], rounds * flows, "{report}");

    let mut tshark = Command::new("timeout");
    tshark.args(["60", "tshark", "-n", "-T", "fields", "-r"]).arg(&capture);
    for protocol in ["ip", "udp", "tcp"] {
        tshark.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    for field in FIELDS {
        tshark.args(["-e", field]);
    }
    let judged = tshark.output().expect("tshark is needed by this test; scripts/test.sh installs it");
    assert!(judged.status.success(), "{}", stderr(&judged));
    let text = String::from_utf8(judged.stdout).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

fn column<'f>(frames: &'f [Vec<String>], field: &str) -> Vec<&'f str> {
    let at = FIELDS.iter().position(|name| *name == field).unwrap();
    frames.iter().map(|frame| frame[at].as_str()).collect()
}

fn check(script: &str, expected: &Expected) {
    const ROUNDS: usize = 3;
    let directory = tempfile::tempdir().unwrap();
    let frames = sent(directory.path(), script, ROUNDS, expected.flows);
    assert_eq!(frames.len(), ROUNDS * expected.flows);
    let different = frames.iter().map(|frame| &frame[..10]).collect::<BTreeSet<_>>();
    assert_eq!(different.len(), expected.flows, "different headers");
    for (at, frame) in frames.iter().enumerate() {
        assert_eq!(frame[..10], frames[at % expected.flows][..10], "flows come round in their order");
    }
    for (field, first, last, count) in expected.varies {
        let values = column(&frames, field);
        assert_eq!((values[0], values[expected.flows - 1]), (*first, *last), "{field}");
        assert_eq!(values.into_iter().collect::<BTreeSet<_>>().len(), *count, "{field}");
    }
    let sized = [("frame.len", expected.frame_bytes), ("eth.dst", expected.destination_mac)];
    for (field, value) in expected.constant.iter().chain(&sized) {
        assert!(column(&frames, field).into_iter().all(|seen| seen == *value), "{field} is {value}");
    }
    // Every field is checked.
    assert_eq!(expected.varies.len() + expected.constant.len() + sized.len(), FIELDS.len());
}

#[test]
fn ranges_over_udp_are_sent_as_the_script_has_them() {
    check(
        UDP_SCRIPT,
        &Expected {
            // Frames without the check sequence, as a port sends them.
            frame_bytes: "124",
            flows: 24,
            destination_mac: "02:00:00:00:00:0b",
            varies: &[
                ("ip.src", "10.1.0.1", "10.1.0.24", 24),
                ("ip.dst", "10.2.0.1", "10.2.0.24", 24),
                ("udp.srcport", "3000", "3023", 24),
            ],
            constant: &[
                ("udp.dstport", "53"),
                ("ip.ttl", "64"),
                ("ip.dsfield.dscp", "0"),
                ("tcp.srcport", ""),
                ("tcp.dstport", ""),
                ("ip.checksum.status", GOOD),
                ("udp.checksum.status", GOOD),
                ("tcp.checksum.status", ""),
            ],
        },
    );
}

#[test]
fn ranges_of_different_lengths_over_tcp_come_round_together() {
    check(
        TCP_SCRIPT,
        &Expected {
            frame_bytes: "252",
            flows: 12,
            destination_mac: "02:00:00:00:00:0c",
            varies: &[("ip.dst", "172.17.0.1", "172.17.5.1", 6), ("tcp.dstport", "80", "110", 4)],
            constant: &[
                ("ip.src", "172.16.0.9"),
                ("tcp.srcport", "2000"),
                ("ip.ttl", "64"),
                ("ip.dsfield.dscp", "0"),
                ("udp.srcport", ""),
                ("udp.dstport", ""),
                ("ip.checksum.status", GOOD),
                ("udp.checksum.status", ""),
                ("tcp.checksum.status", GOOD),
            ],
        },
    );
}
