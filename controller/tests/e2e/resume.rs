//! Interrupted runs that are resumed: no trial is lost or duplicated, and earlier results stay unchanged.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::support::{Bench, linerate, stderr, stdout, until};
use linerate_results::summary::{Status, Summary};
use rustix::process::Signal;

const REPEATS: usize = 12;
const MANY: &str = "  pairs: 2
  traffic: {frameSizes: [64], rates: [5kpps]}
  trial: {duration: 60ms, sampleInterval: 20ms, repeats: 12}
";

/// Results by profile, repeat and pair, with the write time of their file.
fn results(bench: &Bench) -> BTreeMap<(u32, String), Vec<u8>> {
    let summary = bench.summary().unwrap();
    let directory = bench.experiment().unwrap();
    let of = |trial: &linerate_results::summary::TrialSummary| {
        ((trial.repeat, trial.pair.clone()), fs::read(directory.join(&trial.trial)).unwrap())
    };
    summary.trials.iter().map(of).collect()
}

fn assert_whole(bench: &Bench, summary: &Summary) {
    let order: Vec<_> = summary.trials.iter().map(|trial| (trial.repeat, trial.pair.as_str())).collect();
    let wanted: Vec<_> =
        (1..=REPEATS as u32).flat_map(|repeat| [(repeat, "tx0-rx0"), (repeat, "tx1-rx1")]).collect();
    assert_eq!(order, wanted, "no trial lost, none doubled, all in the order of the plan");
    assert_eq!(summary.aggregates.len(), REPEATS);
    assert!(
        summary.trials.iter().all(|trial| trial.sent_packets == trial.received_packets + trial.lost_packets)
    );
    assert_eq!((summary.status, summary.failures.len()), (Status::Complete, 0));
    let checked = linerate(&[
        "results",
        "validate",
        "--samples",
        "1",
        "--results",
        bench.path("results").to_str().unwrap(),
    ]);
    assert!(checked.status.success(), "{}{}", stdout(&checked), stderr(&checked));
    assert_eq!(fs::read_dir(bench.path("results")).unwrap().count(), 1, "all of it is one experiment");
}

fn resume(bench: &Bench) -> Summary {
    let output = bench.run(&["--quiet", "--json", "--resume"]);
    assert!(output.status.success(), "{}", stderr(&output));
    bench.summary().unwrap()
}

#[test]
fn a_run_that_was_killed_again_and_again_is_completed() {
    let bench = Bench::new(MANY);
    let mut kept = BTreeMap::new();
    // Before the first trial, and at different moments of a trial.
    for (trials, delay_ms) in [(0, 5), (0, 250), (2, 0), (6, 35), (10, 70)] {
        let run = bench.start_with(&["--quiet", "--resume"]);
        until("so many trials are filed", || {
            bench.summary().is_some_and(|summary| summary.trials.len() >= trials)
        });
        std::thread::sleep(Duration::from_millis(delay_ms));
        run.signal(Signal::KILL);
        run.end_within(Duration::from_secs(5));
        let now = results(&bench);
        for (trial, bytes) in &kept {
            assert_eq!(now.get(trial), Some(bytes), "{trial:?} was measured before, and stays");
        }
        kept = now;
    }
    assert!(kept.len() >= 10);
    let id = bench.summary().unwrap().experiment.id;
    let results_directory = bench.path("results");
    let scan = linerate(&["results", "scan", &id, "--results", results_directory.to_str().unwrap()]);
    assert!(stdout(&scan).contains("--resume"), "{}", stdout(&scan));
    let summary = resume(&bench);
    assert_eq!(summary.experiment.id, id);
    assert!(summary.experiment.resumed_at.len() >= 3);
    assert_whole(&bench, &summary);
    let now = results(&bench);
    assert!(
        kept.iter().all(|(trial, bytes)| now.get(trial) == Some(bytes)),
        "what was measured before stays"
    );

    let again = bench.run(&["--resume", "--format", "csv"]);
    assert!(stderr(&again).contains("exported"), "{}", stderr(&again));
    assert!(
        again.status.success() && stderr(&again).contains("nothing is left to run"),
        "{}",
        stderr(&again)
    );
    assert_eq!(results(&bench), now);
    bench.assert_nothing_left(Duration::from_secs(20));
}

#[test]
fn a_run_that_was_killed_at_its_very_end_needs_no_agents() {
    let bench = Bench::new(MANY);
    resume(&bench);
    // As between the last trial and the end: the log lacks its last line.
    let directory = bench.experiment().unwrap();
    let (path, log) = (directory.join("summary.json"), directory.join("trials.jsonl"));
    let complete = fs::read_to_string(&path).unwrap();
    let running = complete.replace(r#""status": "complete""#, r#""status": "running""#);
    assert_ne!(running, complete);
    fs::write(&path, running).unwrap();
    let lines = fs::read_to_string(&log).unwrap();
    let (lines, last) = lines.trim_end().rsplit_once('\n').unwrap();
    assert!(last.contains(r#""status":"complete""#), "{last}");
    fs::write(&log, format!("{lines}\n")).unwrap();
    let (before, earlier) = (results(&bench), bench.summary().unwrap());

    let output = bench.run(&["--resume"]);
    let log = stderr(&output);
    assert!(output.status.success() && !log.contains("starting"), "{log}");
    let summary = bench.summary().unwrap();
    assert_eq!(results(&bench), before);
    assert_eq!(summary.overhead.start_up_s, earlier.overhead.start_up_s);
    assert_eq!(summary.warm_up, earlier.warm_up);
    assert!(!earlier.warm_up.is_empty());
    assert_eq!(summary.experiment.agents, earlier.experiment.agents);
    assert_eq!(summary.experiment.agents.len(), 4);
    assert_whole(&bench, &summary);
}

#[test]
fn a_trial_that_is_damaged_is_run_again() {
    let bench = Bench::new(MANY);
    let run = bench.start();
    until("some trials are filed", || bench.summary().is_some_and(|summary| summary.trials.len() >= 6));
    run.signal(Signal::INT);
    assert_eq!(run.end_within(Duration::from_secs(20)).status.code(), Some(130));
    let before = results(&bench);
    let damaged = bench.experiment().unwrap().join(&bench.summary().unwrap().trials[2].trial);
    let whole = fs::read(&damaged).unwrap();
    fs::write(&damaged, &whole[..whole.len() / 2]).unwrap();
    let summary = resume(&bench);
    assert_whole(&bench, &summary);
    let after = results(&bench);
    for (trial, bytes) in before {
        // All pairs of a trial are loaded at the same time, so both are repeated.
        assert_eq!(after[&trial] == bytes, trial.0 != 2, "{trial:?}");
    }
}

#[test]
fn only_the_same_experiment_is_resumed() {
    let bench = Bench::new(MANY);
    let run = bench.start();
    until("a trial is filed", || bench.summary().is_some_and(|summary| !summary.trials.is_empty()));
    let refused = bench.run(&["--resume"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("a run is at it right now"), "{}", stderr(&refused));
    run.signal(Signal::KILL);
    run.end_within(Duration::from_secs(5));

    let output = bench.run(&["--resume", "--set", "spec.trial.repeats=2"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("a new one begins"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(bench.path("results")).unwrap().count(), 2);
}

#[test]
fn results_of_other_programs_are_not_mixed() {
    let bench = Bench::new(MANY);
    let run = bench.start();
    until("a trial is filed", || bench.summary().is_some_and(|summary| !summary.trials.is_empty()));
    run.signal(Signal::KILL);
    run.end_within(Duration::from_secs(5));
    let path = bench.experiment().unwrap().join("trials.jsonl");
    let summary = bench.summary().unwrap();
    let recorded = summary.trials.len();
    let dpdk = format!(r#""dpdk":"{}""#, summary.experiment.versions.dpdk.unwrap());
    let log = fs::read_to_string(&path).unwrap();
    fs::write(&path, log.replace(&dpdk, r#""dpdk":"DPDK 1.2.3""#)).unwrap();
    let output = bench.run(&["--quiet", "--resume"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("and was DPDK 1.2.3"), "{}", stderr(&output));
    assert_eq!(bench.summary().unwrap().trials.len(), recorded, "nothing that was recorded is lost");
}

/// Changes a field of the first agent, in every period of the recorded environment.
fn set_agent(bench: &Bench, field: &str, value: &str) {
    let path = bench.experiment().unwrap().join("environment.json");
    let mut environment: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    *environment.pointer_mut(&format!("/agents/0{field}")).unwrap() = value.into();
    for period in environment["periods"].as_array_mut().unwrap() {
        *period.pointer_mut(&format!("/agents/0{field}")).unwrap() = value.into();
    }
    fs::write(&path, environment.to_string()).unwrap();
}

#[test]
fn trials_on_other_equipment_are_refused_or_marked() {
    let bench = Bench::new(MANY);
    let run = bench.start();
    until("some trials are filed", || bench.summary().is_some_and(|summary| summary.trials.len() >= 4));
    run.signal(Signal::KILL);
    run.end_within(Duration::from_secs(5));
    let driver = {
        let text = fs::read(bench.experiment().unwrap().join("environment.json")).unwrap();
        let environment: serde_json::Value = serde_json::from_slice(&text).unwrap();
        environment["agents"][0]["port"]["driver"].as_str().unwrap().to_owned()
    };

    // Another kind of port: the results are not comparable.
    set_agent(&bench, "/port/driver", "net_other");
    let before = results(&bench);
    let refused = bench.run(&["--quiet", "--resume"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains("poll mode driver is") && said.contains("and was net_other"), "{said}");
    assert_eq!(results(&bench), before, "nothing that was recorded is lost");

    // Another port of the same kind: the trials name their period, and the summary lists the changes.
    set_agent(&bench, "/port/driver", &driver);
    set_agent(&bench, "/port/device", "0000:09:00.1");
    let summary = resume(&bench);
    assert_whole(&bench, &summary);
    let periods: Vec<u32> = summary.trials.iter().map(|trial| trial.environment_period).collect();
    assert!(periods.is_sorted() && periods[0] == 0 && periods.last() == Some(&1), "{periods:?}");
    let changes = &summary.experiment.environment_changes;
    assert!(changes.len() == 1 && changes[0].contains("and was 0000:09:00.1"), "{changes:?}");
    let text = fs::read(bench.experiment().unwrap().join("environment.json")).unwrap();
    let environment: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(environment["periods"][0]["agents"][0]["port"]["device"], "0000:09:00.1");
    assert_ne!(environment["periods"][1]["agents"][0]["port"]["device"], "0000:09:00.1");
}
