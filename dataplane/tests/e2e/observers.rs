//! What a report counts, against other observers: the kernel's counters and the port's own.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::known_frames::{frame, recorded};
use crate::common::netns::{FAR, Lab, report_of};
use crate::common::{Running, dataplane, eal, json, number, run, stderr, tool, unique};

/// The numbers in a list of a report.
pub(crate) fn numbers(report: &Value, field: &str) -> Vec<u64> {
    let list = report[field].as_array().unwrap_or_else(|| panic!("no list {field} in {report}"));
    list.iter().map(|number| number.as_u64().unwrap()).collect()
}

/// Every frame a receiver saw is counted once, and the port saw as many.
pub(crate) fn adds_up(report: &Value) {
    // A reflector does not examine what it sends back: it tells ours from foreign frames, and nothing else.
    let examined =
        ["duplicate_packets", "stale_packets", "bad_probe_packets", "bad_checksum_packets"].as_slice();
    let examined = if report["role"] == "reflect" { &[] } else { examined };
    let parts = [&["received_packets", "foreign_packets"], examined].concat();
    let frames = number(report, "received_frames");
    assert_eq!(parts.iter().map(|part| number(report, part)).sum::<u64>(), frames, "{report}");
    let foreign = report["foreign_by_kind"].as_object().unwrap();
    let kinds: u64 = foreign.values().map(|kind| kind.as_u64().unwrap()).sum();
    assert_eq!(kinds, number(report, "foreign_packets"), "{report}");
    assert_eq!(numbers(report, "frames_per_queue").iter().sum::<u64>(), frames, "{report}");
    let packets = number(report, "received_packets");
    assert_eq!(numbers(report, "packets_per_lcore").iter().sum::<u64>(), packets, "{report}");
    assert_eq!(number(&report["port"], "rx_packets"), frames, "{report}");
    agrees(report);
}

/// No counter of the port's is at odds with ours.
fn agrees(report: &Value) {
    assert_eq!(report["disagreements"].as_array().map(Vec::len), Some(0), "{report}");
}

/// A pair of which nothing is lost; see [`Lab::report`].
pub(crate) fn lossless(lab: &Lab, on: &str, interfaces: &[&str], options: &str, packets: u64) -> Value {
    let command = format!("pair --packets {packets} --quiet --json {options}");
    let report = lab.report(on, interfaces, &command);
    adds_up(&report["rx"]);
    agrees(&report["tx"]);
    assert_eq!(number(&report["tx"], "sent_packets"), packets, "{report}");
    assert_eq!(numbers(&report["tx"], "sent_packets_per_lcore").iter().sum::<u64>(), packets, "{report}");
    assert_eq!(number(&report["rx"], "received_packets"), packets, "{report}");
    assert_eq!(number(&report, "lost_packets"), 0);
    report
}

#[test]
fn two_queues_share_the_flows_and_add_up() {
    let Some(lab) = Lab::new("two_queues_share_the_flows_and_add_up") else { return };
    let flows = "--flows 64 --flow-mode sdpp --rate 5kpps";
    // One lcore for both queues, then one for each. --rxq is for both ports.
    for (on, queues, rx_lcores) in [("0@0,1@0,2@1", "--rxq 2", 1), ("0@0,1@0,2@1,3@1", "", 2)] {
        let options = format!("{flows} --tx-lcores 1 {queues}");
        let report = lossless(&lab, on, &["near,qpairs=2", "far,qpairs=2"], &options, 10_000);
        let received = &report["rx"];
        let queues = numbers(received, "frames_per_queue");
        assert!(queues.len() == 2 && queues.iter().all(|frames| *frames > 1000), "{received}");
        assert_eq!(numbers(received, "packets_per_lcore").len(), rx_lcores, "{received}");
        let notes = received["notes"].as_array().unwrap();
        assert!(notes.iter().any(|note| note.as_str().unwrap().contains("no RSS")), "{received}");
        assert_eq!(number(received, "out_of_order_packets"), 0, "a flow stays in one queue: {received}");
    }
}

#[test]
fn two_lcores_send_to_one() {
    let Some(lab) = Lab::new("two_lcores_send_to_one") else { return };
    let options = "--flows 64 --rate 5kpps --tx-lcores 2";
    let report = lossless(&lab, "0@0,1@0,2@0,3@1", &["near,qpairs=2", "far"], options, 10_000);
    assert_eq!(numbers(&report["tx"], "sent_packets_per_lcore"), [5000, 5000], "{report}");
    assert_eq!(numbers(&report["rx"], "packets_per_lcore"), [10_000]);
    assert_eq!(lab.counters("near").tx_packets, 10_000);
}

#[test]
fn lcores_need_not_be_numbered_in_a_row_nor_have_a_cpu_each() {
    let Some(lab) = Lab::new("lcores_need_not_be_numbered_in_a_row_nor_have_a_cpu_each") else { return };
    let report = lossless(&lab, "0@0,3@1,7@0", &["near", "far"], "--flows 7 --rate 5kpps", 5000);
    assert_eq!((numbers(&report["tx"], "lcores"), numbers(&report["rx"], "lcores")), (vec![3], vec![7]));
    let report = lossless(&lab, "2@1,5@1,9@1", &["near", "far"], "--flows 7 --rate 2kpps", 4000);
    assert_eq!((numbers(&report["tx"], "lcores"), numbers(&report["rx"], "lcores")), (vec![5], vec![9]));
}

#[test]
fn every_counter_is_the_kernels() {
    let Some(lab) = Lab::new("every_counter_is_the_kernels") else { return };
    for sizes in ["imix", "64,512,1518", "1518"] {
        let (near, far) = (lab.counters("near"), lab.counters("far"));
        let options = format!("--flows 7 --rate 2kpps --size {sizes}");
        let report = lossless(&lab, "0@0,1@0,2@1", &["near", "far"], &options, 3000);
        let (sent, received) = (&report["tx"], &report["rx"]);
        for (ours, port, xstat, kernel) in [
            (
                number(sent, "sent_packets"),
                &sent["port"]["tx_packets"],
                &sent["xstats"]["tx_good_packets"],
                lab.counters("near").tx_packets - near.tx_packets,
            ),
            (
                number(sent, "sent_bytes"),
                &sent["port"]["tx_bytes"],
                &sent["xstats"]["tx_good_bytes"],
                lab.counters("near").tx_bytes - near.tx_bytes,
            ),
            (
                number(received, "received_frames"),
                &received["port"]["rx_packets"],
                &received["xstats"]["rx_good_packets"],
                lab.counters("far").rx_packets - far.rx_packets,
            ),
            (
                number(received, "received_bytes"),
                &received["port"]["rx_bytes"],
                &received["xstats"]["rx_good_bytes"],
                lab.counters("far").rx_bytes - far.rx_bytes,
            ),
        ] {
            assert_eq!(
                (ours, port.as_u64(), xstat.as_u64()),
                (kernel, Some(kernel), Some(kernel)),
                "{sizes}: {report}"
            );
        }
    }
}

#[test]
fn a_reflector_sends_back_what_is_ours_and_counts_the_rest() {
    let Some(lab) = Lab::new("a_reflector_sends_back_what_is_ours_and_counts_the_rest") else { return };
    let ours = recorded("--flows 7 --packets 70 --rate 100kpps");
    let mut damaged = ours[..10].to_vec();
    damaged.iter_mut().for_each(|frame| frame[59] ^= 1);
    let mut arp = frame(&[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp[..6].fill(0xff);
    let reflector = lab.start("0@1,1@1", &["far"], "reflect");
    lab.inject("side", &[vec![arp; 5], ours, damaged].concat());
    let report = report_of(reflector);
    assert_eq!(number(&report, "sent_packets"), lab.counters("far").tx_packets, "{report}");
    // Checksums are for the sender to look at.
    assert_eq!((number(&report, "received_packets"), number(&report, "sent_packets")), (80, 80), "{report}");
    assert_eq!((number(&report, "received_frames"), number(&report, "foreign_packets")), (85, 5), "{report}");
    agrees(&report);
}

#[test]
fn a_reflectors_report_adds_up() {
    let Some(lab) = Lab::new("a_reflectors_report_adds_up") else { return };
    let mut arp = frame(&[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp[..6].fill(0xff);
    let reflector = lab.start("0@1,1@1", &["far"], "reflect");
    lab.inject("side", &[vec![arp; 5], recorded("--flows 7 --packets 70 --rate 100kpps")].concat());
    let report = report_of(reflector);
    assert_eq!(number(&report["foreign_by_kind"], "arp"), 5, "{report}");
    adds_up(&report);
}

#[test]
fn a_receiver_without_a_sender_ends_on_time() {
    let Some(lab) = Lab::new("a_receiver_without_a_sender_ends_on_time") else { return };
    let report = lab.report("0@1,1@1", &["far"], "rx --duration 1s --quiet --json");
    assert_eq!(
        (report["ended"].as_str(), number(&report, "received_frames")),
        (Some("duration"), 0),
        "{report}"
    );
    assert!(report["latency_ns"].is_null() && report["delay_variation_ns"].is_null(), "{report}");
    adds_up(&report);
}

/// A receiver whose memif peer sends and leaves; `(sent, received)`. `None`: the driver took its rings away while the receiver looked at them,
/// which is a fault of its own (a segmentation fault in DPDK 22.11's `eth_memif_rx`).
fn left_by_its_peer() -> Option<(Value, Value)> {
    let socket = unique("reset");
    let server = eal(0, &[&format!("net_memif0,role=server,socket={socket}")]);
    let mut receiver = Running::start(&mut dataplane(&server, "rx --json --interval 50ms"));
    receiver.wait_for_stderr("rx 0.000 Mpps");
    let client = eal(1, &[&format!("net_memif0,role=client,socket={socket}")]);
    let command = format!("tx --peer-mac {FAR} --rate 10kpps --duration 1s --linger 300ms --json --quiet");
    let sent = run(&mut dataplane(&client, &command));
    assert!(sent.status.success(), "{}", stderr(&sent));
    sleep(Duration::from_millis(300));
    receiver.signal("INT");
    let received = receiver.output();
    if received.status.signal() == Some(libc::SIGSEGV) {
        return None;
    }
    assert!(received.status.success(), "{}: {}", received.status, stderr(&received));
    Some((json(&sent), json(&received)))
}

#[test]
fn a_memif_peer_that_leaves_is_named_as_a_disagreement() {
    let (sent, report) =
        (0..5).find_map(|_| left_by_its_peer()).expect("a driver that lives once in five times");
    assert_eq!(number(&report, "received_packets"), number(&sent, "sent_packets"), "{report}");
    assert!(report["port"].is_null(), "counters that went backwards are none: {report}");
    let disagreements = report["disagreements"].as_array().unwrap();
    let said: Vec<&str> = disagreements.iter().map(|text| text.as_str().unwrap()).collect();
    assert!(said.len() == 1 && said[0].contains("was reset"), "{report}");
}

#[test]
fn an_interface_that_goes_down_under_a_sender_is_named_as_a_disagreement() {
    let Some(lab) = Lab::new("an_interface_that_goes_down_under_a_sender_is_named_as_a_disagreement") else {
        return;
    };
    let command = format!("tx --peer-mac {FAR} --rate 2kpps --packets 4000 --json --interval 100ms");
    let mut sender = Running::start(&mut lab.dataplane("0@0,1@0", &["near"], &command));
    sender.wait_for_stderr("tx 0.00");
    // Nothing is sent until the interface is down.
    sender.signal("STOP");
    lab.set("ip link set near down");
    sender.signal("CONT");
    let output = sender.output();
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&output);
    let (ours, port) = (number(&report, "sent_packets"), number(&report["port"], "tx_packets"));
    assert_eq!(ours, 4000, "{report}");
    assert!(port > 0 && port < ours, "{report}");
    assert_eq!(number(&report["port"], "tx_errors"), ours - port, "{report}");
    let said: Vec<&str> =
        report["disagreements"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(
        said,
        [
            format!("packets sent: counted {ours}, the port says {port}"),
            format!("bytes sent: counted {}, the port says {}", 60 * ours, 60 * port)
        ]
    );
}

/// The same command, before everything else on the machine: the kernel shares its CPUs out among sessions first.
fn hurried(command: &Command) -> Command {
    const FIRST: &str =
        "[ ! -e /proc/self/autogroup ] || echo -20 >/proc/self/autogroup; exec nice -n -20 \"$@\"";
    let mut first = Command::new(tool("setsid"));
    first
        .args(["sh", "-c", FIRST, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    first
}

#[test]
fn packets_leave_at_the_intended_rate() {
    let Some(lab) = Lab::new("packets_leave_at_the_intended_rate") else { return };
    for (rate, seconds) in [(1_u64, 3_u64), (10, 2), (1000, 2), (20_000, 3)] {
        let asked = rate * seconds;
        let tolerance = (asked / 1000).max(1);
        let attempts = (1..=3).any(|attempt| {
            let before = lab.counters("near").tx_packets;
            let command =
                format!("tx --peer-mac {FAR} --rate {rate}pps --duration {seconds}s --flows 7 --json --quiet");
            let output = run(&mut hurried(&lab.dataplane("0@0,1@0", &["near"], &command)));
            assert!(output.status.success(), "{}", stderr(&output));
            let report = json(&output);
            agrees(&report);
            let sent = number(&report, "sent_packets");
            assert_eq!(sent, lab.counters("near").tx_packets - before, "what the kernel took: {report}");
            let forgone = number(&report, "forgone_packets") + number(&report, "unsent_packets");
            eprintln!(
                "{rate} pps for {seconds} s, attempt {attempt}: {sent} sent, {forgone} forgone, offered {} over {} s",
                report["offered_pps"], report["duration_s"]
            );
            assert!((sent + forgone).abs_diff(asked) <= 1, "intended = sent + unsent + forgone: {report}");
            sent.abs_diff(asked) <= tolerance
        });
        assert!(attempts, "{rate} packets per second were missed three times");
    }
}
