//! Uploads to Weights & Biases by its real SDK, offline, and read back from its run file.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{Bench, python, stderr, stdout};
use linerate_report::export::series::{RATE_KEYS, RECEIVE_KEYS, SeriesColumn, receiver, transmitter};
use linerate_report::upload::Uploaded;
use linerate_results::store::Recorded;
use serde_json::Value;

const TWO_TRIALS: &str = "  traffic: {frameSizes: [64], flows: [10], flowMode: sd, rates: [20kpps]}
  trial: {duration: 400ms, sampleInterval: 50ms, repeats: 2}
";
const SOME_KEY: &str = "0123456789abcdef0123456789abcdef01234567";

/// A recorded run, and a directory for the SDK.
struct Upload {
    bench: Bench,
    id: String,
}

impl Upload {
    fn record() -> Self {
        let bench = Bench::new(TWO_TRIALS);
        let output = bench.run(&["--quiet"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let id = bench.summary().unwrap().experiment.id;
        fs::create_dir(bench.path("sdk")).unwrap();
        Self { bench, id }
    }

    fn recorded(&self) -> Recorded {
        Recorded::open(&self.bench.path("results"), &self.id).unwrap()
    }

    /// `results upload` in an environment without the user's settings of the SDK.
    fn command(&self, python: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linerate"));
        for name in ["WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT", "WANDB_RUN_ID"] {
            command.env_remove(name);
        }
        let home = self.bench.path("sdk");
        command
            .args(["results", "upload", &self.id, "--to", "wandb", "--python"])
            .arg(python)
            .arg("--results")
            .arg(self.bench.path("results"))
            .args(options)
            .env("HOME", &home)
            .env("WANDB_DIR", &home)
            .env("WANDB_CACHE_DIR", home.join("cache"))
            .env("WANDB_CONFIG_DIR", home.join("config"))
            .env("WANDB_DATA_DIR", home.join("data"))
            .env("WANDB_INIT_TIMEOUT", "5")
            .current_dir(&home);
        command
    }

    /// All files of the experiment with their contents.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(directory: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, files);
                } else {
                    files.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.bench.path("results"), &mut files);
        files.sort();
        files
    }
}

fn read_back(python: &Path, directory: &Path) -> Value {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let file = entries.into_iter().find(|path| path.extension().is_some_and(|end| end == "wandb")).unwrap();
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/read_wandb.py");
    let output = Command::new(python).arg(reader).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn assert_rows(rows: &[Value], columns: &[SeriesColumn], role: &str, repeat: u32) {
    for (step, row) in rows.iter().enumerate() {
        assert_eq!(
            (&row["step"], &row["role"], &row["repeat"]),
            (&step.into(), &role.into(), &repeat.into())
        );
        for column in columns {
            assert_eq!(row[column.name.as_ref()], column.values[step], "{} of step {step}", column.name);
        }
    }
}

#[test]
fn every_sample_is_a_row_of_the_offline_run() {
    let Some(python) = python("every_sample_is_a_row_of_the_offline_run", "wandb") else { return };
    let upload = Upload::record();
    let recorded = upload.recorded();
    let report = recorded.directory.join(format!("linerate-{}.html", upload.id));
    fs::write(&report, "<!doctype html><title>report</title>").unwrap();
    let aside = upload.bench.path("aside.md");
    fs::write(&aside, "# report").unwrap();
    let before = upload.files();

    let mut command = upload.command(&python, &["--json", "--report", aside.to_str().unwrap()]);
    let output = command.env("WANDB_MODE", "offline").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let uploaded: Uploaded = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((uploaded.offline, uploaded.report_files), (true, 2));
    assert_eq!(upload.files(), before, "the results are as they were");

    let run = read_back(&python, &uploaded.directory);
    assert_eq!((&run["project"], &run["exit_code"]), (&"dpdk-benchmarks".into(), &0.into()));
    assert_eq!(run["name"], format!("pktgen_run_{}", upload.id));
    let summary = &recorded.summary;
    assert_eq!(run["config"]["experiment"]["id"], *upload.id);
    assert_eq!(run["config"]["environment"]["experiment"], *upload.id);
    assert_eq!(run["summary"]["sent_packets"], summary.trials.iter().map(|t| t.sent_packets).sum::<u64>());
    let first = &summary.trials[0];
    let figures = &run["summary"]["trials"][format!("{}/{}/1", first.profile, first.pair)];
    assert_eq!(
        (&figures["lost_packets"], figures["received_pps"].as_f64()),
        (&first.lost_packets.into(), Some(first.received_pps))
    );
    let artifact = &run["artifacts"][0];
    assert_eq!(
        (&artifact["type"], artifact["name"].as_str()),
        (&"report".into(), Some(&*format!("report-{}", upload.id)))
    );
    let files = artifact["files"].to_string();
    assert!(files.contains(".html") && files.contains("aside.md"), "{artifact}");

    let history = run["history"].as_array().unwrap();
    let mut rows = &history[..];
    for record in recorded.trials() {
        let record = record.unwrap();
        for (role, columns, keys) in
            [("tx", transmitter(&record), &RATE_KEYS[..]), ("rx", receiver(&record), &RECEIVE_KEYS[..])]
        {
            assert!(keys.iter().all(|key| columns.iter().any(|column| column.name == *key)));
            let count = columns[0].values.len();
            assert!(count >= 2, "{count} rows of {role}");
            let theirs;
            (theirs, rows) = rows.split_at(count);
            assert_rows(theirs, &columns, role, record.repeat);
        }
    }
    assert!(rows.is_empty(), "{} rows too many", rows.len());
    assert_eq!(history.len(), uploaded.history_rows);

    let output = upload.command(&python, &[]).env("WANDB_MODE", "offline").output().unwrap();
    assert!(stdout(&output).contains("\nwandb sync "), "{}{}", stdout(&output), stderr(&output));
}

/// Checks that a refusal names the problem and the remedy, and that no file is lost.
fn assert_refused(output: &Output, parts: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(output.stdout.is_empty(), "{}", stdout(output));
    let error =
        message.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{message}"));
    for part in parts {
        assert!(error.contains(part), "{part} in {message}");
    }
    assert!(!message.contains(SOME_KEY) && !message.contains("Traceback"), "{message}");
}

#[test]
fn refusals_name_a_remedy_and_lose_nothing() {
    let upload = Upload::record();
    let before = upload.files();
    let output = upload.command(Path::new("/nowhere/python"), &[]).output().unwrap();
    assert_refused(&output, &["cannot run /nowhere/python", "--python"]);
    let output = upload.command(Path::new("true"), &[]).output().unwrap();
    assert_refused(&output, &["ended without an answer", "--python"]);
    let output = upload.command(Path::new("python3"), &["--report", "absent.html"]).output().unwrap();
    assert_refused(&output, &["absent.html", "no such file"]);
    // An interpreter without packages, in a directory with runs of the SDK.
    fs::create_dir(upload.bench.path("sdk/wandb")).unwrap();
    let bare = upload.bench.path("bare-python");
    fs::write(&bare, "#!/bin/sh\nexec python3 -S \"$@\"\n").unwrap();
    fs::set_permissions(&bare, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = upload.command(&bare, &[]).output().unwrap();
    assert_refused(&output, &["has no W&B SDK", "-m pip install wandb", "results are unchanged in"]);
    assert_eq!(upload.files(), before);
}

#[test]
fn missing_key_bad_key_and_missing_network_are_distinguished() {
    let Some(python) = python("missing_key_bad_key_and_missing_network_are_distinguished", "wandb") else {
        return;
    };
    let upload = Upload::record();
    let before = upload.files();
    let output = upload.command(&python, &[]).env("WANDB_BASE_URL", "http://127.0.0.1:9").output().unwrap();
    assert_refused(&output, &["does not let us in", "WANDB_API_KEY", "WANDB_MODE=offline"]);

    let mut command = upload.command(&python, &[]);
    command.env("WANDB_BASE_URL", "http://127.0.0.1:9").env("WANDB_API_KEY", SOME_KEY);
    assert_refused(&command.output().unwrap(), &["cannot be reached", "WANDB_MODE=offline"]);

    // A server that refuses every key.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 65536];
            let _ = stream.read(&mut request);
            let body = r#"{"errors":[{"message":"user is not logged in"}]}"#;
            let length = body.len();
            let head = "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nConnection: close";
            let _ = write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    let mut command = upload.command(&python, &[]);
    command.env("WANDB_BASE_URL", format!("http://{address}")).env("WANDB_API_KEY", SOME_KEY);
    assert_refused(&command.output().unwrap(), &["does not let us in: user is not logged in", "wandb login"]);
    assert_eq!(upload.files(), before);
}
