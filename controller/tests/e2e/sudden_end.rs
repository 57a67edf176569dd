//! Runs that are ended from outside during a trial: records are kept, the other processes exit, and the next
//! run works.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::{Bench, linerate, side_by_side, stderr, stdout, until};
use linerate_results::store::record::TrialRecord;
use linerate_results::summary::{Status, Summary};
use rustix::process::{Signal, kill_process};

/// The second trial is long enough for an event in its middle.
const LONG: &str = "  traffic: {frameSizes: [64, 512], rates: [20kpps]}
  trial: {duration: 2s, sampleInterval: 50ms, orphan: 1s, retries: 0}
";

/// The packets that the first trial sends in a second take the second one 20 s: however slow the machine is, it ends
/// early if it ends at once.
const UNEVEN: &str = "  traffic: {frameSizes: [512], rates: [40kpps, 2kpps]}
  trial: {packets: 40000, sampleInterval: 50ms, orphan: 1s, retries: 0}
";
const UNEVEN_PACKETS: u64 = 40_000;

/// For ends that other assertions tell from late ones: a busy machine takes its time.
const NO_HANG: Duration = Duration::from_secs(60);

/// Checks that one trial is complete, and that the other was ended at once, and is kept as a failure.
fn assert_kept(bench: &Bench, status: Status, reason: &str) -> Summary {
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.trials.len()), (status, 1), "{:?}", summary.reason);
    assert!(summary.reason.as_ref().unwrap().contains(reason), "{:?}", summary.reason);
    let [failure] = &summary.failures[..] else { panic!("one failure, not {:?}", summary.failures) };
    let (sent, received) = (failure.transmit.unwrap().packets, failure.receive.unwrap().packets);
    assert!(failure.profile.contains("_2000pps_"), "{failure:?}");
    assert!(
        (100..UNEVEN_PACKETS).contains(&sent) && (100..UNEVEN_PACKETS).contains(&received),
        "{failure:?}"
    );
    let path = bench.experiment().unwrap().join(failure.trial.as_ref().unwrap());
    let record: TrialRecord = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let samples = [&record.samples.tx, &record.samples.rx].map(Vec::len);
    // A receiver samples until it is told to stop: a silent agent would be noticed after 10 s.
    assert!(record.result.is_none() && samples.iter().all(|count| (4..200).contains(count)), "{samples:?}");
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
        let bench = Bench::new(UNEVEN);
        let run = bench.start_and_wait_for_second_trial();
        kill_process(bench.agent(name), Signal::KILL).unwrap();
        let output = run.end_within(NO_HANG);
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
    side_by_side([("tx0", Signal::KILL), ("rx0", Signal::KILL), ("tx0", Signal::STOP)], |(name, signal)| {
        let bench = Bench::new(&LONG.replace("retries: 0", "retries: 1"));
        let run = bench.start_and_wait_for_second_trial();
        kill_process(bench.agent(name), signal).unwrap();
        let output = run.end_within(NO_HANG);
        assert!(output.status.success(), "{}", stderr(&output));
        let summary = bench.summary().unwrap();
        assert_eq!(
            (summary.trials.len(), summary.failures.len(), summary.recoveries.len()),
            (2, 0, 1),
            "{summary:?}"
        );
        assert!(summary.recoveries[0].contains("started anew"), "{:?}", summary.recoveries);
        let told = format!("recovered: {}\n", summary.recoveries[0]);
        let id = summary.experiment.id.as_str();
        let shown = linerate(&["results", "show", id, "--results", bench.path("results").to_str().unwrap()]);
        assert!(stdout(&shown).contains(&told), "{}", stdout(&shown));
        for trial in &summary.trials {
            assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets);
        }
        bench.assert_nothing_left(Duration::from_secs(2));
    });
}

#[test]
fn an_agent_freezes() {
    let bench = Bench::new(&LONG.replace("2s", "20s").replace("[64, 512]", "[512]"));
    let run = bench.start_with_events(&[]);
    until("the trial has been sampled", || bench.events().contains(r#""event":"sample""#));
    kill_process(bench.agent("rx0"), Signal::STOP).unwrap();
    let output = run.end_within(NO_HANG);
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
    run.end_within(NO_HANG);
    // The agents exit by themselves: orphaned after 1 s, gone 10 s later.
    bench.assert_nothing_left(NO_HANG);
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
        let bench = Bench::new(UNEVEN);
        let run = bench.start_and_wait_for_second_trial();
        run.signal(signal);
        let output = run.end_within(NO_HANG);
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
    // A stopped agent delays the orderly end.
    kill_process(bench.agent("tx0"), Signal::STOP).unwrap();
    run.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    run.signal(Signal::INT);
    // The orderly end takes more than 6 s: an agent that neither answers nor obeys SIGTERM is killed then.
    let output = run.end_within(Duration::from_secs(5));
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.trials.len()), (Status::Interrupted, 1));
    bench.assert_nothing_left(Duration::from_secs(2));
    assert_next_run_works(&bench);
}

/// Many short trials.
const MANY: &str = "  traffic: {frameSizes: [64], rates: [10kpps]}
  trial: {duration: 10ms, sampleInterval: 10ms, repeats: 1000}
";

/// Trials that the run has reported as recorded.
fn acknowledged(bench: &Bench) -> Vec<u64> {
    let text = fs::read_to_string(bench.path("events")).unwrap_or_default();
    let of = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        (event["event"] == "trial").then(|| event["repeat"].as_u64())?
    };
    text.lines().filter_map(of).collect()
}

#[test]
fn a_run_that_is_killed_at_any_moment_loses_no_acknowledged_result() {
    let bench = Bench::new(MANY);
    let mut told = Vec::new();
    let mut moment = 0x9e37_79b9_u64;
    for _ in 0..8 {
        // A pseudo-random moment of a trial.
        moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let so_far = told.len();
        let file = fs::File::create(bench.path("events")).unwrap();
        let mut command = bench.command(&["--json", "--resume"]);
        let mut run = command.stdout(file).stderr(std::process::Stdio::null()).spawn().unwrap();
        until("some trials are told", || acknowledged(&bench).len() >= 5);
        std::thread::sleep(Duration::from_micros(moment % 120_000));
        run.kill().unwrap();
        run.wait().unwrap();
        told.extend(acknowledged(&bench));
        let summary = bench.summary().unwrap();
        let recorded: Vec<u64> = summary.trials.iter().map(|trial| u64::from(trial.repeat)).collect();
        assert!(told.iter().all(|repeat| recorded.contains(repeat)), "told {told:?}, recorded {recorded:?}");
        assert!(recorded.is_sorted_by(|a, b| a < b), "none is there twice: {recorded:?}");
        for trial in &summary.trials {
            let path = bench.experiment().unwrap().join(&trial.trial);
            let record: TrialRecord = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
            assert_eq!(record.result.as_ref(), Some(trial));
            assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets);
        }
        assert!(told.len() >= so_far + 5, "each run goes on where the last one was");
    }
    assert_eq!(fs::read_dir(bench.path("results")).unwrap().count(), 1, "all of it is one experiment");
    bench.assert_nothing_left(Duration::from_secs(20));
}

/// Bytes that a process has written so far.
fn written_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn a_trial_costs_the_same_bytes_however_many_there_were_before() {
    /// Trials of each part of the run that is compared.
    const PART: u64 = 20;
    /// Limit of written bytes per trial: the log's line and the trial's file have some 12,000 bytes.
    /// Rewriting the summary of 80 trials after each would take 600,000.
    const MOST_BYTES_PER_TRIAL: u64 = 60_000;
    let bench = Bench::new(MANY);
    let mut run = bench.command(&["--quiet"]);
    let mut run =
        run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let lines = || {
        let log =
            bench.experiment().and_then(|directory| fs::read_to_string(directory.join("trials.jsonl")).ok());
        log.map_or(0, |log| log.lines().filter(|line| line.starts_with("{\"result\"")).count() as u64)
    };
    let mut before = None;
    for part in 1..=4 {
        let begun = Instant::now();
        while lines() < part * PART {
            assert!(begun.elapsed() < Duration::from_secs(120), "in vain: {} trials", part * PART);
            std::thread::sleep(Duration::from_millis(100));
        }
        let now = (lines(), written_bytes(run.id()));
        if let Some((trials, bytes)) = before.replace(now) {
            let each = (now.1 - bytes) / (now.0 - trials);
            assert!(each < MOST_BYTES_PER_TRIAL, "{each} bytes a trial after {trials} trials");
        }
    }
    run.kill().unwrap();
    run.wait().unwrap();
    bench.assert_nothing_left(Duration::from_secs(20));
}
