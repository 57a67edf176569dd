//! testpmd as the independent observer: the two programs' totals agree to the packet.
use crate::common::{Running, dataplane, eal, json, number, testpmd, testpmd_total, unique, with_cpus};

#[test]
fn what_we_send_testpmd_receives() {
    let socket = unique("tx");
    let mut peer = testpmd(1, &format!("net_memif0,role=server,socket={socket}"), "rxonly");
    let ours = eal(0, &[&format!("net_memif0,role=client,socket={socket}")]);
    let command = "tx --peer-mac 02:00:00:00:00:02 --flows 1000 --flow-mode sd --rate max --duration 1s --linger 30s \
                   --log-level debug --json";
    let mut sender = Running::start(&mut dataplane(&ours, command));
    sender.wait_for_stderr("the port stays open");
    // memif's counters go back to zero when its peer leaves, so testpmd is asked before.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let received = testpmd_total(&mut peer, "RX-packets");
    sender.signal("INT");
    let output = sender.output();
    let report = json(&output);
    let sent = number(&report, "sent_packets");
    assert!(sent > 10_000, "{report}");
    assert_eq!(number(&report["port"], "tx_packets"), sent, "the port's own counter");
    assert_eq!(number(&report["port"], "tx_bytes"), sent * 60);
    assert_eq!(report["disagreements"].as_array().map(Vec::len), Some(0), "{report}");
    assert_eq!(received, sent);
}

#[test]
fn what_testpmd_sends_we_receive_as_foreign() {
    let socket = unique("rx");
    let ours = eal(0, &[&format!("net_memif0,role=server,socket={socket}")]);
    let mut receiver = Running::start(&mut with_cpus(&ours, "rx --json --interval 100ms"));
    receiver.wait_for_stderr("rx 0.000 Mpps");
    let mut peer = testpmd(1, &format!("net_memif0,role=client,socket={socket}"), "txonly");
    std::thread::sleep(std::time::Duration::from_secs(1));
    let sent = testpmd_total(&mut peer, "TX-packets");
    // What testpmd sent last is still in the ring, and the receiver shares its CPU with others.
    std::thread::sleep(std::time::Duration::from_millis(500));
    receiver.signal("INT");
    let output = receiver.output();
    assert!(output.status.success(), "a receiver without limits is meant to be interrupted");
    let report = json(&output);
    assert!(sent > 10_000);
    assert_eq!(number(&report, "foreign_packets"), sent, "{report}");
    assert_eq!(number(&report, "received_frames"), sent);
    assert_eq!(number(&report, "received_bytes"), sent * 64, "testpmd's frames of 64 bytes, all counted");
    assert_eq!(number(&report, "received_packets"), 0);
    assert_eq!(number(&report, "lost_packets"), 0);
}
