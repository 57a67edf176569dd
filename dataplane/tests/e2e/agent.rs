//! The agent from outside, over its real port: trials, refusals, vanished controllers.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{Running, Wire, dataplane, eal, json, run, stderr, unique};
use serde_json::{Value, json as value};

const TOKEN: &str = "correct horse battery staple";
const PREPARE_TX: &str = r#""method":"prepare","params":{"trial":7,"sample_interval_ms":50,"orphan_ms":5000,
    "work":{"frames":{"tag":9,"role":{"transmit":{"profile":{"flows":10,"rate":"100kpps"},"peer_mac":"02:00:00:00:00:02",
    "limit":{"duration_ms":DURATION,"packets":null}}}}}}"#;

/// An agent on a port of its own.
struct Agent {
    process: Running,
    address: String,
}

impl Agent {
    fn start(cpu: usize, vdev: &str, options: &str) -> Self {
        let command = format!("agent --listen 127.0.0.1:0 --log-level debug {options}");
        let mut process =
            Running::start(dataplane(&eal(cpu, &[vdev]), &command).env("LINERATE_TOKEN", TOKEN));
        let line = process.wait_for_stdout("\n");
        let announced: Value = serde_json::from_str(line.trim()).unwrap();
        Self { process, address: announced["listening"].as_str().unwrap().to_owned() }
    }

    fn greet(&self) -> (Wire, Value) {
        let mut wire = Wire::connect(&self.address);
        let hello = format!(r#""method":"hello","params":{{"protocol":2,"token":"{TOKEN}"}}"#);
        let welcome = wire.ask(1, &hello, &mut Vec::new());
        (wire, welcome)
    }
}

fn prepare_tx(duration_ms: u64) -> String {
    PREPARE_TX.replace('\n', "").replace("DURATION", &duration_ms.to_string())
}

fn state(reply: &Value) -> &str {
    reply["result"]["state"].as_str().unwrap_or_else(|| panic!("no state in {reply}"))
}

fn code(reply: &Value) -> &str {
    reply["error"]["code"].as_str().unwrap_or_else(|| panic!("no error in {reply}"))
}

fn wait_finished(wire: &mut Wire, events: &mut Vec<Value>) {
    while !events.iter().any(|event| event["event"] == "finished") {
        events.push(wire.line().expect("the agent closed the connection"));
    }
}

#[test]
fn a_trial_between_two_agents() {
    let socket = unique("agents");
    let rx = Agent::start(1, &format!("net_memif0,role=server,socket={socket}"), "");
    let tx = Agent::start(0, &format!("net_memif0,role=client,socket={socket}"), "");
    let ((mut rx_wire, _), (mut tx_wire, welcome)) = (rx.greet(), tx.greet());
    let welcome = &welcome["result"]["welcome"];
    let engine = &welcome["engine"]["frames"];
    assert_eq!(engine["port"]["driver"], "net_memif");
    assert_eq!((&welcome["state"], &engine["no_huge"]), (&value!("idle"), &value!(true)));
    assert!(welcome["clock"]["tick_hz"].as_u64().unwrap() > 1_000_000);
    let (mut rx_events, mut tx_events) = (Vec::new(), Vec::new());
    while tx_wire.ask(2, r#""method":"ping""#, &mut tx_events)["result"]["pong"]["ready"] != true {
        std::thread::sleep(Duration::from_millis(20));
    }

    // Twice on the same agents: the port stays open between trials.
    for round in 0..2 {
        let receive = r#""method":"prepare","params":{"trial":7,"sample_interval_ms":50,"orphan_ms":5000,"work":{"frames":{"tag":9,"role":{"receive":{"flows":10}}}}}"#;
        assert_eq!(state(&rx_wire.ask(3, receive, &mut rx_events)), "prepared");
        assert_eq!(state(&rx_wire.ask(4, r#""method":"arm""#, &mut rx_events)), "armed");
        assert_eq!(state(&rx_wire.ask(5, r#""method":"start","params":{}"#, &mut rx_events)), "running");
        assert_eq!(state(&tx_wire.ask(3, &prepare_tx(500), &mut tx_events)), "prepared");
        assert_eq!(state(&tx_wire.ask(4, r#""method":"arm""#, &mut tx_events)), "armed");
        assert_eq!(state(&tx_wire.ask(5, r#""method":"start","params":{}"#, &mut tx_events)), "running");
        wait_finished(&mut tx_wire, &mut tx_events);
        let sent = tx_wire.ask(6, r#""method":"report""#, &mut tx_events)["result"]["report"].clone();
        let packets = sent["detail"]["frames"]["transmit"]["counters"]["packets"].as_u64().unwrap();
        assert!(packets > 10_000 && sent["ended"] == "duration", "{sent}");

        let stop = format!(
            r#""method":"stop","params":{{"drain":{{"expected_packets":{packets},"settle_ms":500,"limit_ms":5000}}}}"#
        );
        assert_eq!(state(&rx_wire.ask(6, &stop, &mut rx_events)), "finished");
        let received = rx_wire.ask(7, r#""method":"report""#, &mut rx_events)["result"]["report"].clone();
        assert_eq!(
            received["detail"]["frames"]["receive"]["counters"]["packets"], packets,
            "round {round}: {received}"
        );
        assert_eq!((&received["ended"], &received["disagreements"]), (&value!("packets"), &value!([])));

        let samples: Vec<&Value> = tx_events.iter().filter(|event| event["event"] == "sample").collect();
        assert!(samples.len() >= 5, "{} samples in 500 ms at 50 ms", samples.len());
        let times: Vec<u64> =
            samples.iter().map(|sample| sample["data"]["at_ns"].as_u64().unwrap()).collect();
        assert!(times.is_sorted());
        let last = &samples.last().unwrap()["data"];
        let frames = &last["measures"]["frames"];
        assert_eq!(frames["transmit"]["packets"], packets, "the final sample is the total");
        assert_eq!(frames["port"]["tx_packets"], packets);
        let cpu_ns: Vec<u64> =
            samples.iter().map(|s| s["data"]["host"]["process_cpu_ns"].as_u64().unwrap()).collect();
        assert!(cpu_ns.is_sorted() && cpu_ns.last() > Some(&0), "{cpu_ns:?}");

        let acknowledge = r#""method":"acknowledge","params":{"trial":7}"#;
        assert_eq!(state(&tx_wire.ask(8, acknowledge, &mut tx_events)), "idle");
        assert_eq!(state(&rx_wire.ask(8, acknowledge, &mut rx_events)), "idle");
        tx_events.clear();
        rx_events.clear();
    }
    for (mut wire, mut agent) in [(tx_wire, tx), (rx_wire, rx)] {
        assert_eq!(state(&wire.ask(9, r#""method":"shutdown""#, &mut Vec::new())), "idle");
        assert!(agent.process.ends_within(Duration::from_secs(5)).unwrap().success());
        let log = stderr(&agent.process.output());
        assert!(log.contains("all buffers came back"), "{log}");
        assert!(!log.contains(TOKEN));
    }
}

#[test]
fn strangers_are_turned_away() {
    let agent = Agent::start(0, "net_null0", "");
    for (line, expected) in [
        (r#"{"id":1,"method":"hello","params":{"protocol":2,"token":"wrong"}}"#.to_owned(), "unauthorized"),
        (r#"{"id":1,"method":"ping"}"#.to_owned(), "unauthorized"),
        ("GET / HTTP/1.1".to_owned(), "malformed"),
        (format!(r#"{{"id":1,"method":"hello","params":{{"protocol":1,"token":"{TOKEN}"}}}}"#), "version"),
        (
            format!(r#"{{"id":1,"method":"hello","params":{{"protocol":99,"token":"{TOKEN}","new":0}}}}"#),
            "version",
        ),
    ] {
        let mut wire = Wire::connect(&agent.address);
        wire.send(format!("{line}\n").as_bytes());
        assert_eq!(code(&wire.line().unwrap()), expected, "{line}");
        assert_eq!(wire.line(), None, "and closed");
    }
    let (mut first, _) = agent.greet();
    let (mut second, refusal) = agent.greet();
    assert_eq!(code(&refusal), "busy");
    assert_eq!(second.line(), None);
    assert!(first.ask(2, r#""method":"ping""#, &mut Vec::new())["result"]["pong"].is_object());
}

/// Connections that say nothing used to take all places for 5 s each.
#[test]
fn silent_connections_do_not_lock_the_controller_out() {
    let agent = Agent::start(0, "net_null0", "");
    let (mut first, _) = agent.greet();
    let mut silent: Vec<_> = (0..100).map(|_| TcpStream::connect(&agent.address).unwrap()).collect();
    // The controller that is connected already is none of them.
    assert!(first.ask(2, r#""method":"ping""#, &mut Vec::new())["result"]["pong"].is_object());
    drop(first);
    let begun = Instant::now();
    let (mut controller, welcome) = loop {
        // The agent may not have noticed yet that its controller has gone.
        let (wire, reply) = agent.greet();
        if reply["error"]["code"] != "busy" {
            break (wire, reply);
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "{reply}");
    };
    assert!(welcome["result"]["welcome"].is_object(), "{welcome}");
    let waited = begun.elapsed();
    assert!(
        waited < Duration::from_secs(4),
        "without waiting for the strangers' time to run out: {waited:?}"
    );
    silent[0].set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut byte = [0];
    assert!(matches!(silent[0].read(&mut byte), Ok(0)), "the oldest is closed without a word");
    // Strangers that keep coming do not disturb it either.
    silent.extend((0..100).map(|_| TcpStream::connect(&agent.address).unwrap()));
    assert!(controller.ask(2, r#""method":"ping""#, &mut Vec::new())["result"]["pong"].is_object());
}

#[test]
fn malformed_and_illegal_messages_are_answered() {
    let agent = Agent::start(0, "net_null0", "");
    let (mut wire, _) = agent.greet();
    let long = "x".repeat(2 << 20);
    for (line, expected) in [
        ("", "malformed"),
        ("{", "malformed"),
        ("[1,2,3]", "malformed"),
        (r#"{"id":2,"method":"explode"}"#, "malformed"),
        (r#"{"id":2,"method":"prepare","params":{"trial":-1}}"#, "malformed"),
        (long.as_str(), "too-long"),
        (r#"{"id":2,"method":"start","params":{}}"#, "illegal-step"),
        (r#"{"id":2,"method":"arm"}"#, "illegal-step"),
        (r#"{"id":2,"method":"report"}"#, "illegal-step"),
        (r#"{"id":2,"method":"acknowledge","params":{"trial":1}}"#, "illegal-step"),
    ] {
        wire.send(format!("{line}\n").as_bytes());
        assert_eq!(code(&wire.line().unwrap()), expected, "{line:.80}");
    }
    for (wrong, part) in [
        (prepare_tx(100).replace("\"flows\":10", "\"flows\":0"), "flows: 0"),
        (prepare_tx(100).replace("02:00:00:00:00:02", "00:00:00:00:00:00"), "peer_mac"),
        (prepare_tx(100).replace(":50,", ":5,"), "sample_interval_ms: 5"),
        (prepare_tx(100).replace("\"flows\":10", "\"frameSize\":9000"), "--mtu 8982"),
    ] {
        let reply = wire.ask(3, &wrong, &mut Vec::new());
        assert!(reply["error"]["message"].as_str().unwrap().contains(part), "{reply}");
    }
    let mut events = Vec::new();
    assert_eq!(state(&wire.ask(4, &prepare_tx(100), &mut events)), "prepared");
    assert_eq!(code(&wire.ask(5, &prepare_tx(100), &mut events)), "illegal-step");
    assert_eq!(state(&wire.ask(6, r#""method":"arm""#, &mut events)), "armed");
    assert_eq!(
        state(&wire.ask(7, r#""method":"stop","params":{}"#, &mut events)),
        "idle",
        "given up before the start"
    );
    assert_eq!(state(&wire.ask(8, &prepare_tx(60_000), &mut events)), "prepared", "the lcore is free again");
    wire.ask(9, r#""method":"arm""#, &mut events);
    wire.ask(10, r#""method":"start","params":{}"#, &mut events);
    assert_eq!(state(&wire.ask(11, r#""method":"stop","params":{}"#, &mut events)), "finished");
    let report = wire.ask(12, r#""method":"report""#, &mut events);
    assert_eq!(report["result"]["report"]["ended"], "stopped");
    let other = wire.ask(13, r#""method":"acknowledge","params":{"trial":8}"#, &mut events);
    assert_eq!(code(&other), "refused", "a report is acknowledged by its own name");
}

#[test]
fn a_transmitter_whose_controller_vanishes_stops_and_keeps_its_report() {
    let agent = Agent::start(0, "net_null0", "");
    let (mut wire, _) = agent.greet();
    let mut events = Vec::new();
    wire.ask(2, &prepare_tx(60_000).replace("5000", "500"), &mut events);
    wire.ask(3, r#""method":"arm""#, &mut events);
    assert_eq!(state(&wire.ask(4, r#""method":"start","params":{}"#, &mut events)), "running");
    drop(wire);
    std::thread::sleep(Duration::from_millis(1500));
    let (mut wire, welcome) = agent.greet();
    assert_eq!(welcome["result"]["welcome"]["waiting"], 7, "{welcome}");
    let report = wire.ask(2, r#""method":"report""#, &mut events)["result"]["report"].clone();
    assert_eq!(report["ended"], "orphaned");
    let seconds = report["detail"]["frames"]["transmit"]["duration_s"].as_f64().unwrap();
    assert!((0.4..1.5).contains(&seconds), "it stopped after the orphan time of 0.5 s: {seconds}");
    drop(wire);
    std::thread::sleep(Duration::from_millis(200));
    let (mut wire, welcome) = agent.greet();
    assert_eq!(welcome["result"]["welcome"]["waiting"], 7, "kept until acknowledged");
    assert_eq!(state(&wire.ask(2, r#""method":"acknowledge","params":{"trial":7}"#, &mut events)), "idle");
}

#[test]
fn an_orphaned_agent_ends_when_configured_so() {
    let mut agent = Agent::start(0, "net_null0", "--exit-when-orphaned 1s");
    drop(agent.greet());
    assert!(agent.process.ends_within(Duration::from_secs(10)).unwrap().success());
}

#[test]
fn an_agent_without_secret_or_on_a_network_does_not_start() {
    let output = run(&mut dataplane(&eal(0, &["net_null0"]), "agent --listen 127.0.0.1:0"));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no token"), "{}", stderr(&output));
    let mut command = dataplane(&eal(0, &["net_null0"]), "agent --listen 0.0.0.0:0");
    let output = run(command.env("LINERATE_TOKEN", TOKEN));
    assert_eq!(output.status.code(), Some(1));
    let message = json(&output)["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("not a loopback address"), "{message}");
}

/// What the agent's metrics are at this moment.
fn scrape(address: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

#[test]
fn metrics_equal_the_sum_of_all_reports() {
    let mut agent = Agent::start(0, "net_null0", "--metrics 127.0.0.1:0");
    let log = agent.process.wait_for_stderr("/metrics");
    let address = log.split("http://").nth(1).unwrap().split('/').next().unwrap();
    assert!(!scrape(address).contains("tx_packets_total{"), "nothing was sent yet");
    let (mut wire, _) = agent.greet();
    let mut sent = 0;
    for _ in 0..2 {
        let mut events = Vec::new();
        for method in [prepare_tx(200), r#""method":"arm""#.into(), r#""method":"start","params":{}"#.into()]
        {
            state(&wire.ask(2, &method, &mut events));
        }
        wait_finished(&mut wire, &mut events);
        let report = wire.ask(3, r#""method":"report""#, &mut events)["result"]["report"].clone();
        sent += report["detail"]["frames"]["transmit"]["counters"]["packets"].as_u64().unwrap();
        wire.ask(4, r#""method":"acknowledge","params":{"trial":7}"#, &mut events);
        let metrics = scrape(address);
        let line = format!("\nlinerate_agent_tx_packets_total{{role=\"tx\"}} {sent}\n");
        assert!(sent > 1_000 && metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn metrics_of_an_agent_are_for_its_own_machine() {
    let mut command = dataplane(&eal(0, &["net_null0"]), "agent --metrics 0.0.0.0:0");
    let output = run(command.env("LINERATE_TOKEN", TOKEN));
    assert_eq!(output.status.code(), Some(2));
    let message = json(&output)["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("--metrics 0.0.0.0:0 is not a loopback address"), "{message}");
}
