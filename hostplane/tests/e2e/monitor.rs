//! What the monitor counts, held to other readers of the same counters: ip, nstat and ethtool.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::common::lab::{B, Lab};
use crate::common::monitored::{Watching, nstat};
use crate::common::{Running, hostplane, installed, json, number, run, stderr};

/// Counters of an interface as `ip -s` prints them.
fn link(lab: &Lab, end: &str, interface: &str) -> Value {
    let mut command = lab.command(end, "ip");
    let output = run(command.args(["-s", "-s", "-j", "link", "show", "dev", interface]));
    json(&output)[0]["stats64"].clone()
}

fn sum(samples: &[Value], path: &str) -> u64 {
    samples.iter().filter_map(|sample| sample.pointer(path)?.as_u64()).sum()
}

#[test]
fn interfaces_and_protocols_are_counted_as_by_ip_and_nstat() {
    let Some(lab) = Lab::new("interfaces_and_protocols_are_counted_as_by_ip_and_nstat") else { return };
    // IPv6 sends of its own accord, between one reader and the other.
    for end in ["a", "b"] {
        let mut off = lab.command(end, "sh");
        let off = off.args(["-c", &format!("echo 1 > /proc/sys/net/ipv6/conf/veth-{end}/disable_ipv6")]);
        assert!(run(off).status.success());
    }
    let (link_before, nstat_before) = (link(&lab, "b", "veth-b"), nstat(&lab, "b"));
    let watching = Watching::start(lab.hostplane("b", "monitor --interface veth-b --interval 100ms --json"));
    let server = lab.server("");
    let result = lab.result("udp", "--rate 2kpps --size 300 --duration 1s");
    // To a port where nobody listens.
    run(lab.command("a", "bash").args(["-c", &format!("for i in 1 2 3; do echo x > /dev/udp/{B}/9; done")]));
    drop(server);
    let (samples, summary) = watching.end();
    let (link_after, nstat_after) = (link(&lab, "b", "veth-b"), nstat(&lab, "b"));

    for (ours, field) in [
        ("rx_packets", "/rx/packets"),
        ("rx_bytes", "/rx/bytes"),
        ("rx_dropped", "/rx/dropped"),
        ("rx_errors", "/rx/errors"),
        ("tx_packets", "/tx/packets"),
        ("tx_bytes", "/tx/bytes"),
        ("tx_dropped", "/tx/dropped"),
        ("tx_errors", "/tx/errors"),
    ] {
        let theirs = number(&link_after, field) - number(&link_before, field);
        assert_eq!(sum(&samples, &format!("/interface/{ours}")), theirs, "{ours}");
    }
    assert!(sum(&samples, "/interface/rx_packets") >= number(&result, "/directions/0/udp/sent"));

    let names = samples.iter().find_map(|sample| sample["protocols"]["counts"].as_object()).unwrap();
    assert!(names.len() > 30, "{names:?}");
    let mut moved = 0;
    // IPv6 drops what it wants to send, whenever that is.
    for name in names.keys().filter(|name| !name.starts_with("Ip6")) {
        let Some(after) = nstat_after.get(name) else { continue };
        let theirs = after - nstat_before.get(name).copied().unwrap_or(0);
        assert_eq!(sum(&samples, &format!("/protocols/counts/{name}")), theirs, "{name}");
        moved += u64::from(theirs > 0);
    }
    assert_eq!(sum(&samples, "/protocols/counts/UdpNoPorts"), 3);
    assert!(moved >= 6, "IP, UDP and TCP were in use: {nstat_after:?}");

    assert!(samples.iter().all(|sample| sample["interface"]["elapsed_s"].as_f64() > Some(0.0)));
    assert!(summary["process_cpu_share"].as_f64() > Some(0.0), "{summary}");
    // A veth has no device, and no queue that is counted unless a driver does.
    let sample = samples.iter().find(|sample| !sample["protocols"].is_null()).unwrap();
    assert_eq!(sample["interrupts"]["of_interface"], false);
    assert!(sample["queues"].is_object() || sample["not_known"]["queues"].is_string(), "{sample}");
}

#[test]
fn queues_of_a_driver_are_counted_as_by_ethtool() {
    let name = "queues_of_a_driver_are_counted_as_by_ethtool";
    let Some(lab) = Lab::new(name) else { return };
    if installed("ethtool").is_none() {
        return crate::common::not_run(name, "ethtool is not installed; scripts/test.sh installs it");
    }
    let statistics = || -> BTreeMap<String, u64> {
        let output = run(lab.command("b", "ethtool").args(["-S", "veth-b"]));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let pairs = text.lines().filter_map(|line| line.trim().rsplit_once(": "));
        pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    };
    // With GRO a veth receives through its queues, and its page pool counts.
    lab.set("b", "ethtool -K veth-b gro on");
    let before = statistics();
    let watching = Watching::start(lab.hostplane("b", "monitor --interface veth-b --interval 250ms --json"));
    let _server = lab.server("");
    lab.result("tcp", "--bytes 3000000");
    let (samples, _) = watching.end();
    let after = statistics();
    let slow: Vec<&Value> = samples.iter().filter(|sample| sample["queues"].is_object()).collect();
    assert!(!slow.is_empty(), "{:?}", samples.last());
    let ours: BTreeMap<String, u64> = slow
        .iter()
        .flat_map(|sample| sample["queues"]["driver"].as_object().unwrap())
        .fold(BTreeMap::new(), |mut sums, (name, count)| {
            *sums.entry(name.clone()).or_default() += count.as_u64().unwrap();
            sums
        });
    for (name, count) in &ours {
        assert_eq!(after[name] - before[name], *count, "{name}");
    }
    let drops: u64 = after
        .iter()
        .filter(|(name, _)| name.ends_with("_drops") && !name.contains("xdp"))
        .map(|(_, count)| count)
        .sum();
    let listed = slow.iter().flat_map(|sample| sample["queues"]["list"].as_array().unwrap());
    assert_eq!(listed.filter_map(|queue| queue["drops"].as_u64()).sum::<u64>(), drops);
}

#[test]
fn every_form_ends_as_it_should() {
    let output = run(&mut hostplane("monitor --interface lo --interval 20ms --count 5 --form old --cpu 0"));
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(
        text.lines().all(|line| line.starts_with("TX lo: ") && line.ends_with('%') | line.ends_with("nan%")),
        "{text}"
    );
    assert!(stderr(&output).starts_with("5 samples in "), "{}", stderr(&output));
    let output = run(&mut hostplane("monitor --interface lo --interval 20ms --count 3 --csv --quiet"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().all(|line| line.split(", ").count() == 14), "{text}");
    assert_eq!((text.lines().count(), stderr(&output).as_str()), (3, ""));

    let output = run(&mut hostplane("monitor --interface nothere0"));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("interface nothere0: ") && stderr(&output).contains("ip link"),
        "{}",
        stderr(&output)
    );
    for (options, reason) in [
        ("--interface lo --interval 5ms", "give 10ms to 1h"),
        ("--interface lo --count 0", "at least 1"),
        ("--interface lo --csv --json", "cannot be used with"),
        ("", "--interface"),
    ] {
        let output = run(&mut hostplane(&format!("monitor {options}")));
        assert_eq!(output.status.code(), Some(2), "{options}");
        assert!(stderr(&output).contains(reason), "{options}: {}", stderr(&output));
    }
}

#[test]
fn a_monitor_whose_reader_has_gone_ends() {
    let mut running = Running::start(&mut hostplane("monitor --interface lo --interval 20ms"));
    drop(running.child().stdout.take());
    assert!(running.output().status.success());
}
