//! A monitor that is read while it runs, and nstat beside it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, Command};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::lab::Lab;
use super::{Running, number, run, stderr};

/// Counters of the protocols as nstat prints them, since the namespace was made.
pub fn nstat(lab: &Lab, end: &str) -> BTreeMap<String, u64> {
    let output = run(lab.command(end, "nstat").args(["-a", "-z", "-s"]));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    });
    lines.collect()
}

/// A monitor that prints JSON.
pub struct Watching {
    running: Running,
    lines: BufReader<ChildStdout>,
    samples: Vec<Value>,
}

impl Watching {
    /// Starts it, and waits for its first sample.
    pub fn start(mut command: Command) -> Self {
        let mut running = Running::start(&mut command);
        let lines = BufReader::new(running.child().stdout.take().unwrap());
        let mut watching = Self { running, lines, samples: Vec::new() };
        watching.read();
        watching
    }

    /// Reads a line; false at the end.
    fn read(&mut self) -> bool {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).unwrap();
        if read > 0 {
            self.samples.push(serde_json::from_str(&line).unwrap());
        }
        read > 0
    }

    /// Waits until everything has been read once more, ends it, and returns all samples and the summary.
    pub fn end(mut self) -> (Vec<Value>, Value) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let is_last =
            |sample: &Value| sample["unix_s"].as_f64() > Some(now) && sample["protocols"].is_object();
        while self.read() && !is_last(self.samples.last().unwrap()) {}
        self.running.signal("INT");
        while self.read() {}
        let output = self.running.output();
        assert!(output.status.success(), "{}: {}", output.status, stderr(&output));
        let summary = self.samples.pop().unwrap()["summary"].clone();
        assert_eq!(number(&summary, "/samples"), self.samples.len() as u64);
        (self.samples, summary)
    }
}
