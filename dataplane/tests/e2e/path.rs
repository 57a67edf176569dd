//! Two processes at the ends of a path that the kernel loses, doubles and delays frames on: what is reported is what the kernel counted.
use std::time::{Duration, Instant};

use crate::common::netns::{FAR, Lab, report_of};
use crate::common::{Running, json, number, run, stderr, until};
use serde_json::Value;

/// Sends from the near end and receives at the far one: two ports of one process, each with an lcore on its own CPU.
const PAIR: (&str, &[&str]) = ("0@0,1@0,2@1", &["near", "far"]);
/// One frame of ten is hit, the first of all among them.
const ONE_IN_TEN: &str = "numgen inc mod 10 == 0 counter name hits";

fn pair(lab: &Lab, options: &str) -> Value {
    let report = lab.report(PAIR.0, PAIR.1, &format!("pair --quiet --json {options}"));
    agrees(&report["tx"]);
    agrees(&report["rx"]);
    report
}

/// No counter of the port's is at odds with ours.
fn agrees(report: &Value) {
    assert_eq!(report["disagreements"].as_array().map(Vec::len), Some(0), "{report}");
}

/// A flow among those that fared worst.
fn flow(report: &Value, id: u64) -> &Value {
    let flows = report["worst_flows"].as_array().unwrap();
    flows.iter().find(|flow| flow["flow"] == id).unwrap_or_else(|| panic!("no flow {id} in {report}"))
}

#[test]
fn what_one_process_sends_another_receives() {
    let Some(lab) = Lab::new("what_one_process_sends_another_receives") else { return };
    let receiver = lab.start("0@1,1@1", &["far"], "rx");
    let options = format!("tx --peer-mac {FAR} --rate 10kpps --packets 20000 --flows 100 --size 128 --json");
    let sent = lab.report("0@0,1@0", &["near"], &options);
    let received = report_of(receiver);
    assert_eq!(number(&sent, "sent_packets"), 20_000, "{sent}");
    assert_eq!(number(&received, "received_packets"), 20_000, "{received}");
    for field in
        ["lost_packets", "duplicate_packets", "out_of_order_packets", "foreign_packets", "stale_packets"]
    {
        assert_eq!(number(&received, field), 0, "{field}: {received}");
    }
    agrees(&sent);
    agrees(&received);
    let (near, far) = (lab.counters("near"), lab.counters("far"));
    for (ours, port, kernel) in [
        (number(&sent, "sent_packets"), number(&sent["port"], "tx_packets"), near.tx_packets),
        (number(&sent, "sent_bytes"), number(&sent["port"], "tx_bytes"), near.tx_bytes),
        (number(&received, "received_frames"), number(&received["port"], "rx_packets"), far.rx_packets),
        (number(&received, "received_bytes"), number(&received["port"], "rx_bytes"), far.rx_bytes),
    ] {
        assert_eq!((ours, port), (kernel, kernel), "{sent}\n{received}");
    }
}

#[test]
fn what_the_path_drops_is_lost() {
    let Some(lab) = Lab::new("what_the_path_drops_is_lost") else { return };
    lab.rule_at("near1", &format!("{ONE_IN_TEN} drop"));
    let report = pair(&lab, "--rate 5kpps --packets 7000 --flows 7");
    let dropped = lab.counted("near1");
    assert_eq!(dropped, 700);
    let received = &report["rx"];
    assert_eq!(number(&report["tx"], "sent_packets"), 7000);
    assert_eq!(number(&report, "lost_packets"), dropped, "{report}");
    assert_eq!(number(received, "received_packets"), 7000 - dropped);
    assert_eq!(
        number(received, "lost_packets"),
        dropped,
        "each flow goes on after its last loss: {received}"
    );
    assert_eq!(number(received, "received_packets"), lab.counters("far").rx_packets);
    // Frames go round the flows, and 7 and 10 have no common divisor: each flow loses as many.
    for id in 0..7 {
        let flow = flow(received, id);
        assert_eq!((number(flow, "lost"), number(flow, "received")), (100, 900), "{flow}");
        assert_eq!((number(flow, "duplicates"), number(flow, "reordered")), (0, 0), "{flow}");
    }
}

#[test]
fn a_flow_of_which_nothing_arrives_is_silent_and_lost() {
    let Some(lab) = Lab::new("a_flow_of_which_nothing_arrives_is_silent_and_lost") else { return };
    lab.rule_at("near1", &format!("{ONE_IN_TEN} drop"));
    let report = pair(&lab, "--rate 5kpps --packets 5000 --flows 10");
    let dropped = lab.counted("near1");
    let received = &report["rx"];
    assert_eq!(number(&report, "lost_packets"), dropped, "{report}");
    assert_eq!((number(received, "received_packets"), dropped), (4500, 500));
    // Frames go round the flows: the first of ten takes every hit.
    assert_eq!(number(received, "silent_flows"), 1, "{received}");
    assert_eq!(number(received, "sequence_gaps"), 0, "no gap in any flow that was heard: {received}");
    assert_eq!(number(received, "lost_packets"), 500, "{received}");
    assert_eq!((number(flow(received, 0), "sent"), number(flow(received, 0), "lost")), (500, 500));
}

#[test]
fn what_is_dropped_between_two_processes_is_the_difference_of_their_counts() {
    let Some(lab) = Lab::new("what_is_dropped_between_two_processes_is_the_difference_of_their_counts")
    else {
        return;
    };
    lab.rule_at("near1", &format!("{ONE_IN_TEN} drop"));
    let receiver = lab.start("0@1,1@1", &["far"], "rx");
    let options = format!("tx --peer-mac {FAR} --rate 5kpps --packets 7000 --flows 7 --json");
    let sent = lab.report("0@0,1@0", &["near"], &options);
    let received = report_of(receiver);
    let dropped = lab.counted("near1");
    assert_eq!(number(&sent, "sent_packets") - number(&received, "received_packets"), dropped, "{received}");
    // The receiver was told nothing: it joins a flow at the first frame that it sees, and the very first one was dropped.
    assert_eq!(number(&received, "lost_packets"), dropped - 1, "{received}");
    agrees(&sent);
    agrees(&received);
}

#[test]
fn a_queue_that_is_too_small_drops_and_delays() {
    let Some(lab) = Lab::new("a_queue_that_is_too_small_drops_and_delays") else { return };
    // 1000 bytes at 8 Mbit/s take a millisecond, and a queue of 20 of them 20 ms.
    lab.set("tc qdisc add dev far1 root tbf rate 8mbit burst 2000 limit 20000");
    let report = pair(&lab, "--rate 10kpps --packets 4000 --size 1004");
    let (sent, received, dropped) = (
        number(&report["tx"], "sent_packets"),
        number(&report["rx"], "received_packets"),
        lab.qdisc_drops("far1"),
    );
    assert_eq!(sent, received + dropped, "{report}");
    assert_eq!(number(&report, "lost_packets"), dropped);
    assert!(sent == 4000 && dropped > 100, "{report}");
    let delay = &report["rx"]["latency_ns"];
    assert!((10_000_000..100_000_000).contains(&number(delay, "p50")), "most find it full: {delay}");
    assert!(number(delay, "min") < number(delay, "p50"), "the first did not: {delay}");
    assert_eq!(number(&report["rx"], "out_of_order_packets"), 0);
}

#[test]
fn what_the_path_doubles_is_duplicate() {
    let Some(lab) = Lab::new("what_the_path_doubles_is_duplicate") else { return };
    lab.rule_at("near1", &format!("{ONE_IN_TEN} dup to \"far1\""));
    let report = pair(&lab, "--rate 5kpps --packets 7000 --flows 7");
    let doubled = lab.counted("near1");
    let received = &report["rx"];
    assert_eq!(doubled, 700);
    assert_eq!(number(received, "duplicate_packets"), doubled, "{report}");
    assert_eq!((number(received, "received_packets"), number(&report, "lost_packets")), (7000, 0));
    assert_eq!(number(received, "received_frames"), 7000 + doubled);
    assert_eq!(number(received, "received_frames"), lab.counters("far").rx_packets);
    for id in 0..7 {
        let flow = flow(received, id);
        assert_eq!((number(flow, "duplicates"), number(flow, "received")), (100, 1000), "{flow}");
    }
}

#[test]
fn loss_and_duplicates_are_distinguished() {
    let Some(lab) = Lab::new("loss_and_duplicates_are_distinguished") else { return };
    lab.rule_at("near1", &format!("{ONE_IN_TEN} drop"));
    // Of what is left, one frame of nine goes twice.
    lab.rules("table netdev near1 {\n chain c {\n numgen inc mod 9 == 3 counter dup to \"far1\"\n }\n}\n");
    let report = pair(&lab, "--rate 5kpps --packets 9000 --flows 11");
    let received = &report["rx"];
    assert_eq!((number(&report, "lost_packets"), lab.counted("near1")), (900, 900), "{report}");
    assert_eq!((number(received, "received_packets"), number(received, "duplicate_packets")), (8100, 900));
}

/// A reflector at the far end and the sender at the near one; `(round trip, reflector)`.
fn round_trip(lab: &Lab) -> (Value, Value) {
    let reflector = lab.start("0@1,1@1", &["far"], "reflect");
    let options =
        format!("tx --round-trip --peer-mac {FAR} --rate 2kpps --packets 6000 --flows 7 --quiet --json");
    let report = lab.report("0@0,1@0,2@0", &["near"], &options);
    let reflected = report_of(reflector);
    agrees(&report);
    agrees(&reflected);
    assert_eq!(number(&report, "sent_packets"), 6000);
    assert_eq!(number(&reflected, "sent_packets"), number(&reflected, "received_packets"), "{reflected}");
    (report, reflected)
}

#[test]
fn everything_comes_back_from_a_reflector() {
    let Some(lab) = Lab::new("everything_comes_back_from_a_reflector") else { return };
    let (report, reflected) = round_trip(&lab);
    assert_eq!(number(&reflected, "received_packets"), 6000, "{reflected}");
    assert_eq!(number(&report, "received_packets"), 6000, "{report}");
    for field in
        ["lost_packets", "duplicate_packets", "out_of_order_packets", "foreign_packets", "silent_flows"]
    {
        assert_eq!(number(&report, field), 0, "{field}: {report}");
    }
    let delay = &report["latency_ns"];
    assert!(number(delay, "min") > 1_000 && number(delay, "p50") >= number(delay, "min"), "{delay}");
    assert!(number(delay, "p50") < 1_000_000_000, "{delay}");
}

#[test]
fn what_is_dropped_on_either_way_is_lost_on_the_round_trip() {
    let Some(lab) = Lab::new("what_is_dropped_on_either_way_is_lost_on_the_round_trip") else { return };
    lab.rule_at("near1", &format!("{ONE_IN_TEN} drop"));
    let (report, reflected) = round_trip(&lab);
    let there = lab.counted("near1");
    assert_eq!(there, 600);
    assert_eq!(number(&reflected, "received_packets"), 6000 - there, "{reflected}");
    assert_eq!(number(&report, "lost_packets"), there, "{report}");

    lab.rule_at("far1", &format!("{ONE_IN_TEN} drop"));
    let (report, reflected) = round_trip(&lab);
    let (there, back) = (lab.counted("near1") - there, lab.counted("far1"));
    assert_eq!((there, back), (600, 540));
    assert_eq!(number(&reflected, "received_packets"), 6000 - there, "{reflected}");
    assert_eq!(number(&report, "received_packets"), 6000 - there - back, "{report}");
    assert_eq!(number(&report, "lost_packets"), there + back, "{report}");
}

#[test]
fn both_ways_at_once_lose_nothing() {
    let Some(lab) = Lab::new("both_ways_at_once_lose_nothing") else { return };
    let command = "pair --bidirectional --rate 2kpps --packets 5000 --flows 7 --quiet --json";
    let report = lab.report("0@0,1@0,2@0,3@1,4@1", &["near", "far"], command);
    for end in ["tx", "rx"] {
        agrees(&report[end]);
        assert_eq!(number(&report[end], "sent_packets"), 5000, "{report}");
        assert_eq!(number(&report[end], "received_packets"), 5000, "{report}");
        assert_eq!(number(&report[end], "lost_packets"), 0, "{report}");
    }
    for end in ["near", "far"] {
        let counters = lab.counters(end);
        assert_eq!((counters.tx_packets, counters.rx_packets), (5000, 5000), "{end}");
    }
}

#[test]
fn of_two_ways_each_has_its_own_loss() {
    let Some(lab) = Lab::new("of_two_ways_each_has_its_own_loss") else { return };
    lab.rule_at("near1", &format!("{ONE_IN_TEN} drop"));
    lab.rule_at("far1", "numgen inc mod 4 == 0 counter name hits drop");
    let command = "pair --bidirectional --rate 2kpps --packets 4000 --flows 7 --quiet --json";
    let report = lab.report("0@0,1@0,2@0,3@1,4@1", &["near", "far"], command);
    assert_eq!((lab.counted("near1"), lab.counted("far1")), (400, 1000));
    assert_eq!(number(&report["rx"], "lost_packets"), 400, "from near to far: {report}");
    assert_eq!(number(&report["tx"], "lost_packets"), 1000, "from far to near: {report}");
    assert_eq!(number(&report, "lost_packets"), 1400);
}

#[test]
fn packets_that_come_back_to_the_port_that_sent_them_are_lost() {
    let Some(lab) = Lab::new("packets_that_come_back_to_the_port_that_sent_them_are_lost") else { return };
    // Of the packets of each port, some turn round before the bridge.
    lab.rule_at("near1", &format!("{ONE_IN_TEN} fwd to \"near1\""));
    lab.rule_at("far1", "numgen inc mod 4 == 0 counter name hits fwd to \"far1\"");
    let command = "pair --bidirectional --rate 2kpps --packets 4000 --flows 7 --quiet --json";
    let report = lab.report("0@0,1@0,2@0,3@1,4@1", &["near", "far"], command);
    assert_eq!((lab.counted("near1"), lab.counted("far1")), (400, 1000));
    for (end, lost, came_back) in [("rx", 400, 1000), ("tx", 1000, 400)] {
        let received = &report[end];
        agrees(received);
        assert_eq!(number(received, "lost_packets"), lost, "{report}");
        assert_eq!(number(received, "received_packets"), 4000 - lost, "{report}");
        assert_eq!(number(received, "stale_packets"), came_back, "{report}");
        assert_eq!(number(received, "duplicate_packets"), 0, "{report}");
    }
}

#[test]
fn a_path_that_is_cut_loses_everything_and_delays_no_end() {
    let Some(lab) = Lab::new("a_path_that_is_cut_loses_everything_and_delays_no_end") else { return };
    lab.set("ip link set far1 nomaster");
    let began = Instant::now();
    let report = pair(&lab, "--rate 5kpps --packets 1000 --flows 7");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let received = &report["rx"];
    assert_eq!(number(&report, "lost_packets"), 1000, "{report}");
    assert_eq!((number(received, "received_frames"), number(received, "silent_flows")), (0, 7));
    assert!(received["latency_ns"].is_null(), "no delay of no packet: {received}");
    assert_eq!(
        (number(received, "lost_packets"), number(received, "sequence_gaps")),
        (1000, 0),
        "{received}"
    );
    let flows = received["worst_flows"].as_array().unwrap();
    let lost: Vec<u64> = flows.iter().map(|flow| number(flow, "lost")).collect();
    assert_eq!(
        (lost.len(), lost.iter().sum::<u64>()),
        (7, 1000),
        "every flow lost all of its packets: {received}"
    );
    assert!(flows.iter().all(|flow| flow["sent"] == flow["lost"]), "{received}");
}

/// A trial that goes on until it is interrupted, in the middle of which the path changes.
const ENDLESS: &str = "pair --rate 2kpps --flows 7 --json --interval 100ms";

/// Waits until the far end has received `more` packets than it has now.
fn until_more_arrive(lab: &Lab, more: u64) {
    let before = lab.counters("far").rx_packets;
    until("packets arrive", || lab.counters("far").rx_packets >= before + more);
}

#[test]
fn a_path_that_is_cut_in_the_middle_of_a_trial_loses_the_rest() {
    let Some(lab) = Lab::new("a_path_that_is_cut_in_the_middle_of_a_trial_loses_the_rest") else { return };
    let running = Running::start(&mut lab.dataplane(PAIR.0, PAIR.1, ENDLESS));
    until_more_arrive(&lab, 100);
    lab.set("ip link set far1 nomaster");
    let cut_at = lab.counters("near").tx_packets;
    until("packets are sent into the void", || lab.counters("near").tx_packets >= cut_at + 100);
    let report = report_of(running);
    let (sent, arrived) = (number(&report["tx"], "sent_packets"), lab.counters("far").rx_packets);
    assert_eq!(number(&report["rx"], "received_packets"), arrived, "{report}");
    assert_eq!(number(&report, "lost_packets"), sent - arrived, "{report}");
    assert!(arrived >= 100 && sent - arrived >= 100, "sent {sent}, arrived {arrived}");
    assert_eq!(number(&report["rx"], "sequence_gaps"), 0, "no gap before the cut: {report}");
    assert_eq!(number(&report["rx"], "lost_packets"), sent - arrived, "{report}");
    let flows = report["rx"]["worst_flows"].as_array().unwrap();
    assert_eq!(flows.iter().map(|flow| number(flow, "lost")).sum::<u64>(), sent - arrived, "{report}");
}

#[test]
fn a_restored_path_has_lost_what_was_sent_meanwhile() {
    let Some(lab) = Lab::new("a_restored_path_has_lost_what_was_sent_meanwhile") else { return };
    let running = Running::start(&mut lab.dataplane(PAIR.0, PAIR.1, ENDLESS));
    until_more_arrive(&lab, 100);
    lab.rule_at("near1", "counter name hits drop");
    until("packets are dropped", || lab.counted("near1") >= 100);
    lab.set("nft flush chain netdev near1 c");
    until_more_arrive(&lab, 100);
    let (report, dropped) = (report_of(running), lab.counted("near1"));
    assert_eq!(number(&report, "lost_packets"), dropped, "{report}");
    assert_eq!(number(&report["rx"], "lost_packets"), dropped, "{report}");
    let flows = report["rx"]["worst_flows"].as_array().unwrap();
    assert_eq!(flows.iter().map(|flow| number(flow, "lost")).sum::<u64>(), dropped, "{report}");
}

/// Ends in time with an error that calls the link down; nothing leaves.
fn link_down(lab: &Lab, command: &str) {
    let began = Instant::now();
    let output = run(&mut lab.dataplane(PAIR.0, PAIR.1, command));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let message = stderr(&output);
    assert!(message.contains("the link is still down after 1 s") && message.contains("remedy"), "{message}");
    assert_eq!((lab.counters("near").tx_packets, lab.counters("far").rx_packets), (0, 0));
}

#[test]
fn a_sender_whose_interface_is_down_reports_it_and_ends() {
    let Some(lab) = Lab::new("a_sender_whose_interface_is_down_reports_it_and_ends") else { return };
    lab.set("ip link set near down");
    link_down(
        &lab,
        &format!("tx --peer-mac {FAR} --rate 5kpps --packets 1000 --link-wait 1s --json --quiet"),
    );
}

#[test]
fn a_cable_unplugged_at_the_other_end_delays_no_end() {
    let Some(lab) = Lab::new("a_cable_unplugged_at_the_other_end_delays_no_end") else { return };
    lab.set("ip link set near1 down");
    link_down(&lab, "pair --rate 5kpps --packets 1000 --flows 7 --link-wait 1s --json --quiet");
}

#[test]
fn a_cable_unplugged_in_a_trial_delays_no_end() {
    let Some(lab) = Lab::new("a_cable_unplugged_in_a_trial_delays_no_end") else { return };
    let command = "pair --rate 1kpps --packets 2000 --flows 7 --link-wait 1s --json --quiet";
    let running = Running::start(&mut lab.dataplane(PAIR.0, PAIR.1, command));
    until_more_arrive(&lab, 100);
    // Nothing is sent until the cable is unplugged.
    running.signal("STOP");
    lab.set("ip link set near1 down");
    running.signal("CONT");
    let output = running.output();
    assert!(output.status.success(), "{}", stderr(&output));
    let report = json(&output);
    let received = number(&report["rx"], "received_packets");
    assert!((100..2000).contains(&received), "{report}");
    assert_eq!(number(&report["tx"], "sent_packets"), received + number(&report, "lost_packets"), "{report}");
    assert!(report["tx"]["notes"].to_string().contains("the link was down for"), "{report}");
}

#[test]
fn packets_whose_udp_checksum_is_removed_on_the_path_are_received() {
    let Some(lab) = Lab::new("packets_whose_udp_checksum_is_removed_on_the_path_are_received") else {
        return;
    };
    // Without a checksum (RFC 768): what tunnels and some switches make of it.
    lab.rule_at("near1", "udp checksum set 0 counter name hits");
    let report = pair(&lab, "--rate 5kpps --packets 2000 --flows 7");
    assert_eq!(lab.counted("near1"), 2000);
    assert_eq!((number(&report["rx"], "received_packets"), number(&report, "lost_packets")), (2000, 0));
    assert_eq!(number(&report["rx"], "without_checksum_packets"), 2000, "{report}");
    assert_eq!(number(&report["rx"], "bad_checksum_packets"), 0, "{report}");
    let notes = report["rx"]["notes"].to_string();
    assert!(notes.contains("2000 packets came with UDP checksum 0"), "{notes}");
}
