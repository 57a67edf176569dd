//! TLS and HTTP/2: to backends of the run, through haproxy, and to an https server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use linerate_experiment::http::HttpProtocol;
use linerate_results::http::EvennessUnit;
use serde_json::Value;

use super::{LOOPBACK, assert_exact, assert_validates, bench, run};
use crate::support::{Bench, not_run, stderr};

#[test]
fn every_protocol_is_exact() {
    let has_haproxy = Command::new("haproxy").arg("-v").output().is_ok();
    if !has_haproxy {
        not_run(
            "every_protocol_is_exact through haproxy",
            "haproxy is not installed; scripts/test.sh installs it",
        );
    }
    let targets = if has_haproxy { "[direct, haproxy]" } else { "[direct]" };
    let bench = bench(&format!(
        "  http: {{targets: {targets}, backends: [2], connections: [20], protocols: [https, h2, h2c], streams: [3], rates: [300]}}
  trial: {{duration: 400ms, sampleInterval: 100ms}}
"
    ));
    let output = run(&bench, &[&LOOPBACK[..], &["--quiet"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    let protocols: Vec<_> = summary.http.iter().take(3).map(|trial| trial.protocol).collect();
    assert_eq!(protocols, [HttpProtocol::Https, HttpProtocol::H2, HttpProtocol::H2c]);
    for trial in &summary.http {
        assert_exact(&bench, trial);
        assert_eq!(trial.connects.opened, 20, "{trial:?}");
        let multiplexed = trial.protocol.is_http2();
        assert_eq!(trial.streams, multiplexed.then_some(3));
        assert_eq!(trial.permitted, multiplexed.then_some(60), "20 connections of 3");
        match &trial.tls {
            Some(tls) => {
                assert!(trial.protocol.is_tls());
                assert_eq!((tls.version.as_deref(), tls.handshakes), (Some("TLSv1.3"), 20), "{tls:?}");
                assert!(tls.failed.is_empty(), "{tls:?}");
            }
            None => assert_eq!(trial.protocol, HttpProtocol::H2c),
        }
        // What haproxy cannot read it gives to backends by the connection.
        let unit = (trial.target == "haproxy").then_some(EvennessUnit::Connections);
        assert_eq!(trial.evenness.map(|one| one.unit), unit);
    }
    assert_validates(&bench);
}

/// An https server, which ends with the test.
struct Server {
    child: Child,
    address: String,
    certificate: String,
}

impl Server {
    fn start(bench: &Bench) -> Self {
        let certificate = bench.path("server.pem").to_str().unwrap().to_owned();
        let mut child = Command::new(bench.path("linerate-hostplane"))
            .args([
                "backend",
                "--listen",
                "127.0.0.1:0",
                "--name",
                "web",
                "--json",
                "--tls-self-signed",
                &certificate,
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let address = said["listening"][0].as_str().unwrap().to_owned();
        Self { child, address, certificate }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_https_server_proves_who_it_is() {
    // The server is there before the document that names it.
    let place = bench("  http: {}\n");
    let server = Server::start(&place);
    let spec = |more: &str| {
        format!(
            "  http: {{targets: ['https://{}/'], connections: [2], protocols: [https, h2], rates: [100], gate: {{timeout: 500ms}}{more}}}
  trial: {{duration: 300ms, sampleInterval: 100ms}}
",
            server.address
        )
    };
    let known = bench(&spec(&format!(", ca: {}", server.certificate)));
    let output = run(&known, &["--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = known.summary().unwrap();
    assert_eq!(summary.http.len(), 2);
    for trial in &summary.http {
        assert!(trial.complete, "{:?}", trial.reasons);
        assert_eq!(trial.by_backend["web"].answers, trial.requests.answered);
        assert_eq!(trial.tls.as_ref().map(|tls| tls.failed.len()), Some(0));
    }
    assert_validates(&known);
    // This host does not trust it.
    let unknown = bench(&spec(""));
    let output = run(&unknown, &["--quiet"]);
    assert!(!output.status.success());
    let reason = &unknown.summary().unwrap().failures[0].reason;
    assert!(reason.contains("certificate") || reason.contains("authorit"), "{reason}");
    // A file that is not there ends the run before anything is started.
    let missing = bench(&spec(", ca: /nowhere/ca.pem"));
    assert!(!run(&missing, &["--quiet"]).status.success());
    let summary = missing.summary().unwrap();
    assert!(summary.failures.is_empty() && summary.http.is_empty());
    let reason = summary.reason.unwrap();
    assert!(reason.contains("spec.http.ca: /nowhere/ca.pem: No such file"), "{reason}");
}
