//! Recorded results: every reading command gives its recorded output.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::archives;
use crate::files::{Outputs, copy, files_below, folder};
use crate::programs::{linerate, printed, stderr, transcript};

const RECORDED: &str = "results/recorded";
/// The exported runs, each in the formats in which it has data that the others lack.
const EXPORTED: [(&str, &str); 5] = [
    ("one-way", "npz,csv,logs,summary,parquet"),
    ("bidirectional", "npz,csv"),
    ("round-trip", "npz,csv,metadata,xlsx"),
    ("before-the-log", "npz,csv,logs,parquet"),
    ("search", "metadata,summary,parquet"),
];
/// Runs whose reports are compared in every format; the others' are compared as Markdown, which contains
/// everything.
const REPORTED: [(&str, &str); 2] = [("one-way", "html,md"), ("round-trip", "latex,md,xlsx")];

/// A copy of the recorded results in a directory of its own.
fn copied() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    copy(&folder().join(RECORDED), &place.path().join("results"));
    place
}

/// Id and name of every recorded run, by id.
fn runs() -> Vec<(String, String)> {
    let entries = fs::read_dir(folder().join(RECORDED)).unwrap();
    let mut runs: Vec<(String, String)> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(path.join("experiment.yaml")).unwrap();
            let document: Value = serde_saphyr::from_str(&text).unwrap();
            let name = document["metadata"]["name"].as_str().unwrap().to_owned();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), name)
        })
        .collect();
    runs.sort();
    runs
}

fn id_of(name: &str) -> String {
    runs().into_iter().find(|(_, one)| one == name).unwrap_or_else(|| panic!("no recorded run {name}")).0
}

fn results(place: &TempDir, words: &[&str]) -> String {
    transcript(&mut linerate(place.path(), &[&["results"], words].concat()))
}

#[test]
fn recorded_results_are_listed_shown_validated_and_scanned() {
    let place = copied();
    let mut outputs = Outputs::of("results/shown");
    for (name, words) in [
        ("list.txt", &["list"][..]),
        ("list.json", &["list", "--json"]),
        ("validate.txt", &["validate"]),
        ("validate.json", &["validate", "--json"]),
        ("scan.txt", &["scan"]),
        ("scan.json", &["scan", "--json"]),
        ("show-unknown.txt", &["show", "ffffffff"]),
    ] {
        outputs.check(name, &results(&place, words));
    }
    for (id, name) in runs() {
        outputs.check(&format!("{name}.txt"), &results(&place, &["show", &id]));
    }
    // A result that exists only in a log, and one of an older program.
    for name in ["killed", "before-the-log"] {
        outputs.check(&format!("{name}.json"), &results(&place, &["show", &id_of(name), "--json"]));
    }
    let id = id_of("one-way");
    outputs.check("one-way-series.txt", &results(&place, &["show", &id, "--series", "all"]));
    outputs.end();
}

#[test]
fn damage_of_recorded_results_is_reported_as_recorded() {
    let place = copied();
    let directory = place.path().join("results").join(id_of("one-way"));
    let files = files_below(&directory);
    let mut trials = files.iter().filter(|path| path.ends_with("trial.json"));
    let [torn, lost, changed] = [(); 3].map(|()| trials.next().unwrap());
    let text = fs::read_to_string(torn).unwrap();
    fs::write(torn, &text[..text.len() / 2]).unwrap();
    fs::remove_file(lost).unwrap();
    let text = fs::read_to_string(changed).unwrap();
    fs::write(changed, text.replacen("\"lost_packets\": 0", "\"lost_packets\": 1", 1)).unwrap();
    let mut outputs = Outputs::of("results/damaged");
    let id = id_of("one-way");
    for command in ["validate", "scan", "show", "report", "export"] {
        outputs.check(&format!("{command}.txt"), &results(&place, &[command, &id]));
    }
    outputs.end();
}

#[test]
fn recorded_results_compare_as_they_did() {
    let place = copied();
    let [a, b] = ["repeats-a", "repeats-b"].map(id_of);
    let other = id_of("one-way");
    let old = format!("results/{}", id_of("before-the-log"));
    let every = "offered_pps,received_pps,lost_ratio,latency_p50,latency_p99,latency_p999";
    let mut outputs = Outputs::of("results/compared");
    let cases: [(&str, &[&str]); 6] = [
        ("table.txt", &[&a, &b]),
        ("comparison.json", &[&a, &b, "--json"]),
        ("every-metric.json", &[&a, &b, "--json", "--metric", every, "--confidence", "99%"]),
        ("thresholds.txt", &[&b, &a, "--threshold", "5%,latency_p50=50%"]),
        ("strict.txt", &[&a, &other, "--strict"]),
        ("with-an-old-one.txt", &[&old, &other]),
    ];
    for (name, words) in cases {
        outputs.check(name, &results(&place, &[&["compare"], words].concat()));
    }
    // As if the second run had received a tenth.
    let summary = place.path().join("results").join(&b).join("summary.json");
    let mut changed: Value = serde_json::from_str(&fs::read_to_string(&summary).unwrap()).unwrap();
    for trial in changed["trials"].as_array_mut().unwrap() {
        trial["received_pps"] = 10.0.into();
    }
    fs::write(summary, changed.to_string()).unwrap();
    let only = ["--metric", "received_pps", "--threshold", "20%"];
    for (name, words) in [("worse.txt", [&a, &b]), ("better.txt", [&b, &a]), ("same.txt", [&a, &a])] {
        let words = words.map(String::as_str);
        outputs.check(name, &results(&place, &[&["compare"], &words[..], &only].concat()));
    }
    outputs.end();
}

#[test]
fn recorded_results_are_reported_as_they_were() {
    let place = copied();
    let mut outputs = Outputs::of("results/reports");
    for (id, name) in runs() {
        let formats = REPORTED.iter().find(|(one, _)| *one == name).map_or("md", |(_, formats)| *formats);
        let said = results(&place, &["report", &id, "--format", formats, "--to", &name]);
        outputs.check(&format!("{name}.txt"), &said);
        for file in files_below(&place.path().join(&name)) {
            let ending = file.extension().unwrap().to_str().unwrap();
            let ending = if ending == "xlsx" { "xlsx.txt" } else { ending };
            outputs.check(&format!("{name}.{ending}"), &archives::text(&file));
        }
    }
    let said = results(&place, &["report", &id_of("one-way"), "--json"]);
    outputs.check("json.txt", &said);
    outputs.end();
}

#[test]
fn recorded_results_are_exported_as_they_were() {
    let place = copied();
    let mut outputs = Outputs::of("results/exports");
    for (name, forms) in EXPORTED {
        let id = id_of(name);
        let mut text = results(&place, &["export", &id, "--format", forms, "--to", name]);
        for file in files_below(&place.path().join(name)) {
            let shown = file.strip_prefix(place.path()).unwrap().display();
            text.push_str(&format!("===== {shown} =====\n{}", archives::text(&file)));
        }
        outputs.check(&format!("{name}.txt"), &text);
    }
    outputs.end();
}

/// Each format alone writes the same files as all formats together.
#[test]
fn forms_of_exports_have_the_files_they_had() {
    let place = copied();
    let id = id_of("one-way");
    let mut outputs = Outputs::of("results/forms");
    for form in ["npz", "csv", "metadata", "logs", "summary", "xlsx", "parquet"] {
        outputs.check(&format!("{form}.txt"), &results(&place, &["export", &id, "--format", form]));
    }
    let json = results(&place, &["export", &id, "--format", "parquet,summary", "--json"]);
    outputs.check("json.txt", &json);
    // The manifest lists exported files, so the experiment stays valid.
    outputs.check("validate.txt", &results(&place, &["validate", &id]));
    outputs.end();
}

#[test]
fn recorded_results_are_kept_and_removed_as_they_were() {
    let place = copied();
    let mut outputs = Outputs::of("results/cared-for");
    let one = id_of("round-trip");
    outputs.check("backup.txt", &results(&place, &["backup", &one, "--to", "one.tar.gz"]));
    outputs.check("archive.txt", &archives::text(&place.path().join("one.tar.gz")));
    outputs.check("backup-all.txt", &results(&place, &["backup", "--to", "all.tar.gz", "--json"]));
    outputs.check("purge-unasked.txt", &results(&place, &["purge", &one]));
    outputs.check("purge-incomplete.txt", &results(&place, &["purge", "--incomplete", "--yes"]));
    outputs.check("purge-one.txt", &results(&place, &["purge", &one, "--yes", "--json"]));
    let mut left: Vec<_> =
        fs::read_dir(place.path().join("results")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    outputs.check("left.txt", &format!("{left:?}\n"));
    outputs.end();
}

/// Complete runs are recognised by their document and not repeated; others are resumed.
#[test]
fn recorded_runs_are_resumed_as_they_were() {
    let mut outputs = Outputs::of("results/resumed");
    for (id, name) in runs() {
        let place = copied();
        for other in runs().iter().filter(|(other, _)| *other != id) {
            fs::remove_dir_all(place.path().join("results").join(&other.0)).unwrap();
        }
        let document = format!("results/{id}/experiment.yaml");
        let resume = ["run", &document, "--resume", "--dataplane", "/nonexistent/linerate-dataplane"];
        let output = linerate(place.path(), &resume).output().unwrap();
        // Resumed runs also print the number of CPUs and hugepages.
        let said = stderr(&output).lines().next().unwrap_or_default().to_owned();
        // 3: the results of a search are irregular.
        let is_complete = matches!(output.status.code(), Some(0 | 3));
        let ended = if is_complete { "there was nothing to run" } else { "trials were to be run" };
        outputs.check(&format!("{name}.txt"), &format!("{said}\n{ended}\n"));
    }
    outputs.end();
}

/// Substitute for Python: stores the SDK's input, and answers like the script.
const STAND_IN: &str = r#"#!/bin/sh
cat > payload.json
echo '{"run":"a-run","project":"a-project","offline":true,"url":null,"directory":"wandb/offline-run","history_rows":7,"report_files":0}'
"#;

#[test]
fn uploads_to_weights_and_biases_are_as_recorded() {
    let place = copied();
    let python = place.path().join("python");
    fs::write(&python, STAND_IN).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let mut outputs = Outputs::of("results/uploads");
    for name in ["round-trip", "before-the-log", "search"] {
        let id = id_of(name);
        let words = ["results", "upload", &id, "--to", "wandb", "--python", "./python"];
        outputs.check(&format!("{name}.txt"), &printed(&mut linerate(place.path(), &words)));
        outputs.check(&format!("{name}.json"), &payload(place.path()));
    }
    outputs.end();
}

fn payload(directory: &Path) -> String {
    let text = fs::read_to_string(directory.join("payload.json")).unwrap();
    let payload: Value = serde_json::from_str(&text).unwrap();
    serde_json::to_string_pretty(&payload).unwrap() + "\n"
}
