//! Agents and controllers that are killed.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use linerate_results::summary::Status;
use rustix::process::{Signal, kill_process};

use super::{LOOPBACK, assert_validates, assert_whole, bench, options, record, run};
use crate::support::{Bench, Running, stderr, until};

const MESH: &str = "  topology: {kind: mesh, agents: 3}
  streams: {rates: [2mbps]}
  trial: {duration: 2s, sampleInterval: 100ms, repeats: 2}
";

fn start(bench: &Bench) -> Running {
    let program = bench.path("linerate-hostplane");
    bench.start_with(&options(program.to_str().unwrap(), &[&LOOPBACK[..], &["--quiet"]].concat()))
}

/// Waits until samples of a trial have arrived, after so many trials are stored.
pub(super) fn until_it_sends(bench: &Bench, trials: usize) {
    until("streams move", || {
        let files = bench.files();
        let stored = files.iter().filter(|path| path.ends_with("trial.json")).count();
        let unfinished = |path: &&PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".part-"))
        };
        let mut samples = files.iter().filter(unfinished).filter_map(|path| fs::read_to_string(path).ok());
        stored == trials && samples.any(|text| text.starts_with("{\"agent\""))
    });
}

#[test]
fn a_killed_agent_is_told_and_the_others_keep_their_results() {
    let bench = bench(MESH);
    let running = start(&bench);
    until_it_sends(&bench, 0);
    let (victim, _) = bench.processes().into_iter().find(|(_, line)| line.contains(" agent ")).unwrap();
    kill_process(victim, Signal::KILL).unwrap();
    let output = running.end_within(Duration::from_secs(40));
    assert!(!output.status.success());
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.streams.len()), (Status::Failed, 2), "{}", stderr(&output));
    assert!(summary.reason.as_ref().unwrap().contains("not complete"), "{:?}", summary.reason);
    let [first, second] = [&summary.streams[0], &summary.streams[1]];
    assert_eq!(first.lost_agents.len(), 1);
    let lost = &first.lost_agents[0];
    assert!(lost.reason.contains("signal 9") || lost.reason.contains("SIGKILL"), "{lost:?}");
    assert!(!first.complete && first.silent_connections.len() == 4, "{first:?}");
    // The two connections between the others are whole.
    let record = record(&bench, first);
    let (of_lost, others): (Vec<_>, Vec<_>) =
        record.connections.iter().partition(|one| one.from == lost.agent || one.to == lost.agent);
    assert_eq!((of_lost.len(), others.len(), first.connections_alive), (4, 2, 2));
    assert!(others.iter().all(|one| one.complete && one.alive), "{others:?}");
    assert!(of_lost.iter().all(|one| !one.alive && one.reasons.iter().any(|why| why.contains("was lost"))));
    // It was started anew for the next trial.
    assert_whole(&bench, second, 6);
    assert!(summary.recoveries[0].contains("started anew"), "{:?}", summary.recoveries);
    assert_validates(&bench);
    // Only the incomplete trial is run again.
    let kept = fs::read(bench.experiment().unwrap().join(&second.trial)).unwrap();
    let again = run(&bench, &[&LOOPBACK[..], &["--quiet", "--resume"]].concat());
    assert!(again.status.success(), "{}", stderr(&again));
    let summary = bench.summary().unwrap();
    assert_eq!(summary.status, Status::Complete);
    summary.streams.iter().for_each(|trial| assert_whole(&bench, trial, 6));
    assert_eq!(fs::read(bench.experiment().unwrap().join(&summary.streams[1].trial)).unwrap(), kept);
    assert_validates(&bench);
}

#[test]
fn a_killed_run_leaves_nothing_and_is_resumed() {
    let bench = bench(MESH);
    let running = start(&bench);
    until_it_sends(&bench, 1);
    let first = bench.summary().unwrap().streams[0].clone();
    running.signal(Signal::KILL);
    running.end_within(Duration::from_secs(5));
    until("the agents have ended", || bench.processes().is_empty());
    let kept = fs::read(bench.experiment().unwrap().join(&first.trial)).unwrap();
    let again = run(&bench, &[&LOOPBACK[..], &["--quiet", "--resume"]].concat());
    assert!(again.status.success(), "{}", stderr(&again));
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.streams.len()), (Status::Complete, 2));
    assert_eq!(summary.streams[0], first);
    assert_eq!(fs::read(bench.experiment().unwrap().join(&first.trial)).unwrap(), kept);
    assert_whole(&bench, &summary.streams[1], 6);
    assert_eq!(fs::read_dir(bench.path("results")).unwrap().count(), 1);
    assert_validates(&bench);
}

#[test]
fn an_interrupted_run_ends_its_agents_and_keeps_what_is_complete() {
    let bench = bench(MESH);
    let running = start(&bench);
    until_it_sends(&bench, 1);
    running.signal(Signal::INT);
    let output = running.end_within(Duration::from_secs(20));
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.streams.len()), (Status::Interrupted, 1), "{}", stderr(&output));
    until("the agents have ended", || bench.processes().is_empty());
    assert_validates(&bench);
}
