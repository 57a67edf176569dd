//! Settings of hosts as an axis: put in force, read back, told beside every trial, and restored whatever happens.

use std::fs;
use std::process::Command;
use std::time::Duration;

use linerate_results::host_setting::TrialHostSetting;
use linerate_results::summary::{Status, Summary};
use rustix::process::Signal;

use crate::streams::bench;
use crate::support::{Bench, linerate, not_run, stderr, stdout, until};

fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        not_run(test, "only root may change settings of hosts");
    }
    is_root
}

fn run(bench: &Bench, more: &[&str]) -> std::process::Output {
    let program = bench.path("linerate-hostplane");
    bench.run(&[&["--hostplane", program.to_str().unwrap(), "--quiet"], more].concat())
}

/// Share of the node's NET_RX softirqs that CPU 1 handled.
fn share_of_cpu_1(setting: &TrialHostSetting) -> f64 {
    let counts: Vec<u64> = setting.cpus.iter().map(|cpu| cpu.net_rx.unwrap()).collect();
    counts[1] as f64 / counts.iter().sum::<u64>() as f64
}

#[test]
fn every_trial_runs_under_every_setting_and_softirqs_follow() {
    if !is_root("every_trial_runs_under_every_setting_and_softirqs_follow") {
        return;
    }
    let bench = bench(
        "  hostSettings: [{}, {name: cpu-0, rps: 0}, {name: cpu-1, rps: 1}, {interfaces: [absent], xps: off}]
  http: {backends: [1], connections: [8]}
  trial: {duration: 500ms, sampleInterval: 100ms}
",
    );
    let refused = run(&bench, &[]);
    assert!(
        !refused.status.success() && stderr(&refused).contains("--allow-host-changes"),
        "{}",
        stderr(&refused)
    );
    assert!(bench.summary_in_results().is_none());
    let output = run(&bench, &["--allow-host-changes", "--format", "csv,pods-csv"]);
    let summary = bench.summary().unwrap();
    let names: Vec<_> =
        summary.http.iter().map(|trial| trial.host_setting.as_ref().unwrap().name.as_str()).collect();
    assert_eq!(names, ["as-it-is", "cpu-0", "cpu-1"], "{}", stderr(&output));
    for trial in &summary.http {
        assert!(trial.complete && trial.requests.answered > 0, "{:?}", trial.reasons);
        assert!(trial.profile.ends_with(&format!("_{}", trial.host_setting.as_ref().unwrap().name)));
    }
    // The interface that is not there fails with its trial alone.
    assert_eq!((summary.status, summary.failures.len()), (Status::Failed, 1), "{:?}", summary.failures);
    let failure = &summary.failures[0];
    assert!(failure.profile.ends_with("_xps-off") && failure.reason.contains("absent"), "{failure:?}");
    let periods = &summary.experiment.host_settings;
    let values = |name: &str| periods.iter().find(|period| period.setting == name).unwrap().values.clone();
    assert!(values("as-it-is").is_empty());
    let now: Vec<_> = values("cpu-1")
        .into_iter()
        .map(|value| {
            (value.agent.unwrap(), value.interface, value.name, value.before.unwrap(), value.now.unwrap())
        })
        .collect();
    let rps = |agent: &str| {
        let text = |text: &str| text.to_owned();
        (text(agent), text("net0"), text("rx-0 rps_cpus"), text("none"), text("1"))
    };
    assert_eq!(now, [rps("c0"), rps("b0")]);
    if summary.http[1].host_setting.as_ref().unwrap().cpus.len() > 1 {
        let shares: Vec<f64> =
            summary.http.iter().map(|trial| share_of_cpu_1(trial.host_setting.as_ref().unwrap())).collect();
        assert!(shares[2] > shares[1], "NET_RX follows RPS: {shares:?}");
    }
    shown(&bench, &summary);
    // What has a result is kept; only the failed trial is tried again.
    let again = run(&bench, &["--allow-host-changes", "--resume"]);
    assert!(!again.status.success(), "{}", stderr(&again));
    let resumed = bench.summary().unwrap();
    assert_eq!((&resumed.http, resumed.failures.len()), (&summary.http, 1));
}

/// Report, exports and validation.
fn shown(bench: &Bench, summary: &Summary) {
    let (results, id) = (bench.path("results"), summary.experiment.id.as_str());
    let results = results.to_str().unwrap();
    let checked = linerate(&["results", "validate", id, "--samples", "1", "--results", results]);
    assert!(checked.status.success(), "{}{}", stdout(&checked), stderr(&checked));
    let directory = bench.experiment().unwrap();
    let table = fs::read_to_string(directory.join("host_settings.csv")).unwrap();
    let cpus: usize = summary.http.iter().map(|trial| trial.host_setting.as_ref().unwrap().cpus.len()).sum();
    assert_eq!(table.lines().count(), 1 + cpus, "{table}");
    for setting in ["as-it-is", "cpu-0", "cpu-1"] {
        let file = format!("http/direct_8_connections_max_{setting}_try_1.csv");
        let pods = fs::read_to_string(directory.join(&file)).unwrap();
        assert!(
            pods.starts_with("\"# of pods\",\"Req/sec\"\n1,") && pods.lines().count() == 2,
            "{file}: {pods}"
        );
    }
    let to = bench.path("reports");
    let report = linerate(&[
        "results",
        "report",
        id,
        "--format",
        "md",
        "--results",
        results,
        "--to",
        to.to_str().unwrap(),
    ]);
    assert!(report.status.success(), "{}", stderr(&report));
    let text = fs::read_to_string(to.join(format!("linerate-{id}.md"))).unwrap().replace('\\', "");
    assert!(
        text.contains("## Host settings") && text.contains("net0 of b0 | rx-0 rps_cpus | none | 1"),
        "{text}"
    );
}

/// An interface of this machine, for as long as it is held.
struct Veth(String);

impl Veth {
    fn new() -> Self {
        let name = format!("lrhs{}", std::process::id() % 100_000);
        let made = Command::new("ip")
            .args(["link", "add", &name, "type", "veth", "peer", "name", &format!("{name}p")])
            .status();
        assert!(made.unwrap().success());
        Self(name)
    }

    fn rps_cpus(&self) -> String {
        let path = format!("/sys/class/net/{}/queues/rx-0/rps_cpus", self.0);
        fs::read_to_string(path).unwrap().trim().to_owned()
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.0]).status();
    }
}

#[test]
fn settings_are_restored_when_the_controller_is_killed() {
    if !is_root("settings_are_restored_when_the_controller_is_killed") {
        return;
    }
    let veth = Veth::new();
    let before = veth.rps_cpus();
    let bench = bench(&format!(
        "  hostSettings: [{{interfaces: [{}], rps: 0}}]
  streams: {{transports: [tcp], rates: [1mbps]}}
  trial: {{duration: 60s}}
",
        veth.0
    ));
    let program = bench.path("linerate-hostplane");
    let options = [
        "--hostplane",
        program.to_str().unwrap(),
        "--quiet",
        "--allow-host-changes",
        "--set",
        "spec.local.network=loopback",
    ];
    for signal in [Signal::KILL, Signal::INT] {
        let running = bench.start_with(&options);
        until("the setting is in force", || veth.rps_cpus() != before);
        running.signal(signal);
        running.end_within(Duration::from_secs(10));
        until("it is restored", || veth.rps_cpus() == before);
    }
    until("nothing runs", || bench.processes().is_empty());
    let shown =
        Command::new(&program).args(["tune", "show", "--json", "--interface", &veth.0]).output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["is_changed"], false, "no journal is left");
}
