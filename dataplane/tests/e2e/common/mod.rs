//! What the end-to-end tests share: the program under test, its peers, and a way to end them whatever happens.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod cpu_quota;
pub mod recording;
pub mod tshark;
pub mod wrong_clock;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

pub mod netns;
pub mod routed;

/// Nothing here takes this long unless it hangs.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// EAL options that need neither root nor hugepages, with the worker on the given CPU if there are two.
pub fn eal(cpu: usize, vdevs: &[&str]) -> Vec<String> {
    let cpu = cpu.min(std::thread::available_parallelism().map_or(1, |n| n.get()) - 1);
    let mut options: Vec<String> =
        ["--no-huge", "-m", "128", "--no-pci", "--lcores"].map(String::from).to_vec();
    options.push(format!("0@{cpu},1@{cpu}"));
    for vdev in vdevs {
        options.extend(["--vdev".to_owned(), (*vdev).to_owned()]);
    }
    options
}

/// A socket name that no other test uses. memif's sockets are abstract: they leave no file.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("linerate-test-{}-{}-{name}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// `linerate-dataplane` with EAL options and ours.
pub fn dataplane(eal: &[String], own: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linerate-dataplane"));
    command.args(eal).arg("--").args(own.split_whitespace()).stdin(Stdio::null());
    command.env_remove("LINERATE_TOKEN");
    command
}

/// Runs to the end.
pub fn run(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    Running(Some(child)).output()
}

/// Standard error of a run, as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The last line of standard output, as JSON.
pub fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_else(|| panic!("no output; stderr:\n{}", stderr(output)));
    serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("{error} in '{line}'; stderr:\n{}", stderr(output)))
}

/// A number in a JSON report.
pub fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("no number {field} in {report}"))
}

/// A process that is killed when the test ends, however it ends.
pub struct Running(Option<Child>);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    pub fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for a line on standard error that contains `part`; returns everything read so far.
    pub fn wait_for_stderr(&mut self, part: &str) -> String {
        let watchdog = Watchdog::start(self.pid());
        let seen = read_until(self.child().stderr.as_mut().unwrap(), part);
        watchdog.cancel();
        seen
    }

    /// The same on standard output.
    pub fn wait_for_stdout(&mut self, part: &str) -> String {
        let watchdog = Watchdog::start(self.pid());
        let seen = read_until(self.child().stdout.as_mut().unwrap(), part);
        watchdog.cancel();
        seen
    }

    /// Waits for the end and collects what is left to read.
    pub fn output(mut self) -> Output {
        let child = self.0.take().unwrap();
        let pid = child.id();
        let watchdog = Watchdog::start(pid);
        let output = child.wait_with_output().unwrap();
        watchdog.cancel();
        output
    }

    /// Waits for the end, at most `time`.
    pub fn ends_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child().try_wait().unwrap() {
                return Some(status);
            }
            if began.elapsed() > time {
                return None;
            }
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Kills a process that does not end.
struct Watchdog(std::sync::mpsc::Sender<()>);

impl Watchdog {
    fn start(pid: u32) -> Self {
        let (cancel, cancelled) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            if cancelled.recv_timeout(TIME_LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
        });
        Self(cancel)
    }

    fn cancel(self) {
        let _ = self.0.send(());
    }
}

fn read_until(stream: &mut impl Read, part: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&seen).contains(part) {
        match stream.read(&mut byte) {
            Ok(1) => seen.push(byte[0]),
            _ => panic!("ended before '{part}'; saw:\n{}", String::from_utf8_lossy(&seen)),
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// testpmd of the distribution, forwarding at once; a newline on its standard input ends it.
pub fn testpmd(cpu: usize, vdev: &str, mode: &str) -> Running {
    // Unbuffered, or what it prints into a pipe would not be seen before its end.
    let mut command = Command::new("stdbuf");
    command.arg("-o0").arg(tool("dpdk-testpmd")).args(eal(cpu, &[vdev])).args([
        "--no-shconf",
        "--no-telemetry",
        "--",
    ]);
    command.args(["--auto-start", "--total-num-mbufs=8192", &format!("--forward-mode={mode}")]);
    command.stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    running.wait_for_stdout("Press enter to exit");
    running
}

/// Ends testpmd and reads one of its final numbers, such as `RX-packets`.
pub fn testpmd_total(mut testpmd: Running, field: &str) -> u64 {
    testpmd.child().stdin.take().unwrap().write_all(b"\n").unwrap();
    let output = testpmd.output();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let at = text.find("Forward statistics").unwrap_or_else(|| panic!("no statistics in:\n{text}"));
    let (_, rest) =
        text[at..].split_once(&format!("{field}: ")).unwrap_or_else(|| panic!("no {field} in:\n{text}"));
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// A program that the tests need. `scripts/test.sh` installs it.
pub fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("{name} is needed by this test and not installed; scripts/test.sh installs it")
        })
}

/// True when this process may do what only root may.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Free hugepages of the default size.
pub fn free_hugepages() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("HugePages_Free:")).unwrap_or("0");
    line.trim().parse().unwrap()
}

/// Sets the number of hugepages for the life of the value; `None` when that is not permitted here.
pub struct Hugepages {
    before: String,
}

const NR_HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";

impl Hugepages {
    pub fn set(count: u64) -> Option<Self> {
        let before = fs::read_to_string(NR_HUGEPAGES).ok()?;
        let set = Self { before };
        fs::write(NR_HUGEPAGES, count.to_string()).ok()?;
        let now: u64 = fs::read_to_string(NR_HUGEPAGES).ok()?.trim().parse().ok()?;
        (now == count).then_some(set)
    }
}

impl Drop for Hugepages {
    fn drop(&mut self) {
        let _ = fs::write(NR_HUGEPAGES, &self.before);
    }
}

/// Says on standard error that a test could not run here, in the form that `scripts/test.sh` counts.
pub fn not_run(test: &str, reason: &str) {
    let line = format!("NOT RUN {test}: {reason}\n");
    if let Some(path) = std::env::var_os("LINERATE_NOT_RUN") {
        let mut file = File::options().append(true).create(true).open(Path::new(&path)).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
    eprint!("{line}");
}

/// A controller as simple as can be: one connection, a line at a time.
pub struct Wire {
    stream: std::net::TcpStream,
    reader: BufReader<std::net::TcpStream>,
}

impl Wire {
    pub fn connect(address: &str) -> Self {
        let stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIME_LIMIT)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // An agent that has already closed is seen when reading.
        let _ = self.stream.write_all(bytes);
    }

    /// The next line; `None` at the end.
    pub fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    /// Sends a request and returns its reply; events in between are put aside into `events`.
    pub fn ask(&mut self, id: u64, request: &str, events: &mut Vec<Value>) -> Value {
        self.send(format!("{{\"id\":{id},{request}}}\n").as_bytes());
        loop {
            let line = self.line().expect("the agent closed the connection");
            if line.get("event").is_some() {
                events.push(line);
            } else {
                assert_eq!(line["id"], id, "{line}");
                return line;
            }
        }
    }
}
