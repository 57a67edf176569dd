//! Processes of the end-to-end tests of both data-plane programs: started, watched and ended whatever happens; what they printed; tools.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing here takes this long unless it hangs.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Runs to the end.
pub fn run(command: &mut Command) -> Output {
    Running::start(command).output()
}

/// Runs to the end; what it wrote to standard error when it failed.
pub fn attempt(command: &mut Command) -> Result<(), String> {
    let output = run(command);
    if output.status.success() { Ok(()) } else { Err(stderr(&output).trim().to_owned()) }
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

/// Waits until a condition holds, and panics if it does not within [`TIME_LIMIT`].
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < TIME_LIMIT, "in vain: {what}");
        // A condition may read many files, or start a program.
        sleep(Duration::from_millis(30));
    }
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

/// The same program, which SIGHUP ends unless it handles it: also where the tests were started with SIGHUP ignored, as by `nohup`, and
/// would bequeath that.
pub fn hearing_hang_ups(command: &Command) -> Command {
    let mut hearing = Command::new("env");
    hearing.arg("--default-signal=HUP").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => hearing.env(name, value),
            None => hearing.env_remove(name),
        };
    }
    hearing.stdin(Stdio::null());
    hearing
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
