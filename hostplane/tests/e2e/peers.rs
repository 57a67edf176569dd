//! Peers that fail: killed, stopped, reset, half closed. Every trial ends in bounded time, says why, and leaves nothing.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::proxy::{Harm, Proxy};
use crate::common::{
    PROGRESS, Running, Server, exact_bytes, hostplane, json, number, result, signal, stderr,
};

fn started(server: &Server, protocol: &str, options: &str) -> Running {
    let line = format!("{protocol} 127.0.0.1 --port {} --json --interval 100ms {options}", server.port);
    let mut client = Running::start(&mut hostplane(&line));
    for _ in 0..2 {
        client.wait_for_stderr(PROGRESS);
    }
    client
}

/// The result of a client whose account cannot be complete, and the reasons that it gives.
fn incomplete(output: &Output) -> (Value, String) {
    assert_eq!(output.status.code(), Some(1), "{}", stderr(output));
    let result = json(output);
    assert_eq!(result["complete"], false, "{result}");
    let reasons = result["failures"].to_string();
    (result, reasons)
}

#[test]
fn a_server_that_is_killed_is_named_at_once() {
    for (protocol, options) in [
        ("tcp", "--duration 1m"),
        ("tcp", "--duration 1m --reverse --parallel 4"),
        ("udp", "--duration 1m --rate 5kpps"),
        ("udp", "--duration 1m --rate 5kpps --reverse"),
    ] {
        let server = Server::start("");
        let client = started(&server, protocol, options);
        server.signal("KILL");
        let killed = Instant::now();
        let output = client.output();
        assert!(killed.elapsed() < Duration::from_secs(30), "{options}: {:?}", killed.elapsed());
        let (result, reasons) = incomplete(&output);
        assert!(reasons.contains("the server closed the control connection"), "{options}: {reasons}");
        // The other end's counts are unknown, not zero.
        let direction = &result["directions"][0];
        let (known, unknown) = if options.contains("reverse") {
            ("received_bytes", "sent_bytes")
        } else {
            ("sent_bytes", "received_bytes")
        };
        assert!(number(direction, &format!("/{known}")) > 0 && direction[unknown].is_null(), "{direction}");
        if options.contains("reverse") {
            assert_eq!(direction["verdict"]["kind"], "unknown", "{direction}");
        }
    }
}

#[test]
fn a_client_that_is_killed_leaves_the_server_clean() {
    let server = Server::start("");
    for (protocol, options) in [
        ("tcp", "--duration 1m --parallel 3"),
        ("tcp", "--duration 1m --reverse"),
        ("udp", "--duration 1m --rate 5kpps --bidirectional"),
    ] {
        let client = started(&server, protocol, options);
        client.signal("KILL");
        let account = server.account();
        assert_eq!(account["end"], "the client left", "{account}");
        server.has_no_sockets_left();
    }
    result(&mut server.client("tcp", "--duration 100ms"));
}

#[test]
fn a_receiver_that_stops_reading_ends_the_trial_in_bounded_time() {
    let server = Server::start("");
    let proxy = Proxy::start(server.port, Harm::StopReading, 3_000_000);
    let line = format!("tcp 127.0.0.1 --port {} --json --quiet --duration 1s --parallel 2", proxy.port);
    let began = Instant::now();
    let output = Running::start(&mut hostplane(&line)).output();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let (result, reasons) = incomplete(&output);
    assert!(reasons.contains("nothing more"), "{reasons}");
    let direction = &result["directions"][0];
    let (sent, received) = (number(direction, "/sent_bytes"), number(direction, "/received_bytes"));
    assert!(received < sent && received >= 5_000_000, "{sent} {received}");
    server.has_no_sockets_left();
}

#[test]
fn a_server_that_is_frozen_and_wakes_up_loses_nothing() {
    let server = Server::start("");
    let client = started(&server, "tcp", "--duration 3s");
    signal(server.pid(), "STOP");
    std::thread::sleep(Duration::from_millis(1200));
    signal(server.pid(), "CONT");
    let output = client.output();
    assert!(output.status.success(), "{}", stderr(&output));
    let result = json(&output);
    exact_bytes(&result["directions"][0]);
    let stream = &result["directions"][0]["streams"][0]["sent"]["tcp"];
    assert!(number(stream, "/window_limited_us") > 200_000, "its window was closed: {stream}");
}

#[test]
fn a_server_that_stays_frozen_counts_as_gone() {
    let server = Server::start("");
    let client = started(&server, "tcp", "--duration 1s");
    signal(server.pid(), "STOP");
    let began = Instant::now();
    let output = client.output();
    signal(server.pid(), "CONT");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let (_, reasons) = incomplete(&output);
    assert!(reasons.contains("nothing came for 10s"), "{reasons}");
    server.has_no_sockets_left();
}

#[test]
fn a_reset_on_the_path_is_named_with_both_counts() {
    let server = Server::start("");
    let proxy = Proxy::start(server.port, Harm::Reset, 2_000_000);
    let line = format!("tcp 127.0.0.1 --port {} --json --quiet --duration 1s", proxy.port);
    let output = Running::start(&mut hostplane(&line)).output();
    let (result, reasons) = incomplete(&output);
    assert!(reasons.contains("reset") && reasons.contains("bytes were written"), "{reasons}");
    let stream = &result["directions"][0]["streams"][0];
    let (sent, received) = (number(stream, "/sent/bytes"), number(stream, "/received/bytes"));
    assert!(sent > received, "{stream}");
    server.has_no_sockets_left();
}

#[test]
fn a_half_close_by_the_receiver_is_named() {
    let server = Server::start("");
    let proxy = Proxy::start(server.port, Harm::HalfClose, 2_000_000);
    let line = format!("tcp 127.0.0.1 --port {} --json --quiet --duration 1s", proxy.port);
    let began = Instant::now();
    let output = Running::start(&mut hostplane(&line)).output();
    assert!(began.elapsed() < Duration::from_secs(20));
    let (result, reasons) = incomplete(&output);
    assert!(reasons.contains("the receiver closed its side before the sender had finished"), "{reasons}");
    assert_eq!(result["directions"][0]["ended"], "streams");
    // The bytes themselves all arrived.
    let stream = &result["directions"][0]["streams"][0];
    assert_eq!(number(stream, "/sent/bytes"), number(stream, "/received/bytes"), "{stream}");
}

#[test]
fn a_control_connection_that_is_cut_ends_both_ends() {
    let server = Server::start("");
    // Some lines pass before the cut: the trial runs then.
    let proxy = Proxy::start(server.port, Harm::CutControl, 850);
    let line = format!("tcp 127.0.0.1 --port {} --json --quiet --duration 30s --rate 10mbps", proxy.port);
    let began = Instant::now();
    let output = Running::start(&mut hostplane(&line)).output();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    server.has_no_sockets_left();
}
