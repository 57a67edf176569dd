//! Frames as bytes: what DPDK's pcap port wrote, and files for it to read.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use serde_json::Value;

use super::tshark::document;
use super::{dataplane, eal, json, number, run, stderr};

/// The receiver that frames go to unless the options name another.
pub const PEER: &str = "02:00:00:00:00:02";

/// Runs `tx` on a port that writes what it sends into `file`.
pub fn tx(file: &Path, options: &str) -> Output {
    let vdev = format!("net_pcap0,tx_pcap={}", file.display());
    let peer = if options.contains("--peer-mac") { String::new() } else { format!("--peer-mac {PEER}") };
    run(&mut dataplane(&eal(0, &[&vdev]), &format!("tx {peer} --linger 0s --quiet {options}")))
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
        fs::write(&file, document(spec)).unwrap();
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
        self.packets().into_iter().map(|(_, bytes)| bytes).collect()
    }

    /// When each frame left, from the first one on.
    pub fn departures(&self) -> Vec<Duration> {
        let packets = self.packets();
        packets.iter().map(|(at, _)| at.saturating_sub(packets[0].0)).collect()
    }

    fn packets(&self) -> Vec<(Duration, Vec<u8>)> {
        packets_of(&self.file())
    }
}

/// When each frame of a pcap file left, and its bytes.
pub fn packets_of(file: &Path) -> Vec<(Duration, Vec<u8>)> {
    let mut reader = PcapReader::new(File::open(file).unwrap()).unwrap();
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        packets.push((packet.timestamp, packet.data.into_owned()));
    }
    packets
}

/// Writes a pcap file of frames, each with its time and the length it had on the wire.
pub fn write_pcap(file: &Path, link: DataLink, frames: &[(Duration, u32, Vec<u8>)]) {
    let header = PcapHeader { datalink: link, ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(File::create(file).unwrap(), header).unwrap();
    for (at, original, data) in frames {
        writer.write_packet(&PcapPacket::new(*at, *original, data)).unwrap();
    }
}
