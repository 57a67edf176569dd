//! Settings of hosts as an axis: put in force, read back, told beside every trial, and restored whatever happens.

use std::fs;
use std::process::Command;
use std::time::Duration;

use linerate_results::host_setting::TrialHostSetting;
use linerate_results::summary::{Status, Summary};
use rustix::process::{Pid, Signal, kill_process};

use crate::streams::bench;
use crate::support::{Bench, Running, linerate, not_run, stderr, stdout, until};

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

/// A run on the loopback interface that may change settings.
fn start(bench: &Bench) -> Running {
    let program = bench.path("linerate-hostplane");
    let network = ["--allow-host-changes", "--set", "spec.local.network=loopback"];
    bench.start_with(&[&["--hostplane", program.to_str().unwrap(), "--quiet"], network.as_slice()].concat())
}

/// Share of the node's NET_RX softirqs that CPU 1 handled.
fn share_of_cpu_1(setting: &TrialHostSetting) -> f64 {
    let counts: Vec<u64> = setting.cpus.iter().map(|cpu| cpu.net_rx.unwrap()).collect();
    counts[1] as f64 / counts.iter().sum::<u64>() as f64
}

#[test]
fn every_trial_runs_under_every_setting_and_softirqs_follow() {
    let test = "every_trial_runs_under_every_setting_and_softirqs_follow";
    if !is_root(test) {
        return;
    }
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        return not_run(test, "there is one CPU, and packets are to go to a second one");
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
    assert!(periods.iter().all(|period| period.restored_at.is_some()), "{periods:?}");
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
    /// Each test has another letter.
    fn new(letter: char) -> Self {
        let name = format!("lrhs{}{letter}", std::process::id() % 100_000);
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

    fn assert_no_journal(&self, bench: &Bench) {
        let mut show = Command::new(bench.path("linerate-hostplane"));
        let shown = show.args(["tune", "show", "--json", "--interface", &self.0]).output().unwrap();
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!(shown["is_changed"], false, "no journal is left");
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
    let veth = Veth::new('k');
    let before = veth.rps_cpus();
    let bench = bench(&format!(
        "  hostSettings: [{{interfaces: [{}], rps: 0}}]
  streams: {{transports: [tcp], rates: [1mbps]}}
  trial: {{duration: 60s}}
",
        veth.0
    ));
    for signal in [Signal::KILL, Signal::INT] {
        let running = start(&bench);
        until("the setting is in force", || veth.rps_cpus() != before);
        running.signal(signal);
        running.end_within(Duration::from_secs(10));
        until("it is restored", || veth.rps_cpus() == before);
    }
    until("nothing runs", || bench.processes().is_empty());
    veth.assert_no_journal(&bench);
}

#[test]
fn a_trial_in_which_its_setting_ended_is_none() {
    if !is_root("a_trial_in_which_its_setting_ended_is_none") {
        return;
    }
    let veth = Veth::new('h');
    let before = veth.rps_cpus();
    let setting = |name: &str| format!("{{name: {name}, interfaces: [{}], rps: 0}}", veth.0);
    let bench = bench(&format!(
        "  hostSettings: [{}, {}, {}]
  streams: {{transports: [tcp], rates: [1mbps]}}
  trial: {{duration: 1500ms, sampleInterval: 100ms}}
",
        setting("terminated"),
        setting("killed"),
        setting("held")
    ));
    let running = start(&bench);
    let mut ended = Vec::new();
    for signal in [Signal::TERM, Signal::KILL] {
        let mut holder = None;
        until("the setting is held", || {
            let of_tune = |(pid, line): &(Pid, String)| line.contains(" tune apply ") && !ended.contains(pid);
            holder = bench.processes().into_iter().find(of_tune).map(|(pid, _)| pid);
            holder.is_some() && veth.rps_cpus() != before
        });
        kill_process(holder.unwrap(), signal).unwrap();
        ended.extend(holder);
    }
    let output = running.end_within(Duration::from_secs(30));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    let failed: Vec<_> =
        summary.failures.iter().map(|failure| failure.profile.rsplit_once('_').unwrap().1).collect();
    assert_eq!(failed, ["terminated", "killed"], "{:?}", summary.failures);
    assert!(summary.failures.iter().all(|failure| failure.reason.contains("ended in the trial")));
    let names: Vec<_> =
        summary.streams.iter().map(|trial| trial.host_setting.as_ref().unwrap().name.as_str()).collect();
    assert_eq!((names.as_slice(), summary.status), (["held"].as_slice(), Status::Failed));
    // What the killed one left behind is restored as well.
    assert_eq!(veth.rps_cpus(), before);
    veth.assert_no_journal(&bench);
    let periods = &summary.experiment.host_settings;
    assert!(periods.len() == 3 && periods.iter().all(|period| period.restored_at.is_some()), "{periods:?}");
}
