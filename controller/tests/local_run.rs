//! Whole runs over memif, with real agents: what is sent is received or lost, and nothing is left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::time::Duration;

use linerate::schema::SchemaOf;
use linerate::store::record::TrialRecord;
use linerate::summary::{Status, Summary};
use support::{Bench, stderr, stdout};

const MOMENT: Duration = Duration::from_secs(2);
const TWO_TRIALS: &str = "  traffic: {frameSizes: [64, 512], flows: [100], flowMode: sd, rates: [50kpps]}
  trial: {duration: 500ms, sampleInterval: 100ms}
";

fn assert_honest(summary: &Summary) {
    for trial in &summary.trials {
        assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets);
        assert!(trial.sent_packets > 0 && trial.disagreements.is_empty(), "{trial:?}");
        assert_eq!(trial.tx_port.unwrap().tx_packets, trial.sent_packets);
        assert!(trial.latency_ns.is_some() || !trial.clock.one_way_valid);
    }
}

#[test]
fn two_trials_make_a_complete_result() {
    let bench = Bench::new(TWO_TRIALS);
    let output = bench.run(&["--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    bench.assert_nothing_left(MOMENT);

    let value: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else");
    let schema = serde_json::to_value(SchemaOf::Summary.schema()).unwrap();
    let errors: Vec<_> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&value)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");

    let summary: Summary = serde_json::from_value(value).unwrap();
    assert_eq!(bench.summary(), Some(summary.clone()), "what is printed is what is filed");
    assert_eq!((summary.status, summary.trials.len(), summary.warm_up.len()), (Status::Complete, 2, 2));
    assert!(summary.warm_up.iter().all(|warm_up| warm_up.received_packets > 0));
    assert_honest(&summary);

    let directory = bench.experiment().unwrap();
    let mut names: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with("_cmdline.txt"));
    names.sort();
    assert_eq!(names, ["experiment.yaml", "rx0.log", "summary.json", "tx0-rx0", "tx0.log"]);

    let first = &summary.trials[0];
    let text = fs::read_to_string(directory.join(&first.trial)).unwrap();
    let record: TrialRecord = serde_json::from_str(&text).unwrap();
    assert_eq!(record.tx.unwrap().transmit.unwrap().counters.packets, first.sent_packets);
    assert_eq!(record.samples.tx.last().unwrap().transmit.unwrap().packets, first.sent_packets);
    assert_eq!(record.samples.rx.last().unwrap().receive.unwrap().packets, first.received_packets);
    let times: Vec<i64> = record.samples.tx.iter().map(|sample| sample.at_ns).collect();
    assert!(times.is_sorted() && times[0] > 50_000_000 && times.len() >= 5, "{times:?}");
    let histogram = record.rx.unwrap().receive.unwrap().latency.unwrap().histogram;
    assert_eq!(histogram.iter().map(|(_, packets)| packets).sum::<u64>(), first.received_packets);
}

#[test]
fn the_table_names_every_trial() {
    let bench = Bench::new(TWO_TRIALS);
    let output = bench.run(&["--filter", "512B", "--duration", "200ms"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let table = stdout(&output);
    assert!(
        table.contains("profile_100_flows_pkt_size_512B_50kpps_rate_sd") && !table.contains("size_64B"),
        "{table}"
    );
    let path = table.lines().last().unwrap();
    assert_eq!(path, bench.experiment().unwrap().join("summary.json").to_str().unwrap());
    assert!(
        stderr(&output).contains("warming up") && stderr(&output).contains("[1/1]"),
        "{}",
        stderr(&output)
    );
    bench.assert_nothing_left(MOMENT);
}

#[test]
fn pairs_run_at_the_same_time() {
    let bench = Bench::new(
        "  pairs: 2\n  traffic: {rates: [10kpps]}\n  trial: {duration: 300ms, sampleInterval: 100ms, repeats: 2}\n",
    );
    let output = bench.run(&["--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    let done: Vec<_> = summary.trials.iter().map(|trial| (trial.repeat, trial.pair.as_str())).collect();
    assert_eq!(done, [(1, "tx0-rx0"), (1, "tx1-rx1"), (2, "tx0-rx0"), (2, "tx1-rx1")]);
    assert_honest(&summary);
    bench.assert_nothing_left(MOMENT);
}

#[test]
fn packet_counts_end_trials_too() {
    let bench = Bench::new("  traffic: {rates: [100kpps]}\n  trial: {packets: 5000}\n");
    let output = bench.run(&["--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let trial = &bench.summary().unwrap().trials[0];
    assert_eq!(trial.sent_packets, 5000);
    assert_eq!(trial.received_packets + trial.lost_packets, 5000);
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let bench = Bench::new(TWO_TRIALS);
    let others = std::thread::scope(|scope| {
        let runs = [(); 2].map(|()| scope.spawn(|| bench.run(&["--json", "--filter", "512B"])));
        runs.map(|run| run.join().unwrap())
    });
    let ids = others.map(|output| {
        assert!(output.status.success(), "{}", stderr(&output));
        let summary: Summary = serde_json::from_slice(&output.stdout).unwrap();
        assert_honest(&summary);
        assert_eq!(summary.trials[0].stale_packets + summary.trials[0].foreign_packets, 0);
        summary.experiment.id
    });
    assert_ne!(ids[0], ids[1]);
    bench.assert_nothing_left(MOMENT);
}

#[test]
fn a_dry_run_shows_the_plan_and_creates_nothing() {
    let bench = Bench::new(TWO_TRIALS);
    let output = bench.run(&["--dry-run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("2 trials on 1 pair") && text.contains("tx0: ") && text.contains("rx0: "),
        "{text}"
    );
    assert!(!bench.path("results").exists());
    let output = bench.run(&["--dry-run", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["plan"]["trials"].as_array().unwrap().len(), 2);
    assert_eq!(plan["agents"][0]["name"], "rx0");
}

#[test]
fn mistakes_have_their_exit_code() {
    let bench = Bench::new(TWO_TRIALS);
    let bad = Bench::new("  pairs: 0\n");
    let large = Bench::new("  traffic: {frameSizes: [9000]}\n");
    for (bench, options, code, part) in [
        (&bad, &[][..], 2, "'0' is not a whole number from 1 to 64"),
        (&large, &[], 2, "carry 1518 at most"),
        (&bench, &["--filter", "9000B"], 2, "no profile"),
        (&bench, &["--platform", "kubernetes"], 2, "not in this build"),
        (&bench, &["--no-such-option"], 2, "--no-such-option"),
        (&bench, &["--duration", "1ms"], 2, "--duration: '1ms' is outside"),
    ] {
        let output = bench.run(options);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
        assert!(stdout(&output).is_empty() && !bench.path("results").exists());
    }
}

#[test]
fn an_agent_that_does_not_start_is_told_with_its_reason() {
    let bench = Bench::new(TWO_TRIALS);
    let program = bench.path("linerate-dataplane");
    fs::remove_file(&program).unwrap();
    let output = bench.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("there is no program there"), "{}", stderr(&output));

    fs::write(
        &program,
        r#"#!/bin/sh
printf '%s\n' '{"error":{"message":"no memory\n  remedy: buy some"}}'
exit 1
"#,
    )
    .unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = bench.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("error: rx0 did not start: no memory\n  remedy: buy some"),
        "{}",
        stderr(&output)
    );
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.trials.len()), (Status::Failed, 0));
    assert!(summary.reason.unwrap().contains("no memory"));
    bench.assert_nothing_left(MOMENT);
}
