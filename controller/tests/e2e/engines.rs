//! The same traffic over shared memory, AF_XDP, packet sockets and UDP sockets, in one experiment.

use std::fs;
use std::path::Path;
use std::time::Duration;

use linerate_experiment::engines::EngineName;
use linerate_results::engines::{EngineRow, rows};
use linerate_results::summary::{Status, Summary};
use rustix::process::Signal;
use serde_json::Value;

use crate::streams::bench;
use crate::support::{Bench, linerate, not_run, stderr, stdout, until};

const ENGINES: &str = "  engines: [memif, af_xdp, af_packet, sockets]
  traffic: {frameSizes: [64], flows: [3], rates: [5kpps]}
  trial: {duration: 1s, sampleInterval: 250ms}
";

fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        not_run(test, "only root may make network namespaces");
    }
    is_root
}

/// Options of a run that knows both programs.
fn options<'a>(hostplane: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--hostplane", hostplane, "--quiet", "--json"], more].concat()
}

fn hostplane(bench: &Bench) -> String {
    bench.path("linerate-hostplane").display().to_string()
}

fn assert_whole(row: &EngineRow<'_>) {
    let engine = row.figures.engine;
    let (sent, received, lost) = (row.sent.unwrap(), row.received.unwrap(), row.lost.unwrap());
    assert_eq!(sent, received + lost, "{engine}");
    assert_eq!(row.figures.losses.iter().map(|part| part.packets).sum::<u64>(), lost, "{engine}");
    let cpu_s = row.figures.agents_cpu_s.unwrap();
    assert!(
        received > 0 && cpu_s > 0.0,
        "{engine}: received {received} of {sent}, agents' CPU time {cpu_s} s"
    );
    assert_eq!((row.frame_size().label().as_str(), row.flows, row.intended_pps), ("64", 3, Some(5000.0)));
}

/// The account of losses begins with what the sender's interface counted: none of the first packets may be missing there.
fn assert_interfaces_counted_all(summary: &Summary, directory: &Path) {
    let trials = summary.trials.iter().map(|trial| (&trial.engine, &trial.trial, trial.sent_packets));
    let streams =
        summary.streams.iter().map(|trial| (&trial.engine, &trial.trial, trial.sent_datagrams.unwrap()));
    for (figures, file, sent) in trials.chain(streams) {
        let engine = figures.as_ref().unwrap().engine;
        let record: Value = serde_json::from_slice(&fs::read(directory.join(file)).unwrap()).unwrap();
        let counted = most_sent(&record);
        assert!(
            engine == EngineName::Memif || counted >= sent,
            "{engine}: sent {sent}, the interface counted {counted}"
        );
    }
}

/// The most packets, dropped ones included, that an interface of the agents' namespaces had to send, anywhere in a trial's file.
fn most_sent(value: &Value) -> u64 {
    let own = match (value["tx_packets"].as_u64(), value["tx_dropped"].as_u64()) {
        (Some(sent), Some(dropped)) if value["interface"] == "net0" => sent + dropped,
        _ => 0,
    };
    let inner = match value {
        Value::Array(items) => items.iter().map(most_sent).max(),
        Value::Object(fields) => fields.values().map(most_sent).max(),
        _ => None,
    };
    own.max(inner.unwrap_or(0))
}

#[test]
fn every_engine_has_its_row_and_the_report_begins_with_the_cost() {
    if !is_root("every_engine_has_its_row_and_the_report_begins_with_the_cost") {
        return;
    }
    // A device that is not there fails with its trial; the other engines run.
    let absent = "net_af_packet0,iface=absent";
    let devices = format!("spec.local.devices=[{{tx: '{absent}', rx: '{absent}'}}]");
    let bench = bench(&ENGINES.replace("[memif,", "[memif, devices,"));
    let program = hostplane(&bench);
    let output = bench.run(&options(&program, &["--format", "csv", "--set", &devices]));
    let summary = bench.summary().unwrap();
    assert_eq!(summary.status, Status::Failed, "{}", stderr(&output));
    let rows = rows(&summary);
    let engines: Vec<EngineName> = rows.iter().map(|row| row.figures.engine).collect();
    use EngineName::{AfPacket, AfXdp, Memif, Sockets};
    assert_eq!(engines, [Memif, AfXdp, AfPacket, Sockets], "{}", stderr(&output));
    rows.iter().for_each(assert_whole);
    let directory = bench.experiment().unwrap();
    assert_interfaces_counted_all(&summary, &directory);
    let failed: Vec<_> = summary.failures.iter().map(|failure| failure.profile.as_str()).collect();
    assert!(failed.len() == 1 && failed[0].ends_with("_devices"), "{failed:?}");
    assert!(summary.failures[0].reason.contains("did not start"), "{}", summary.failures[0].reason);
    let table = fs::read_to_string(directory.join("engines.csv")).unwrap();
    assert_eq!(table.lines().count(), 5, "{table}");
    let results = bench.path("results");
    let results = results.to_str().unwrap();
    let id = &summary.experiment.id;
    let checked = linerate(&["results", "validate", id, "--samples", "1", "--results", results]);
    assert!(checked.status.success(), "{}{}", stdout(&checked), stderr(&checked));
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
    let text = fs::read_to_string(to.join(format!("linerate-{id}.md"))).unwrap();
    let section = text.split("\n## ").nth(1).unwrap();
    assert!(section.starts_with("Engines") && section.contains(" of 64-byte frames where "), "{section}");
    until("no namespace is left", || bench.processes().iter().all(|(_, line)| !line.contains(" agent ")));
}

#[test]
fn devices_may_be_virtio_ports_that_share_memory() {
    let bench = bench(&ENGINES.replace("[memif, af_xdp, af_packet, sockets]", "[memif, devices]"));
    let program = hostplane(&bench);
    let socket = bench.path("virtio");
    let devices = format!(
        "spec.local.devices=[{{tx: 'net_virtio_user0,path={0},server=1', rx: 'net_vhost0,iface={0},client=1'}}]",
        socket.display()
    );
    let output = bench.run(&options(&program, &["--set", &devices]));
    let summary = bench.summary().unwrap();
    assert_eq!(summary.status, Status::Complete, "{}", stderr(&output));
    let rows = rows(&summary);
    let engines: Vec<EngineName> = rows.iter().map(|row| row.figures.engine).collect();
    assert_eq!(engines, [EngineName::Memif, EngineName::Devices]);
    rows.iter().for_each(assert_whole);
    assert!(!socket.exists(), "{} is left behind", socket.display());
}

/// What the processes of a bench wait for, and what those that hold settings said.
fn told(bench: &Bench) -> String {
    let waits = |(pid, line): (rustix::process::Pid, String)| {
        let waits_for =
            fs::read_to_string(format!("/proc/{}/wchan", pid.as_raw_nonzero())).unwrap_or_default();
        format!("{pid} in {waits_for}: {line}\n")
    };
    let log = bench.experiment().map(|directory| directory.join("tune.log"));
    let log = log.and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default();
    bench.processes().into_iter().map(waits).collect::<String>() + &log
}

#[test]
fn a_run_that_was_interrupted_between_engines_is_completed() {
    if !is_root("a_run_that_was_interrupted_between_engines_is_completed") {
        return;
    }
    let settings = "  hostSettings: [{rps: on}]\n";
    let bench = bench(&(ENGINES.replace("af_xdp, af_packet, ", "") + settings));
    let program = hostplane(&bench);
    let running = bench.start_with(&options(&program, &["--allow-host-changes"]));
    until("an engine is done", || bench.summary().is_some_and(|summary| !summary.trials.is_empty()));
    running.signal(Signal::KILL);
    running.end_within(Duration::from_secs(5));
    let first = bench.summary().unwrap().trials;
    let again = bench.start_with(&options(&program, &["--allow-host-changes", "--resume"]));
    let output = again.end_within_or(Duration::from_secs(120), || told(&bench));
    assert!(output.status.success(), "{}", stderr(&output));
    let summary: Summary = bench.summary().unwrap();
    assert_eq!((summary.status, &summary.trials), (Status::Complete, &first));
    let rows = rows(&summary);
    assert_eq!(rows.len(), 2);
    rows.iter().for_each(assert_whole);
    assert!(rows.iter().all(|row| row.host_setting == Some("rps-on")));
    // Memif has nothing to set; sockets have an interface at each end.
    let set = summary.experiment.host_settings.iter().map(|period| period.values.len());
    assert_eq!(set.collect::<Vec<_>>(), [0, 2]);
    let again = bench.run(&options(&program, &["--allow-host-changes", "--resume"]));
    assert!(again.status.success() && stderr(&again).is_empty(), "{}", stderr(&again));
    assert_eq!(bench.summary().unwrap().streams, summary.streams);
}
