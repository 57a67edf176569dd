//! `diagnose`: faults of a path that are known, because they were made, are named in words with their numbers.

use std::process::Output;

use serde_json::Value;

use crate::common::lab::{A, B, Lab};
use crate::common::{Server, float, hostplane, json, number, run, stderr};

/// What a diagnosis found.
pub(crate) struct Found(pub(crate) Value);

impl Found {
    pub(crate) fn of(output: &Output) -> Self {
        let diagnosis = json(output);
        assert!(diagnosis["findings"].is_array(), "{diagnosis}\n{}", stderr(output));
        Self(diagnosis)
    }

    /// The only finding of a name, or of those with `part` in their words.
    pub(crate) fn finding(&self, name: &str, part: &str) -> &Value {
        let findings = self.0["findings"].as_array().unwrap();
        let mut fitting = findings
            .iter()
            .filter(|finding| finding["name"] == name && finding["words"].as_str().unwrap().contains(part));
        let first =
            fitting.next().unwrap_or_else(|| panic!("no {name} with '{part}': {:#}", self.0["findings"]));
        assert!(fitting.next().is_none(), "{name} is told twice: {:#}", self.0["findings"]);
        first
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0["findings"].as_array().unwrap().iter().any(|finding| finding["name"] == name)
    }
}

/// A finding's words, evidence and remedy as one text.
pub(crate) fn text(finding: &Value) -> String {
    finding.to_string()
}

/// A client at `a` that diagnoses the path to `b`.
pub(crate) fn diagnose(lab: &Lab, options: &str) -> Found {
    Found::of(&run(&mut lab.hostplane("a", &format!("diagnose {B} --json --quiet {options}"))))
}

/// As short as it can be.
const SHORT: &str = "--duration 300ms --sweep none --parallel 1";

#[test]
fn a_shaper_in_one_direction_is_the_asymmetry() {
    let Some(lab) = Lab::new("a_shaper_in_one_direction_is_the_asymmetry") else { return };
    // Rates that every machine reaches, and queues that bridge it when a sender waits for its CPU.
    lab.set("a", "tc qdisc add dev veth-a root tbf rate 20mbit burst 32kb limit 400kb");
    lab.set("b", "tc qdisc add dev veth-b root tbf rate 16mbit burst 32kb limit 400kb");
    let _server = lab.server("");
    let found = diagnose(&lab, "--duration 1500ms --sweep none --parallel 1");
    let finding = found.finding("asymmetry", "");
    let words = finding["words"].as_str().unwrap();
    assert!(words.contains("slower reverse (server to client)"), "{words}");
    assert!(words.contains("the server's interface veth-b has the queueing discipline tbf"), "{words}");
    assert!(words.contains("limits it to 16.000 Mbit/s"), "{words}");
    assert!(text(finding).contains("tc -s qdisc show dev veth-b"), "{finding}");
    assert_eq!(finding["evidence"].as_array().unwrap().len(), 2, "both directions: {finding}");
    assert_eq!(finding["severity"], "warning");
    assert!(!found.has("cpu-limited"), "the shaper is the limit");
    // Side by side, and the host of each end.
    let received =
        |index: usize| float(&found.0, &format!("/steps/{index}/result/directions/0/received_bps"));
    assert!(received(0) > 1.1 * received(1), "{} {}", received(0), received(1));
    assert_eq!(found.0["server"]["before"]["link"]["name"], "veth-b");
    assert_eq!(found.0["server"]["before"]["queues"][0]["rate_bps"], 16_000_000);
    // Datagrams at 80 % of what TCP reached pass.
    for index in [2, 3] {
        let direction = &found.0["steps"][index]["result"]["directions"][0];
        crate::common::exact_datagrams(direction);
    }
}

#[test]
fn a_path_without_a_fault_has_none_and_its_facts_are_there() {
    let Some(lab) = Lab::new("a_path_without_a_fault_has_none_and_its_facts_are_there") else { return };
    let _server = lab.server("");
    // A rate that every machine reaches.
    let output = run(&mut lab
        .hostplane("a", &format!("diagnose {B} --json --quiet --rate 20mbps --udp-rate 1kpps {SHORT}")));
    assert!(output.status.success(), "{}", stderr(&output));
    let found = Found::of(&output);
    for name in ["path-mtu", "mtu-black-hole", "snat", "dnat", "conntrack-full", "route-asymmetry"] {
        assert!(!found.has(name), "{name}");
    }
    // One direction may have less of a busy CPU than the other: then the CPU is named, and not the path.
    if found.has("asymmetry") {
        assert!(
            text(found.finding("asymmetry", "")).contains("a CPU is the limit"),
            "{}",
            found.0["findings"]
        );
    }
    let value = &found.0;
    assert_eq!(value["ladder"]["forward"]["passes"], 1500);
    assert_eq!(value["ladder"]["reverse"]["passes"], 1500);
    assert_eq!(value["client"]["before"]["route"]["interface"], "veth-a");
    assert_eq!(value["client"]["before"]["route"]["source"], A);
    assert_eq!(value["client"]["before"]["link"]["physical"], false);
    assert!(value["client"]["before"]["link"]["speed_mbps"].is_null(), "a virtual interface has no speed");
    assert_eq!(value["ports"][0]["state"], "refused");
    assert!(number(value, "/client/before/limits/receive_max") > 0);
    assert!(value["addresses"]["client"].as_str().unwrap().starts_with(A));
    assert_eq!(value["addresses"]["client"], value["addresses"]["client_at_server"]);
    let softirq = &value["steps"][0]["result"]["directions"][0]["streams"][0]["received"]["incoming_cpu"];
    assert!(softirq.is_u64(), "the CPU of the softirq: {softirq}");
}

#[test]
fn an_address_that_is_translated_is_told_with_both_addresses() {
    let Some(lab) = Lab::new("an_address_that_is_translated_is_told_with_both_addresses") else { return };
    lab.set("a", "ip address add 10.77.0.9/32 dev veth-a");
    lab.rules(
        "a",
        "table ip n {\n chain c {\n type nat hook postrouting priority 100;\n ip daddr 10.77.0.2 snat to 10.77.0.9\n }\n}\n",
    );
    lab.rules(
        "b",
        "table ip n {\n chain c {\n type nat hook prerouting priority -100;\n ip daddr 10.77.0.77 dnat to 10.77.0.2\n }\n}\n",
    );
    let _server = lab.server("");
    let found = diagnose(&lab, &format!("--rate 10mbps {SHORT}"));
    let words = found.finding("snat", "")["words"].as_str().unwrap();
    assert!(
        words.contains("the server sees 10.77.0.9:") && words.contains("the client is 10.77.0.1:"),
        "{words}"
    );
    assert!(!found.has("dnat"));
    // Entries of connection tracking are counted at both ends.
    assert!(number(&found.0, "/client/after/conntrack/entries") > 0, "{}", found.0["client"]);
}

#[test]
fn a_path_that_is_narrower_than_the_interfaces_is_found_each_way() {
    let Some(lab) = Lab::new("a_path_that_is_narrower_than_the_interfaces_is_found_each_way") else { return };
    // Nobody tells: long packets vanish, as where a tunnel's MTU is not known and ICMP is filtered. Forward 1450, reverse 1480.
    lab.rules(
        "b",
        "table inet t {\n chain in {\n type filter hook prerouting priority -400;\n iif veth-b meta length > 1450 drop\n }\n}\n",
    );
    lab.rules(
        "a",
        "table inet t {\n chain in {\n type filter hook prerouting priority -400;\n iif veth-a meta length > 1480 drop\n }\n}\n",
    );
    let _server = lab.server("");
    let found = diagnose(&lab, &format!("--rate 1mbps --udp-rate 100pps {SHORT}"));
    for (direction, passes, tunnel) in [("forward", 1450, "VXLAN or Geneve"), ("reverse", 1480, "IP in IP")] {
        assert_eq!(found.0["ladder"][direction]["passes"], passes);
        let finding = found.finding("mtu-black-hole", direction);
        assert_eq!(finding["severity"], "fault");
        assert!(finding["words"].as_str().unwrap().contains(tunnel), "{finding}");
        assert!(text(finding).contains(&format!("mtu {passes}")), "{finding}");
    }
}

#[test]
fn the_bgp_port_is_open_refused_or_filtered() {
    let Some(lab) = Lab::new("the_bgp_port_is_open_refused_or_filtered") else { return };
    let _server = lab.server("");
    let options = format!("--rate 10mbps --udp-rate 100pps {SHORT} --node {B}");
    let refused = diagnose(&lab, &options);
    assert_eq!(refused.0["ports"][0]["state"], "refused");
    assert_eq!(refused.finding("bgp-port", "")["severity"], "warning");
    lab.rules(
        "b",
        "table inet t {\n chain in {\n type filter hook input priority 0;\n tcp dport 179 drop\n }\n}\n",
    );
    let filtered = diagnose(&lab, &options);
    assert_eq!(filtered.0["ports"][0]["state"], "filtered");
    let finding = filtered.finding("bgp-port", "does not answer");
    assert_eq!(finding["severity"], "fault");
    assert!(text(finding).contains("--dport 179"), "{finding}");
    lab.rules("b", "flush ruleset\n");
    // The server of this program speaks no BGP; it listens, and that is what is asked.
    let line = format!("serve --listen {B}:179 --json");
    let _speaker = Server::start_as(lab.hostplane("b", &line));
    let open = diagnose(&lab, &options);
    assert_eq!(open.0["ports"][0]["state"], "open");
    assert!(!open.has("bgp-port"));
}

#[test]
fn a_server_that_is_not_there_is_a_finding_and_this_host_is_still_looked_at() {
    let output = run(&mut hostplane("diagnose 127.0.0.1 --port 9 --json --quiet"));
    assert_eq!(output.status.code(), Some(1));
    let found = Found::of(&output);
    let finding = found.finding("unreachable", "");
    assert!(text(finding).contains("nothing listens at 127.0.0.1:9"), "{finding}");
    assert_eq!(found.0["client"]["before"]["link"]["name"], "lo");
    assert!(found.0["server"].is_null());
}

#[test]
fn ceilings_of_either_end_hold_for_a_diagnosis() {
    let server = Server::start("--max-rate 5mbps");
    let line = format!("diagnose 127.0.0.1 --port {} --json --quiet --udp-rate 1mbps {SHORT}", server.port);
    let output = run(&mut hostplane(&line));
    assert_eq!(output.status.code(), Some(1));
    let found = Found::of(&output);
    let finding = found.finding("not-measured", "One TCP stream forward");
    assert!(text(finding).contains("--max-rate"), "{finding}");
    let finding = found.finding("mtu-unknown", "could not be searched for");
    assert!(text(finding).contains("--max-rate"), "{finding}");
    // Neither the server nor a node outside the allowed networks is sent anything.
    for options in ["--allow 10.0.0.0/8", "--allow 127.0.0.0/8 --node 192.0.2.1"] {
        let output = run(&mut hostplane(&format!("{line} {options}")));
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("none of the allowed networks"), "{}", stderr(&output));
    }
    // What is within the ceiling was measured.
    assert!(float(&found.0, "/steps/2/result/directions/0/received_bps") > 0.0, "{}", found.0["steps"][2]);
}

#[test]
fn what_other_hosts_say_is_escaped() {
    let Some(lab) = Lab::new("what_other_hosts_say_is_escaped") else { return };
    // An interface may bear almost any name.
    lab.set("a", "ip link set veth-a down");
    let name = "x\u{1b}[31mred";
    let output = run(lab.command("a", "ip").args(["link", "set", "veth-a", "name", name]));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(run(lab.command("a", "ip").args(["link", "set", name, "up"])).status.success());
    let _server = lab.server("");
    let line = format!("diagnose {B} --quiet --rate 1mbps --udp-rate 100pps {SHORT}");
    let output = run(&mut lab.hostplane("a", &line));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("x\\u001b[31mred") && !shown.contains('\u{1b}'), "{shown}");
}
