//! Through a router: the next hop is found, addresses are the ports' own, and what the router forwards is what arrives.
use std::time::{Duration, Instant};

use crate::common::netns::report_of;
use crate::common::routed::{FAR, FAR_ROUTER, NEAR, Routed};
use crate::common::{number, run, stderr};
use serde_json::Value;

const PACKETS: u64 = 2000;

fn notes(report: &Value) -> String {
    report["notes"].to_string()
}

fn all_arrive(sent: &Value, received: &Value) {
    assert_eq!(number(sent, "sent_packets"), PACKETS, "{sent}");
    assert_eq!(number(received, "received_packets"), PACKETS, "{received}");
    assert_eq!(number(received, "lost_packets"), 0, "{received}");
    assert_eq!(sent["disagreements"].as_array().map(Vec::len), Some(0), "{sent}");
}

#[test]
fn a_point_to_point_link_leads_by_the_kernels_next_hop() {
    let Some(lab) = Routed::new("a_point_to_point_link_leads_by_the_kernels_next_hop", true) else { return };
    // The router takes one from each packet's time to live; the source is the near host's address, though nobody named it.
    lab.count_at_far(&format!("ip saddr {NEAR} ip daddr {FAR} ip ttl 63 udp dport 1024"));
    let before = lab.router_counters("near0").0;
    let receiver = lab.start("far", "0@1,1@1", "rx");
    let options =
        format!("tx --dst-ip {FAR} --rate 5kpps --packets {PACKETS} --flows 100 --size 128 --quiet --json");
    let sent = lab.report("near", "0@0,1@0", &options);
    let received = report_of(receiver);
    all_arrive(&sent, &received);
    assert_eq!(lab.counted(), PACKETS, "{received}");
    assert!(lab.router_counters("near0").0 - before >= PACKETS);
}

#[test]
fn a_round_trip_leads_by_the_router_both_ways() {
    let Some(lab) = Routed::new("a_round_trip_leads_by_the_router_both_ways", true) else { return };
    let reflector = lab.start("far", "0@1,1@1", "reflect");
    let options = format!("tx --round-trip --dst-ip {FAR} --rate 2kpps --packets {PACKETS} --quiet --json");
    let sent = lab.report("near", "0@0,1@0,2@0", &options);
    let reflected = report_of(reflector);
    assert_eq!(number(&reflected, "received_packets"), PACKETS, "{reflected}");
    all_arrive(&sent, &sent);
}

#[test]
fn a_silent_next_hop_is_reported_with_its_state() {
    let Some(lab) = Routed::new("a_silent_next_hop_is_reported_with_its_state", true) else { return };
    lab.set("router", "ip link set far0 arp off");
    lab.set("far", "ip neighbour flush dev eth0");
    for (space, to, parts) in [
        ("far", "10.91.2.77", &["10.91.2.77", "eth0", "state "][..]),
        ("far", NEAR, &[FAR_ROUTER, "eth0", "state "]),
    ] {
        let output =
            run(&mut lab.dataplane(space, "0@0,1@0", &format!("tx --dst-ip {to} --packets 1 --json")));
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        for part in parts {
            assert!(message.contains(part), "no '{part}' in: {message}");
        }
        assert!(message.contains("FAILED") || message.contains("INCOMPLETE"), "{message}");
    }
}

/// The port's options at the ends of the lab whose hosts have no addresses.
const NEAR_PORT: &str = "--address 10.91.1.2/24 --gateway 10.91.1.1";
const FAR_PORT: &str = "--address 10.91.2.2/24 --gateway 10.91.2.1";

#[test]
fn ports_with_addresses_of_their_own_answer_and_send_requests() {
    let Some(lab) = Routed::new("ports_with_addresses_of_their_own_answer_and_send_requests", false) else {
        return;
    };
    lab.count_at_far(&format!("ip saddr {NEAR} ip daddr {FAR} ip ttl 63 udp dport 1024"));
    let receiver = lab.start("far", "0@1,1@1", &format!("rx {FAR_PORT}"));
    let options = format!("tx {NEAR_PORT} --dst-ip {FAR} --rate 2kpps --packets {PACKETS} --quiet --json");
    let sent = lab.report("near", "0@0,1@0", &options);
    // The kernel of the router asked for the receiver by ARP, and it answers ping while it counts.
    let pings = lab.pings("router", FAR);
    let received = report_of(receiver);
    all_arrive(&sent, &received);
    assert_eq!(lab.counted(), PACKETS);
    assert_eq!(pings, 3);
    assert!(notes(&received).contains("3 pings") && notes(&received).contains("ARP requests"), "{received}");
    // The router's kernel has learnt where the receiver is.
    let neighbours = lab.prints("router", &format!("ip neighbour show {FAR}"));
    assert!(neighbours.contains(&lab.mac("far", "eth0")), "{neighbours}");
}

#[test]
fn a_port_that_only_sends_answers_while_it_sends() {
    let Some(lab) = Routed::new("a_port_that_only_sends_answers_while_it_sends", false) else { return };
    let own = format!(
        "tx {NEAR_PORT} --peer-mac {} --dst-ip {FAR} --rate 1kpps --duration 4s --json --interval 100ms",
        lab.mac("router", "near0")
    );
    let mut sender = crate::common::Running::start(&mut lab.dataplane("near", "0@0,1@0", &own));
    sender.wait_for_stderr("tx 0.001 Mpps");
    let pings = lab.pings("router", NEAR);
    let output = sender.output();
    assert!(output.status.success(), "{}", stderr(&output));
    let sent = crate::common::json(&output);
    assert_eq!(pings, 3, "{sent}");
    // The answers are told, and not counted as sent: the port's counter less them agrees.
    assert!(notes(&sent).contains("3 pings") && notes(&sent).contains("ARP requests"), "{sent}");
    assert_eq!(sent["disagreements"].as_array().map(Vec::len), Some(0), "{sent}");
    assert!(number(&sent["port"], "tx_packets") > number(&sent, "sent_packets"), "{sent}");
}

#[test]
fn a_reflector_answers_between_what_it_turns_round() {
    let Some(lab) = Routed::new("a_reflector_answers_between_what_it_turns_round", false) else { return };
    let reflector = lab.start("far", "0@1,1@1", &format!("reflect {FAR_PORT}"));
    let options =
        format!("tx --round-trip {NEAR_PORT} --dst-ip {FAR} --rate 1kpps --packets {PACKETS} --quiet --json");
    let sent = lab.report("near", "0@0,1@0,2@0", &options);
    let reflected = report_of(reflector);
    all_arrive(&sent, &sent);
    // Its router asked for it, or nothing would have come.
    assert!(notes(&reflected).contains("ARP requests"), "{reflected}");
    assert_eq!(reflected["disagreements"].as_array().map(Vec::len), Some(0), "{reflected}");
}

#[test]
fn a_silent_gateway_is_reported_with_the_attempts() {
    let Some(lab) = Routed::new("a_silent_gateway_is_reported_with_the_attempts", false) else {
        return;
    };
    let began = Instant::now();
    let own = format!("tx --address 10.91.1.2/24 --gateway 10.91.1.9 --dst-ip {FAR} --packets 1 --json");
    let output = run(&mut lab.dataplane("near", "0@0,1@0", &own));
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    for part in ["10.91.1.9", "ARP requests from 10.91.1.2 were not answered"] {
        assert!(message.contains(part), "no '{part}' in: {message}");
    }
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_port_answers_while_it_waits_for_what_comes_back() {
    let Some(lab) = Routed::new("a_port_answers_while_it_waits_for_what_comes_back", false) else { return };
    // Nobody sends anything back, so the drain lasts for its 5 s, and the lcore that sent has ended.
    let own = format!(
        "tx --round-trip {NEAR_PORT} --peer-mac {} --dst-ip {FAR} --rate 1kpps --packets 10 --json --interval 100ms",
        lab.mac("router", "near0")
    );
    let sender = crate::common::Running::start(&mut lab.dataplane("near", "0@0,1@0,2@0", &own));
    let began = Instant::now();
    while lab.router_counters("near0").0 < 10 && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(100));
    let pings = lab.pings("router", NEAR);
    let output = sender.output();
    assert!(output.status.success(), "{}", stderr(&output));
    let sent = crate::common::json(&output);
    assert_eq!(pings, 3, "{sent}");
    assert_eq!((number(&sent, "sent_packets"), number(&sent, "received_packets")), (10, 0), "{sent}");
    assert!(notes(&sent).contains("3 pings") && notes(&sent).contains("ARP requests"), "{sent}");
    assert_eq!(sent["disagreements"].as_array().map(Vec::len), Some(0), "{sent}");
}
