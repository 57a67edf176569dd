//! The agent from outside: streams between agents, many paths at once, refusals, vanished controllers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::number;
use crate::common::wire::{Agent, Wire};

const KEY: &str = "00112233445566778899aabbccddeeff";

/// Streams of a path, with overriding fields.
fn streams(fields: &Value) -> Value {
    let mut streams = json!({
        "protocol": "tcp", "streams": 1, "load": "max", "duration_ms": 400, "bytes": null, "block_bytes": 65536,
    });
    for (name, value) in fields.as_object().unwrap() {
        streams[name] = value.clone();
    }
    streams
}

fn prepare(key: &str, paths: &[Value]) -> String {
    json!({
        "trial": 7, "sample_interval_ms": 100, "orphan_ms": 5000,
        "work": { "streams": { "key": key, "tag": 9, "paths": paths } },
    })
    .to_string()
}

fn connect(path: u32, to: &str, sends: bool, streams: &Value) -> Value {
    json!({ "path": path, "side": { "connect": { "to": to } }, "sends": sends, "streams": streams })
}

fn accept(path: u32, at: &str, sends: bool, streams: &Value) -> Value {
    json!({ "path": path, "side": { "accept": { "at": at } }, "sends": sends, "streams": streams })
}

/// Prepares and arms all agents, and starts them.
fn start(wires: &mut [Wire], work: &[String]) {
    for (wire, work) in wires.iter_mut().zip(work) {
        wire.events.clear();
        assert_eq!(wire.step("prepare", work), "prepared");
    }
    for wire in wires.iter_mut() {
        assert_eq!(wire.step("arm", ""), "armed");
    }
    for wire in wires.iter_mut() {
        assert_eq!(wire.step("start", "{}"), "running");
    }
}

/// The path's part of a report.
fn path(report: &Value, path: u64) -> &Value {
    let paths = report["detail"]["streams"]["paths"].as_array().unwrap();
    paths.iter().find(|one| one["path"] == path).unwrap_or_else(|| panic!("no path {path} in {report}"))
}

fn sum(part: &Value, side: &str, field: &str) -> u64 {
    let streams = part[side]["streams"].as_array().unwrap_or_else(|| panic!("no {side} in {part}"));
    streams.iter().map(|stream| number(stream, &format!("/{field}"))).sum()
}

/// Written = acknowledged = received, in whole paths.
fn exact(sender: &Value, receiver: &Value) -> u64 {
    let sent = sum(sender, "sending", "bytes");
    assert_eq!(sum(sender, "sending", "acked_bytes"), sent, "{sender}");
    assert_eq!(sum(receiver, "receiving", "bytes"), sent, "{receiver}");
    sent
}

#[test]
fn tcp_streams_between_two_agents_are_exact_whoever_connects() {
    let (a, b) = (Agent::start(""), Agent::start(""));
    let ((wire_a, welcome), (wire_b, _)) = (a.greet(), b.greet());
    let engine = &welcome["engine"]["streams"];
    assert_eq!(engine["listen"][0], a.streams.as_str());
    let interfaces = engine["interfaces"].as_array().unwrap();
    assert!(
        interfaces.iter().any(|interface| interface["name"] == "lo" && interface["up"] == true),
        "{engine}"
    );
    let mut wires = [wire_a, wire_b];
    for sends in [true, false] {
        let spec = streams(&json!({ "streams": 3 }));
        let work = [
            prepare(KEY, &[connect(5, &b.streams, sends, &spec)]),
            prepare(KEY, &[accept(5, &b.streams, !sends, &spec)]),
        ];
        start(&mut wires, &work);
        wires.iter_mut().for_each(|wire| drop(wire.wait_for("finished")));
        let samples = wires[0].events.iter().filter(|event| event["event"] == "sample").count();
        assert!(samples >= 3, "{samples} samples in 400 ms at 100 ms");
        let [report_a, report_b] = [0, 1].map(|index| wires[index].report());
        let (sender, receiver) = if sends { (&report_a, &report_b) } else { (&report_b, &report_a) };
        assert!(exact(path(sender, 5), path(receiver, 5)) > 1_000_000);
        assert_eq!(sender["ended"], "duration");
        assert!(number(sender, "/workers/0/lcore") < 64);
        // The last sample is the total.
        let side = usize::from(!sends);
        let last = wires[side].events.iter().rev().find(|event| event["event"] == "sample").unwrap();
        let sampled = number(last, "/data/measures/streams/paths/0/sent/bytes");
        assert_eq!(sampled, sum(path(sender, 5), "sending", "bytes"));
        for report in [&report_a, &report_b] {
            host_is_known(&report["host"], sum(path(receiver, 5), "receiving", "bytes"));
        }
        let kernels = wires[side].events.iter().filter(|event| event["data"]["host"]["kernel"].is_object());
        assert!(kernels.count() >= 1, "the kernel's counts are in samples");
    }
}

/// The host of a report, in a trial in which so many bytes crossed the loopback interface.
fn host_is_known(host: &Value, bytes: u64) {
    assert!(host["elapsed_s"].as_f64() > Some(0.2), "{host}");
    assert_eq!(host["not_known"], Value::Null, "{host}");
    let cpus = host["node"]["cpus"].as_array().unwrap();
    let busy = |cpu: &Value| cpu["busy"].as_f64().is_some_and(|busy| (0.0..=1.0).contains(&busy));
    assert!(!cpus.is_empty() && cpus.iter().all(busy), "{host}");
    assert!(number(host, "/node/net_rx") > 0, "{host}");
    let interfaces = host["namespace"]["interfaces"].as_array().unwrap();
    let loopback = interfaces.iter().find(|interface| interface["interface"] == "lo").unwrap();
    // Segments of the loopback interface have at most 64 KiB.
    assert!(number(loopback, "/rx_packets") >= bytes / 65_536 / 2, "{host}");
    assert!(number(host, "/namespace/protocols/TcpInSegs") > 0, "{host}");
    assert!(host["cost_s"].as_f64() > Some(0.0), "{host}");
}

#[test]
fn datagrams_between_two_agents_are_exact_after_a_drain() {
    let (a, b) = (Agent::start(""), Agent::start(""));
    let mut wires = [a.greet().0, b.greet().0];
    let spec = streams(&json!({
        "protocol": "udp", "streams": 2, "load": { "datagrams_per_second": 5000.0 }, "block_bytes": 200,
    }));
    let work = [
        prepare(KEY, &[connect(0, &b.streams, true, &spec)]),
        prepare(KEY, &[accept(0, &b.streams, false, &spec)]),
    ];
    start(&mut wires, &work);
    wires[0].wait_for("finished");
    let sent = wires[0].report();
    let datagrams = sum(path(&sent, 0), "sending", "datagrams");
    assert!(datagrams > 1000, "{sent}");
    let stop = format!(
        r#"{{"drain":{{"expected_packets":{datagrams},"settle_ms":300,"limit_ms":5000}},"sent_per_lcore":[{datagrams}]}}"#
    );
    assert_eq!(wires[1].step("stop", &stop), "finished");
    let received = wires[1].report();
    assert_eq!(sum(path(&received, 0), "receiving", "datagrams"), datagrams, "{received}");
    assert_eq!(received["ended"], "packets");
    assert!(number(path(&received, 0), "/receiving/latency/summary/p50") > 0);
}

#[test]
fn a_mesh_of_agents_sends_on_all_paths_at_once() {
    const AGENTS: usize = 5;
    let agents: Vec<Agent> = (0..AGENTS).map(|_| Agent::start("--cpus 0")).collect();
    let mut wires: Vec<Wire> = agents.iter().map(|agent| agent.greet().0).collect();
    let spec = streams(&json!({ "streams": 2, "load": { "bits_per_second": 2e6 }, "duration_ms": 1000 }));
    let ends = || (0..AGENTS).flat_map(|from| (0..AGENTS).map(move |to| (from, to))).filter(|(a, b)| a != b);
    let number_of = |(from, to): (usize, usize)| (from * AGENTS + to) as u32;
    let work: Vec<String> = (0..AGENTS)
        .map(|agent| {
            let paths: Vec<Value> = ends()
                .filter_map(|(from, to)| {
                    let (path, at) = (number_of((from, to)), agents[to].streams.as_str());
                    match agent {
                        agent if agent == from => Some(connect(path, at, true, &spec)),
                        agent if agent == to => Some(accept(path, at, false, &spec)),
                        _ => None,
                    }
                })
                .collect();
            prepare(KEY, &paths)
        })
        .collect();
    start(&mut wires, &work);
    wires.iter_mut().for_each(|wire| drop(wire.wait_for("finished")));
    // Every path moved in some interval, at its receiver.
    for wire in &wires {
        let samples = wire.events.iter().filter(|event| event["event"] == "sample");
        let mut alive = std::collections::BTreeSet::new();
        for sample in samples {
            for path in sample["data"]["measures"]["streams"]["paths"].as_array().unwrap() {
                if path["received"]["alive"].as_u64() > Some(0) {
                    alive.insert(path["path"].as_u64());
                }
            }
        }
        assert_eq!(alive.len(), AGENTS - 1);
    }
    let reports: Vec<Value> = wires.iter_mut().map(Wire::report).collect();
    let mut total = 0;
    for (from, to) in ends() {
        let number = u64::from(number_of((from, to)));
        total += exact(path(&reports[from], number), path(&reports[to], number));
    }
    // 2 Mbit/s for a second on each path, unless the machine was too busy.
    let whole = 250_000 * ends().count() as u64;
    assert!(total <= whole && total > whole / 2, "{total} of {whole}");
}

#[test]
fn impossible_work_is_refused_with_its_path() {
    let agent = Agent::start("--max-rate 10mbps --allow 127.0.0.0/8");
    let (mut wire, _) = agent.greet();
    let slow = streams(&json!({ "load": { "bits_per_second": 1e6 } }));
    for (work, parts) in [
        (prepare(KEY, &[]), &["paths: there is none"][..]),
        (prepare(KEY, &[connect(3, "127.0.0.1:9", true, &streams(&json!({ "streams": 0 })))]), &["path 3: streams: 0"]),
        (prepare(KEY, &[connect(3, "127.0.0.1:9", true, &streams(&json!({})))]), &["path 3", "no bound", "--max-rate"]),
        (prepare(KEY, &[connect(3, "10.0.0.1:9", true, &slow)]), &["path 3: 10.0.0.1 lies in none"]),
        (
            prepare(KEY, &[accept(3, "127.0.0.1:9", false, &slow), accept(3, "127.0.0.1:9", false, &slow)]),
            &["path 3: there are two"],
        ),
        (
            r#"{"trial":7,"sample_interval_ms":50,"orphan_ms":5000,"work":{"frames":{"tag":9,"role":{"receive":{"flows":10}}}}}"#.into(),
            &["this agent moves streams and HTTP requests, and the work is of frames"],
        ),
    ] {
        let reply = wire.ask("prepare", &work);
        let message = reply["error"]["message"].as_str().unwrap_or_else(|| panic!("{reply}"));
        assert_eq!(reply["error"]["code"], "refused", "{reply}");
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    let bad = wire.ask("prepare", &prepare("no key", &[connect(3, "127.0.0.1:9", true, &slow)]));
    assert!(bad["error"]["message"].as_str().unwrap().contains("32 hexadecimal digits"), "{bad}");
    // Nobody listens: the trial is refused when it is armed, and the agent goes on.
    assert_eq!(wire.step("prepare", &prepare(KEY, &[connect(3, "127.0.0.1:9", true, &slow)])), "prepared");
    let reply = wire.ask("arm", "");
    let message = reply["error"]["message"].as_str().unwrap();
    assert!(message.contains("path 3") && message.contains("nothing listens at 127.0.0.1:9"), "{message}");
    assert_eq!(wire.ask("ping", "")["result"]["pong"]["state"], "idle");
}

#[test]
fn a_path_without_a_peer_is_named_and_the_others_go_on() {
    let (a, b) = (Agent::start(""), Agent::start(""));
    let mut wires = [a.greet().0, b.greet().0];
    let spec = streams(&json!({ "load": { "bits_per_second": 5e6 } }));
    let work = [
        prepare(KEY, &[connect(0, &b.streams, true, &spec), connect(1, "127.0.0.1:9", true, &spec)]),
        prepare(KEY, &[accept(0, &b.streams, false, &spec), accept(2, &b.streams, false, &spec)]),
    ];
    start(&mut wires, &work);
    wires[0].wait_for("finished");
    let sent = wires[0].report();
    // The receiver awaits path 2, of which nothing came, until it is told to end.
    assert_eq!(wires[1].step("stop", "{}"), "finished");
    let received = wires[1].report();
    exact(path(&sent, 0), path(&received, 0));
    assert!(path(&sent, 1)["notes"].to_string().contains("nothing listens"), "{sent}");
    assert!(path(&received, 2)["notes"].to_string().contains("0 of 1 streams came"), "{received}");
}

#[test]
fn a_sender_whose_controller_is_gone_stops_and_keeps_its_report() {
    let (a, b) = (Agent::start(""), Agent::start(""));
    let mut wires = vec![a.greet().0, b.greet().0];
    let spec = streams(&json!({ "duration_ms": null, "load": { "bits_per_second": 5e6 } }));
    let short = |work: String| work.replace(r#""orphan_ms":5000"#, r#""orphan_ms":300"#);
    let work = [
        short(prepare(KEY, &[connect(0, &b.streams, true, &spec)])),
        prepare(KEY, &[accept(0, &b.streams, false, &spec)]),
    ];
    start(&mut wires, &work);
    let mut receiver = wires.pop().unwrap();
    drop(wires);
    // The receiver sees the end of the streams, in order.
    let began = Instant::now();
    receiver.wait_for("finished");
    assert!(began.elapsed() < Duration::from_secs(10));
    let received = receiver.report();
    let (mut again, welcome) = a.greet();
    assert_eq!((&welcome["state"], &welcome["waiting"]), (&json!("finished"), &json!(7)));
    let sent = again.report();
    assert_eq!(sent["ended"], "orphaned");
    exact(path(&sent, 0), path(&received, 0));
}

#[test]
fn an_agent_that_is_killed_ends_the_others_streams_with_a_reason() {
    let (a, b) = (Agent::start(""), Agent::start(""));
    let mut wires = [a.greet().0, b.greet().0];
    let spec = streams(&json!({ "duration_ms": 60_000, "load": { "bits_per_second": 5e6 } }));
    let work = [
        prepare(KEY, &[connect(0, &b.streams, true, &spec)]),
        prepare(KEY, &[accept(0, &b.streams, false, &spec)]),
    ];
    start(&mut wires, &work);
    wires[0].wait_for("sample");
    b.process.signal("KILL");
    wires[0].wait_for("finished");
    let sent = wires[0].report();
    let end = &path(&sent, 0)["sending"]["streams"][0]["end"];
    assert!(end["kind"] == "closed-early" || end["kind"] == "reset", "{sent}");
    assert!(end["reason"].is_string(), "{sent}");
}
