//! What the end-to-end tests share: the program under test, its peers, and a way to end them whatever happens.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod cpu_quota;
pub mod process;
pub mod recording;
pub mod tshark;
pub mod wrong_clock;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

pub use process::*;

pub mod netns;
pub mod routed;

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

/// `linerate-dataplane` with EAL options and ours. Its lcores sleep while there is nothing to do: tests that run at the same time need
/// the CPUs.
pub fn dataplane(eal: &[String], own: &str) -> Command {
    let mut command = with_cpus(eal, own);
    let polls = ["agent", "pair", "reflect", "rx", "tx"].map(Some).contains(&own.split_whitespace().next());
    if polls && !own.contains("--idle ") {
        command.args(["--idle", "sleep"]);
    }
    command
}

/// The same; its lcores take the CPUs that they find.
pub fn with_cpus(eal: &[String], own: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linerate-dataplane"));
    command.args(eal).arg("--").args(own.split_whitespace()).stdin(Stdio::null());
    command.env_remove("LINERATE_TOKEN");
    command
}

/// A number in a JSON report.
pub fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("no number {field} in {report}"))
}

/// testpmd of the distribution, forwarding at once; it takes commands on its standard input.
pub fn testpmd(cpu: usize, vdev: &str, mode: &str) -> Running {
    // Unbuffered, or what it prints into a pipe would not be seen before its end.
    let mut command = Command::new("stdbuf");
    command.arg("-o0").arg(tool("dpdk-testpmd")).args(eal(cpu, &[vdev])).args([
        "--no-shconf",
        "--no-telemetry",
        "--",
    ]);
    command.args(["--interactive", "--auto-start", "--total-num-mbufs=8192"]);
    command.arg(format!("--forward-mode={mode}"));
    command.stdin(Stdio::piped());
    let mut running = Running::start(&mut command);
    running.wait_for_stdout("testpmd> ");
    running
}

/// Stops testpmd's forwarding and reads one of its final numbers, such as `RX-packets`. Its port lives on: what is in a ring of memif is gone with it.
pub fn testpmd_total(testpmd: &mut Running, field: &str) -> u64 {
    testpmd.child().stdin.as_mut().unwrap().write_all(b"stop\n").unwrap();
    let text = testpmd.wait_for_stdout("Done.");
    let at = text.find("Forward statistics").unwrap_or_else(|| panic!("no statistics in:\n{text}"));
    let (_, rest) =
        text[at..].split_once(&format!("{field}: ")).unwrap_or_else(|| panic!("no {field} in:\n{text}"));
    rest.split_whitespace().next().unwrap().parse().unwrap()
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
