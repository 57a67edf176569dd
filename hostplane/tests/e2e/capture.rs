//! A capture of the path says what the results say: to the datagram and to the byte, with losses in between.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::lab::Lab;
use crate::common::{Running, exact_bytes, exact_datagrams, installed, not_run, number};

/// Marks the streams and nothing else.
const MARK: &str = "--dscp 10";

/// tshark at an end, on packets that are marked. It sees them before nftables does.
struct Capture {
    process: Running,
}

impl Capture {
    /// `None`, and a word of why, where tshark is missing.
    fn start(lab: &Lab, test: &str, fields: &[&str]) -> Option<Self> {
        if installed("tshark").is_none() {
            not_run(test, "tshark is not installed; scripts/test.sh installs it");
            return None;
        }
        let mut command: Command = lab.command("b", "tshark");
        command.args([
            "-i",
            "veth-b",
            "-Q",
            "-l",
            "-n",
            "-f",
            "ip[1] & 0xfc == 40",
            "-B",
            "64",
            "-T",
            "fields",
        ]);
        // Every packet is taken for itself.
        command.args(["-o", "tcp.desegment_tcp_streams:FALSE", "-o", "tcp.analyze_sequence_numbers:FALSE"]);
        fields.iter().for_each(|field| {
            command.args(["-e", field]);
        });
        let process = Running::start(command.stdin(Stdio::null()));
        // Ready when the kernel has its socket.
        let began = Instant::now();
        let sees = || {
            let output = crate::common::run(lab.command("b", "cat").arg("/proc/net/packet"));
            String::from_utf8_lossy(&output.stdout).lines().count() > 1
        };
        while !sees() {
            assert!(began.elapsed() < Duration::from_secs(20), "tshark does not capture");
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(300));
        Some(Self { process })
    }

    /// Ends it; the numbers of each packet.
    fn packets(mut self) -> Vec<Vec<u64>> {
        // What is in its buffers is still written.
        std::thread::sleep(Duration::from_millis(1500));
        // `ip netns exec` has become tshark.
        self.process.signal("INT");
        let lines = BufReader::new(self.process.child().stdout.take().unwrap()).lines();
        let numbers = |line: String| line.split('\t').map(|word| word.parse().unwrap_or(0)).collect();
        lines.map_while(Result::ok).map(numbers).collect()
    }
}

#[test]
fn datagrams_of_a_capture_are_those_of_the_account() {
    const NAME: &str = "datagrams_of_a_capture_are_those_of_the_account";
    let Some(lab) = Lab::new(NAME) else { return };
    lab.rules(
        "b",
        "table inet t {\n counter dropped { }\n chain c {\n type filter hook prerouting priority -400;\n \
         ip dscp 10 numgen random mod 100 < 4 counter name dropped drop\n }\n}\n",
    );
    let _server = lab.server("");
    let Some(capture) = Capture::start(&lab, NAME, &["udp.length", "ip.len"]) else { return };
    let result = lab.result("udp", &format!("--rate 1kpps --size 300 --duration 1s --parallel 2 {MARK}"));
    let (sent, lost) = exact_datagrams(&result["directions"][0]);
    let packets = capture.packets();
    assert_eq!(packets.len() as u64, sent, "datagrams on the wire");
    assert!(packets.iter().all(|packet| packet[..] == [308, 328]), "their lengths");
    assert_eq!(lab.counter("b", "dropped").0, lost);
    assert!(lost > 10, "{lost}");
}

#[test]
fn bytes_of_a_capture_are_those_of_the_account_with_what_was_sent_again() {
    const NAME: &str = "bytes_of_a_capture_are_those_of_the_account_with_what_was_sent_again";
    let Some(lab) = Lab::new(NAME) else { return };
    lab.rules(
        "b",
        "table inet t {\n counter dropped { }\n chain c {\n type filter hook prerouting priority -400;\n \
         ip dscp 10 numgen random mod 100 < 2 counter name dropped drop\n }\n}\n",
    );
    // One segment a packet.
    lab.set("a", "ip link set veth-a gso_max_segs 1");
    let _server = lab.server("");
    let Some(capture) = Capture::start(&lab, NAME, &["tcp.len", "tcp.seq_raw"]) else { return };
    let result = lab.result("tcp", &format!("--rate 8mbps --duration 1s {MARK}"));
    let direction = &result["directions"][0];
    let sent = exact_bytes(direction);
    let again = number(direction, "/streams/0/sent/tcp/bytes_retransmitted");
    let packets = capture.packets();
    let all: u64 = packets.iter().map(|packet| packet[0]).sum();
    assert_eq!(all, sent + again, "payload on the wire, {} packets", packets.len());
    assert!(again > 0 && lab.counter("b", "dropped").0 > 0, "{direction}");
    // Each byte once: the parts of the stream that the packets cover.
    let first = packets.iter().map(|packet| packet[1]).next().unwrap();
    let offset = |sequence: u64| (sequence + (1 << 32) - first) % (1 << 32);
    let mut parts: Vec<(u64, u64)> = packets
        .iter()
        .filter(|packet| packet[0] > 0)
        .map(|packet| (offset(packet[1]), offset(packet[1]) + packet[0]))
        .collect();
    parts.sort_unstable();
    let (mut covered, mut end) = (0, 0);
    for (from, to) in parts {
        covered += to.max(end) - from.max(end);
        end = end.max(to);
    }
    assert_eq!(covered, sent, "each byte once");
}
