//! tshark as the judge of captured frames.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{dataplane, eal, json, number, run, stderr, tool};

/// The header fields that a profile can set, by tshark's names; those a frame lacks are empty.
pub const HEADER: [&str; 18] = [
    "eth.src",
    "eth.dst",
    "vlan.id",
    "vlan.priority",
    "ip.src",
    "ip.dst",
    "ip.dsfield.dscp",
    "ip.ttl",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.tclass.dscp",
    "ipv6.hlim",
    "ipv6.flow",
    "udp.srcport",
    "udp.dstport",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.flags",
];
const OTHERS: [&str; 9] = [
    "frame.len",
    "frame.time_epoch",
    "ip.version",
    "ip.checksum.status",
    "udp.checksum.status",
    "tcp.checksum.status",
    "ip.len",
    "udp.payload",
    "tcp.payload",
];
const GOOD: &str = "1";

/// Frames of a capture, in their order.
pub struct Frames(Vec<Vec<String>>);

impl Frames {
    /// Reads a capture file.
    pub fn read(file: &Path) -> Self {
        let mut command = Command::new("timeout");
        command.arg("60").arg(tool("tshark")).args(["-n", "-r", &file.display().to_string(), "-T", "fields"]);
        for protocol in ["ip", "udp", "tcp"] {
            command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
        }
        for field in HEADER.iter().chain(&OTHERS) {
            command.args(["-e", field]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        Self(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A field of every frame, in order.
    pub fn column(&self, field: &str) -> Vec<&str> {
        let at = HEADER.iter().chain(&OTHERS).position(|name| *name == field).unwrap();
        self.0.iter().map(|frame| frame[at].as_str()).collect()
    }

    /// The same as numbers.
    pub fn numbers(&self, field: &str) -> Vec<u64> {
        self.column(field).into_iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Distinct values of a field.
    pub fn distinct(&self, field: &str) -> BTreeSet<&str> {
        self.column(field).into_iter().collect()
    }

    /// The only value of a field.
    pub fn one(&self, field: &str) -> &str {
        let values = self.distinct(field);
        assert_eq!(values.len(), 1, "{field}: {values:?}");
        values.into_iter().next().unwrap()
    }

    /// Distinct combinations of all header fields.
    pub fn headers(&self) -> usize {
        self.0.iter().map(|frame| &frame[..HEADER.len()]).collect::<BTreeSet<_>>().len()
    }

    /// Every header field has as many values as given here, and those not given have one.
    pub fn vary_exactly(&self, expected: &[(&str, usize)]) {
        for field in HEADER {
            let wanted = expected.iter().find(|(name, _)| *name == field).map_or(1, |(_, count)| *count);
            let seen = self.distinct(field);
            assert_eq!(seen.len(), wanted, "{field}: {:?} …", seen.iter().take(5).collect::<Vec<_>>());
        }
    }

    /// tshark calls every checksum good, of each protocol a frame has.
    pub fn checksums_are_good(&self) {
        assert!(self.len() > 0);
        let (ip, udp, tcp) = (
            self.column("ip.checksum.status"),
            self.column("udp.checksum.status"),
            self.column("tcp.checksum.status"),
        );
        for (i, version) in self.column("ip.version").into_iter().enumerate() {
            assert_eq!(ip[i], if version == "4" { GOOD } else { "" }, "IP checksum of frame {i}");
            assert!(matches!([udp[i], tcp[i]], [GOOD, ""] | ["", GOOD]), "transport checksum of frame {i}");
        }
    }

    /// What each frame carries, probe included.
    pub fn payloads(&self) -> Vec<Vec<u8>> {
        let hex = self.column("udp.payload").into_iter().zip(self.column("tcp.payload"));
        hex.map(|(udp, tcp)| {
            let digits = if udp.is_empty() { tcp } else { udp };
            (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
        })
        .collect()
    }
}

/// A profile document with this `spec` in YAML's flow style.
pub fn document(spec: &str) -> String {
    format!("{{apiVersion: linerate.dev/v1alpha1, kind: Profile, metadata: {{name: x}}, spec: {spec}}}\n")
}

/// Sends into a capture file; returns the frames in it and the report. What both count is compared here.
pub fn capture(options: &str) -> (Frames, Value) {
    capture_with(options, None)
}

/// The same with the `spec` of a profile document.
pub fn capture_profile(spec: &str, options: &str) -> (Frames, Value) {
    capture_with(options, Some(spec))
}

fn capture_with(options: &str, spec: Option<&str>) -> (Frames, Value) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tx.pcap");
    let mut own = format!("tx --peer-mac 02:00:00:00:00:02 --json {options}");
    if let Some(spec) = spec {
        let profile = dir.path().join("profile.yaml");
        std::fs::write(&profile, document(spec)).unwrap();
        own.push_str(&format!(" --profile {}", profile.display()));
    }
    let output = run(&mut dataplane(&eal(0, &[&format!("net_pcap0,tx_pcap={}", file.display())]), &own));
    assert!(output.status.success(), "{}", stderr(&output));
    let (frames, report) = (Frames::read(&file), json(&output));
    assert_eq!(number(&report, "sent_packets"), frames.len() as u64);
    assert_eq!(number(&report, "sent_bytes"), frames.numbers("frame.len").iter().sum::<u64>());
    assert_eq!(number(&report["port"], "tx_packets"), frames.len() as u64);
    assert_eq!(number(&report["port"], "tx_bytes"), number(&report, "sent_bytes"));
    (frames, report)
}
