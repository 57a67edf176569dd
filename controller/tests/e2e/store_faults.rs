//! Full and read-only disks, concurrent runs, and killed writers: results are complete or absent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Bench, Mount, linerate, not_run, side_by_side, stderr, stdout, until};
use linerate_results::store::record::TrialRecord;
use linerate_results::validate::{Reason, validate};
use rustix::process::Signal;

const SHORT: &str = "  traffic: {frameSizes: [64], rates: [20kpps]}
  trial: {duration: 100ms, sampleInterval: 20ms, repeats: 3}
";
const ENDLESS: &str = "  traffic: {frameSizes: [64], rates: [20kpps]}
  trial: {duration: 50ms, sampleInterval: 10ms, repeats: 500}
";

/// Problems of an experiment, except that it has not ended.
fn damage(directory: &Path) -> Vec<Reason> {
    let verdict = validate(Path::new("results"), directory.to_str().unwrap(), Some(1)).unwrap();
    let reasons = verdict.problems.iter().map(|problem| problem.reason);
    reasons.filter(|reason| !matches!(reason, Reason::Unfinished | Reason::NoManifest)).collect()
}

/// Number of an experiment's trials with a file; checks that each can be read.
fn trials(directory: &Path) -> usize {
    let found = files(directory);
    let trials: Vec<_> = found.iter().filter(|(path, _)| path.ends_with("trial.json")).collect();
    for (path, bytes) in &trials {
        serde_json::from_slice::<TrialRecord>(bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    trials.len()
}

/// Finished files below a directory.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with(".part-") {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_disk_that_fills_up_ends_the_run_and_tears_nothing() {
    let bench = Bench::new(ENDLESS);
    let Some(disk) = Mount::tmpfs(bench.path("results"), "size=8m") else {
        return not_run(
            "a_disk_that_fills_up_ends_the_run_and_tears_nothing",
            "this user may not mount a tmpfs",
        );
    };
    let run = bench.start();
    until("a trial is filed", || {
        bench.summary_in_results().is_some_and(|summary| !summary.trials.is_empty())
    });
    disk.fill();
    let output = run.end_within(Duration::from_secs(30));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let message = stderr(&output);
    assert!(message.contains("No space left") && message.contains("free some space"), "{message}");
    let directory = bench.experiment_with_summary();
    assert!(trials(&directory) > 0);
    assert_eq!(damage(&directory), []);

    // Exports to the full disk are not partial either.
    let (results, id) = (disk.path.to_str().unwrap(), directory.file_name().unwrap().to_str().unwrap());
    let before = files(&directory);
    let exported = linerate(&["results", "export", id, "--results", results, "--format", "npz"]);
    assert_eq!(exported.status.code(), Some(1), "{}", stdout(&exported));
    assert!(stderr(&exported).contains("free some space"), "{}", stderr(&exported));
    assert_eq!(files(&directory), before);
    let archive =
        linerate(&["results", "backup", id, "--results", results, "--to", &format!("{results}/a.tar.gz")]);
    assert_eq!(archive.status.code(), Some(1), "{}", stdout(&archive));
    assert!(!disk.path.join("a.tar.gz").exists());
}

#[test]
fn a_place_that_is_read_only_is_refused_at_once() {
    let bench = Bench::new(SHORT);
    let Some(_disk) = Mount::tmpfs(bench.path("results"), "ro") else {
        return not_run("a_place_that_is_read_only_is_refused_at_once", "this user may not mount a tmpfs");
    };
    let output = bench.run(&["--quiet"]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(message.contains("Read-only file system") && message.contains("--results"), "{message}");
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other() {
    let bench = Bench::new(SHORT);
    let start = || {
        let mut command = bench.command(&["--quiet", "--json", "--format", "all"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let outputs = [start(), start()].map(|run| run.wait_with_output().unwrap());
    for output in outputs {
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let results = bench.path("results");
    let checked =
        linerate(&["results", "validate", "--samples", "2", "--results", results.to_str().unwrap()]);
    assert!(checked.status.success() && stdout(&checked).lines().count() == 2, "{}", stdout(&checked));
    let table = fs::read_to_string(results.join("summary_all_experiments.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + 2 * 3, "the last to end has the rows of both: {table}");
}

#[test]
fn a_run_that_is_killed_leaves_whole_trials() {
    side_by_side([0, 37, 91, 160], |delay_ms| {
        let bench = Bench::new(ENDLESS);
        let run = bench.start();
        until("a trial is filed", || bench.summary().is_some_and(|summary| !summary.trials.is_empty()));
        std::thread::sleep(Duration::from_millis(delay_ms));
        run.signal(Signal::KILL);
        run.end_within(Duration::from_secs(5));
        let directory = bench.experiment().unwrap();
        assert!(trials(&directory) > 0);
        assert_eq!(damage(&directory), [], "after {delay_ms} ms");
        bench.assert_nothing_left(Duration::from_secs(20));
    });
}

#[test]
fn an_export_that_is_killed_leaves_whole_files() {
    let bench = Bench::new(SHORT);
    let output = bench.run(&["--quiet"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let directory = bench.experiment_with_summary();
    let id = directory.file_name().unwrap().to_str().unwrap();
    let results = bench.path("results");
    let export = |to: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linerate"));
        command.args(["results", "export", id, "--results"]).arg(&results).arg("--to").arg(to);
        command.stdout(Stdio::null());
        command
    };
    let whole = bench.path("whole");
    assert!(export(&whole).status().unwrap().success());
    let wanted = files(&whole);
    assert!(wanted.len() > 20, "{:?}", wanted.keys());
    let mut partial = 0;
    for delay_ms in 0..24 {
        let to = bench.path(&format!("killed-{delay_ms}"));
        let mut child = export(&to).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = if to.exists() { files(&to) } else { BTreeMap::new() };
        partial += usize::from(found.len() < wanted.len());
        for (path, bytes) in found {
            let same = &wanted[&whole.join(path.strip_prefix(&to).unwrap())];
            assert!(bytes == *same, "{} is torn after {delay_ms} ms", path.display());
        }
    }
    assert!(partial > 0, "none of the exports was killed before its end");
}
