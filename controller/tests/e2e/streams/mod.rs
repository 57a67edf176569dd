//! Experiments of streams with real agents: a pair, a mesh, namespaces, lost agents and killed controllers.

mod clocks;
mod faults;
mod namespaces;
mod reports;

use std::fs;
use std::path::Path;
use std::process::Output;

use linerate::schema::SchemaOf;
use linerate_results::planned::PlannedResult;
use linerate_results::store::Recorded;
use linerate_results::streams::{StreamsTrialRecord, StreamsTrialSummary};
use linerate_results::summary::{Status, Summary};
use linerate_wire::streams::StreamsLimit;
use serde_json::Value;

use crate::support::{Bench, linerate, stderr, stdout};

/// Agents on the loopback interface, for root as well.
const LOOPBACK: [&str; 2] = ["--set", "spec.local.network=loopback"];

/// A bench whose agents have its directory on their command line.
pub(crate) fn bench(spec: &str) -> Bench {
    let bench = Bench::new(spec);
    let program = Path::new(env!("CARGO_BIN_EXE_linerate")).with_file_name("linerate-hostplane");
    assert!(
        program.is_file(),
        "{} is not there; run first: cargo build -p linerate-hostplane",
        program.display()
    );
    std::os::unix::fs::symlink(program, bench.path("linerate-hostplane")).unwrap();
    bench
}

/// Options of every run.
fn options<'o>(bench: &'o str, more: &[&'o str]) -> Vec<&'o str> {
    ["--hostplane", bench].into_iter().chain(more.iter().copied()).collect()
}

fn run(bench: &Bench, more: &[&str]) -> Output {
    let program = bench.path("linerate-hostplane");
    bench.run(&options(program.to_str().unwrap(), more))
}

/// The trial's own file.
fn record(bench: &Bench, trial: &StreamsTrialSummary) -> StreamsTrialRecord {
    let directory = bench.experiment().unwrap();
    Recorded { directory, summary: bench.summary().unwrap() }.streams_trial(&trial.trial).unwrap()
}

fn assert_validates(bench: &Bench) {
    let results = bench.path("results");
    let checked =
        linerate(&["results", "validate", "--samples", "1", "--results", results.to_str().unwrap()]);
    assert!(checked.status.success(), "{}{}", stdout(&checked), stderr(&checked));
}

fn assert_valid(of: SchemaOf, value: &Value) {
    let schema = serde_json::to_value(of.schema()).unwrap();
    let errors: Vec<_> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(value)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?} in {value}");
}

/// Every connection is alive and exact.
fn assert_whole(bench: &Bench, trial: &StreamsTrialSummary, connections: u32) {
    assert!(trial.complete, "{:?}", trial.reasons);
    assert_eq!((trial.connections, trial.connections_alive), (connections, connections), "{trial:?}");
    assert_eq!(trial.streams_complete, u64::from(connections * trial.parallel));
    assert!(trial.silent_connections.is_empty() && trial.lost_agents.is_empty());
    assert_eq!(trial.written_bytes, trial.received_bytes);
    assert!(trial.written_bytes > Some(0));
    let record = record(bench, trial);
    assert_eq!(record.result.as_ref(), Some(trial));
    assert_eq!(record.connections.len(), connections as usize);
    for connection in &record.connections {
        assert!(connection.alive && connection.complete, "{connection:?}");
        assert_eq!(connection.written_bytes, connection.received_bytes);
        assert_eq!(
            connection.acked_bytes.unwrap_or_default(),
            match trial.acked_bytes {
                Some(_) => connection.written_bytes.unwrap(),
                None => 0,
            }
        );
    }
}

const PAIR: &str = "  streams: {transports: [tcp, udp], rates: [20mbps], parallel: [2]}
  trial: {duration: 800ms, sampleInterval: 100ms, repeats: 2}
";

#[test]
fn a_pair_is_exact_and_its_results_validate() {
    let bench = bench(PAIR);
    let output = run(&bench, &[&LOOPBACK[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    assert_eq!(
        (summary.status, summary.streams.len(), summary.experiment.planned_trials),
        (Status::Complete, 4, 4)
    );
    let labels: Vec<_> = summary.streams.iter().map(StreamsTrialSummary::label).collect();
    let named = |name: &str, repeat| (format!("{name}_2_streams_20mbps"), repeat);
    assert_eq!(labels, [named("tcp", 1), named("tcp", 2), named("udp", 1), named("udp", 2)]);
    for trial in &summary.streams {
        assert_whole(&bench, trial, 1);
        assert_eq!(trial.sent_datagrams.is_some(), trial.label().0.starts_with("udp"));
        assert_eq!(trial.lost_datagrams, trial.sent_datagrams.map(|_| 0));
        assert_eq!(trial.delay_ns.is_some(), trial.sent_datagrams.is_some());
        assert_eq!(trial.rtt_us.is_some(), trial.sent_datagrams.is_none());
        assert!(trial.cpu_s_per_gbit > Some(0.0) && trial.sender_cpu_s_per_gbit > Some(0.0));
        assert_eq!(trial.agents.len(), 2);
    }
    assert_validates(&bench);
    let file = fs::read_to_string(bench.experiment().unwrap().join("summary.json")).unwrap();
    assert_valid(SchemaOf::Summary, &serde_json::from_str(&file).unwrap());
    // Events, one a line, and the summary as the last line.
    let text = stdout(&output);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, events) = lines.split_last().unwrap();
    assert_eq!(last["streams"].as_array().unwrap().len(), 4);
    events.iter().for_each(|event| assert_valid(SchemaOf::Event, event));
    let count = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!(count("streams-trial"), 4);
    assert!(count("streams-sample") >= 8, "{}", count("streams-sample"));
    // All that was asked for is there: nothing is run again.
    let again = run(&bench, &[&LOOPBACK[..], &["--quiet", "--resume"]].concat());
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(bench.summary().unwrap(), summary);
    let shown = linerate(&[
        "results",
        "show",
        &summary.experiment.id,
        "--results",
        bench.path("results").to_str().unwrap(),
    ]);
    let table = stdout(&shown);
    assert!(
        table.contains("tcp_2_streams_20mbps") && table.contains("written = acknowledged = received"),
        "{table}"
    );
}

#[test]
fn a_mesh_sends_on_all_connections_at_once() {
    let bench = bench(
        "  topology: {kind: mesh, agents: 4}
  streams: {transports: [tcp, udp], rates: [2mbps]}
  trial: {duration: 1s, sampleInterval: 200ms}
",
    );
    let output = run(&bench, &[&LOOPBACK[..], &["--quiet"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    assert_eq!((summary.experiment.streams_agents.len(), summary.experiment.pairs), (4, 12));
    for trial in &summary.streams {
        assert_whole(&bench, trial, 12);
        let names: Vec<_> =
            record(&bench, trial).connections.iter().map(|one| one.connection.clone()).collect();
        assert_eq!((names[0].as_str(), names[11].as_str()), ("a0-a1", "a3-a2"));
        assert_eq!(trial.intended_bps, Some(24e6));
        assert!(trial.start.is_some_and(|start| start.spread_s < 0.05), "{:?}", trial.start);
    }
    assert_validates(&bench);
}

#[test]
fn a_star_in_both_directions_and_an_endless_trial() {
    let bench = bench(
        "  topology: {kind: star, agents: 3}
  streams: {rates: [1mbps], endless: true}
  trial: {sampleInterval: 100ms, direction: bidirectional}
",
    );
    let program = bench.path("linerate-hostplane");
    let running =
        bench.start_with(&options(program.to_str().unwrap(), &[&LOOPBACK[..], &["--quiet"]].concat()));
    faults::until_it_sends(&bench, 0);
    running.signal(rustix::process::Signal::INT);
    let output = running.end_within(std::time::Duration::from_secs(20));
    let summary = bench.summary().unwrap();
    assert_eq!(summary.status, Status::Interrupted, "{}", stderr(&output));
    // What was sent until the signal has its result.
    let trial = &summary.streams[0];
    assert_whole(&bench, trial, 4);
    assert!(trial.duration_s > 0.2);
}

#[test]
fn a_dry_run_shows_what_a_run_would_start() {
    let bench = bench(
        "  topology: {kind: mesh, agents: 5}
  streams: {transports: [tcp], parallel: [1, 8], rates: [10mbps, max], congestion: [reno, cubic]}
",
    );
    let output = run(&bench, &[&LOOPBACK[..], &["--dry-run", "--json"]].concat());
    let plan: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&plan["plan"]["connections"], &plan["plan"]["topology"]), (&20.into(), &"mesh".into()));
    let trials = plan["plan"]["trials"].as_array().unwrap();
    assert_eq!((trials.len(), &trials[7]["profile"]), (8, &"tcp_8_streams_max_cubic".into()));
    assert_eq!(plan["agents"].as_array().unwrap().len(), 5);
    assert!(!bench.path("results").exists());
}

#[test]
fn impossible_documents_are_refused_with_the_remedy() {
    for (spec, parts) in [
        ("  streams: {transports: [udp]}\n", &["spec.streams.rates: missing", "[100mbps]"][..]),
        ("  streams: {rates: [10%]}\n", &["spec.streams.rates: 10%", "bits per second"]),
        ("  streams: {rates: [5kpps]}\n", &["5000pps is of datagrams"]),
        ("  streams: {}\n  traffic: {}\n", &["spec.traffic: given beside spec.streams"]),
        ("  topology: {kind: mesh, agents: 3}\n", &["spec.topology: given without spec.streams"]),
        ("  streams: {}\n  topology: {kind: mesh}\n", &["spec.topology.agents: missing"]),
        ("  streams: {parallel: [0]}\n", &["parallel", "1 to 16384"]),
        (
            "  streams: {rates: [2gbps]}\n  safety: {maxRate: 1gbps}\n",
            &["tcp_1_streams_2gbps", "exceeds the ceiling"],
        ),
        ("  streams: {endless: true}\n  trial: {duration: 3s}\n", &["an endless trial has no duration"]),
        ("  streams: {}\n  topology: {interfaces: [net1]}\n", &["net1", "namespaces"]),
    ] {
        let bench = bench(spec);
        let output = run(&bench, &LOOPBACK);
        let told = stderr(&output);
        assert!(!output.status.success(), "{spec}");
        assert!(parts.iter().all(|part| told.contains(part)), "{spec}: {told}");
    }
}

/// Number of connections by verdict.
fn limits(summary: &Summary) -> Vec<(StreamsLimit, u32)> {
    summary.streams[0].limits.iter().map(|(limit, count)| (*limit, *count)).collect()
}
