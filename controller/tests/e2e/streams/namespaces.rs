//! Agents in network namespaces: two interfaces, losses and rates that the kernel itself counts, and what a killed run
//! leaves.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use linerate_results::summary::Status;
use linerate_wire::streams::StreamsLimit;
use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::{assert_validates, assert_whole, bench, limits, options, record, run};
use crate::support::{Bench, Running, not_run, stderr, until};

/// True when this user may create namespaces, and the tools are there.
fn possible(test: &str) -> bool {
    let missing = ["ip", "tc", "nft", "nsenter"]
        .into_iter()
        .find(|tool| Command::new(tool).arg("--version").output().is_err());
    let reason = match missing {
        _ if !rustix::process::geteuid().is_root() => "only root may make network namespaces".to_owned(),
        Some(tool) => format!("{tool} is not installed; scripts/test.sh installs it"),
        None => return true,
    };
    not_run(test, &reason);
    false
}

fn start(bench: &Bench) -> Running {
    let program = bench.path("linerate-hostplane");
    bench.start_with(&options(program.to_str().unwrap(), &["--quiet"]))
}

/// Output of a command in the namespace of a process; `None` when the process is gone.
fn inside(process: Pid, line: &str) -> Option<String> {
    let target = process.as_raw_nonzero().to_string();
    let output =
        Command::new("nsenter").args(["--target", &target, "--net", "sh", "-c", line]).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// Starts a run; commands prepare the namespace of its agent with this address before that agent begins.
fn prepared(bench: &Bench, address: &str, commands: &str) -> (Running, Pid) {
    let program = bench.path("linerate-hostplane");
    fs::rename(&program, bench.path("program-of-agents")).unwrap();
    let script = format!(
        "#!/bin/bash
set -e
if [ \"$1\" = agent ] && ip -brief address show net0 | grep -q ' {address}/'; then
{commands}
fi
exec -a \"$0\" \"${{0%/*}}/program-of-agents\" \"$@\"
"
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let running = start(bench);
    let mut found = None;
    until("the agent is there", || {
        let agents = bench
            .processes()
            .into_iter()
            .filter(|(_, line)| line.contains(" agent ") && !line.contains("netns exec"));
        for (agent, _) in agents.filter(|(_, line)| !line.contains(" run ")) {
            let there = inside(agent, "ip -brief address show net0").unwrap_or_default();
            if there.contains(address) {
                found = Some(agent);
                return true;
            }
        }
        false
    });
    (running, found.unwrap())
}

#[test]
fn a_mesh_of_namespaces_uses_both_interfaces() {
    if !possible("a_mesh_of_namespaces_uses_both_interfaces") {
        return;
    }
    let bench = bench(
        "  topology: {kind: mesh, agents: 4, interfaces: [net0, lan.1]}
  streams: {transports: [tcp, udp], rates: [1mbps], congestion: [reno]}
  trial: {duration: 1s, sampleInterval: 200ms}
",
    );
    let output = run(&bench, &["--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    for trial in &summary.streams {
        assert_whole(&bench, trial, 24);
        for connection in record(&bench, trial).connections {
            let (local, peer) = connection.addresses.unwrap();
            let network =
                if connection.interface.as_deref() == Some("net0") { "10.64.0." } else { "10.65.0." };
            assert!(local.starts_with(network) && peer.starts_with(network), "{local} {peer}");
        }
    }
    let interfaces = &summary.experiment.streams_agents[2].interfaces;
    assert!(
        interfaces.iter().any(|one| one.name == "lan.1" && one.addresses.contains(&"10.65.0.3".to_owned()))
    );
    assert_validates(&bench);
    until("no namespace is left", || names(&bench).is_empty());
}

#[test]
fn a_connection_whose_answers_a_policy_rule_diverts_has_a_note() {
    if !possible("a_connection_whose_answers_a_policy_rule_diverts_has_a_note") {
        return;
    }
    let bench = bench(
        "  topology: {interfaces: [net0, net1]}
  streams: {rates: [1mbps]}
  trial: {duration: 500ms, sampleInterval: 100ms}
",
    );
    let rule = "ip route add default dev net0 table 100 && ip rule add from 10.65.0.2 lookup 100";
    let (running, _) = prepared(&bench, "10.64.0.2", rule);
    let output = running.end_within(Duration::from_secs(30));
    let summary = bench.summary().unwrap();
    // A socket that is bound to the interface does not get the answers.
    assert_eq!(summary.status, Status::Failed, "{}", stderr(&output));
    let connections = record(&bench, &summary.streams[0]).connections;
    let of = |name: &str| connections.iter().find(|one| one.interface.as_deref() == Some(name)).unwrap();
    assert_eq!(of("net0").notes, [""; 0]);
    let notes = of("net1").notes.join(" ");
    for part in ["says net1", "answers 10.65.0.1 from 10.65.0.2 leaves through net0", "ip rule"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}

/// Namespaces of the bench's agents by their processes' command lines.
fn names(bench: &Bench) -> Vec<String> {
    let lines = bench.processes().into_iter().map(|(_, line)| line);
    lines.filter(|line| line.contains(" agent ")).collect()
}

#[test]
fn lost_datagrams_are_those_that_nftables_dropped() {
    if !possible("lost_datagrams_are_those_that_nftables_dropped") {
        return;
    }
    let bench = bench(
        "  streams: {transports: [udp], rates: [2000pps], messageBytes: [200], parallel: [2]}
  trial: {duration: 1500ms, sampleInterval: 100ms, drain: {settle: 2s}}
",
    );
    // A header opens each stream; the payload of a datagram has 200 bytes, the headers of UDP 8.
    let rules = "nft -f - <<'END'
table inet t {
  counter came { }
  counter dropped { }
  chain c {
    type filter hook prerouting priority 0;
    udp dport 22023 udp length 208 counter name came numgen random mod 100 < 7 counter name dropped drop
  }
}
END";
    let (running, receiver) = prepared(&bench, "10.64.0.2", rules);
    // It lives as long as it is held, with its counters.
    let namespace = File::open(format!("/proc/{}/ns/net", receiver.as_raw_nonzero())).unwrap();
    let output = running.end_within(Duration::from_secs(30));
    let held = format!("--net=/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
    let listed = Command::new("nsenter").args([&held, "nft", "--json", "list", "counters"]).output().unwrap();
    let (came, dropped) = counters(&String::from_utf8(listed.stdout).unwrap());
    let summary = bench.summary().unwrap();
    assert_eq!(summary.status, Status::Complete, "{}", stderr(&output));
    let trial = &summary.streams[0];
    assert!(dropped > 50, "{dropped} of {came}");
    assert_eq!((trial.sent_datagrams, trial.lost_datagrams), (Some(came), Some(dropped)));
    assert_eq!(trial.received_datagrams, Some(came - dropped));
    assert_eq!(limits(&summary), [(StreamsLimit::NetworkLimited, 1)]);
    assert_validates(&bench);
}

/// Packets of the counters `came` and `dropped`.
fn counters(text: &str) -> (u64, u64) {
    let all: Value = serde_json::from_str(text).unwrap();
    let of = |name: &str| {
        let entries = all["nftables"].as_array().unwrap().iter();
        entries
            .filter(|one| one["counter"]["name"] == name)
            .find_map(|one| one["counter"]["packets"].as_u64())
            .unwrap()
    };
    (of("came"), of("dropped"))
}

#[test]
fn a_rate_that_tbf_sets_is_found_and_named() {
    if !possible("a_rate_that_tbf_sets_is_found_and_named") {
        return;
    }
    let bench = bench(
        "  streams: {congestion: [reno]}
  trial: {duration: 3s, sampleInterval: 200ms}
",
    );
    let (running, _) =
        prepared(&bench, "10.64.0.1", "tc qdisc add dev net0 root tbf rate 20mbit burst 32kb latency 30ms");
    let output = running.end_within(Duration::from_secs(30));
    let summary = bench.summary().unwrap();
    assert_eq!(summary.status, Status::Complete, "{}", stderr(&output));
    let trial = &summary.streams[0];
    assert_whole(&bench, trial, 1);
    // Of each frame of 1514 bytes, 1448 are payload.
    let received = trial.received_bps.unwrap();
    let share = received / (20e6 * 1448.0 / 1514.0);
    // Never more than the shaper lets pass; a sender that lacks CPU time leaves its queue empty now and then.
    assert!((0.8..1.02).contains(&share), "{received}");
    assert!(
        [StreamsLimit::NetworkLimited, StreamsLimit::SendBufferLimited].contains(&trial.verdict.kind),
        "{:?}",
        trial.verdict
    );
}

#[test]
fn namespaces_of_a_killed_run_are_removed_by_the_next() {
    if !possible("namespaces_of_a_killed_run_are_removed_by_the_next") {
        return;
    }
    let spec = "  streams: {rates: [1mbps]}\n  trial: {duration: 20s, sampleInterval: 100ms}\n";
    let killed = bench(spec);
    let running = start(&killed);
    let mut name = None;
    until("the agents are there", || {
        let lines = killed.processes().into_iter();
        let agent = lines.filter(|(_, line)| line.contains(" agent ")).map(|(pid, _)| pid).next();
        name = agent.and_then(|agent| {
            let target = agent.as_raw_nonzero().to_string();
            let output = Command::new("ip").args(["netns", "identify", &target]).output().unwrap();
            Some(String::from_utf8(output.stdout).unwrap().trim().to_owned()).filter(|name| !name.is_empty())
        });
        name.is_some()
    });
    let name = name.unwrap();
    running.signal(Signal::KILL);
    running.end_within(Duration::from_secs(5));
    let run_id = name.rsplit_once('-').unwrap().0;
    let left = || {
        let entries = fs::read_dir("/run/netns").unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(run_id))
            .count()
    };
    assert!(left() >= 2, "{name}");
    let next = bench("  streams: {rates: [1mbps]}\n  trial: {duration: 100ms, sampleInterval: 50ms}\n");
    let output = run(&next, &["--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(left(), 0);
    until("the agents have ended", || killed.processes().is_empty());
}
