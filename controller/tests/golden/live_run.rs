//! Real runs between two processes of this machine: their events, files, metrics and trial keys.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::files::{Outputs, files_below, folder, inputs, is_recording};
use crate::ids::{id, version};
use crate::programs::{DATAPLANE, first_cpu, linerate, needed, printed, program};

/// Suffix of a key that had no value on the machine where it was recorded.
const NOTHING: &str = " (nothing)";

/// Keys of JSON objects by their path, lists as `[]`.
#[derive(Default)]
struct Keys {
    paths: BTreeSet<String>,
    /// Paths with null or an empty list. Keys below may be missing, as on machines whose clocks cannot be
    /// compared.
    empty: BTreeSet<String>,
}

impl Keys {
    fn add(&mut self, path: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let path = format!("{path}.{key}");
                    self.paths.insert(path.clone());
                    // Each driver has counters of its own, and each kernel.
                    let is_of_kernel = key == "host"
                        && ["namespace", "process_cpu_ns"].iter().any(|field| value.get(field).is_some());
                    if key != "xstats" && !is_of_kernel {
                        self.add(&path, value);
                    }
                }
            }
            Value::Array(items) if !items.is_empty() => {
                items.iter().for_each(|item| self.add(&format!("{path}[]"), item));
            }
            Value::Array(_) | Value::Null => {
                self.empty.insert(path.to_owned());
            }
            _ => {}
        }
    }

    /// The keys as lines. A value that is missing in the golden file or on this machine may be present on the
    /// other side.
    fn lines(self, golden: &Path) -> String {
        let below = |path: &str, above: &str| path.strip_prefix(above).is_some_and(is_below);
        let nothing = |path: &String| format!("{path}{NOTHING}");
        let mut lines = self.paths.clone();
        if is_recording() {
            let is_bare = |path: &&String| !self.paths.iter().any(|other| below(other, path));
            lines.extend(self.empty.iter().filter(is_bare).map(nothing));
        } else {
            let golden = fs::read_to_string(golden).unwrap_or_default();
            for line in golden.lines() {
                if let Some(path) = line.strip_suffix(NOTHING) {
                    lines.retain(|found| !below(found, path));
                    lines.extend(self.paths.contains(path).then(|| line.to_owned()));
                } else if self.empty.iter().any(|path| below(line, path)) {
                    lines.insert(line.to_owned());
                }
            }
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }
}

fn is_below(rest: &str) -> bool {
    rest.starts_with('.') || rest.starts_with('[')
}

/// A running controller and its directory.
struct Run {
    place: tempfile::TempDir,
    child: Child,
}

impl Run {
    fn start(document: &Path, options: &[&str], dataplane: &Path) -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::copy(document, place.path().join("experiment.yaml")).unwrap();
        let mut command = linerate(place.path(), &["run", "experiment.yaml", "--json", "--dataplane"]);
        command.arg(dataplane).args(options).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap(), place }
    }

    /// Address of the metrics server, from standard error.
    fn metrics_address(&mut self) -> String {
        let mut lines = BufReader::new(self.child.stderr.take().unwrap()).lines();
        let told = lines.find_map(|line| Some(line.unwrap().split_once("metrics: http://")?.1.to_owned()));
        // Keeps reading, so that the program does not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        told.unwrap().trim_end_matches("/metrics").to_owned()
    }

    /// The lines of its output until its end.
    fn lines(&mut self) -> impl Iterator<Item = Value> + use<> {
        let lines = BufReader::new(self.child.stdout.take().unwrap()).lines();
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn documents() -> Vec<(String, PathBuf)> {
    inputs("live/documents", ".yaml")
}

fn golden(name: &str) -> PathBuf {
    folder().join("live/outputs").join(name)
}

#[test]
fn runs_have_the_events_files_metrics_and_ids_they_had() {
    let Some(dataplane) = needed("runs_have_the_events_files_metrics_and_ids_they_had", DATAPLANE) else {
        return;
    };
    let [mut events, mut summaries, mut log, mut trials] = [(); 4].map(|()| Keys::default());
    let (mut metrics, mut left) = (BTreeSet::new(), String::new());
    let mut keys_of_trials = format!("version {}\n", version());
    for (name, document) in documents() {
        let mut run =
            Run::start(&document, &["--metrics", "127.0.0.1:0", "--metrics-linger", "60s"], &dataplane);
        let address = run.metrics_address();
        let mut lines = run.lines();
        let result = loop {
            let line = lines.next().expect("a run ends with its summary");
            match line["event"].as_str() {
                Some(kind) => {
                    if kind == "sample" {
                        // Some are served only during sending.
                        metrics.extend(families(&scrape(&address)));
                    }
                    events.add(kind, &line);
                }
                None => break line,
            }
        };
        assert_eq!(result["status"], "complete", "{result}");
        summaries.add("", &result);
        metrics.extend(families(&scrape(&address)));
        let directory = run.place.path().join("results").join(result["experiment"]["id"].as_str().unwrap());
        let shown =
            printed(&mut linerate(run.place.path(), &["config", "show", "--from", "experiment.yaml"]));
        let id = id(&shown, None, &version());
        assert_eq!(result["experiment"]["determinants"], id, "the ids of experiments have another rule");
        left.push_str(&format!("===== {name} =====\n{}", files(&directory, &result)));
        keys_of_trials.push_str(&recorded(&directory, &mut log, &mut trials));
    }
    let alone = stand_alone(&dataplane);
    let keys =
        [("events", events), ("summary", summaries), ("log", log), ("trial", trials), ("stand-alone", alone)];
    let recorded = fs::read_to_string(golden("keys.txt")).unwrap_or_default();
    if recorded.lines().next() != keys_of_trials.lines().next() && !is_recording() {
        // The version is part of every key.
        keys_of_trials = recorded;
    }
    // Golden files are read before they are removed for recording.
    let keys = keys.map(|(name, keys)| (format!("{name}.txt"), keys.lines(&golden(&format!("{name}.txt")))));
    let mut outputs = Outputs::of("live/outputs");
    keys.iter().for_each(|(name, lines)| outputs.check(name, lines));
    outputs.check("files.txt", &left);
    outputs.check("keys.txt", &keys_of_trials);
    outputs.check("metrics.txt", &metrics.into_iter().collect::<String>());
    outputs.check("agent-metrics.txt", &families(&of_agent(&dataplane)).into_iter().collect::<String>());
    outputs.end();
}

/// The files of a run, with a placeholder for the node's name.
fn files(directory: &Path, summary: &Value) -> String {
    let node = summary["experiment"]["agents"][0]["node"].as_str().unwrap();
    let shown = |path: PathBuf| path.strip_prefix(directory).unwrap().display().to_string();
    files_below(directory)
        .into_iter()
        .map(|path| shown(path).replace(&format!("{node}_"), "NODE_") + "\n")
        .collect()
}

/// Adds the keys of the log's lines and of the trials' files. Returns the trials' determinant keys.
fn recorded(directory: &Path, log: &mut Keys, trials: &mut Keys) -> String {
    let mut known = String::new();
    for line in fs::read_to_string(directory.join("trials.jsonl")).unwrap().lines() {
        let mut record: Value = serde_json::from_str(line).unwrap();
        // Here the fields are named by the files' paths.
        if let Some(files) = record["result"].as_object_mut().and_then(|result| result.get_mut("files")) {
            let sums: Vec<Value> = files.as_object().unwrap().values().cloned().collect();
            *files = sums.into();
        }
        record.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        log.add("", &record);
        if let Some(key) = record["result"]["key"].as_str() {
            let result = &record["result"]["result"];
            let [pair, profile] = ["pair", "profile"].map(|field| result[field].as_str().unwrap());
            known.push_str(&format!("{key} {pair} {profile} {}\n", result["repeat"]));
        }
    }
    for path in files_below(directory).iter().filter(|path| path.ends_with("trial.json")) {
        trials.add("", &serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap());
    }
    known
}

fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Help and type of each metric, and the labels of its samples.
fn families(text: &str) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with("# HELP ") || line.starts_with("# TYPE ") || line.starts_with("# UNIT ") {
            lines.insert(format!("{line}\n"));
        } else if line.starts_with("linerate_") {
            let (name, rest) = line.split_once(['{', ' ']).unwrap();
            let labels = rest.split_once('}').map_or("", |(labels, _)| labels);
            let labels: Vec<&str> =
                labels.split("\",").filter_map(|label| Some(label.split_once("=\"")?.0)).collect();
            lines.insert(format!("{name} {{{}}}\n", labels.join(", ")));
        }
    }
    lines
}

/// JSON keys of the data plane's own commands, on a port that loops back.
fn stand_alone(dataplane: &Path) -> Keys {
    let mut keys = Keys::default();
    let pair = ["--flows", "4", "--rate", "10kpps", "--packets", "500", "--json", "--quiet"];
    for (name, own) in
        [("pair", &[&["pair", "--rx-port", "0"], &pair[..]].concat()[..]), ("ports", &["ports", "--json"])]
    {
        let printed = printed(on_virtual_port(dataplane, "net_ring0").args(own));
        keys.add(name, &serde_json::from_str(printed.lines().last().unwrap()).unwrap());
    }
    let refused = on_virtual_port(dataplane, "net_nothing0").args(["ports", "--json"]).output().unwrap();
    assert!(!refused.status.success());
    keys.add("refusal", &serde_json::from_slice(&refused.stdout).unwrap());
    keys
}

/// The data plane on a virtual port, with all lcores on one CPU.
fn on_virtual_port(dataplane: &Path, device: &str) -> Command {
    let cpu = first_cpu();
    let lcores = format!("0@{cpu},1@{cpu},2@{cpu}");
    let mut command = program(dataplane, Path::new("/"));
    command.args(["--no-huge", "-m", "64", "--no-pci", "--lcores", &lcores, "--vdev", device, "--"]);
    command
}

/// Metrics of an agent without a trial.
fn of_agent(dataplane: &Path) -> String {
    let mut command = on_virtual_port(dataplane, "net_null0");
    command.args(["agent", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    command.env("LINERATE_TOKEN", "0123456789abcdef0123456789abcdef");
    let place = tempfile::tempdir().unwrap();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut agent = Run { place, child };
    scrape(&agent.metrics_address())
}
