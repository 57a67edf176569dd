//! Complete runs over memif with real agents: sent packets are received or lost, and no process or file is
//! left behind.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::{Bench, stderr, stdout};
use linerate::schema::SchemaOf;
use linerate_results::store::record::TrialRecord;
use linerate_results::summary::{Status, Summary, TrialSummary};
use linerate_runner::events::{Event, Reading};
use linerate_traffic::profile::Field;
use linerate_wire::report::ForeignFrames;

const MOMENT: Duration = Duration::from_secs(2);
const TWO_TRIALS: &str = "  traffic: {frameSizes: [64, 512], flows: [100], flowMode: sd, rates: [50kpps]}
  trial: {duration: 500ms, sampleInterval: 100ms}
";

fn assert_exact(summary: &Summary) {
    for trial in &summary.trials {
        assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets);
        assert!(trial.sent_packets > 0 && trial.disagreements.is_empty(), "{trial:?}");
        assert_eq!(trial.tx_port.unwrap().tx_packets, trial.sent_packets);
        assert!(trial.latency_ns.is_some() || !trial.clock.one_way_valid);
    }
}

/// Checks that the parts of a result add up, and that both ends' figures are present.
fn assert_whole(trial: &TrialSummary) {
    let TrialSummary { received_packets, sent_packets, .. } = *trial;
    let counted = received_packets
        + trial.duplicate_packets
        + trial.stale_packets
        + trial.bad_probe_packets
        + trial.bad_checksum_packets
        + trial.foreign_packets;
    assert_eq!(trial.rx_queue_frames.iter().sum::<u64>(), counted, "{trial:?}");
    let ForeignFrames { arp, icmp, ipv6, vlan, other } = trial.foreign;
    assert_eq!(arp + icmp + ipv6 + vlan + other, trial.foreign_packets);
    for (lcores, packets) in [(&trial.tx_lcores, sent_packets), (&trial.rx_lcores, received_packets)] {
        assert_eq!(lcores.iter().map(|one| one.packets).sum::<u64>(), packets);
        assert!(lcores.iter().all(|one| (0.0..=1.0).contains(&one.headroom.unwrap())), "{lcores:?}");
    }
    let reordered = trial.reordering.packets as f64 / received_packets as f64;
    assert_eq!(trial.reordering.ratio, reordered);
    let departures = trial.inter_departure_ns.unwrap();
    assert!(departures.min <= departures.p50 && departures.p50 <= departures.max && departures.mean > 0);
    if let (Some(delay), Some(variation)) = (trial.latency_ns, trial.latency_variation_ns) {
        assert!(variation.min <= variation.p50 && variation.max <= delay.max, "{delay:?} {variation:?}");
    }
    assert_eq!(trial.latency_ns.is_some(), trial.latency_variation_ns.is_some());
    assert_eq!(trial.silent_flows, 0);
    assert!(!trial.worst_flows.is_empty());
    for flow in &trial.worst_flows {
        let last = flow.flow + 1;
        assert_eq!(flow.header[&Field::SourceIp], format!("192.168.1.{last}"));
        assert_eq!(flow.header[&Field::DestinationIp], format!("192.168.2.{last}"));
        assert_eq!(flow.header[&Field::DestinationPort], "1024");
    }
}

fn assert_valid(of: SchemaOf, value: &serde_json::Value) {
    let schema = serde_json::to_value(of.schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?} in {value}");
}

/// Checks events against their schema, and that the trials equal those of the summary, each after its
/// samples.
fn assert_events(lines: &str, summary: &Summary) {
    let mut trials = Vec::new();
    let mut samples: Vec<Reading> = Vec::new();
    for line in lines.lines() {
        assert_valid(SchemaOf::Event, &serde_json::from_str(line).unwrap());
        match serde_json::from_str(line).unwrap() {
            Event::Phase(_)
            | Event::Search(_)
            | Event::StreamsSample(_)
            | Event::StreamsTrial(_)
            | Event::HttpSample(_)
            | Event::HttpTrial(_) => {}
            Event::Sample(reading) => samples.push(*reading),
            Event::Trial(trial) => {
                let theirs = std::mem::take(&mut samples);
                assert!(theirs.len() >= 3, "{theirs:?}");
                assert!(theirs.iter().all(|reading| reading.profile == trial.profile));
                assert!(theirs.is_sorted_by_key(|reading| reading.sent_packets));
                assert!(theirs.iter().all(|reading| reading.intended_pps == trial.intended_pps));
                assert!(theirs.iter().any(|reading| reading.offered_pps.is_some_and(|pps| pps > 0.0)));
                let last = theirs.last().unwrap();
                assert_eq!(
                    (last.sent_packets, last.received_packets, last.lost_packets),
                    (trial.sent_packets, trial.received_packets, trial.lost_packets)
                );
                trials.push(*trial);
            }
            Event::Failure(failure) => panic!("{failure:?}"),
        }
    }
    assert_eq!(trials, summary.trials);
}

#[test]
fn two_trials_make_a_complete_result() {
    let bench = Bench::new(TWO_TRIALS);
    let output = bench.run(&["--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    bench.assert_nothing_left(MOMENT);

    let text = stdout(&output);
    let (events, last) = text.trim_end().rsplit_once('\n').expect("events, then the summary");
    let value: serde_json::Value = serde_json::from_str(last).expect("one JSON object in the last line");
    assert_valid(SchemaOf::Summary, &value);
    let summary: Summary = serde_json::from_value(value).unwrap();
    assert_events(events, &summary);
    assert_eq!(bench.summary(), Some(summary.clone()), "what is printed is what is filed");
    assert_eq!((summary.status, summary.trials.len(), summary.warm_up.len()), (Status::Complete, 2, 2));
    assert!(summary.warm_up.iter().all(|warm_up| warm_up.received_packets > 0));
    assert_exact(&summary);
    summary.trials.iter().for_each(assert_whole);

    let directory = bench.experiment().unwrap();
    let mut names: Vec<_> =
        fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with("_cmdline.txt"));
    names.sort();
    assert_eq!(
        names,
        [
            "environment.json",
            "experiment.yaml",
            "manifest.json",
            "rx0.log",
            "rx0_preflight.json",
            "summary.json",
            "trials.jsonl",
            "tx0-rx0",
            "tx0.log",
            "tx0_preflight.json"
        ]
    );

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
    let output = bench.run(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let progress = stderr(&output);
    for pair in ["tx0-rx0", "tx1-rx1"] {
        let of_pair =
            |line: &&str| line.contains(&format!(" {pair} ")) && line.contains("intended 0.010000 offered");
        assert!(progress.lines().filter(of_pair).count() >= 2, "one in each trial, at least: {progress}");
    }
    assert!(!progress.contains('\u{1b}'), "no colours where there is no terminal");
    let summary = bench.summary().unwrap();
    let done: Vec<_> = summary.trials.iter().map(|trial| (trial.repeat, trial.pair.as_str())).collect();
    assert_eq!(done, [(1, "tx0-rx0"), (1, "tx1-rx1"), (2, "tx0-rx0"), (2, "tx1-rx1")]);
    assert_exact(&summary);
    assert_eq!(summary.aggregates.len(), 2);
    for (all, trials) in summary.aggregates.iter().zip(summary.trials.chunks(2)) {
        assert_eq!((all.results, all.repeat), (2, trials[0].repeat));
        assert_eq!(all.sent_packets, trials.iter().map(|trial| trial.sent_packets).sum::<u64>());
        assert_eq!(all.sent_packets, all.received_packets + all.lost_packets);
        assert!((all.intended_pps.unwrap() - 20_000.0).abs() < 1e-6);
        // Both read this machine's clock; the rest is the time that a busy machine delays an lcore.
        let start = all.start.expect("both told when they began");
        assert!(start.uncertainty_s == 0.0 && start.spread_s < 0.5, "{start:?}");
    }
    assert!(
        stdout(&output).contains("together: ") && stdout(&output).contains("; began within "),
        "{}",
        stdout(&output)
    );
    bench.assert_nothing_left(MOMENT);
}

#[test]
fn a_terminal_has_a_live_view_with_loads_drops_delays_and_queues() {
    let bench = Bench::new(
        "  agents: {workers: {tx: 2, rx: 2}}
  traffic: {flows: [100], rates: [20kpps]}
  trial: {duration: 3500ms}\n",
    );
    let run = bench.command(&[]);
    let words: Vec<_> = std::iter::once(run.get_program()).chain(run.get_args()).collect();
    let line: Vec<&str> = words.into_iter().map(|word| word.to_str().unwrap()).collect();
    // A terminal narrower than the table.
    let on_terminal = format!("stty cols 100 rows 30; exec {}", line.join(" "));
    let output = Command::new("script").args(["-qec", &on_terminal, "/dev/null"]).output().unwrap();
    let shown = stdout(&output);
    assert!(output.status.success() && shown.contains("\u{1b}["), "{shown}");
    let second = shown.match_indices("intended 0.020000 offered 0.").count();
    assert!(second >= 2, "a line a second: {shown}");
    for part in ["in flight or lost ", "delay ", "queue full ", "missed ", "no buffer ", ", queues 0."] {
        assert!(shown.contains(part), "no '{part}': {shown}");
    }
    assert_exact(&bench.summary().unwrap());
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
        let runs = [(); 2].map(|()| scope.spawn(|| bench.run(&["--json", "--quiet", "--filter", "512B"])));
        runs.map(|run| run.join().unwrap())
    });
    let ids = others.map(|output| {
        assert!(output.status.success(), "{}", stderr(&output));
        let summary: Summary = serde_json::from_slice(&output.stdout).unwrap();
        assert_exact(&summary);
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
        (&bad, &[][..], 2, "'0' is not a whole number from 1 to 1000"),
        (&large, &[], 2, "carry 1518 at most"),
        (&bench, &["--filter", "9000B"], 2, "no profile"),
        (&bench, &["--platform", "kubernetes"], 1, "no cluster to work with"),
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
fn an_agent_that_does_not_start_is_reported_with_its_reason() {
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
