//! Fixtures for tests: reports of two agents, a trial computed from them, an experiment with it.
#![expect(clippy::unwrap_used, reason = "what these build is known to be valid")]

use linerate_experiment::direction::Direction;
use linerate_experiment::plan::{Trial, plan};
use linerate_experiment::{Experiment, Overrides};
use linerate_traffic::mac::MacAddr;
use linerate_wire::counters::{PortCounters, ReceiveCounters, TransmitCounters};
use linerate_wire::host::{HostInfo, HugepagePool};
use linerate_wire::port::PortInfo;
use linerate_wire::report::{Ended, Latency, LatencySummary, Part, ReceiveReport, TransmitReport};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock::ClockVerdict;
use crate::figures::{NoResult, Subject, figures};
use crate::store::environment::{AgentEnvironment, Environment, NodeEnvironment};
use crate::store::manifest::Manifest;
use crate::store::record::{Samples, TimedSample, TrialRecord};
use crate::store::report::TrialReport;
use crate::store::{DOCUMENT_FILE, Store};
use crate::summary::{
    ExperimentInfo, Overhead, SchemaName, Status, Summary, TrialFailure, TrialSummary, Versions, WarmUp,
};

/// Sample times: one second after the start, then 500 ms and 10 ms later. The receiver's are 10 % later each
/// time.
const TIMES_MS: [i64; 3] = [1000, 1500, 1510];

/// The report of an agent that neither sent nor received.
pub fn report(role: Part) -> TrialReport {
    TrialReport {
        trial: 1,
        role,
        ended: Ended::Duration,
        started_ns: 0,
        ended_ns: 1,
        last_arrival_ns: None,
        transmit: None,
        receive: None,
        port: Some(PortCounters::default()),
        disagreements: vec!["packets differ".into()],
        notes: Vec::new(),
        lcores: vec![1],
        clock: None,
        workers: Vec::new(),
        throttling: None,
    }
}

/// The report of an agent that sent `packets` in two seconds.
pub fn tx(packets: u64) -> TrialReport {
    let counters = TransmitCounters { packets, ..TransmitCounters::default() };
    let transmit = TransmitReport {
        counters,
        intended_pps: Some(500.0),
        offered_pps: packets as f64 / 2.0,
        duration_s: 2.0,
        ..TransmitReport::default()
    };
    TrialReport { transmit: Some(transmit), ..report(Part::Tx) }
}

/// The report of an agent that received `packets`.
pub fn rx(packets: u64) -> TrialReport {
    let receive = ReceiveReport {
        counters: ReceiveCounters { packets, ..ReceiveCounters::default() },
        latency: Some(Latency::default()),
        packets_per_lcore: vec![packets],
        ..ReceiveReport::default()
    };
    TrialReport { ended: Ended::Packets, receive: Some(receive), ..report(Part::Rx) }
}

/// The trial of an experiment with one profile.
pub fn trial() -> Trial {
    let text = "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec: {profiles: [{}]}\n";
    let experiment = Experiment::parse(text, "e.yaml", &Overrides::default()).unwrap();
    Trial { expected_duration: None, ..plan(&experiment, None).unwrap().trials.remove(0) }
}

/// Result of two reports; `valid` states whether its one-way delays are valid.
///
/// # Errors
/// When the reports give no result.
pub fn with_clock(valid: bool, tx: &TrialReport, rx: &TrialReport) -> Result<TrialSummary, NoResult> {
    let trial = trial();
    let clock = ClockVerdict {
        one_way_valid: valid,
        round_trip_valid: false,
        reason: String::new(),
        source: "tsc".into(),
    };
    let macs = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    let subject = Subject {
        trial: &trial,
        traffic: &trial.profile,
        pair: "tx0-rx0",
        tx: "tx0",
        rx: "rx0",
        macs,
        clock: &clock,
        direction: Direction::OneWay,
        reflector: None,
    };
    figures(subject, tx, rx)
}

/// The summary of an experiment with a failure and no result.
pub fn summary(status: Status) -> Summary {
    Summary {
        schema: SchemaName::V1Alpha1,
        experiment: ExperimentInfo {
            id: "0123abcd".into(),
            name: "first-light".into(),
            started_at: "2030-01-02T03:04:05Z".into(),
            ended_at: None,
            platform: "local".into(),
            pairs: 1,
            planned_trials: 1,
            document: DOCUMENT_FILE.into(),
            versions: Versions::default(),
            determinants: None,
            resumed_at: vec![],
            environment_changes: vec![],
            filter: None,
            agents: vec![],
        },
        status,
        reason: None,
        warm_up: vec![WarmUp {
            pair: "tx0-rx0".into(),
            from: "tx0".into(),
            to: "rx0".into(),
            sent_packets: 64,
            received_packets: 64,
            attempts: 1,
            duration_s: 0.1,
            ..WarmUp::default()
        }],
        trials: vec![],
        recoveries: vec![],
        aggregates: Vec::new(),
        searches: Vec::new(),
        failures: vec![TrialFailure {
            profile: "p".into(),
            pair: "tx0-rx0".into(),
            repeat: 1,
            reason: "interrupted".into(),
            transmit: None,
            receive: None,
            trial: None,
        }],
        overhead: Overhead::default(),
    }
}

/// A transmitter's sample after `packets` frames of 60 bytes.
pub fn transmitted(packets: u64) -> TimedSample {
    let bytes = 60 * packets;
    TimedSample {
        at_ns: 0,
        transmit: Some(TransmitCounters { packets, bytes, queue_full: 7, no_mbuf: 1 }),
        receive: None,
        queue_frames: vec![],
        port: Some(PortCounters { tx_packets: packets, tx_bytes: bytes, ..PortCounters::default() }),
    }
}

/// A receiver's sample after `packets` first copies and two duplicates.
pub fn received(packets: u64) -> TimedSample {
    let (frames, bytes) = (packets + 2, 60 * (packets + 2));
    TimedSample {
        at_ns: 0,
        transmit: None,
        receive: Some(ReceiveCounters {
            frames,
            bytes,
            packets,
            duplicates: 2,
            ..ReceiveCounters::default()
        }),
        queue_frames: vec![frames],
        port: Some(PortCounters {
            rx_packets: frames,
            rx_bytes: bytes,
            rx_missed: 3,
            ..PortCounters::default()
        }),
    }
}

fn at(times_ns: [i64; 3], samples: [TimedSample; 3]) -> Vec<TimedSample> {
    times_ns.into_iter().zip(samples).map(|(at_ns, sample)| TimedSample { at_ns, ..sample }).collect()
}

/// 14,880,952 packets in the first second: line rate of 64-byte frames at 10 Gbit/s.
pub fn record() -> TrialRecord {
    let started = |report: TrialReport| TrialReport { started_ns: 5_000, ..report };
    let (tx, rx) = (started(tx(14_881_962)), started(rx(14_881_950)));
    let mut result = with_clock(true, &tx, &rx).unwrap();
    result.trial = format!("tx0-rx0/{}/trial.json", result.profile);
    TrialRecord {
        profile: result.profile.clone(),
        pair: "tx0-rx0".into(),
        repeat: 1,
        started_at: Some("2030-01-02T03:04:06.000Z".into()),
        result: Some(result),
        tx: Some(tx),
        rx: Some(rx),
        samples: Samples {
            tx: at(TIMES_MS.map(|ms| ms * 1_000_000), [14_880_952, 14_881_952, 14_881_962].map(transmitted)),
            rx: at(
                TIMES_MS.map(|ms| ms * 1_000_000 + 100),
                [14_880_000, 14_881_900, 14_881_950].map(received),
            ),
        },
        ..TrialRecord::default()
    }
}

/// The value with every number at the largest that its field holds and a reader accepts.
pub fn with_largest_numbers<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let mut all = serde_json::to_value(value).unwrap();
    let mut places = Vec::new();
    numbers("", &all, &mut places);
    for place in places {
        let before = all.pointer(&place).unwrap().clone();
        let whole = [u64::MAX, i64::MAX as u64, u32::MAX.into(), u16::MAX.into()].map(Value::from);
        let candidates = if before.is_f64() { vec![Value::from(1e20)] } else { whole.to_vec() };
        let fits = candidates.into_iter().any(|candidate| {
            *all.pointer_mut(&place).unwrap() = candidate;
            T::deserialize(&all).is_ok()
        });
        if !fits {
            *all.pointer_mut(&place).unwrap() = before;
        }
    }
    T::deserialize(&all).unwrap()
}

/// Places of all numbers in a value, as JSON pointers.
fn numbers(place: &str, value: &Value, places: &mut Vec<String>) {
    match value {
        Value::Number(_) => places.push(place.to_owned()),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, item)| numbers(&format!("{place}/{index}"), item, places));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| numbers(&format!("{place}/{name}"), field, places));
        }
        _ => {}
    }
}

/// [`record`] with the largest numbers, and with the smallest and largest times that are representable.
pub fn extreme_record() -> TrialRecord {
    let ordinary = record();
    let mut record = with_largest_numbers(&ordinary);
    if let (Some(result), Some(before)) = (&mut record.result, &ordinary.result) {
        // Numbers that are part of the trial's name.
        (result.repeat, result.frame_size) = (before.repeat, before.frame_size.clone());
        let times = LatencySummary { max: u64::MAX, p50: u64::MAX, ..LatencySummary::default() };
        result.latency_ns = Some(times);
    }
    record.repeat = ordinary.repeat;
    record.samples.tx[0].at_ns = i64::MIN;
    record.samples.rx[0].at_ns = i64::MIN;
    record
}

/// A results directory with one experiment of one trial.
pub fn recorded() -> (tempfile::TempDir, String) {
    recorded_of(record())
}

/// A results directory with one experiment of this trial.
pub fn recorded_of(record: TrialRecord) -> (tempfile::TempDir, String) {
    let results = tempfile::tempdir().unwrap();
    let store = Store::create(results.path()).unwrap();
    store.add_trial(&record.profile, &record, None).unwrap();
    let mut summary = summary(Status::Complete);
    summary.experiment.id = store.id().to_owned();
    summary.failures.clear();
    summary.trials = vec![record.result.unwrap()];
    store.write_summary(&summary).unwrap();
    store.write_text("experiment.yaml", "spec:\n  trial: {duration: 2s}\n  pairs: 1\n").unwrap();
    Manifest::seal(store.id(), store.directory(), Default::default()).unwrap();
    let id = store.id().to_owned();
    (results, id)
}

/// An environment of two nodes with an agent in a pod on the first; `text` fills every text field, `line` the
/// command lines.
pub fn environment(text: &str, line: &str) -> Environment {
    let host = HostInfo {
        cpu_model: Some(text.into()),
        kernel: Some(text.into()),
        kernel_command_line: Some(line.into()),
        smt: Some(true),
        numa_nodes: Some("0-1".into()),
        hugepages: vec![
            HugepagePool { size_kib: 2048, total: 1024, free: 1000 },
            HugepagePool { size_kib: 1_048_576, total: 8, free: 4 },
        ],
        ..HostInfo::default()
    };
    let port: PortInfo = serde_json::from_value(serde_json::json!({
        "port": 0, "device": text, "driver": text, "mac": "02:00:00:00:00:01", "numa_node": 0, "link_bps": null, "link_up": true,
        "max_rx_queues": 16, "max_tx_queues": 16, "mtu": 1500, "rx_descriptors": [8, 4096], "tx_descriptors": [8, 4096],
        "kernel_driver": text, "firmware": text,
    }))
    .unwrap();
    let agent = AgentEnvironment {
        name: "tx0".into(),
        node: "a".into(),
        pod: Some(text.into()),
        image: Some(text.into()),
        image_digest: Some(text.into()),
        version: text.into(),
        dpdk: text.into(),
        command_line: vec![line.into()],
        lcores: vec![1],
        hugepages: true,
        clock_source: "tsc".into(),
        tick_hz: 1,
        tick_rate: None,
        port,
        network: None,
        next_hops: Vec::new(),
    };
    let mut environment = Environment::new("0123abcd", Versions::default(), serde_json::Value::Null);
    environment.agents = vec![agent];
    environment.nodes = vec![
        NodeEnvironment { node: "a".into(), host: Some(host) },
        NodeEnvironment { node: "b".into(), host: None },
    ];
    environment
}
