//! A path that loses all packets for 50 ms: the record says when, and adds up.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use linerate_results::store::record::TrialRecord;
use linerate_results::summary::{Summary, TrialSummary};
use linerate_wire::loss::LossTimeline;

use crate::bridge::BridgedPath;
use crate::support::{Bench, stderr, stdout};

const MS: u64 = 1_000_000;
/// Packets per second.
const RATE: u64 = 5_120;
/// Length of the outage, and packets in it.
const OUTAGE_MS: u64 = 50;
const OUTAGE_PACKETS: u64 = RATE * OUTAGE_MS / 1_000;
/// When it begins.
const OUTAGE_FROM_MS: u64 = 600;
/// Length of a trial.
const TRIAL_MS: u64 = 1_500;

fn bench(direction: &str, flows: u64) -> Bench {
    Bench::with_cpus(&format!(
        "  traffic: {{flows: [{flows}], flowMode: dp, rates: [{RATE}pps]}}
  trial: {{duration: {TRIAL_MS}ms, direction: {direction}, sampleInterval: 500ms}}\n"
    ))
}

/// Loses every packet that one end sends from 0.6 s to 0.65 s of a trial with 1 or 4 flows: those whose
/// sequence numbers are sent then. The numbers' lowest byte comes first, 12 bytes behind the UDP header's
/// beginning.
fn lose_for_50_ms(path: &BridgedPath, from: &str, flows: u64) {
    let first = RATE / flows * OUTAGE_FROM_MS / 1_000;
    // 256 numbers, or 64 of each flow.
    let numbers = if flows == 1 { "" } else { "@th,96,2 0" };
    let second = first / 256;
    path.filter(
        &format!("{from}1"),
        &format!("udp dport >= 1024 @th,112,16 0 @th,104,8 {second} {numbers} drop"),
    );
}

fn run(path: &BridgedPath, bench: &Bench) -> Summary {
    let output = path.run(bench);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(stdout(&output).trim_end()).unwrap()
}

fn record(directory: &Path, trial: &str) -> TrialRecord {
    serde_json::from_slice(&fs::read(directory.join(trial)).unwrap()).unwrap()
}

/// Time by which packets of a trial left late at most: where workers share a CPU, some milliseconds, and more
/// by the packets that were never sent.
fn late_ns(trial: &TrialSummary) -> u64 {
    20 * MS + trial.forgone_packets * 1_000 * MS / RATE
}

/// Checks the timeline of a trial against the outage.
fn assert_is_told(loss: &LossTimeline, trial: &TrialSummary) {
    let late = late_ns(trial);
    assert_eq!((loss.placed_packets(), loss.unplaced_packets), (OUTAGE_PACKETS, 0), "{loss:?}");
    assert_eq!((loss.interval_ns, loss.reason.as_deref()), (10 * MS, None), "{loss:?}");
    assert!((4..=9 + late / (10 * MS)).contains(&(loss.intervals.len() as u64)), "{loss:?}");
    let (first, last) = (loss.first_ns.unwrap(), loss.last_ns.unwrap());
    assert!((OUTAGE_FROM_MS * MS).abs_diff(first) < late, "{late}: {loss:?}");
    assert!(((OUTAGE_FROM_MS + OUTAGE_MS) * MS).abs_diff(last) < late, "{late}: {loss:?}");
}

#[test]
fn an_outage_of_50_ms_is_told_where_it_was_and_adds_up() {
    for (direction, flows) in [("one-way", 4), ("round-trip", 1)] {
        let Some(path) = BridgedPath::new("an_outage_of_50_ms_is_told_where_it_was_and_adds_up") else {
            return;
        };
        let bench = bench(direction, flows);
        lose_for_50_ms(&path, "near", flows);
        let summary = run(&path, &bench);
        let directory = bench.experiment_with_summary();
        let [trial] = &summary.trials[..] else { panic!("{summary:?}") };
        assert_eq!(trial.lost_packets, OUTAGE_PACKETS, "{trial:?}");
        let record = record(&directory, &trial.trial);
        let loss = record.loss.as_ref().unwrap();
        assert_is_told(loss, trial);
        let times = trial.loss_times.as_ref().unwrap();
        assert_eq!((times.first_ns, times.last_ns), (loss.first_ns, loss.last_ns));
        assert_eq!((times.placed_packets, times.unplaced_packets), (OUTAGE_PACKETS, 0));

        let results = |command: &str, options: &[&str]| {
            let mut linerate = Command::new(env!("CARGO_BIN_EXE_linerate"));
            linerate.args(["results", command, &summary.experiment.id]).args(options);
            let output = linerate.arg("--results").arg(bench.path("results")).output().unwrap();
            assert!(output.status.success(), "{command}: {}{}", stdout(&output), stderr(&output));
        };
        results("validate", &[]);
        results("export", &["--format", "csv"]);
        let table = directory.join(Path::new(&trial.trial).with_file_name("losses.csv"));
        let mut reader = csv::Reader::from_path(table).unwrap();
        let rows: Vec<(u64, u64, u64)> = reader.deserialize().map(|row| row.unwrap()).collect();
        assert_eq!(rows.iter().map(|row| row.2).sum::<u64>(), OUTAGE_PACKETS, "{rows:?}");
        assert!(rows.iter().all(|(from, to, _)| to - from == 10 * MS), "{rows:?}");
        results("report", &["--format", "html", "--to", bench.path("reports").to_str().unwrap()]);
        let report = format!("linerate-{}.html", summary.experiment.id);
        let text = fs::read_to_string(bench.path("reports").join(report)).unwrap();
        for part in ["lost when", "Packets lost over time", "Packets lost from "] {
            assert!(text.contains(part), "{part}");
        }
        bench.assert_nothing_left(Duration::from_secs(2));
    }
}

#[test]
fn losses_of_both_ways_are_told_apart_and_the_end_of_a_path_is_told() {
    let test = "losses_of_both_ways_are_told_apart_and_the_end_of_a_path_is_told";
    let Some(path) = BridgedPath::new(test) else { return };
    let bench = bench("bidirectional", 4);
    lose_for_50_ms(&path, "far", 4);
    let summary = run(&path, &bench);
    let directory = bench.experiment_with_summary();
    let [there, back] = &summary.trials[..] else { panic!("{summary:?}") };
    assert_eq!((there.lost_packets, there.loss_times.as_ref()), (0, None), "{there:?}");
    let record = record(&directory, &back.trial);
    assert_eq!(back.lost_packets, OUTAGE_PACKETS);
    assert_is_told(record.loss.as_ref().unwrap(), back);
    drop((path, bench));

    // From the 5,120th packet on, after one second, nothing arrives any more.
    let Some(path) = BridgedPath::new(test) else { return };
    path.filter("near1", "udp dport 1024 @th,112,16 0 @th,104,8 >= 0x14 drop");
    let bench = self::bench("one-way", 1);
    let summary = run(&path, &bench);
    let [trial] = &summary.trials[..] else { panic!("{summary:?}") };
    let times = trial.loss_times.as_ref().unwrap();
    assert_eq!((times.placed_packets, times.unplaced_packets), (trial.lost_packets, 0), "{trial:?}");
    assert!((1_000 * MS).abs_diff(times.first_ns.unwrap()) < late_ns(trial), "{times:?}");
    assert!((TRIAL_MS * MS).abs_diff(times.last_ns.unwrap()) < late_ns(trial), "{times:?}");
}
