//! Metrics scraped from a real run, and the documents that use them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{Bench, promtool, stderr, until};
use linerate_results::summary::{Status, TrialSummary};
use rustix::process::{Pid, Signal, kill_process};

const TWO_PAIRS: &str = "  pairs: 2
  traffic: {frameSizes: [64, 512], flows: [10], flowMode: sd, rates: [20kpps]}
  trial: {duration: 400ms, sampleInterval: 50ms, repeats: 2}
";

/// A run that serves metrics, and its address; killed when a test fails.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(bench: &Bench) -> Self {
        let options = ["--json", "--quiet", "--metrics", "127.0.0.1:0", "--metrics-linger", "10m"];
        let mut child =
            bench.command(&options).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line =
            lines.find(|line| line.as_ref().unwrap().starts_with("metrics: http://")).unwrap().unwrap();
        // Keeps reading: a closed pipe would end the program, a full one would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        let mut summary = child.stdout.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut summary, &mut std::io::sink()));
        let address = line.split('/').nth(2).unwrap().to_owned();
        Self { child, address }
    }

    fn scrape(&self, accept: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: run\r\nConnection: close\r\nAccept: {accept}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Samples of a scrape, by name with labels.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').map(|(name, value)| (name, value.parse().unwrap())).unwrap())
        .collect()
}

fn names(text: &str) -> BTreeSet<&str> {
    samples(text).into_keys().map(|name| name.split('{').next().unwrap()).collect()
}

/// Names of metrics in a query.
fn metrics_of(query: &str) -> impl Iterator<Item = &str> {
    query
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("linerate_"))
}

/// Every text under one of these keys.
fn texts<'v>(value: &'v serde_json::Value, keys: &[&str], found: &mut Vec<&'v str>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str().filter(|_| keys.contains(&key.as_str())) {
                    Some(text) => found.push(text),
                    None => texts(value, keys, found),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| texts(value, keys, found)),
        _ => {}
    }
}

fn assert_totals(scraped: &str, trials: &[TrialSummary]) {
    let found = samples(scraped);
    for (name, labels, of) in [
        (
            "linerate_tx_packets_total",
            ",role=\"tx\"",
            (|trial| trial.sent_packets) as fn(&TrialSummary) -> u64,
        ),
        ("linerate_rx_packets_total", ",role=\"rx\"", |trial| trial.received_packets),
        ("linerate_rx_frames_total", ",role=\"rx\"", |trial| trial.rx_queue_frames.iter().sum()),
        ("linerate_tx_queue_full_total", ",role=\"tx\"", |trial| trial.queue_full),
        ("linerate_lost_packets_total", "", |trial| trial.lost_packets),
        ("linerate_port_tx_packets_total", ",role=\"tx\"", |trial| trial.tx_port.unwrap().tx_packets),
    ] {
        for trial in trials {
            let (pair, profile) = (&trial.pair, &trial.profile);
            let repeats = trials.iter().filter(|other| (&other.pair, &other.profile) == (pair, profile));
            let total: u64 = repeats.map(of).sum();
            let key = format!("{name}{{pair=\"{pair}\",profile=\"{profile}\"{labels}}}");
            assert_eq!(found.get(key.as_str()), Some(&(total as f64)), "{key} in {scraped}");
        }
    }
    let last = trials.last().unwrap();
    let labels = format!("{{pair=\"{}\",profile=\"{}\"", last.pair, last.profile);
    let received = found[format!("linerate_trial_received_packets_per_second{labels}}}").as_str()];
    assert_eq!(received, last.received_pps);
    if let Some(latency) = last.latency_ns {
        let key = format!("linerate_trial_delay_seconds{labels},percentile=\"99\"}}");
        assert_eq!(found[key.as_str()], latency.p99 as f64 / 1e9);
    }
}

fn check(promtool: &Path, arguments: &[&str], input: &str) {
    let mut command = Command::new(promtool);
    let mut child = command
        .arg("check")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(output.status.success(), "{said}");
}

#[test]
fn scrapes_of_a_run_add_up_to_its_summary() {
    let bench = Bench::new(TWO_PAIRS);
    let mut served = Served::start(&bench);
    until("packets are counted while the first trials run", || {
        let text = served.scrape("*/*");
        let total: f64 = samples(&text)
            .into_iter()
            .filter(|(name, _)| name.starts_with("linerate_tx_packets_total"))
            .map(|(_, packets)| packets)
            .sum();
        total > 0.0
            && text.contains("\nlinerate_sending{pair=\"tx1-rx1\"")
            && text.contains("\nlinerate_intended_packets_per_second{")
    });
    until("the run is complete", || bench.summary().is_some_and(|summary| summary.status != Status::Running));
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.trials.len()), (Status::Complete, 8));
    let text = served.scrape("*/*");
    assert_totals(&text, &summary.trials);
    let found = samples(&text);
    let info = format!("linerate_experiment_info{{id=\"{}\",name=\"test\"}}", summary.experiment.id);
    assert_eq!(found.get(info.as_str()), Some(&1.0));
    for pair in ["tx0-rx0", "tx1-rx1"] {
        let ended = format!("linerate_trials_total{{pair=\"{pair}\",outcome=\"complete\"}}");
        assert_eq!(found.get(ended.as_str()), Some(&4.0), "{text}");
    }
    assert!(found.iter().filter(|(name, _)| name.starts_with("linerate_sending{")).all(|(_, on)| *on == 0.0));
    assert!(!names(&text).contains("linerate_intended_packets_per_second"), "nothing is intended any more");

    let open = served.scrape("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert!(open.ends_with("# EOF\n") && samples(&open) == found, "{open}");

    kill_process(Pid::from_child(&served.child), Signal::INT).unwrap();
    let status = served.child.wait().unwrap();
    assert!(status.success(), "a signal ends the lingering, not the run: {status}");

    let mut known = names(&text);
    known.insert("linerate_intended_packets_per_second");
    known.extend(["linerate_search_found_packets_per_second", "linerate_search_regular"]);
    assert_queries(&known);
    if let Some(promtool) = promtool("scrapes_of_a_run_add_up_to_its_summary") {
        check(&promtool, &["metrics"], &text);
        let file = bench.path("rules.json");
        std::fs::write(&file, rules()).unwrap();
        check(&promtool, &["rules", file.to_str().unwrap()], "");
    }
}

fn dashboard() -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/grafana/linerate.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Checks that a run has all metrics that the dashboard and the documents name.
fn assert_queries(known: &BTreeSet<&str>) {
    let dashboard = dashboard();
    let mut queries = Vec::new();
    texts(&dashboard, &["expr", "query"], &mut queries);
    assert!(queries.len() > 20, "{queries:?}");
    for query in queries {
        for metric in metrics_of(query) {
            assert!(known.contains(metric), "the dashboard asks for {metric}, which no run has: {query}");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let document = std::fs::read_to_string(path).unwrap();
    let told: BTreeSet<&str> = document
        .split('`')
        .filter(|word| word.starts_with("linerate_") && !word.starts_with("linerate_agent_"))
        .collect();
    assert_eq!(&told, known, "docs/metrics.md names what a run has");
}

/// The dashboard's queries as rules, the form in which promtool parses them.
fn rules() -> String {
    let dashboard = dashboard();
    let mut queries = Vec::new();
    texts(&dashboard, &["expr"], &mut queries);
    let rule = |(index, query): (usize, &&str)| {
        let query = query.replace("$__rate_interval", "1m").replace("$pair", ".*").replace("$profile", ".*");
        serde_json::json!({ "record": format!("dashboard:{index}"), "expr": query })
    };
    let rules: Vec<_> = queries.iter().enumerate().map(rule).collect();
    serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string()
}

#[test]
fn metrics_of_http_are_refused_before_anything_listens() {
    let bench = Bench::new("  http: {}\n");
    let output = bench.run(&["--metrics", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("serve no metrics"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("http://"), "{}", stderr(&output));
    assert!(!bench.path("results").exists());
}

#[test]
fn metrics_are_served_to_other_hosts_only_on_request() {
    let bench = Bench::new(TWO_PAIRS);
    for (options, code, part) in [
        (&["--metrics", "0.0.0.0:0"][..], 2, "add --metrics-public"),
        (&["--metrics", "localhost"], 2, "--metrics"),
        (&["--metrics-linger", "1s"], 2, "--metrics <ADDRESS>"),
        (&["--metrics", "192.0.2.1:9464", "--metrics-public"], 1, "cannot serve metrics on 192.0.2.1:9464"),
    ] {
        let output = bench.run(options);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
        assert!(!bench.path("results").exists(), "nothing is begun that cannot be watched");
    }
    let output = bench.run(&[
        "--metrics",
        "0.0.0.0:0",
        "--metrics-public",
        "--quiet",
        "--filter",
        "64B",
        "--duration",
        "100ms",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("metrics: http://0.0.0.0:"), "{}", stderr(&output));
}
