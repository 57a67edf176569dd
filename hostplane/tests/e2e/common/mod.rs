//! What the end-to-end tests share: the program under test, and a way to end it whatever happens.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::print_stderr)]

pub mod lab;
pub mod monitored;
#[path = "../../../../dataplane/tests/e2e/common/process.rs"]
pub mod process;
pub mod proxy;
pub mod relay;
pub mod tls;
pub mod web;
pub mod wire;

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use process::*;

pub const TOKEN: &str = "a token of the tests";

/// What each line of progress of streams contains: one for each sample, the first when they have been sending for an interval.
pub const PROGRESS: &str = " s  ";

/// `linerate-hostplane` with options that contain no spaces.
pub fn hostplane(options: &str) -> Command {
    configured(Command::new(env!("CARGO_BIN_EXE_linerate-hostplane")), options)
}

/// The same behind another program, such as `ip netns exec`.
pub fn configured(mut command: Command, options: &str) -> Command {
    command.args(options.split_whitespace()).stdin(Stdio::null());
    for name in ["LINERATE_MAX_RATE", "LINERATE_MAX_DURATION", "LINERATE_ALLOW"] {
        command.env_remove(name);
    }
    command.env("LINERATE_TOKEN", TOKEN);
    command
}

/// The result of a trial that must end well.
pub fn result(command: &mut Command) -> Value {
    let output = run(command);
    assert!(output.status.success(), "{}: {}", output.status, stderr(&output));
    let result = json(&output);
    assert_eq!(result["complete"], true, "{result}");
    result
}

/// A number in a result, by its path.
pub fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number {path} in {value}"))
}

/// The same as a number that may have a fraction.
pub fn float(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number {path} in {value}"))
}

/// Checks a direction of TCP: written = acknowledged = received, in all and for each stream.
pub fn exact_bytes(direction: &Value) -> u64 {
    let sent = number(direction, "/sent_bytes");
    assert_eq!(number(direction, "/tcp/acked_bytes"), sent, "{direction}");
    assert_eq!(number(direction, "/received_bytes"), sent, "{direction}");
    for stream in direction["streams"].as_array().unwrap() {
        let bytes = number(stream, "/sent/bytes");
        assert_eq!(number(stream, "/sent/acked_bytes"), bytes, "{stream}");
        assert_eq!(number(stream, "/received/bytes"), bytes, "{stream}");
        assert_eq!(number(stream, "/received/kernel_bytes"), bytes, "{stream}");
    }
    sent
}

/// Checks a direction of UDP: sent = received + lost, in all and for each stream. Returns sent and lost.
pub fn exact_datagrams(direction: &Value) -> (u64, u64) {
    let udp = |field: &str| number(direction, &format!("/udp/{field}"));
    assert_eq!(udp("sent"), udp("received") + udp("lost"), "{direction}");
    let (mut sent, mut received) = (0, 0);
    for stream in direction["streams"].as_array().unwrap() {
        assert_eq!(stream["complete"], true, "{stream}");
        sent += number(stream, "/sent/datagrams");
        received += number(stream, "/received/datagrams");
    }
    assert_eq!((sent, received), (udp("sent"), udp("received")), "{direction}");
    (sent, udp("lost"))
}

/// A running server.
pub struct Server {
    process: Running,
    pub port: u16,
    lines: Receiver<Value>,
    /// Sockets before the first client.
    base: usize,
}

impl Server {
    /// A server on a free port of the loopback interface.
    pub fn start(options: &str) -> Self {
        Self::start_as(hostplane(&format!("serve --listen 127.0.0.1:0 --json {options}")))
    }

    /// The server that a command runs; it must print JSON.
    pub fn start_as(mut command: Command) -> Self {
        let mut process = Running::start(&mut command);
        // What it says is not read: the pipe must not fill.
        let stderr = process.child().stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut BufReader::new(stderr), &mut std::io::stderr()));
        let stdout = process.child().stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(value) = serde_json::from_str(&line) else { return };
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let first: Value = lines.recv_timeout(TIME_LIMIT).expect("the server's addresses");
        let address = first["listening"][0].as_str().unwrap_or_else(|| panic!("{first}")).to_owned();
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        let base = sockets(process.pid());
        Self { process, port, lines, base }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// The account of the next trial that ends.
    pub fn account(&self) -> Value {
        self.lines.recv_timeout(TIME_LIMIT).expect("a trial's account")
    }

    /// Waits for the end.
    pub fn ends_within(&mut self, time: Duration) -> Option<ExitStatus> {
        self.process.ends_within(time)
    }

    /// A client of this server: `tcp` or `udp`, and options.
    pub fn client(&self, protocol: &str, options: &str) -> Command {
        hostplane(&format!("{protocol} 127.0.0.1 --port {} --json --quiet {options}", self.port))
    }

    /// Sockets of this process, as the kernel lists its file descriptors.
    pub fn sockets(&self) -> usize {
        sockets(self.pid())
    }

    /// Waits until a client is connected.
    pub fn until_connected(&self) {
        until("a client connects", || self.sockets() > self.base);
    }

    /// Waits until all sockets of trials are closed.
    pub fn has_no_sockets_left(&self) {
        let began = Instant::now();
        while self.sockets() > self.base {
            assert!(
                began.elapsed() < TIME_LIMIT,
                "{} sockets, and {} at the start",
                self.sockets(),
                self.base
            );
            sleep(Duration::from_millis(20));
        }
    }
}

pub fn sockets(pid: u32) -> usize {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}
