//! Experiments of HTTP with real agents: exact counts, both loops, balancers, the gate, resumed runs.

mod balancers;
mod protocols;
mod searched;

use std::fs;
use std::path::Path;
use std::process::Output;

use linerate::schema::SchemaOf;
use linerate_results::http::{HttpLimit, HttpTrialRecord, HttpTrialSummary, LatencyBasis};
use linerate_results::planned::PlannedResult;
use linerate_results::store::Recorded;
use linerate_results::summary::{Status, Summary};
use serde_json::Value;

use crate::support::{Bench, linerate, stderr, stdout};

/// Agents on the loopback interface, for root as well.
const LOOPBACK: [&str; 2] = ["--set", "spec.local.network=loopback"];

/// A bench whose agents have its directory on their command line.
fn bench(spec: &str) -> Bench {
    let bench = Bench::new(spec);
    let program = Path::new(env!("CARGO_BIN_EXE_linerate")).with_file_name("linerate-hostplane");
    assert!(
        program.is_file(),
        "{} is not there; run first: cargo build -p linerate-hostplane",
        program.display()
    );
    std::os::unix::fs::symlink(program, bench.path("linerate-hostplane")).unwrap();
    bench
}

fn run(bench: &Bench, more: &[&str]) -> Output {
    let program = bench.path("linerate-hostplane");
    let options: Vec<&str> =
        ["--hostplane", program.to_str().unwrap()].into_iter().chain(more.iter().copied()).collect();
    bench.run(&options)
}

fn record(bench: &Bench, trial: &HttpTrialSummary) -> HttpTrialRecord {
    let directory = bench.experiment().unwrap();
    let recorded = Recorded { directory, summary: bench.summary().unwrap() };
    recorded.planned_trial::<HttpTrialSummary>(&trial.trial).unwrap()
}

fn assert_validates(bench: &Bench) {
    let results = bench.path("results");
    let checked =
        linerate(&["results", "validate", "--samples", "1", "--results", results.to_str().unwrap()]);
    assert!(checked.status.success(), "{}{}", stdout(&checked), stderr(&checked));
}

fn assert_valid(of: SchemaOf, value: &Value) {
    let schema = serde_json::to_value(of.schema()).unwrap();
    let errors: Vec<_> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(value)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?} in {value}");
}

/// All requests are answered, and backends counted the same.
fn assert_exact(bench: &Bench, trial: &HttpTrialSummary) {
    assert!(trial.complete, "{:?}", trial.reasons);
    let requests = &trial.requests;
    assert_eq!(requests.gap(), None);
    assert_eq!((requests.failures(), requests.unfinished), (0, 0), "{trial:?}");
    assert!(requests.answered > 0 && requests.answered == requests.sent);
    assert_eq!(trial.by_backend.len(), trial.backends as usize);
    for (name, share) in &trial.by_backend {
        assert!(share.answers > 0, "{name}: {trial:?}");
        assert_eq!((share.requests, share.answered), (Some(share.answers), Some(share.answers)), "{name}");
    }
    let answers: u64 = trial.by_backend.values().map(|share| share.answers).sum();
    assert_eq!((answers, trial.unnamed), (requests.answered, 0));
    let record = record(bench, trial);
    assert_eq!(record.result.as_ref(), Some(trial));
    assert!(record.gate.iter().all(|part| part.report.passed));
}

const MATRIX: &str = "  http: {backends: [1, 3], connections: [6], rates: [max, 400], clients: 2}
  trial: {duration: 800ms, sampleInterval: 100ms, repeats: 2}
";

#[test]
fn requests_are_exact_and_results_validate() {
    let bench = bench(MATRIX);
    let output = run(&bench, &[&LOOPBACK[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    assert_eq!(
        (summary.status, summary.http.len(), summary.experiment.planned_trials),
        (Status::Complete, 8, 8)
    );
    assert_eq!(summary.http[2].label(), ("direct_3_backends_6_connections_max".to_owned(), 1));
    for trial in &summary.http {
        assert_exact(&bench, trial);
        let open = trial.intended_per_s.is_some();
        assert_eq!(open, trial.profile.ends_with("400_per_s"));
        assert_eq!((trial.corrected_ns.is_some(), trial.latency_ns().is_some()), (open, true));
        let basis = if open { LatencyBasis::Corrected } else { LatencyBasis::Service };
        assert_eq!(trial.latency_basis, basis);
        if open {
            // 0.8 s at 400/s; each client has half of them.
            assert!((316..=324).contains(&trial.requests.intended), "{trial:?}");
        }
        // Nothing is balanced in front of `direct`.
        assert_eq!(trial.evenness, None);
        assert_eq!(trial.agents.len() as u32, 2 + trial.backends);
        assert!(trial.client_cpu_us > Some(0.0) && trial.backend_cpu_us > Some(0.0));
        assert_ne!(trial.verdict.kind, HttpLimit::Unknown);
        assert!(!trial.verdict.evidence.is_empty());
    }
    assert_validates(&bench);
    let file = fs::read_to_string(bench.experiment().unwrap().join("summary.json")).unwrap();
    assert_valid(SchemaOf::Summary, &serde_json::from_str(&file).unwrap());
    let text = stdout(&output);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (_, events) = lines.split_last().unwrap();
    events.iter().for_each(|event| assert_valid(SchemaOf::Event, event));
    let count = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!(count("http-trial"), 8);
    assert!(count("http-sample") >= 16, "{}", count("http-sample"));
    // All that was asked for is there: nothing is run again.
    let again = run(&bench, &[&LOOPBACK[..], &["--quiet", "--resume"]].concat());
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(bench.summary().unwrap(), summary);
    shown(&bench, &summary);
}

/// Table, reports and exports of a finished run.
fn shown(bench: &Bench, summary: &Summary) {
    let results = bench.path("results");
    let results = results.to_str().unwrap();
    let id = summary.experiment.id.as_str();
    let directory = bench.experiment().unwrap();
    let shown = stdout(&linerate(&["results", "show", id, "--results", results]));
    assert!(shown.contains("direct_3_backends_6_connections_max"), "{shown}");
    assert!(shown.contains("the backends counted the same"), "{shown}");
    let to = bench.path("out");
    let to = to.to_str().unwrap();
    let formats = "html,md,latex,xlsx";
    let output = linerate(&["results", "report", id, "--results", results, "--format", formats, "--to", to]);
    assert!(output.status.success(), "{}", stderr(&output));
    let page = fs::read_to_string(format!("{to}/linerate-{id}.html")).unwrap();
    assert!(page.contains("id=\"http\"") && !page.contains("id=\"streams\""), "{page}");
    for part in ["believe the corrected latency", "Requests per second against the number of backends"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let output = linerate(&["results", "export", id, "--results", results]);
    assert!(output.status.success(), "{}", stderr(&output));
    let pods = directory.join("http/direct_6_connections_max_try_1.csv");
    let pods = fs::read_to_string(pods).unwrap();
    let rows: Vec<&str> = pods.lines().collect();
    assert_eq!((rows[0], rows.len()), ("\"# of pods\",\"Req/sec\"", 3));
    assert!(rows[1].starts_with("1,") && rows[2].starts_with("3,"), "{pods}");
    let trials = fs::read_to_string(directory.join("http_trials.csv")).unwrap();
    assert_eq!(trials.lines().count(), 9);
    let compared = linerate(&["results", "compare", id, id, "--results", results]);
    assert!(stdout(&compared).contains("requests_per_s"), "{}{}", stdout(&compared), stderr(&compared));
}

#[test]
fn a_url_is_probed_and_loaded_without_backends_of_ours() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // A server that answers one name for as long as connections come.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).is_ok_and(|read| read > 0) {
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nweb";
                    if stream.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    let bench = bench(&format!(
        "  http: {{targets: ['http://{address}/'], connections: [2], rates: [100]}}
  trial: {{duration: 500ms, sampleInterval: 100ms}}
"
    ));
    let output = run(&bench, &["--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary = bench.summary().unwrap();
    let trial = &summary.http[0];
    assert!(trial.complete, "{:?}", trial.reasons);
    assert_eq!((trial.backends, trial.by_backend["web"].answers), (0, trial.requests.answered));
    assert_eq!((trial.gate.probes, trial.gate.failed), (3, 0));
    assert_validates(&bench);
}

#[test]
fn a_gate_that_stays_closed_says_so() {
    // Nobody listens at the address.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = bench(&format!(
        "  http: {{targets: ['http://{free}/'], connections: [1], gate: {{timeout: 300ms}}}}
  trial: {{duration: 300ms, sampleInterval: 100ms}}
"
    ));
    let output = run(&bench, &["--quiet"]);
    assert!(!output.status.success());
    let summary = bench.summary().unwrap();
    assert_eq!((summary.status, summary.failures.len()), (Status::Failed, 1));
    let reason = &summary.failures[0].reason;
    assert!(reason.starts_with("the gate stayed closed for 0.3 s"), "{reason}");
    assert!(reason.contains("refused") && reason.contains("spec.http.gate.timeout"), "{reason}");
}

#[test]
fn impossible_documents_are_refused_with_the_remedy() {
    for (spec, parts) in [
        ("  http: {targets: [ipvs]}\n", &["'ipvs' is no target", "http://192.0.2.1:8080/"][..]),
        ("  http: {targets: [nftables]}\n", &["nftables and IPVS need network namespaces"]),
        ("  http: {}\n  streams: {}\n", &["spec.streams: given beside spec.http"]),
        ("  http: {rates: [max]}\n  safety: {maxRate: 1gbps}\n", &["has no bound"]),
    ] {
        let bench = bench(spec);
        let output = run(&bench, &LOOPBACK);
        let told = stderr(&output);
        assert!(!output.status.success(), "{spec}");
        assert!(parts.iter().all(|part| told.contains(part)), "{spec}: {told}");
    }
}
