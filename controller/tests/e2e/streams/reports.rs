//! The example of streams as a user sees it: reports in every format, exports, and a comparison.

use std::fs;
use std::path::Path;
use std::process::Command;

use linerate_results::store::Recorded;
use linerate_results::streams::CONNECTION_FIGURES;

use super::bench;
use crate::support::{linerate, stderr, stdout};

#[test]
fn the_example_is_reported_exported_and_compared() {
    let bench = bench("  streams: {}\n");
    let results = bench.path("results");
    let results = results.to_str().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/streams.yaml");
    let run = || {
        let output = Command::new(env!("CARGO_BIN_EXE_linerate"))
            .arg("run")
            .arg(&example)
            .args(["--quiet", "--json", "--results", results, "--hostplane"])
            .arg(bench.path("linerate-hostplane"))
            .args(["--set", "spec.local.network=loopback", "--set", "spec.trial.duration=600ms"])
            .args(["--set", "spec.trial.sampleInterval=100ms"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let text = stdout(&output);
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        last["experiment"]["id"].as_str().unwrap().to_owned()
    };
    let (id, other) = (run(), run());

    let to = bench.path("out");
    let to = to.to_str().unwrap();
    let formats = "html,md,latex,xlsx";
    let output = linerate(&["results", "report", &id, "--results", results, "--format", formats, "--to", to]);
    assert!(output.status.success(), "{}", stderr(&output));
    let page = fs::read_to_string(format!("{to}/linerate-{id}.html")).unwrap();
    // The answer comes first, and nothing on frames.
    assert!(page.find("id=\"streams\"").unwrap() < page.find("id=\"environment\"").unwrap_or(page.len()));
    assert!(!page.contains("id=\"topology\"") && !page.contains("id=\"trials\""), "{page}");
    let recorded = Recorded::open(Path::new(results), &id).unwrap();
    for trial in &recorded.summary.streams {
        let row = page.split(&format!("<tr data-key=\"{}\">", trial.trial)).nth(1).unwrap();
        let cell = row.split("data-field=\"received_bps\">").nth(1).unwrap().split('<').next().unwrap();
        let shown: f64 = cell.replace(',', "").parse().unwrap();
        assert!((shown * 1e6 - trial.received_bps.unwrap()).abs() <= 501.0, "{cell}: {trial:?}");
    }
    assert_eq!(page.matches("Rate of all connections over time").count(), 2 * 4, "a chart of each trial");
    assert!(fs::read(format!("{to}/linerate-{id}.xlsx")).unwrap().starts_with(b"PK"));

    let output = linerate(&["results", "export", &id, "--results", results]);
    assert!(output.status.success(), "{}", stderr(&output));
    let trial = &recorded.summary.streams[0];
    let directory = recorded.directory.join(&trial.trial);
    let directory = directory.parent().unwrap();
    let table = fs::read_to_string(directory.join("connections.csv")).unwrap();
    let (head, row) = table.split_once('\n').unwrap();
    let place = head.split(',').position(|key| key == "received_bytes").unwrap();
    assert_eq!(row.split(',').nth(place), trial.received_bytes.map(|bytes| bytes.to_string()).as_deref());
    assert!(CONNECTION_FIGURES.iter().all(|figure| head.contains(figure.name)), "{head}");
    for name in ["samples.csv", "samples_tx.npz", "samples_rx.npz", "iperf3.jsonl"] {
        assert!(directory.join(name).is_file(), "{name}");
    }
    for name in ["streams_trials.csv", "samples.parquet", "k8s-netperf.json", "perfdash.json"] {
        assert!(recorded.directory.join(name).is_file(), "{name}");
    }
    let checked = linerate(&["results", "validate", "--results", results]);
    assert!(checked.status.success(), "{}{}", stdout(&checked), stderr(&checked));

    let output = linerate(&["results", "compare", &id, &other, "--results", results, "--json"]);
    let compared: serde_json::Value = serde_json::from_str(stdout(&output).trim()).unwrap();
    let metrics: Vec<&str> =
        compared["compared"].as_array().unwrap().iter().map(|one| one["metric"].as_str().unwrap()).collect();
    assert!(metrics.contains(&"received_bps") && metrics.contains(&"cpu_s_per_gbit"), "{metrics:?}");
    // One repeat of each shows no spread.
    assert_eq!(compared["verdict"], "cannot-tell");
}
