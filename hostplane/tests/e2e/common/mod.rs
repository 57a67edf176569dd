//! What the end-to-end tests share: the program under test, and a way to end it whatever happens.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::print_stderr)]

pub mod lab;
pub mod proxy;
pub mod relay;
pub mod tls;
pub mod web;
pub mod wire;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing here takes this long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const TOKEN: &str = "a token of the tests";

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

/// Runs to the end.
pub fn run(command: &mut Command) -> Output {
    Running::start(command).output()
}

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
        signal(self.pid(), name);
    }

    /// Waits for a line on standard error that contains `part`; returns everything read so far.
    pub fn wait_for_stderr(&mut self, part: &str) -> String {
        let watchdog = Watchdog::start(self.pid());
        let seen = read_until(self.child().stderr.as_mut().unwrap(), part);
        watchdog.cancel();
        seen
    }

    /// Waits for the end and collects what is left to read.
    pub fn output(mut self) -> Output {
        let child = self.0.take().unwrap();
        let watchdog = Watchdog::start(child.id());
        let output = child.wait_with_output().unwrap();
        watchdog.cancel();
        output
    }

    /// Waits for the end, at most `time`.
    pub fn ends_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() <= time {
            if let Some(status) = self.child().try_wait().unwrap() {
                return Some(status);
            }
            sleep(Duration::from_millis(10));
        }
        None
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

pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Kills a process that does not end.
struct Watchdog(std::sync::mpsc::Sender<()>);

impl Watchdog {
    fn start(pid: u32) -> Self {
        let (cancel, cancelled) = channel();
        std::thread::spawn(move || {
            if cancelled.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
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
        let first: Value = lines.recv_timeout(PATIENCE).expect("the server's addresses");
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
        self.lines.recv_timeout(PATIENCE).expect("a trial's account")
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

    /// Waits until all sockets of trials are closed.
    pub fn has_no_sockets_left(&self) {
        let began = Instant::now();
        while self.sockets() > self.base {
            assert!(began.elapsed() < PATIENCE, "{} sockets, and {} at the start", self.sockets(), self.base);
            sleep(Duration::from_millis(20));
        }
    }
}

pub fn sockets(pid: u32) -> usize {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return 0 };
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// A program that the tests need. `scripts/test.sh` installs it.
pub fn tool(name: &str) -> PathBuf {
    installed(name).unwrap_or_else(|| panic!("{name} is needed by this test; scripts/test.sh installs it"))
}

pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
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
