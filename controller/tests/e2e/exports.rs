//! Results of a real run, read by the libraries of notebooks and spreadsheets, and maintained by `linerate
//! results`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Bench, linerate, not_run, python, stderr, stdout};
use linerate_results::store::environment::Environment;
use serde_json::Value;

const REPEATED: &str = "  traffic: {frameSizes: [64, 512], flows: [100], flowMode: sd, rates: [20kpps]}
  trial: {duration: 400ms, sampleInterval: 100ms, repeats: 2}
";

#[test]
fn one_recorded_run_is_read_by_numpy_openpyxl_and_pyarrow() {
    let bench = Bench::new(&format!("{REPEATED}  agents: {{workers: {{tx: 2, rx: 2}}}}\n"));
    let output = bench.run(&["--quiet", "--format", "all"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let directory = bench.experiment_with_summary();
    let Some(python) = std::env::var_os("LINERATE_PYTHON") else {
        return not_run(
            "one_recorded_run_is_read_by_numpy_openpyxl_and_pyarrow",
            "LINERATE_PYTHON does not name a Python with numpy, openpyxl and pyarrow",
        );
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/read_exports.py");
    let read = Command::new(python).arg(script).arg(&directory).output().unwrap();
    assert!(read.status.success(), "{}{}", stdout(&read), stderr(&read));
    assert!(stdout(&read).starts_with("4 trials, "), "{}", stdout(&read));
}

#[test]
fn a_run_is_recorded_with_its_environment_and_cared_for() {
    let bench = Bench::new(REPEATED);
    let output = bench.run(&["--quiet", "--filter", "64B", "--format", "npz,metadata"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let directory = bench.experiment_with_summary();
    let id = directory.file_name().unwrap().to_str().unwrap().to_owned();
    let results = bench.path("results");
    let results = results.to_str().unwrap();

    let environment = Environment::read(&directory).unwrap().unwrap();
    let [tx, rx] = &environment.agents[..] else { panic!("two agents: {environment:?}") };
    assert_eq!((&tx.name[..], &rx.name[..], environment.nodes.len()), ("tx0", "rx0", 1));
    assert!(tx.dpdk.starts_with("DPDK ") && tx.port.driver == "net_memif" && tx.port.mtu >= 1500, "{tx:?}");
    let host = environment.nodes[0].host.as_ref().unwrap();
    assert!(host.cpu_model.is_some() && host.kernel.is_some() && !host.hugepages.is_empty(), "{host:?}");
    assert_eq!(environment.options["spec"]["trial"]["repeats"], 2);
    assert!(directory.join(format!("{}_cmdline.txt", tx.node)).exists());

    let checked = linerate(&["results", "validate", &id, "--samples", "2", "--results", results, "--json"]);
    assert!(checked.status.success(), "{}", stdout(&checked));
    let shown = linerate(&["results", "show", &id, "--results", results, "--series", "pkts_tx,rx_pps"]);
    assert!(stdout(&shown).contains(" rx_pps ") && stdout(&shown).contains('▁'), "{}", stdout(&shown));
    let listed = linerate(&["results", "list", "--results", results]);
    assert!(stdout(&listed).contains(&id) && stdout(&listed).contains("complete"), "{}", stdout(&listed));
    let scanned = linerate(&["results", "scan", "--results", results]);
    let complete = format!("{id}: 2 complete, 0 incomplete, 0 missing of 2 trials\n");
    assert_eq!(stdout(&scanned), complete, "{}", stderr(&scanned));

    let broken = bench.path("results").join("0badf00d");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("summary.json"), "{").unwrap();
    let scanned = linerate(&["results", "scan", "--results", results]);
    assert_eq!(
        (stdout(&scanned), scanned.status.code()),
        (complete, Some(1)),
        "the others are still scanned"
    );
    assert!(stderr(&scanned).contains("0badf00d"), "{}", stderr(&scanned));
    fs::remove_dir_all(&broken).unwrap();

    let archive = bench.path("backup.tar.gz");
    let kept = linerate(&["results", "backup", "--results", results, "--to", archive.to_str().unwrap()]);
    assert!(kept.status.success() && archive.exists(), "{}", stderr(&kept));

    let trial = directory.join("tx0-rx0");
    let first = fs::read_dir(&trial).unwrap().next().unwrap().unwrap().path().join("repeat-1/trial.json");
    let text = fs::read_to_string(&first).unwrap();
    fs::write(&first, &text[..text.len() / 2]).unwrap();
    let checked = linerate(&["results", "validate", "--results", results, "--json"]);
    assert_eq!(checked.status.code(), Some(1));
    let verdict: Value = serde_json::from_str(&stdout(&checked)).unwrap();
    assert_eq!(verdict["targets"][0]["problems"][0]["reason"], "torn", "{verdict}");
    let scanned = linerate(&["results", "scan", &id, "--results", results]);
    assert!(stdout(&scanned).contains("1 complete, 1 incomplete, 0 missing"), "{}", stdout(&scanned));

    let asked = linerate(&["results", "purge", &id, "--results", results]);
    assert_eq!(asked.status.code(), Some(1), "nothing can confirm it");
    assert!(stderr(&asked).contains("--yes") && directory.exists(), "{}", stderr(&asked));
    let refused = linerate(&["results", "purge", "../results", "--yes", "--results", results]);
    assert!(!refused.status.success() && directory.exists(), "{}", stdout(&refused));
    let purged = linerate(&["results", "purge", &id, "--yes", "--results", results]);
    assert!(purged.status.success() && !directory.exists(), "{}", stderr(&purged));
}

/// Verdict of the validator on files that NumPy itself wrote in the older kits' form.
#[test]
fn directories_that_numpy_wrote_are_judged_file_by_file() {
    let Some(python) = python("directories_that_numpy_wrote_are_judged_file_by_file", "numpy") else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/write_kit.py");
    let written = Command::new(python).arg(script).arg(place.path()).output().unwrap();
    assert!(written.status.success(), "{}", stderr(&written));
    let expected: Value = serde_json::from_slice(&written.stdout).unwrap();
    for (name, problems) in expected.as_object().unwrap() {
        let directory = place.path().join(name);
        let output =
            linerate(&["results", "validate", directory.to_str().unwrap(), "--samples", "6", "--json"]);
        let answer: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        let found = answer["targets"][0]["problems"].as_array().unwrap();
        let wanted = problems.as_array().unwrap();
        assert_eq!(found.len(), wanted.len(), "{name}: {found:?}");
        for problem in wanted {
            let end = problem[0].as_str().unwrap();
            let part = if end.is_empty() { String::new() } else { format!("_{end}_txcores_") };
            let is_it = |found: &&Value| {
                found["reason"] == problem[1] && found["path"].as_str().unwrap().contains(&part)
            };
            assert_eq!(found.iter().filter(is_it).count(), 1, "{name}: {found:?}");
        }
        let valid = wanted.is_empty();
        assert_eq!(
            (answer["valid"].as_bool(), output.status.code()),
            (Some(valid), Some(i32::from(!valid))),
            "{name}"
        );
    }
    assert!(expected.as_object().unwrap().len() > 20);
}
