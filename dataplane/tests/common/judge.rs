//! A capture by DPDK's pcap port, and tshark's judgement of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use super::{dataplane, eal, json, number, run, stderr, tool};

/// The receiver that frames go to unless the profile names another.
pub const PEER: &str = "02:00:00:00:00:02";

/// Runs `tx` on a port that writes what it sends into `file`.
pub fn tx(file: &Path, options: &str) -> Output {
    let vdev = format!("net_pcap0,tx_pcap={}", file.display());
    run(&mut dataplane(&eal(0, &[&vdev]), &format!("tx --peer-mac {PEER} --linger 0s --quiet {options}")))
}

/// What was sent, and the sender's report of it.
pub struct Capture {
    dir: tempfile::TempDir,
    pub report: Value,
}

impl Capture {
    /// Sends with these options.
    pub fn of(options: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), options)
    }

    /// Sends a profile with this `spec`, in YAML's flow style.
    pub fn of_profile(spec: &str, options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("profile.yaml");
        let text = format!("apiVersion: linerate.dev/v1alpha1\nkind: Profile\nspec: {spec}\n");
        fs::write(&file, text).unwrap();
        Self::within(dir, &format!("--profile {} {options}", file.display()))
    }

    fn within(dir: tempfile::TempDir, options: &str) -> Self {
        let output = tx(&dir.path().join("tx.pcap"), &format!("--json {options}"));
        assert!(output.status.success(), "{options}: {}", stderr(&output));
        let capture = Self { dir, report: json(&output) };
        assert_eq!(capture.number("sent_packets"), capture.frames().len() as u64, "{options}");
        capture
    }

    /// The capture.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("tx.pcap")
    }

    /// Another file beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A number of the report.
    pub fn number(&self, field: &str) -> u64 {
        number(&self.report, field)
    }

    /// The bytes of each frame.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        read_pcap(&self.file()).into_iter().map(|(_, bytes)| bytes).collect()
    }

    /// When each frame left, from the first one on.
    pub fn departures(&self) -> Vec<Duration> {
        let frames = read_pcap(&self.file());
        frames.iter().map(|(at, _)| at.saturating_sub(frames[0].0)).collect()
    }

    /// What tshark reads in these fields.
    pub fn table(&self, fields: &[&str]) -> Table {
        let mut command = Command::new(tool("tshark"));
        command.args(["-r", &self.file().display().to_string(), "-T", "fields", "-E", "separator=;"]);
        for protocol in ["ip", "udp", "tcp"] {
            command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
        }
        for field in fields {
            command.args(["-e", field]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let rows = text.lines().map(|line| line.split(';').map(str::to_owned).collect()).collect();
        Table { fields: fields.iter().map(ToString::to_string).collect(), rows }
    }
}

/// A row for each frame, a column for each field.
pub struct Table {
    fields: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn at(&self, field: &str) -> usize {
        self.fields.iter().position(|name| name == field).unwrap()
    }

    pub fn column(&self, field: &str) -> Vec<String> {
        let at = self.at(field);
        self.rows.iter().map(|row| row[at].clone()).collect()
    }

    /// The column as numbers; tshark writes some in hexadecimal.
    pub fn numbers(&self, field: &str) -> Vec<u64> {
        let number = |text: &String| match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        self.column(field).iter().map(|text| number(text).unwrap()).collect()
    }

    pub fn distinct(&self, field: &str) -> BTreeSet<String> {
        self.column(field).into_iter().collect()
    }

    /// The value that all frames have.
    pub fn one(&self, field: &str) -> String {
        let values = self.distinct(field);
        assert_eq!(values.len(), 1, "{field}: {values:?}");
        values.into_iter().next().unwrap()
    }

    /// The rows with this value.
    pub fn only(&self, field: &str, value: &str) -> Table {
        let at = self.at(field);
        let rows = self.rows.iter().filter(|row| row[at] == value).cloned().collect();
        Table { fields: self.fields.clone(), rows }
    }
}

const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MICROSECONDS: u32 = 0xa1b2_c3d4;
/// Ethernet as the link type of a capture.
pub const ETHERNET: u32 = 1;

/// The frames of a pcap file in this machine's byte order, with their times.
pub fn read_pcap(file: &Path) -> Vec<(Duration, Vec<u8>)> {
    let bytes = fs::read(file).unwrap();
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    let fraction = match word(0) {
        NANOSECONDS => 1,
        MICROSECONDS => 1000,
        other => panic!("{other:#x} begins no pcap file"),
    };
    let (mut at, mut frames) = (24, Vec::new());
    while at < bytes.len() {
        let time = Duration::new(word(at).into(), word(at + 4) * fraction);
        let (length, data) = (word(at + 8) as usize, at + 16);
        frames.push((time, bytes[data..data + length].to_vec()));
        at = data + length;
    }
    frames
}

/// Writes a pcap file of frames, each with its time and the length it had on the wire.
pub fn write_pcap(file: &Path, link: u32, frames: &[(Duration, u32, Vec<u8>)]) {
    let version = u32::from_ne_bytes([2u16.to_ne_bytes(), 4u16.to_ne_bytes()].concat().try_into().unwrap());
    let mut words = vec![MICROSECONDS, version, 0, 0, 65535, link];
    let mut bytes = Vec::new();
    for (time, original, data) in frames {
        words.extend([time.as_secs() as u32, time.subsec_micros(), data.len() as u32, *original]);
        bytes.extend(words.drain(..).flat_map(u32::to_ne_bytes));
        bytes.extend(data);
    }
    bytes.extend(words.into_iter().flat_map(u32::to_ne_bytes));
    fs::write(file, bytes).unwrap();
}
