//! Balancers in network namespaces, and the gate with a backend that answers late.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use linerate_results::http::EvennessUnit;
use rustix::process::Pid;

use super::{assert_exact, assert_validates, bench, run};
use crate::support::{Bench, not_run, stderr, until};

/// True when this user may create namespaces, and the tools are there.
fn possible(test: &str, tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| Command::new(tool).arg("-v").output().is_err());
    let reason = match missing {
        _ if !rustix::process::geteuid().is_root() => "only root may make network namespaces".to_owned(),
        Some(tool) => format!("{tool} is not installed; scripts/test.sh installs it"),
        None => return true,
    };
    not_run(test, &reason);
    false
}

#[test]
fn nftables_gives_connections_to_backends_and_every_request_is_counted() {
    if !possible("nftables_gives_connections_to_backends_and_every_request_is_counted", &["ip", "nft"]) {
        return;
    }
    let bench = bench(
        "  http: {targets: [nftables-inc, nftables-random], backends: [1, 2, 3, 4], connections: [96], rates: [500]}
  trial: {duration: 600ms, sampleInterval: 100ms}
",
    );
    let output = run(&bench, &["--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    assert_eq!(summary.http.len(), 8);
    for trial in &summary.http {
        assert_exact(&bench, trial);
        let connections: Vec<u64> = trial.by_backend.values().map(|one| one.connections.unwrap()).collect();
        assert_eq!(connections.iter().sum::<u64>(), 96, "{trial:?}");
        let Some(evenness) = trial.evenness else { continue };
        assert_eq!((evenness.unit, evenness.count), (EvennessUnit::Connections, 96));
        if trial.target == "nftables-inc" {
            assert!(connections.iter().all(|one| *one == 96 / u64::from(trial.backends)), "{connections:?}");
            assert_eq!(evenness.p_value, Some(1.0));
        } else {
            // A fair die is less even than this once in a million times.
            assert!(evenness.p_value > Some(1e-6), "{trial:?}");
        }
    }
    assert_validates(&bench);
    assert!(!leftovers(), "namespaces are left behind");
}

#[test]
fn haproxy_gives_each_request_to_the_next_backend() {
    if !possible("haproxy_gives_each_request_to_the_next_backend", &["ip", "haproxy"]) {
        return;
    }
    let bench = bench(
        "  http: {targets: [haproxy], backends: [3], connections: [6], rates: [300]}
  trial: {duration: 600ms, sampleInterval: 100ms}
",
    );
    let output = run(&bench, &["--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let trial = &bench.summary().unwrap().http[0];
    assert_exact(&bench, trial);
    let evenness = trial.evenness.unwrap();
    assert_eq!(evenness.unit, EvennessUnit::Requests);
    assert!(evenness.p_value > Some(0.9) && trial.balancer_cpu_us > Some(0.0), "{trial:?}");
    assert_validates(&bench);
}

/// True when a namespace of a run is there that no run holds.
fn leftovers() -> bool {
    let listed = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let names = String::from_utf8(listed.stdout).unwrap();
    // Other tests have namespaces at the same time; those of a run that has ended have no lock.
    names
        .lines()
        .filter_map(|line| line.strip_prefix("linerate-")?.split_once('-'))
        .any(|(id, _)| !std::path::Path::new("/run/linerate-netns").join(format!("{id}.lock")).exists())
}

/// Has the backend `b1` refuse connections from before it is started until [`opened`].
fn close(bench: &Bench) {
    let agent = bench.path("linerate-hostplane");
    fs::rename(&agent, bench.path("hostplane")).unwrap();
    symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/closed_backend.sh"), &agent).unwrap();
}

/// The process of the backend of this name.
fn backend(bench: &Bench, name: &str) -> Option<Pid> {
    let own = format!("--http-name {name}");
    let mut all = bench.processes().into_iter();
    let found = all.find(|(_, line)| line.contains(&own) && !line.contains("netns exec"));
    found.map(|(process, _)| process)
}

/// Lets the backend `b1` answer, when it has refused a connection; true when it does.
fn opened(bench: &Bench) -> bool {
    let process = backend(bench, "b1").unwrap();
    until("the backend has refused a connection", || {
        inside(process, "nft list counter ip late refused | grep -q 'packets [1-9]'")
    });
    inside(process, "nft delete table ip late")
}

fn inside(process: Pid, line: &str) -> bool {
    let target = process.as_raw_nonzero().to_string();
    let output =
        Command::new("nsenter").args(["--target", &target, "--net", "sh", "-c", line]).output().unwrap();
    output.status.success()
}

#[test]
fn a_trial_waits_for_a_backend_that_answers_late() {
    if !possible("a_trial_waits_for_a_backend_that_answers_late", &["ip", "nft", "nsenter"]) {
        return;
    }
    let bench = bench(
        "  http: {targets: [nftables-inc], backends: [2], connections: [4], rates: [200]}
  trial: {duration: 500ms, sampleInterval: 100ms}
",
    );
    close(&bench);
    let program = bench.path("linerate-hostplane");
    let running = bench.start_with_events(&["--hostplane", program.to_str().unwrap()]);
    let waits = "waiting until each of 2 backends answers every client through nftables-inc";
    until("the run says that it waits", || bench.events().contains(waits));
    let opened = opened(&bench);
    let output = running.end_within(Duration::from_secs(60));
    assert!(opened && output.status.success(), "{opened} {}", stderr(&output));
    let trial = &bench.summary().unwrap().http[0];
    assert_exact(&bench, trial);
    assert!(trial.gate.waited_s > 0.0 && trial.gate.failed > 0, "{:?}", trial.gate);
    assert_eq!(trial.gate.last_backend.as_deref(), Some("b1"));
    assert_validates(&bench);
}
