//! Datagrams through a relay that loses, doubles and holds them, and counts what it does: the second opinion on the receiver's account.

use std::sync::atomic::Ordering;

use crate::common::relay::{Relay, Treatment};
use crate::common::{Server, exact_datagrams, hostplane, number, result};

fn through(relay: &Relay, options: &str) -> serde_json::Value {
    let options = format!("udp 127.0.0.1 --port {} --json --quiet --size 300 {options}", relay.port);
    result(&mut hostplane(&options))
}

#[test]
fn lost_datagrams_are_those_that_the_relay_dropped() {
    let server = Server::start("");
    let relay = Relay::start(server.port, Treatment { lost: 30, ..Treatment::default() });
    let result = through(&relay, "--rate 5kpps --duration 1s --parallel 3");
    let direction = &result["directions"][0];
    let (sent, lost) = exact_datagrams(direction);
    let done = &relay.done;
    assert_eq!(sent, done.passed.load(Ordering::Relaxed) + done.lost.load(Ordering::Relaxed));
    assert_eq!(lost, done.lost.load(Ordering::Relaxed), "{direction}");
    assert!(lost > 50, "{lost}");
    assert_eq!(number(direction, "/udp/socket_drops"), 0);
    assert_eq!(direction["verdict"]["kind"], "network-limited", "{direction}");
    // The relay's addresses stand between the ends: NAT is seen.
    let stream = &direction["streams"][0];
    assert_ne!(stream["sent"]["local"], stream["received"]["peer"], "{stream}");
}

#[test]
fn doubled_and_late_datagrams_are_told_from_each_other() {
    let server = Server::start("");
    let treatment = Treatment { lost: 10, doubled: 20, held: 15, held_for: 7 };
    let relay = Relay::start(server.port, treatment);
    let result = through(&relay, "--rate 4kpps --duration 1s");
    let direction = &result["directions"][0];
    let (_, lost) = exact_datagrams(direction);
    let done = &relay.done;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!(number(direction, "/udp/duplicates"), count(&done.doubled), "{direction}");
    // At the end, some may still be held: no later ones released them.
    let reordered = number(direction, "/udp/reordered");
    let held = count(&done.held);
    assert!(reordered <= held && held - reordered <= 7, "{reordered} of {held}");
    assert_eq!(lost, count(&done.lost) + (held - reordered), "{direction}");
    // Others that were held may pass in between.
    assert!(
        (7..=9).contains(&number(direction, "/udp/reordering/extent_max")),
        "{}",
        direction["udp"]["reordering"]
    );
    assert_eq!(number(direction, "/udp/beyond_memory"), 0);
}

#[test]
fn the_way_back_passes_the_same_port() {
    let server = Server::start("");
    let relay = Relay::start(server.port, Treatment::default());
    let result = through(&relay, "--rate 2kpps --bytes 300000 --bidirectional --parallel 2");
    for direction in result["directions"].as_array().unwrap() {
        assert_eq!(exact_datagrams(direction), (1000, 0), "{direction}");
    }
}
