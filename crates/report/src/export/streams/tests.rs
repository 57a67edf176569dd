use linerate_results::fixtures::summary;
use linerate_results::streams::{
    AgentPart, ConnectionEnds, STREAMS_TRIAL_SCHEMA, SampleLine, StreamsTrialContext, StreamsTrialRecord,
    StreamsTrialSummary,
};
use linerate_results::summary::{Status, Summary};
use linerate_wire::report::{Ended, Report};
use linerate_wire::streams::{
    CpuUse, Load, PathReport, Protocol, ReceivedStream, ReceivingReport, SendingEnd, SendingReport,
    SentStream, SocketOptions, StreamEnd, StreamsSpec,
};

use super::*;

fn sent(stream: u32, bytes: u64, datagrams: u64) -> SentStream {
    SentStream {
        stream,
        local: Some("10.0.0.1:4000".parse().unwrap()),
        peer: Some("10.0.0.2:22023".parse().unwrap()),
        bytes,
        acked_bytes: Some(bytes).filter(|_| datagrams == 0),
        datagrams,
        calls: 1,
        full: 0,
        full_s: 0.0,
        refused: 0,
        foreign_bytes: 0,
        buffer_bytes: None,
        incoming_cpu: None,
        congestion: None,
        tcp: None,
        end: StreamEnd::complete(),
    }
}

fn received(stream: u32, bytes: u64, datagrams: u64) -> ReceivedStream {
    ReceivedStream {
        stream,
        local: None,
        peer: None,
        bytes,
        kernel_bytes: None,
        datagrams,
        calls: 1,
        duplicates: 0,
        reordered: 0,
        largest_extent: 0,
        missing: 0,
        foreign: 0,
        socket_drops: None,
        jitter_ns: None,
        delay_ns: None,
        buffer_bytes: None,
        incoming_cpu: None,
        tcp: None,
        end: StreamEnd::complete(),
    }
}

/// A trial of one connection with two streams, of which so much was sent and arrived in one second.
fn record(protocol: Protocol, there: &[(u64, u64)], here: &[(u64, u64)]) -> StreamsTrialRecord {
    let side = |sending, receiving| Some(PathReport { path: 0, sending, receiving, notes: Vec::new() });
    let streams = (0..).zip(there).map(|(stream, (bytes, datagrams))| sent(stream, *bytes, *datagrams));
    let sending = SendingReport {
        duration_s: 1.0,
        ended: SendingEnd::Duration,
        forgone: 0,
        streams: streams.collect(),
    };
    let streams = (0..).zip(here).map(|(stream, (bytes, datagrams))| received(stream, *bytes, *datagrams));
    let receiving = ReceivingReport {
        duration_s: Some(1.0),
        first_s: Some(0.0),
        latency: None,
        beyond_memory: 0,
        extents: (0, 0.0, 0),
        streams: streams.collect(),
    };
    let mut record = StreamsTrialRecord {
        schema: STREAMS_TRIAL_SCHEMA.to_owned(),
        profile: "bulk".to_owned(),
        repeat: 1,
        reason: None,
        result: None,
        started_at: Some("2026-01-02T03:04:05Z".to_owned()),
        spec: StreamsSpec {
            protocol,
            streams: there.len() as u32,
            load: Load::BitsPerSecond(8e6),
            duration_ms: Some(1000),
            bytes: None,
            block_bytes: 1000,
            sockets: SocketOptions::default(),
        },
        sample_interval_s: 1.0,
        agents: Vec::new(),
        nodes: Vec::new(),
        connections: Vec::new(),
        ends: vec![ConnectionEnds {
            number: 0,
            connection: "a0-a1".to_owned(),
            from: "a0".to_owned(),
            to: "a1".to_owned(),
            interface: None,
            delay_note: None,
            delay_bound_ns: None,
            sender: side(Some(sending), None),
            receiver: side(None, Some(receiving)),
        }],
    };
    record.connections = record.figures();
    record
}

fn experiment(records: &[StreamsTrialRecord]) -> Summary {
    let context = StreamsTrialContext {
        rate: "8mbps".to_owned(),
        environment_period: 0,
        engine: None,
        host_setting: None,
        start: None,
        overhead_s: 0.0,
        trial: "bulk/1/trial.json".to_owned(),
        samples_file: "bulk/1/samples.jsonl".to_owned(),
    };
    let trials = records.iter().map(|record| StreamsTrialSummary::of(record, context.clone()));
    Summary { streams: trials.collect(), trials: Vec::new(), ..summary(Status::Complete) }
}

#[test]
fn connections_have_iperf3s_form() {
    let record = record(Protocol::Tcp, &[(1000, 0), (3000, 0)], &[(1000, 0), (3000, 0)]);
    let lines = iperf3_lines(&experiment(std::slice::from_ref(&record)), &record, &Sent::default());
    let form: serde_json::Value = serde_json::from_slice(&lines).unwrap();
    assert_eq!(form["end"]["sum_sent"]["bytes"], 4000);
    assert_eq!(form["end"]["sum_received"]["bytes"], 4000);
    assert_eq!(form["end"]["streams"][1]["sender"]["socket"], 3, "iperf3 leaves 2 out");
    assert_eq!(form["end"]["streams"][1]["receiver"]["bytes"], 3000);
    assert_eq!(form["start"]["test_start"]["target_bitrate"], 4_000_000, "of each stream");
    assert_eq!(form["title"], "a0-a1");
    let record = self::record(Protocol::Udp, &[(10_000, 10)], &[(9000, 9)]);
    let form: serde_json::Value = serde_json::from_slice(&iperf3_lines(
        &experiment(std::slice::from_ref(&record)),
        &record,
        &Sent::default(),
    ))
    .unwrap();
    assert_eq!(
        (&form["end"]["sum"]["lost_packets"], &form["end"]["sum"]["packets"]),
        (&1.into(), &10.into())
    );
    assert_eq!(form["end"]["sum"]["lost_percent"], 10.0);
    assert!(form["end"]["sum"]["jitter_ms"].is_null(), "unknown, not 0");
}

#[test]
fn intervals_and_cpu_shares_are_those_that_were_recorded() {
    let mut record = record(Protocol::Tcp, &[(4000, 0)], &[(4000, 0)]);
    let used = CpuUse { process_s: 0.5, elapsed_s: 1.0, ..CpuUse::default() };
    let report = Report::new(1, Ended::Duration, 0, used);
    record.agents = vec![AgentPart { agent: "a0".to_owned(), report: Some(report), lost: None }];
    let mut sent = Sent::default();
    // Sending ends after 1 s; the connection is closed, and segments are sent again, later.
    for (at_ns, bytes, retransmits) in [
        (500_000_000, 1000, 0),
        (500_000_000, 1000, 0),
        (1_020_000_000, 4000, 1),
        (2_000_000_000, 4000, 2),
        (8_000_000_000, 4000, 2),
    ] {
        let line = SampleLine {
            agent: "a0".to_owned(),
            at_ns,
            sent: [(0, (bytes, 0, Some(retransmits)))].into(),
            received: [].into(),
            host: None,
        };
        sent.add(&line);
    }
    let form = |record: &StreamsTrialRecord, sent: &Sent| -> serde_json::Value {
        let summary = experiment(std::slice::from_ref(record));
        serde_json::from_slice(&iperf3_lines(&summary, record, sent)).unwrap()
    };
    let with = form(&record, &sent);
    let intervals = with["intervals"].as_array().unwrap();
    assert_eq!(intervals.len(), 2, "one without length is none: {with}");
    let sum = &intervals[1]["sum"];
    assert_eq!((&sum["bytes"], &sum["bits_per_second"]), (&3000.into(), &48_000.0.into()));
    assert_eq!((&sum["retransmits"], &sum["start"], &sum["end"]), (&2.into(), &0.5.into(), &1.0.into()));
    assert_eq!(intervals[1]["streams"][0]["socket"], 1);
    // The sum of the intervals is what was sent.
    let total: u64 = intervals.iter().map(|one| one["sum"]["bytes"].as_u64().unwrap()).sum();
    assert_eq!(with["end"]["sum_sent"]["bytes"], total);
    let shares = &with["end"]["cpu_utilization_percent"];
    assert_eq!((&shares["host_total"], &shares["remote_total"]), (&50.0.into(), &serde_json::Value::Null));
    let notes = [
        "cpu_utilization_percent: shares of user and system are not separated",
        "cpu_utilization_percent: a1 did not report its CPU time",
    ];
    assert_eq!(with["notes"], serde_json::json!(notes));
    // What was not recorded is absent, and the notes say so.
    record.agents.clear();
    let without = form(&record, &Sent::default());
    assert_eq!(without["intervals"], serde_json::json!([]));
    assert!(without["end"]["cpu_utilization_percent"].is_null());
    assert_eq!(without["notes"].as_array().unwrap().len(), 2, "{without}");
}

#[test]
fn repeats_are_samples_with_a_confidence_interval() {
    let of = |bytes| record(Protocol::Tcp, &[(bytes, 0)], &[(bytes, 0)]);
    let records = [of(1_000_000), of(2_000_000), of(3_000_000)];
    let documents = k8s_netperf_documents(&experiment(&records));
    let one = &documents[0];
    assert_eq!(documents.as_array().unwrap().len(), 1);
    assert_eq!((&one["profile"], &one["samples"]), (&"TCP_STREAM".into(), &3.into()));
    assert_eq!((&one["throughput"], &one["tputMetric"]), (&16.0.into(), &"Mb/s".into()));
    // Mean 16, deviation 8, Student's quantile of 2 degrees 4.302653.
    let (low, high) = (one["confidence"][0].as_f64().unwrap(), one["confidence"][1].as_f64().unwrap());
    let half = 4.302_652_73 * 8.0 / 3f64.sqrt();
    assert!((low - (16.0 - half)).abs() < 1e-6 && (high - (16.0 + half)).abs() < 1e-6, "{low} {high}");
    assert!(one["udpLossPercent"].is_null() && one["latency"].is_null(), "unknown, not 0");
    let single = k8s_netperf_documents(&experiment(&records[..1]));
    assert!(single[0]["confidence"].is_null());
    let table = String::from_utf8(k8s_netperf_table(&experiment(&records)).unwrap()).unwrap();
    assert!(table.lines().nth(1).unwrap().starts_with("linerate,TCP_STREAM,"), "{table}");
}

#[test]
fn perfdash_has_no_null_and_shows_what_is_known() {
    let record = record(Protocol::Udp, &[(10_000, 10)], &[(9000, 9)]);
    let data = perfdash_data(&experiment(std::slice::from_ref(&record)));
    let items = data["dataItems"].as_array().unwrap();
    assert_eq!(items.len(), 1, "there is no delay: {data}");
    assert_eq!(items[0]["data"]["Throughput"], 0.072);
    assert_eq!(
        (&items[0]["labels"]["test_type"], &items[0]["labels"]["scenario"]),
        (&"linerate-UDP_STREAM".into(), &"bulk".into())
    );
    assert!(perfdash_data(&experiment(&[]))["dataItems"].as_array().unwrap().is_empty());
}
