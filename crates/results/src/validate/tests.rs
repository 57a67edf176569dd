use std::fs;
use std::io::Write;

use linerate_wire::loss::LossTimeline;

use super::*;
use crate::fixtures::benchmarks::benchmarks;
use crate::fixtures::search::two_pairs;
use crate::fixtures::{record, recorded};
use crate::store::manifest::{MANIFEST_FILE, Manifest};
use crate::store::record::TrialRecord;
use crate::store::trial_log::{Head, LogRecord, ResultRecord, TRIAL_LOG_FILE};
use crate::store::{Recorded, SUMMARY_FILE};
use crate::summary::{FlowSummary, GoalSummary, PathEvidence, Summary, TrialSummary};
use crate::verdict::VerdictKind;
use linerate_experiment::search::SearchMode;
use linerate_search::methods::MethodSpec;
use linerate_search::{Goal, Limiter};

fn reasons(verdict: &Validation) -> Vec<Reason> {
    verdict.problems.iter().map(|problem| problem.reason).collect()
}

/// Verdict on a recorded experiment whose trial was modified by `change`, with checksums of the modified
/// files.
fn changed(change: impl FnOnce(&mut TrialRecord)) -> Validation {
    let (results, id) = recorded();
    let directory = results.path().join(&id);
    let mut summary = Recorded::open(results.path(), &id).unwrap().summary;
    let path = directory.join(&summary.trials[0].trial);
    let mut record: TrialRecord = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut record);
    if let Some(result) = &record.result {
        summary.trials[0] = result.clone();
    }
    fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
    fs::write(directory.join(SUMMARY_FILE), serde_json::to_vec(&summary).unwrap()).unwrap();
    Manifest::seal(&id, &directory, Default::default()).unwrap();
    validate(results.path(), &id, None).unwrap()
}

#[test]
fn what_was_recorded_is_valid() {
    let (results, id) = recorded();
    assert_eq!(reasons(&validate(results.path(), &id, None).unwrap()), []);
    assert_eq!(validate_all(results.path(), None).unwrap().len(), 1);
}

#[test]
fn overhead_adds_up_and_the_summary_is_what_the_log_says() {
    let (results, id) = recorded();
    let directory = results.path().join(&id);
    let check = |change: fn(&mut Summary)| {
        let mut summary = Recorded::open(results.path(), &id).unwrap().summary;
        change(&mut summary);
        fs::write(directory.join(SUMMARY_FILE), serde_json::to_vec(&summary).unwrap()).unwrap();
        Manifest::seal(&id, &directory, Default::default()).unwrap();
        reasons(&validate(results.path(), &id, None).unwrap())
    };
    assert_eq!(check(|summary| summary.overhead.total_s += 1.0), [Reason::Contradiction]);
    assert_eq!(check(|summary| summary.overhead.total_s -= 1.0), []);
    // With a log.
    let summary = Recorded::open(results.path(), &id).unwrap().summary;
    let lines = [
        LogRecord::Head(Box::new(Head::of(&summary))),
        LogRecord::Result(Box::new(ResultRecord {
            number: 1,
            key: None,
            files: Default::default(),
            result: summary.trials[0].clone(),
        })),
    ];
    let text: String =
        lines.iter().map(|line| format!("{}\n", serde_json::to_string(line).unwrap())).collect();
    fs::write(directory.join(TRIAL_LOG_FILE), text).unwrap();
    assert_eq!(check(|_| {}), []);
    assert_eq!(check(|summary| summary.trials.clear()), [Reason::Contradiction]);
}

#[test]
fn times_of_losses_add_up_to_the_packets_lost() {
    let with = |placed: u64, unplaced_packets: u64| {
        changed(|record| {
            let intervals = vec![(3, placed)];
            record.loss = Some(LossTimeline { intervals, unplaced_packets, ..LossTimeline::default() });
        })
    };
    // Twelve packets of the trial were lost.
    assert_eq!(reasons(&with(10, 2)), []);
    assert_eq!(reasons(&with(10, 3)), [Reason::Miscounted]);
    assert_eq!(reasons(&with(u64::MAX, 12)), [Reason::Miscounted]);
}

#[test]
fn the_log_is_torn_or_damaged_or_whole() {
    let (results, id) = recorded();
    let path = results.path().join(&id).join(TRIAL_LOG_FILE);
    let summary = Recorded::open(results.path(), &id).unwrap().summary;
    let head = LogRecord::Head(Box::new(Head::of(&summary)));
    let head = serde_json::to_string(&head).unwrap();
    for (text, reasons_of_log) in [
        (format!("{head}\n"), &[][..]),
        (format!("{head}\n{}", &head[..99]), &[Reason::Torn][..]),
        (format!("{head}\n{}\n", "\0".repeat(99)), &[Reason::Torn]),
        (format!("{head}\n{}\n", &head[..99]), &[Reason::Unreadable]),
    ] {
        fs::write(&path, &text).unwrap();
        let verdict = validate(results.path(), &id, None).unwrap();
        let of_log = verdict.problems.iter().filter(|problem| problem.path == TRIAL_LOG_FILE);
        assert_eq!(of_log.map(|problem| problem.reason).collect::<Vec<_>>(), reasons_of_log, "{verdict:?}");
    }
}

#[test]
fn results_of_a_search_follow_from_its_trials() {
    let (results, id) = two_pairs(SearchMode::Together).store();
    let path = results.path().join(&id).join(SUMMARY_FILE);
    let whole = Recorded::open(results.path(), &id).unwrap().summary;
    let details = |change: &dyn Fn(&mut Summary)| {
        let mut summary = whole.clone();
        change(&mut summary);
        fs::write(&path, serde_json::to_vec(&summary).unwrap()).unwrap();
        let problems = validate(results.path(), &id, None).unwrap().problems.into_iter();
        let of_searches = problems.filter(|problem| problem.reason == Reason::Contradiction);
        of_searches.map(|problem| problem.detail).collect::<Vec<_>>()
    };
    assert_eq!(details(&|_| {}), [""; 0]);
    let found = details(&|summary| {
        let ndr = &mut summary.searches[0].goals[0].conclusion;
        ndr.conditional_throughput_pps = ndr.conditional_throughput_pps.map(|pps| pps + 1.0);
    });
    assert!(found.len() == 1 && found[0].contains("goal ndr: it says bounds"), "{found:?}");
    let found = details(&|summary| summary.searches[0].goals[1].upper_bound_paths[0].lost_packets += 1);
    assert!(found.len() == 1 && found[0].contains("goal pdr: the losses of the paths"), "{found:?}");
    let found = details(&|summary| summary.searches[0].trials += 1);
    assert!(found.len() == 1 && found[0].contains("trials that count, and says"), "{found:?}");
    // The third trial has no result on one path.
    let found = details(&|summary| {
        summary.trials.remove(5);
    });
    assert!(found.iter().any(|detail| detail.contains("trial 3 has no result on every path")), "{found:?}");
    let found = details(&|summary| {
        let last = summary.trials.iter_mut().filter_map(|trial| trial.search.as_mut());
        last.max_by_key(|place| place.ordinal).unwrap().ordinal = u32::MAX;
    });
    let more = found.iter().find(|detail| detail.contains("more of 4294967295 trials have no result"));
    assert!(found.len() < 20 && more.is_some(), "{found:?}");
    let found = details(&|summary| summary.searches.clear());
    assert!(found.len() == whole.trials.len() && found[0].contains("does not have"), "{found:?}");
    let ran_on = details(&|summary| {
        summary.searches.clear();
        summary.status = crate::summary::Status::Running;
    });
    assert_eq!(ran_on, [""; 0], "the searches of a running experiment are recorded later");
}

#[test]
fn searches_of_earlier_versions_are_validated_by_their_rules() {
    let mut summary = two_pairs(SearchMode::Every).summary;
    let place = |trial: &TrialSummary| trial.search.unwrap().ordinal;
    let is_slower = |trial: &TrialSummary| trial.pair == "tx1-rx1";
    let lossy = summary.trials.iter().filter(|trial| is_slower(trial) && trial.lost_packets > 0);
    let lossy: Vec<u32> = lossy.map(place).collect();
    // The receiver explains what the slower path lost; where it did, the other one lost a packet at least.
    for trial in summary.trials.iter_mut().filter(|trial| lossy.contains(&place(trial))) {
        if is_slower(trial) {
            trial.verdict.kind = VerdictKind::ReceiverLimited;
        } else if trial.lost_packets == 0 {
            (trial.lost_packets, trial.received_packets) = (1, trial.received_packets - 1);
        }
    }
    let mut ndr = Vec::new();
    for evidence in [PathEvidence::AnyPath, PathEvidence::WorstPath] {
        summary.searches[0].evidence = evidence;
        let search = summary.searches[0].clone();
        let goals: Vec<Goal> = search.goals.iter().map(|one| Goal::from(&one.goal)).collect();
        let loads_pps = (search.min_load_pps.unwrap(), search.max_load_pps.unwrap());
        let trials = search.trials_of(&summary.trials);
        let found = |goal| GoalSummary::of(goal, &goals, &trials, loads_pps);
        summary.searches[0].goals = goals.iter().map(found).collect();
        ndr.push(summary.searches[0].goals[0].conclusion.limited_by);
        assert_eq!(search::contradictions(&summary), [""; 0], "{evidence:?}");
    }
    assert_eq!(ndr, [Some(Limiter::Path), Some(Limiter::Receiver)]);
    let mut earlier = serde_json::to_value(&summary.searches[0]).unwrap();
    assert_eq!(earlier.as_object_mut().unwrap().remove("evidence").unwrap(), "worstPath");
    summary.searches[0] = serde_json::from_value(earlier).unwrap();
    assert_eq!(search::contradictions(&summary), [""; 0]);
    summary.searches[0].evidence = PathEvidence::AnyPath;
    let found = search::contradictions(&summary);
    assert!(found.iter().any(|detail| detail.contains("goal ndr: it says bounds")), "{found:?}");
}

#[test]
fn results_of_benchmarks_follow_from_their_trials() {
    let (results, id) = benchmarks().store();
    let path = results.path().join(&id).join(SUMMARY_FILE);
    let whole = Recorded::open(results.path(), &id).unwrap().summary;
    let details = |change: &dyn Fn(&mut Summary)| {
        let mut summary = whole.clone();
        change(&mut summary);
        fs::write(&path, serde_json::to_vec(&summary).unwrap()).unwrap();
        let problems = validate(results.path(), &id, None).unwrap().problems.into_iter();
        let of_searches = problems.filter(|problem| problem.reason == Reason::Contradiction);
        of_searches.map(|problem| problem.detail).collect::<Vec<_>>()
    };
    assert_eq!(details(&|_| {}), [""; 0]);
    let names: Vec<&str> = whole.searches[0].then.iter().map(|follow| follow.name.as_str()).collect();
    for (place, name) in names.into_iter().enumerate() {
        let only = |found: Vec<String>, part: &str| {
            let is_it = |detail: &String| detail.contains(&format!("benchmark {name}: {part}"));
            assert!(found.len() == 1 && is_it(&found[0]), "{name}: {found:?}");
        };
        // Each result is computed again.
        let other = (place + 1) % 6;
        let found = details(&|summary| {
            let then = &mut summary.searches[0].then;
            then[place].conclusion = then[other].conclusion.clone();
        });
        only(found, "its result is not the one that follows from its trials");
        let found = details(&|summary| summary.searches[0].then[place].complete = false);
        only(found, "it says that it is not complete");
        let found = details(&|summary| summary.searches[0].then[place].spec = None);
        only(found, "it has a result, and does not say what it measures");
    }
    let found = details(&|summary| {
        let Some(MethodSpec::Soak(soak)) = &mut summary.searches[0].then[5].spec else { panic!() };
        soak.load_pps += 1;
    });
    assert!(
        found.len() == 1 && found[0].contains("packets per second, and its benchmark asks for"),
        "{found:?}"
    );
    let found = details(&|summary| {
        summary.searches[0].then.pop();
    });
    assert!(found.len() == 1 && found[0].contains("is of no benchmark"), "{found:?}");
    let found = details(&|summary| {
        summary.trials.pop();
    });
    assert!(
        found.iter().any(|detail| detail.contains("benchmark soak: it has 0 trials, and says 1")),
        "{found:?}"
    );
}

/// Damages an experiment's directory and the trial at this path.
type Damage = fn(&Path, &str);

#[test]
fn every_damage_has_its_reason() {
    let trial = "tx0-rx0/profile_1_flows_pkt_size_64B_1mpps_rate_s/trial.json";
    let damages: [(Reason, Damage); 7] = [
        (Reason::Torn, |directory, trial| {
            let bytes = fs::read(directory.join(trial)).unwrap();
            fs::write(directory.join(trial), &bytes[..bytes.len() / 2]).unwrap();
        }),
        (Reason::WrongChecksum, |directory, trial| {
            let text = fs::read_to_string(directory.join(trial)).unwrap();
            fs::write(directory.join(trial), text.replacen("\"duplicates\": 2", "\"duplicates\": 3", 1))
                .unwrap();
        }),
        (Reason::MissingFile, |directory, trial| fs::remove_file(directory.join(trial)).unwrap()),
        (Reason::Unreadable, |directory, _| {
            fs::write(directory.join(MANIFEST_FILE), "{\"schema\": 1}").unwrap();
        }),
        (Reason::NoManifest, |directory, _| fs::remove_file(directory.join(MANIFEST_FILE)).unwrap()),
        (Reason::Unlisted, |directory, trial| {
            fs::create_dir(directory.join("tx0-rx0/other")).unwrap();
            fs::copy(directory.join(trial), directory.join("tx0-rx0/other/trial.json")).unwrap();
        }),
        (Reason::Unfinished, |directory, _| {
            let text = fs::read_to_string(directory.join(MANIFEST_FILE)).unwrap();
            let text = text.replace("\"complete\": true", "\"complete\": false");
            fs::write(directory.join(MANIFEST_FILE), text).unwrap();
        }),
    ];
    for (reason, damage) in damages {
        let (results, id) = recorded();
        let trial = trial.replace("profile_1_flows_pkt_size_64B_1mpps_rate_s", &record().profile);
        damage(&results.path().join(&id), &trial);
        let verdict = validate(results.path(), &id, None).unwrap();
        assert!(!verdict.valid && reasons(&verdict).contains(&reason), "{reason}: {verdict:?}");
        assert!(verdict.problems.iter().all(|problem| !problem.detail.is_empty()));
    }
}

#[test]
fn an_agent_without_a_cpu_may_miss_a_few_samples() {
    for (duration_s, fewest) in
        [(0.5, 0), (1.0, 1), (1.9, 1), (2.0, 1), (4.0, 3), (8.0, 7), (16.0, 14), (100.0, 88)]
    {
        assert_eq!(fewest_samples(duration_s, 1.0), fewest, "{duration_s} s");
    }
}

#[test]
fn trials_are_held_to_their_own_arithmetic() {
    assert_eq!(reasons(&changed(|_| {})), []);
    let verdict = changed(|record| record.result.as_mut().unwrap().lost_packets += 1);
    assert_eq!(reasons(&verdict), [Reason::Miscounted]);
    let verdict = changed(|record| record.samples.rx[1].at_ns = record.samples.rx[0].at_ns);
    assert_eq!(reasons(&verdict), [Reason::NonMonotonicTime]);
    let verdict = changed(|record| record.samples.tx[2].transmit.as_mut().unwrap().packets = 1);
    assert_eq!(reasons(&verdict), [Reason::CounterWentBack]);
    let verdict = changed(|record| record.samples.rx.clear());
    assert_eq!(reasons(&verdict), [Reason::TooFewSamples]);
    let verdict = changed(|record| record.result = None);
    assert_eq!(reasons(&verdict), [Reason::Contradiction]);
    let verdict = changed(|record| record.tx = None);
    assert_eq!(reasons(&verdict), [Reason::Contradiction]);
}

#[test]
fn the_file_of_flows_is_held_against_the_result() {
    const HEADER: &str =
        "flow,sent,received,lost,duplicates,reordered,extent_max,delay_min_ns,delay_mean_ns,delay_max_ns\n";
    let worst = |flow: u32, sent: u64, received: u64, duplicates: u64| FlowSummary {
        flow,
        header: std::collections::BTreeMap::new(),
        sent_packets: Some(sent),
        received_packets: received,
        lost_packets: sent - received,
        duplicate_packets: duplicates,
        reordered_packets: 0,
        extent_max: 0,
        delay_ns: None,
        round_trip_ns: None,
    };
    let lines = |rows: &[[u64; 6]]| {
        let line = |row: &[u64; 6]| format!("{},0,,,\n", row.map(|number| number.to_string()).join(","));
        HEADER.to_owned() + &rows.iter().map(line).collect::<String>()
    };
    let rows = [[0, 10, 10, 0, 0, 0], [1, 10, 0, 10, 0, 0], [2, 10, 5, 5, 0, 0], [3, 0, 0, 0, 0, 0]];
    let right = vec![worst(1, 10, 0, 0), worst(2, 10, 5, 0), worst(0, 10, 10, 0)];
    let found = |text: &str, worst_flows: Vec<FlowSummary>| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let result = record().result.unwrap();
        let trial =
            TrialSummary { sent_packets: 30, received_packets: 15, lost_packets: 15, worst_flows, ..result };
        flows::contradictions(file.path(), &trial).unwrap()
    };
    assert_eq!(found(&lines(&rows), right.clone()), [""; 0]);
    let swapped = vec![right[1].clone(), right[0].clone(), right[2].clone()];
    assert_eq!(found(&lines(&rows), swapped).len(), 1);
    let silent_left_out = vec![right[1].clone(), right[2].clone()];
    assert!(found(&lines(&rows), silent_left_out)[0].starts_with("its worst flows are 1, 2, 0"));
    let mut wrong = right.clone();
    wrong[1].received_packets = 6;
    assert!(found(&lines(&rows), wrong)[0].contains("of flow 2 it says received 5, lost 5"));
    let totals = found(&lines(&rows[..2]), vec![right[0].clone(), right[2].clone()]);
    assert_eq!(totals.len(), 3, "{totals:?}");
    let mut older = silent_of(&right);
    older.iter_mut().for_each(|flow| flow.sent_packets = None);
    assert_eq!(found(&lines(&rows), older), [""; 0], "what was not recorded cannot be compared");
    assert_eq!(found("flow,sent\nx,1\n", right), ["line 2 is not that of a flow"]);
}

/// Worst flows as in an older record: without flows that received nothing.
fn silent_of(flows: &[FlowSummary]) -> Vec<FlowSummary> {
    flows.iter().filter(|flow| flow.received_packets > 0).cloned().collect()
}

#[test]
fn of_a_round_trip_the_transmitter_counts_what_comes_back() {
    let back = |packets_more: u64| {
        changed(|record| {
            record.result.as_mut().unwrap().direction = linerate_experiment::direction::Direction::RoundTrip;
            let (tx, rx) = (record.tx.as_mut().unwrap(), record.rx.as_mut().unwrap());
            tx.receive = rx.receive.clone();
            tx.receive.as_mut().unwrap().counters.packets += packets_more;
            // The reflector received more packets than came back.
            rx.receive.as_mut().unwrap().counters.packets += 7;
        })
    };
    assert_eq!(reasons(&back(0)), []);
    assert_eq!(reasons(&back(1)), [Reason::Contradiction]);
}

/// A kit's directory with both ends' files; the key `without` is missing.
fn kit(without: &str, values: &[i64], shape: &[u64]) -> tempfile::TempDir {
    use npyz::WriterBuilder;
    let directory = tempfile::tempdir().unwrap();
    for (name, keys) in [
        (
            "3b9d11f0_tx0_tx_txcores_1-2_rxcores_1,2_spec_p_20300102_030405.npz",
            ["pkts_tx", "obytes", "opackets", "port_obytes"],
        ),
        (
            "3b9d11f0_rx0_rx_txcores_1-2_rxcores_1,2_spec_p_20300102_030405.npz",
            ["rx_pps", "tx_pps", "rx_bytes", "rx_packets"],
        ),
    ] {
        let file = fs::File::create(directory.path().join(name)).unwrap();
        let mut archive = zip::ZipWriter::new(file);
        for key in keys.into_iter().filter(|key| *key != without) {
            archive.start_file(format!("{key}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
            let mut bytes = Vec::new();
            let mut writer =
                npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().unwrap();
            writer.extend(values.iter().copied()).unwrap();
            writer.finish().unwrap();
            archive.write_all(&bytes).unwrap();
        }
        archive.finish().unwrap();
    }
    directory
}

#[test]
fn directories_of_older_kits_are_judged_by_what_their_readers_need() {
    let check = |directory: &tempfile::TempDir, samples| {
        validate(Path::new("results"), directory.path().to_str().unwrap(), Some(samples)).unwrap()
    };
    assert_eq!(reasons(&check(&kit("", &[1, 2], &[2]), 2)), []);
    assert_eq!(reasons(&check(&kit("", &[1, 2], &[2]), 3)), [Reason::TooFewSamples; 8]);
    assert_eq!(reasons(&check(&kit("rx_packets", &[1], &[1]), 1)), [Reason::MissingKey]);
    assert_eq!(reasons(&check(&kit("", &[1, 2], &[2, 1]), 1)), [Reason::WrongForm; 8]);
    let directory = kit("", &[1, 2], &[2]);
    for entry in fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 30]).unwrap();
    }
    assert_eq!(reasons(&check(&directory, 1)), [Reason::Torn; 2]);
    assert_eq!(reasons(&check(&tempfile::tempdir().unwrap(), 1)), [Reason::MissingFile]);
}

/// The archive `name` with these arrays, in a directory of its own.
fn npz(name: &str, arrays: &[(&str, Vec<f64>)]) -> tempfile::TempDir {
    use npyz::WriterBuilder;
    let directory = tempfile::tempdir().unwrap();
    let mut archive = zip::ZipWriter::new(fs::File::create(directory.path().join(name)).unwrap());
    for (key, values) in arrays {
        archive.start_file(format!("{key}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        let mut bytes = Vec::new();
        let shape = [values.len() as u64];
        let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
        let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
        archive.write_all(&bytes).unwrap();
    }
    archive.finish().unwrap();
    directory
}

#[test]
fn values_that_no_measurement_gives_are_not_valid() {
    let check = |changed: &str, values: &[f64]| {
        let keys = ["rx_pps", "tx_pps", "rx_bytes", "rx_packets", "port_ibytes"];
        let arrays =
            keys.map(|key| (key, if key == changed { values.to_vec() } else { vec![1.0, 2.0, 3.0] }));
        let directory = npz("3b9d11f0_rx0_rx_txcores_1-2_rxcores_1,2_spec_p_20300102_030405.npz", &arrays);
        reasons(&validate(Path::new("results"), directory.path().to_str().unwrap(), Some(2)).unwrap())
    };
    assert_eq!(check("rx_pps", &[3.0, 2.0, 4.0]), [], "a rate may fall");
    assert_eq!(check("rx_pps", &[3.0, f64::NAN, 4.0]), [Reason::NotANumber]);
    assert_eq!(check("port_ibytes", &[3.0, 4.0, f64::INFINITY]), [Reason::NotANumber], "of any key");
    assert_eq!(
        check("rx_pps", &[3.0, -4_294_967_292.0, 4.0]),
        [Reason::CounterWentBack],
        "a rollover in a rate"
    );
    assert_eq!(check("rx_bytes", &[4_294_967_000.0, 200.0, 900.0]), [Reason::CounterWentBack], "a rollover");
    assert_eq!(check("port_ibytes", &[3.0, 2.0, 4.0]), [Reason::CounterWentBack]);
    assert_eq!(check("rx_packets", &[1.0, 2.0]), [Reason::UnequalLengths]);
}

#[test]
fn a_place_that_is_not_there_is_named() {
    let error = validate(Path::new("results"), "no/such/place", None).unwrap_err().to_string();
    assert!(error.contains("no/such/place"), "{error}");
}
