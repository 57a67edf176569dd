//! Test bench: runs the real controller with real agents in a directory of its own.

#![allow(dead_code, unreachable_pub, clippy::print_stderr, reason = "every test program takes what it needs")]

#[path = "../../../dataplane/tests/e2e/common/cpu_quota.rs"]
pub mod cpu_quota;
#[path = "../../../dataplane/tests/e2e/common/process.rs"]
mod process;
#[path = "../../../dataplane/tests/e2e/common/wrong_clock.rs"]
pub mod wrong_clock;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use linerate_results::summary::Summary;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use process::{not_run, stderr, until};

/// A directory with a document, a results directory, and a unique name for the data plane.
pub struct Bench {
    dir: TempDir,
}

impl Bench {
    /// A bench with a document of this `spec`, whose agents sleep while there is nothing to do: tests that run
    /// at the same time need the CPUs. Packet memory is ordinary memory, because other tests may count all
    /// hugepages.
    pub fn new(spec: &str) -> Self {
        let bench = Self::with_cpus(spec);
        let agent = bench.path("linerate-dataplane");
        fs::rename(&agent, bench.path("program")).unwrap();
        symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sleeping.sh"), &agent).unwrap();
        bench
    }

    /// A bench whose agents take the CPUs that they find.
    pub fn with_cpus(spec: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let head = "apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nmetadata: {name: test}\n";
        let text = format!("{head}spec:\n  local: {{hugepages: never}}\n{spec}");
        fs::write(dir.path().join("experiment.yaml"), text).unwrap();
        symlink(dataplane(), dir.path().join("linerate-dataplane")).unwrap();
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `linerate run` on the bench's document, with more options.
    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linerate"));
        command
            .arg("run")
            .arg(self.path("experiment.yaml"))
            .arg("--results")
            .arg(self.path("results"))
            .arg("--dataplane")
            .arg(self.path("linerate-dataplane"))
            .args(options)
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, options: &[&str]) -> Output {
        self.command(options).output().unwrap()
    }

    /// Starts a run. Its output is small enough for an unread pipe.
    pub fn start(&self) -> Running {
        self.start_with(&["--json", "--quiet"])
    }

    /// Starts a run with options that keep its output small.
    pub fn start_with(&self, options: &[&str]) -> Running {
        let child = self.command(options).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running { child }
    }

    /// Starts a run and waits until its first trial is stored and the second has been sampled at least
    /// [`SAMPLES`] times on both ends. The events read meanwhile are not in its output.
    pub fn start_and_wait_for_second_trial(&self) -> Running {
        let running = self.start_with_events(&[]);
        until("the second trial has been sampled often", || {
            self.events().lines().filter(|line| is_of_second_trial(line)).count() >= SAMPLES
        });
        running
    }

    /// Starts a run whose events [`Bench::events`] reads; they are not in its output.
    pub fn start_with_events(&self, options: &[&str]) -> Running {
        let file = fs::File::create(self.path("events")).unwrap();
        let mut command = self.command(options);
        let child = command.arg("--json").stdout(file).stderr(Stdio::piped()).spawn().unwrap();
        Running { child }
    }

    /// The events so far of the run that [`Bench::start_with_events`] started.
    pub fn events(&self) -> String {
        fs::read_to_string(self.path("events")).unwrap()
    }

    /// The summary of the bench's latest experiment, if there is one.
    pub fn summary(&self) -> Option<Summary> {
        recorded(&self.experiment()?)
    }

    /// The directory of the bench's latest experiment.
    pub fn experiment(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(self.path("results")).ok()?;
        entries
            .map(|entry| entry.unwrap())
            .max_by_key(|e| e.metadata().unwrap().created().unwrap())
            .map(|e| e.path())
    }

    /// The directory of the bench's single experiment; other entries may exist beside it.
    pub fn experiment_with_summary(&self) -> PathBuf {
        let entries = fs::read_dir(self.path("results")).unwrap();
        let found =
            entries.map(|entry| entry.unwrap().path()).find(|path| path.join("summary.json").exists());
        found.unwrap_or_else(|| panic!("no experiment in {}", self.path("results").display()))
    }

    /// The summary of the bench's single experiment, if there is one; other entries may exist beside it.
    pub fn summary_in_results(&self) -> Option<Summary> {
        let entries = fs::read_dir(self.path("results")).ok()?;
        entries.filter_map(|entry| recorded(&entry.ok()?.path())).last()
    }

    /// Processes with this bench's directory on their command line: its controllers and agents.
    pub fn processes(&self) -> Vec<(Pid, String)> {
        let bench = self.dir.path().to_str().unwrap();
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| {
                let entry = entry.unwrap();
                let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
                let line = fs::read(entry.path().join("cmdline")).ok()?;
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                line.contains(bench).then_some((pid, line))
            })
            .collect()
    }

    /// The process of the agent `tx0` or `rx0`.
    pub fn agent(&self, name: &str) -> Pid {
        let wanted = format!("-{name} ");
        let found = self.processes().into_iter().find(|(_, line)| line.contains(&wanted));
        found.unwrap_or_else(|| panic!("no process of {name}")).0
    }

    /// Checks that within `limit` the agents have ended, their sockets are closed, and EAL's directories are
    /// removed.
    pub fn assert_nothing_left(&self, limit: Duration) {
        let begun = Instant::now();
        let prefixes = self.file_prefixes();
        loop {
            let sockets = fs::read_to_string("/proc/net/unix").unwrap();
            // All sockets of a run have the same secret in their names.
            let open = prefixes.iter().any(|prefix| sockets.contains(prefix.rsplit_once('-').unwrap().0));
            let processes = self.processes();
            if processes.is_empty() && !open {
                break;
            }
            assert!(begun.elapsed() < limit, "left: memif sockets {open}, processes {processes:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        for prefix in prefixes {
            assert!(!Path::new("/var/run/dpdk").join(&prefix).exists(), "{prefix}");
        }
    }

    fn file_prefixes(&self) -> Vec<String> {
        let agents = self.summary().map(|summary| summary.experiment.agents).unwrap_or_default();
        let after = |line: &[String]| line.iter().skip_while(|word| *word != "--file-prefix").nth(1).cloned();
        agents.iter().filter_map(|agent| after(&agent.command_line)).collect()
    }

    /// Every file of the bench's results.
    pub fn files(&self) -> Vec<PathBuf> {
        fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, files) } else { files.push(path) }
            }
        }
        let mut files = Vec::new();
        walk(&self.path("results"), &mut files);
        files
    }
}

/// The summary of the experiment in a directory, if its run has started: for a running or killed one, derived
/// from its log. Checks that the overhead adds up.
pub fn recorded(directory: &Path) -> Option<Summary> {
    directory.join("summary.json").exists().then_some(())?;
    let id = directory.file_name().unwrap().to_str().unwrap();
    let summary = linerate_results::store::load(directory.parent().unwrap(), id).unwrap();
    assert!(summary.overhead.adds_up(), "{:?}", summary.overhead);
    Some(summary)
}

/// Samples of the second trial that a test waits for.
const SAMPLES: usize = 8;

fn is_of_second_trial(line: &str) -> bool {
    let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    event["event"] == "sample" && event["number"] == 2
}

/// A running controller; killed when a test fails.
pub struct Running {
    child: Child,
}

impl Running {
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; panics after `limit`.
    pub fn end_within(self, limit: Duration) -> Output {
        self.end_within_or(limit, String::new)
    }

    /// Waits for the end; panics after `limit` with what `told` knows then.
    pub fn end_within_or(mut self, limit: Duration, told: impl FnOnce() -> String) -> Output {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if begun.elapsed() > limit {
                panic!("the controller still runs after {limit:?}\n{}", told());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut output = Output { status: self.child.wait().unwrap(), stdout: vec![], stderr: vec![] };
        if let Some(mut stdout) = self.child.stdout.take() {
            std::io::Read::read_to_end(&mut stdout, &mut output.stdout).unwrap();
        }
        std::io::Read::read_to_end(&mut self.child.stderr.take().unwrap(), &mut output.stderr).unwrap();
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The data plane beside the controller, unless the environment names another.
pub fn dataplane() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_linerate")).with_file_name("linerate-dataplane");
    let path = std::env::var_os("LINERATE_DATAPLANE").map_or(beside, PathBuf::from);
    assert!(path.is_file(), "{} is not there; run first: cargo build -p linerate-dataplane", path.display());
    path
}

/// `linerate` with these arguments.
pub fn linerate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_linerate")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A tmpfs, unmounted when dropped. `None` where this user may not mount one.
pub struct Mount {
    pub path: PathBuf,
}

impl Mount {
    pub fn tmpfs(path: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "linerate-test"]).arg(&path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self { path })
    }

    /// Writes until the file system is full.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.path.join("ballast")).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 1024]).is_ok() {}
        while std::io::Write::write_all(&mut file, &[1]).is_ok() {}
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).output();
    }
}

/// Runs a test for several cases in parallel, because they mostly wait for agents to exit.
pub fn side_by_side<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| test(case));
        }
    });
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program in the cache of `scripts/setup.sh`, or the one that `variable` names.
fn cached(variable: &str, path: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let cached = || Some(cache?.join("linerate").join(path));
    std::env::var_os(variable).map(PathBuf::from).or_else(cached).filter(|path| path.is_file())
}

/// A Python with `package`; without one the test reports that it did not run.
pub fn python(test: &str, package: &str) -> Option<PathBuf> {
    let python = cached("LINERATE_PYTHON", "python/bin/python").filter(|python| {
        let import = format!("import {package}");
        Command::new(python).args(["-c", &import]).output().is_ok_and(|output| output.status.success())
    });
    if python.is_none() {
        not_run(test, &format!("there is no Python with {package}; scripts/test.sh installs one"));
    }
    python
}

/// Prometheus's checker; without it the test reports that it did not run.
pub fn promtool(test: &str) -> Option<PathBuf> {
    let tool = cached("LINERATE_PROMTOOL", "promtool");
    if tool.is_none() {
        not_run(test, "there is no promtool; scripts/test.sh fetches it");
    }
    tool
}
