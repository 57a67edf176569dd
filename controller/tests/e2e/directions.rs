//! One-way, two-way and round-trip trials with real agents over memif, with files of all flows.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::{Bench, stderr, stdout};
use linerate_experiment::direction::Direction;
use linerate_results::store::record::TrialRecord;
use linerate_results::summary::{Summary, TrialSummary};
use linerate_runner::events::Event;
use linerate_traffic::profile::Field;
use linerate_wire::report::Part;

const MOMENT: Duration = Duration::from_secs(2);

fn run(bench: &Bench) -> (Summary, Vec<Event>) {
    let output = bench.run(&["--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let mut lines: Vec<&str> = text.lines().collect();
    let summary = serde_json::from_str(lines.pop().unwrap()).unwrap();
    (summary, lines.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn record(directory: &Path, trial: &TrialSummary) -> TrialRecord {
    serde_json::from_str(&fs::read_to_string(directory.join(&trial.trial)).unwrap()).unwrap()
}

/// Sums of columns of a trial's file of flows, after a check that it has all of the profile's flows.
fn sums(directory: &Path, trial: &TrialSummary, columns: &[&str]) -> Vec<u64> {
    let text = fs::read_to_string(directory.join(trial.flows_file.as_ref().unwrap())).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let flows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(flows.len(), trial.flows as usize);
    let place = |name: &str| header.iter().position(|word| *word == name).unwrap();
    let sum = |name: &&str| flows.iter().map(|flow| flow[place(name)].parse::<u64>().unwrap()).sum();
    columns.iter().map(sum).collect()
}

/// Checks that the file of flows agrees with the summary.
fn assert_flows_add_up(directory: &Path, trial: &TrialSummary) {
    assert_eq!(
        sums(directory, trial, &["sent", "received", "lost", "duplicates", "reordered"]),
        [
            trial.sent_packets,
            trial.received_packets,
            trial.lost_packets,
            trial.duplicate_packets,
            trial.reordering.packets
        ],
        "{trial:?}"
    );
}

#[test]
fn each_of_both_ways_has_a_result_of_its_own() {
    let bench = Bench::new(
        "  traffic: {flows: [300], flowMode: sd, rates: [20kpps]}
  trial: {duration: 600ms, sampleInterval: 100ms, repeats: 2, direction: bidirectional, allFlows: true}\n",
    );
    let (summary, events) = run(&bench);
    let ways: Vec<_> = summary.trials.iter().map(|trial| (trial.repeat, trial.pair.as_str())).collect();
    assert_eq!(ways, [(1, "tx0-rx0"), (1, "rx0-tx0"), (2, "tx0-rx0"), (2, "rx0-tx0")]);
    let directory = bench.experiment().unwrap();
    for trial in &summary.trials {
        assert_eq!(trial.direction, Direction::Bidirectional);
        assert!(trial.sent_packets > 0, "{trial:?}");
        assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets);
        assert_eq!(trial.tx_port.unwrap().tx_packets, trial.sent_packets);
        assert_eq!(trial.rx_port.unwrap().rx_packets, trial.rx_queue_frames.iter().sum::<u64>());
        assert!(trial.disagreements.is_empty() && trial.stale_packets == 0, "{trial:?}");
        assert_eq!(trial.tx_lcores.iter().map(|lcore| lcore.packets).sum::<u64>(), trial.sent_packets);
        assert_eq!(trial.rx_lcores.iter().map(|lcore| lcore.packets).sum::<u64>(), trial.received_packets);
        assert_ne!(trial.tx_lcores[0].lcore, trial.rx_lcores[0].lcore, "an lcore for each");
        assert!(trial.latency_ns.is_some() == trial.clock.one_way_valid && trial.round_trip_ns.is_none());
        assert!(trial.reflector.is_none());
        assert_flows_add_up(&directory, trial);
        let record = record(&directory, trial);
        assert_eq!(record.pair, trial.pair);
        let sent = record.tx.unwrap().transmit.unwrap().counters.packets;
        let received = record.rx.unwrap().receive.unwrap().counters.packets;
        assert_eq!((sent, received), (trial.sent_packets, trial.received_packets));
        assert_eq!(record.samples.tx.last().unwrap().transmit.unwrap().packets, sent);
    }
    let mut watched: Vec<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::Sample(reading) => Some(reading.pair.as_str()),
            _ => None,
        })
        .collect();
    watched.sort_unstable();
    watched.dedup();
    assert_eq!(watched, ["rx0-tx0", "tx0-rx0"]);
    bench.assert_nothing_left(MOMENT);
}

#[test]
fn a_round_trip_is_timed_by_one_clock_and_reports_it() {
    let bench = Bench::new(
        "  traffic: {flows: [50], rates: [20kpps]}
  trial: {packets: 8000, sampleInterval: 100ms, direction: round-trip, allFlows: true}\n",
    );
    let (summary, events) = run(&bench);
    let [trial] = &summary.trials[..] else { panic!("{summary:?}") };
    assert_eq!((trial.pair.as_str(), trial.direction), ("tx0-rx0", Direction::RoundTrip));
    assert_eq!((trial.sent_packets, trial.received_packets + trial.lost_packets), (8000, 8000));
    assert!(trial.disagreements.is_empty(), "{trial:?}");
    // One-way delays were not measured, so none are stated.
    assert!(trial.latency_ns.is_none() && trial.latency_variation_ns.is_none());
    assert!(!trial.clock.one_way_valid && trial.worst_flows.iter().all(|flow| flow.delay_ns.is_none()));
    assert_eq!(trial.round_trip_ns.is_some(), trial.clock.round_trip_valid, "{:?}", trial.clock);
    if trial.clock.round_trip_valid {
        let times = trial.round_trip_ns.unwrap();
        assert!(times.min > 0 && times.min <= times.p50 && times.p50 <= times.max, "{times:?}");
        assert!(trial.worst_flows.iter().all(|flow| flow.round_trip_ns.is_some()));
    }
    let reflector = trial.reflector.unwrap();
    assert_eq!(reflector.received_packets, reflector.sent_packets + reflector.dropped_packets);
    assert!(reflector.received_packets <= 8000 && reflector.sent_packets >= trial.received_packets);
    assert_eq!(reflector.port.unwrap().tx_packets, reflector.sent_packets);
    assert_eq!(trial.worst_flows[0].header[&Field::DestinationIp], "192.168.2.1");
    let directory = bench.experiment().unwrap();
    assert_flows_add_up(&directory, trial);
    let record = record(&directory, trial);
    assert_eq!((record.tx.unwrap().role, record.rx.unwrap().role), (Part::Exchange, Part::Reflect));
    for event in events {
        if let Event::Sample(reading) = event {
            assert!(reading.delay_mean_ns.is_none(), "{reading:?}");
        }
    }

    let table = bench.run(&["--quiet"]);
    assert!(stdout(&table).contains("round trip p50 µs"), "{}", stdout(&table));
    let dry_run = bench.run(&["--dry-run"]);
    let text = stdout(&dry_run);
    assert!(text.contains("there and back") && text.contains("--reflector"), "{text}");
    bench.assert_nothing_left(MOMENT);
}

#[test]
fn every_flow_of_a_trial_comes_in_replies_that_fit_a_line() {
    let bench = Bench::new(
        "  pairs: 2
  traffic: {flows: [20000], flowMode: sdpp, rates: [100kpps]}
  trial: {packets: 30001, allFlows: true}\n",
    );
    let (summary, _) = run(&bench);
    let directory = bench.experiment().unwrap();
    assert_eq!(summary.trials.len(), 2);
    for trial in &summary.trials {
        assert_eq!(trial.direction, Direction::OneWay);
        assert_flows_add_up(&directory, trial);
        let path = directory.join(trial.flows_file.as_ref().unwrap());
        assert_eq!(path.parent(), directory.join(&trial.trial).parent(), "beside the trial");
        let text = fs::read_to_string(path).unwrap();
        let [header, .., last] = &text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert!(
            header.starts_with("flow,sourceIp,destinationIp,sourcePort,destinationPort,sent,"),
            "{header}"
        );
        assert!(last.starts_with("19999,192.168.79.32,192.168.80.32,21023,21023,1,"), "{last}");
    }
    let left = bench.files();
    assert!(left.iter().all(|path| !path.to_str().unwrap().contains(".part-")), "{left:?}");
    bench.assert_nothing_left(MOMENT);
}
