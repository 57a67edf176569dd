//! An agent that watches a node, held to other readers of the same counters.

use std::fs;
use std::time::Instant;

use serde_json::Value;

use crate::common::lab::Lab;
use crate::common::wire::Agent;
use crate::common::{json, number, run};

/// Counters of an interface as `ip -s` prints them.
fn link(lab: &Lab) -> Value {
    let output = run(lab.command("b", "ip").args(["-s", "-s", "-j", "link", "show", "dev", "veth-b"]));
    json(&output)[0]["stats64"].clone()
}

/// Times that a process's main thread went to sleep.
fn sleeps(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn a_watched_interface_is_counted_as_by_ip_and_shows_its_settings() {
    let name = "a_watched_interface_is_counted_as_by_ip_and_shows_its_settings";
    let Some(lab) = Lab::new(name) else { return };
    // IPv6 sends of its own accord, between one reader and the other.
    for end in ["a", "b"] {
        let off = format!("echo 1 > /proc/sys/net/ipv6/conf/veth-{end}/disable_ipv6");
        assert!(run(lab.command(end, "sh").args(["-c", &off])).status.success());
    }
    let steer = "echo 1 > /sys/class/net/veth-b/queues/rx-0/rps_cpus";
    assert!(run(lab.command("b", "sh").args(["-c", steer])).status.success());
    let mut agent =
        Agent::start_as(lab.hostplane("b", "agent --listen 127.0.0.1:0 --streams 127.0.0.1:0 --workers 1"));
    let process = agent.process.child().id();
    let mut wire = agent.greet_in(&lab, "b").0;
    let spec =
        r#"{"trial":3,"sample_interval_ms":60000,"orphan_ms":60000,"interrupts":true,"work":{"watch":{}}}"#;
    for _ in 0..2 {
        assert_eq!(wire.step("prepare", spec), "prepared");
        assert_eq!(wire.step("arm", ""), "armed");
        let before = link(&lab);
        assert_eq!(wire.step("start", "{}"), "running");
        let (slept, began) = (sleeps(process), Instant::now());
        let server = lab.server("");
        let result = lab.result("udp", "--rate 2kpps --size 300 --duration 300ms");
        drop(server);
        // Ten looks a second, and not one every 2 ms as of an agent that moves traffic.
        let (woke, most) = (sleeps(process) - slept, 10 + began.elapsed().as_millis() / 20);
        assert!(u128::from(woke) <= most, "it woke {woke} times, at most {most}");
        assert_eq!(wire.step("stop", "{}"), "finished");
        let after = link(&lab);
        let report = wire.report();
        assert_eq!(report["ended"], "stopped");

        let seen = &report["detail"]["watch"];
        let interfaces = seen["interfaces"].as_array().unwrap();
        let names: Vec<_> = interfaces.iter().map(|interface| &interface["interface"]).collect();
        assert_eq!(names, ["veth-b"], "no loopback interface: {seen}");
        let interface = &interfaces[0];
        for (ours, field) in [
            ("rx_packets", "/rx/packets"),
            ("rx_dropped", "/rx/dropped"),
            ("rx_errors", "/rx/errors"),
            ("tx_packets", "/tx/packets"),
            ("tx_dropped", "/tx/dropped"),
            ("tx_errors", "/tx/errors"),
        ] {
            let theirs = number(&after, field) - number(&before, field);
            assert_eq!(number(interface, &format!("/counters/{ours}")), theirs, "{ours}: {interface}");
        }
        let sent = number(&result, "/directions/0/udp/sent");
        assert!(sent > 0 && number(interface, "/counters/rx_packets") >= sent, "{interface}");
        assert_eq!(interface["driver"], "veth", "{interface}");
        let queues = interface["queues"].as_array().unwrap();
        let rx = queues.iter().find(|queue| queue["direction"] == "rx").unwrap();
        assert_eq!((&rx["queue"], &rx["rps_cpus"]), (&0.into(), &"0".into()), "{interface}");
        // A veth has no queue that is counted, unless a driver does.
        assert!(rx["packets"].is_u64() || interface["not_known"].is_object(), "{interface}");
        assert!(number(&report, "/host/node/net_rx") > 0, "{report}");
    }
}
