//! Runs that are ended from outside, in the middle of a trial: what was recorded is kept, the others end by themselves, and the next run works.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use linerate::store::record::TrialRecord;
use linerate::summary::{Status, Summary};
use rustix::process::{Signal, kill_process};
use support::{Bench, stderr, until};

/// The second trial is long enough to be in its middle when something happens.
const LONG: &str = "  traffic: {frameSizes: [64, 512], rates: [20kpps]}
  trial: {duration: 2s, sampleInterval: 50ms, orphan: 1s, retries: 0}
";

/// One trial is complete, the other is kept as far as it came.
fn assert_kept(bench: &Bench, status: Status, reason: &str) -> Summary {
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.trials.len()), (status, 1), "{:?}", summary.reason);
    assert!(summary.reason.as_ref().unwrap().contains(reason), "{:?}", summary.reason);
    let [failure] = &summary.failures[..] else { panic!("one failure, not {:?}", summary.failures) };
    assert!(failure.profile.contains("512B") && failure.transmit.unwrap().packets > 1000, "{failure:?}");
    assert!(failure.receive.unwrap().packets > 1000);
    let path = bench.experiment().unwrap().join(failure.trial.as_ref().unwrap());
    let record: TrialRecord = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(record.result.is_none() && record.samples.tx.len() > 3 && record.samples.rx.len() > 3);
    summary
}

fn assert_next_run_works(bench: &Bench) {
    let output = bench.run(&["--quiet", "--duration", "200ms"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(bench.summary().unwrap().status, Status::Complete);
    bench.assert_nothing_left(Duration::from_secs(2));
}

#[test]
fn an_agent_is_killed() {
    for name in ["tx0", "rx0"] {
        let bench = Bench::new(LONG);
        let run = bench.start_and_wait_for_second_trial();
        kill_process(bench.agent(name), Signal::KILL).unwrap();
        let killed = Instant::now();
        let output = run.end_within(Duration::from_secs(10));
        assert!(killed.elapsed() < Duration::from_secs(5), "noticed at once: {:?}", killed.elapsed());
        assert_eq!(output.status.code(), Some(1));
        let reason = format!("{name} was killed by signal 9 (SIGKILL)");
        assert!(stderr(&output).contains(&reason), "{}", stderr(&output));
        let summary = assert_kept(&bench, Status::Failed, &reason);
        assert!(summary.failures[0].reason.contains(&reason));
        bench.assert_nothing_left(Duration::ZERO);
        assert_next_run_works(&bench);
    }
}

#[test]
fn a_lost_agent_is_replaced_and_the_trial_repeated() {
    for (name, signal) in [("tx0", Signal::KILL), ("rx0", Signal::KILL), ("tx0", Signal::STOP)] {
        let bench = Bench::new(&LONG.replace("retries: 0", "retries: 1"));
        let run = bench.start_and_wait_for_second_trial();
        kill_process(bench.agent(name), signal).unwrap();
        let output = run.end_within(Duration::from_secs(40));
        assert!(output.status.success(), "{}", stderr(&output));
        let summary = bench.summary().unwrap();
        assert_eq!(
            (summary.trials.len(), summary.failures.len(), summary.recoveries.len()),
            (2, 0, 1),
            "{summary:?}"
        );
        assert!(summary.recoveries[0].contains("started anew"), "{:?}", summary.recoveries);
        for trial in &summary.trials {
            assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets);
        }
        bench.assert_nothing_left(Duration::from_secs(2));
    }
}

#[test]
fn an_agent_freezes() {
    let bench = Bench::new(&LONG.replace("2s", "20s").replace("[64, 512]", "[512]"));
    let run = bench.start();
    until("the agents are there", || bench.processes().len() >= 3);
    std::thread::sleep(Duration::from_millis(1500));
    kill_process(bench.agent("rx0"), Signal::STOP).unwrap();
    let output = run.end_within(Duration::from_secs(25));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    assert_eq!(summary.status, Status::Failed);
    assert!(summary.reason.as_ref().unwrap().contains("rx0: no answer to"), "{:?}", summary.reason);
    bench.assert_nothing_left(Duration::ZERO);
}

#[test]
fn the_controller_is_killed() {
    let bench = Bench::new(LONG);
    let run = bench.start_and_wait_for_second_trial();
    let environment = format!("/proc/{}/environ", bench.agent("tx0").as_raw_nonzero());
    let environment = String::from_utf8_lossy(&fs::read(environment).unwrap()).into_owned();
    let token =
        environment.split('\0').find_map(|word| word.strip_prefix("LINERATE_TOKEN=")).unwrap().to_owned();
    assert!(token.len() >= 32);
    assert!(bench.processes().iter().all(|(_, line)| !line.contains(&token)), "a token on a command line");

    run.signal(Signal::KILL);
    run.end_within(Duration::from_secs(2));
    // The agents look after themselves: orphaned after 1 s, gone 10 s later.
    bench.assert_nothing_left(Duration::from_secs(15));
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.trials.len()), (Status::Running, 1));
    assert!(bench.experiment().unwrap().join(&summary.trials[0].trial).exists());
    for file in bench.files() {
        let text = fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(&token), "the token is in {}", file.display());
    }
    assert_next_run_works(&bench);
}

#[test]
fn a_signal_ends_a_run_in_good_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let bench = Bench::new(LONG);
        let run = bench.start_and_wait_for_second_trial();
        run.signal(signal);
        let output = run.end_within(Duration::from_secs(5));
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        let summary = assert_kept(&bench, Status::Interrupted, "interrupted by a signal");
        assert_eq!(summary.failures[0].reason, "interrupted");
        bench.assert_nothing_left(Duration::ZERO);
        assert_next_run_works(&bench);
    }
}

#[test]
fn a_second_signal_leaves_at_once() {
    let bench = Bench::new(LONG);
    let run = bench.start_and_wait_for_second_trial();
    // A frozen agent keeps the orderly end busy.
    kill_process(bench.agent("tx0"), Signal::STOP).unwrap();
    run.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    run.signal(Signal::INT);
    let output = run.end_within(Duration::from_secs(2));
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.trials.len()), (Status::Interrupted, 1));
    bench.assert_nothing_left(Duration::from_secs(2));
    assert_next_run_works(&bench);
}
