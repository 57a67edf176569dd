//! An agent's process: started in a process group of its own, watched until it has ended.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use linerate_wire::message::{CONTROLLER_VARIABLE, TOKEN_VARIABLE};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::BufReader;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{PlatformError, Token};
use crate::session::next_line;

/// Time limit for EAL and the port to come up.
const START_TIME: Duration = Duration::from_secs(30);
/// Time limit for an agent to end, after a request and again after SIGTERM.
const END_TIME: Duration = Duration::from_secs(3);

/// Environment variable of systemd for the directory in which EAL creates directories that it does not
/// remove.
const RUNTIME_VARIABLE: &str = "RUNTIME_DIRECTORY";

/// What to execute.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Passed in the environment, where other users cannot see it.
    pub token: &'a Token,
    /// An existing directory for EAL's runtime files.
    pub runtime_directory: &'a Path,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit status or signal, in words.
    pub how: String,
    /// The reason that it reported.
    pub error: Option<String>,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.how)?;
        self.error.iter().try_for_each(|error| write!(f, ": {error}"))
    }
}

/// Reports when and how a process ended.
#[derive(Debug, Clone)]
pub struct ExitWatch(watch::Receiver<Option<Exit>>);

impl ExitWatch {
    /// Watches the value of `exit`.
    pub fn new(exit: watch::Receiver<Option<Exit>>) -> Self {
        Self(exit)
    }

    /// Waits until the process has ended, for `limit` at most.
    pub async fn within(&mut self, limit: Duration) -> Option<Exit> {
        let ended = timeout(limit, self.0.wait_for(Option::is_some)).await.ok()?.ok()?;
        (*ended).clone()
    }
}

/// A line of an agent's standard output.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OutputLine {
    Listening { listening: SocketAddr },
    Error { error: OutputError },
}

#[derive(Debug, Deserialize)]
struct OutputError {
    message: String,
}

/// A running agent. Dropping it kills the process.
#[derive(Debug)]
pub struct AgentProcess {
    exit: ExitWatch,
    signals: mpsc::UnboundedSender<Signal>,
}

impl AgentProcess {
    /// Starts a program and waits until it listens. Its standard error goes to `log`.
    ///
    /// # Errors
    /// When it cannot be executed, or ends before it listens; then with the agent's own reason.
    pub async fn start(
        name: &str,
        command: Invocation<'_>,
        log: &Path,
    ) -> Result<(Self, SocketAddr), PlatformError> {
        let Invocation { program, arguments, token, runtime_directory } = command;
        let log_file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|reason| PlatformError::Log { path: log.to_owned(), reason })?;
        let mut child = Command::new(program)
            .args(arguments)
            .env(TOKEN_VARIABLE, token.reveal())
            .env(CONTROLLER_VARIABLE, std::process::id().to_string())
            .env(RUNTIME_VARIABLE, runtime_directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            // Ctrl-C on the terminal must reach the controller only, which ends its agents itself.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|reason| PlatformError::Spawn { program: PathBuf::from(program), reason })?;
        let (first_line_out, first_line) = mpsc::unbounded_channel();
        let output = tokio::spawn(read_output(child.stdout.take(), first_line_out));
        let (signals, signals_out) = mpsc::unbounded_channel();
        let (exit_in, exit) = watch::channel(None);
        tokio::spawn(supervise(child, signals_out, output, exit_in));
        let mut process = Self { exit: ExitWatch(exit), signals };
        let reason = match process.address(first_line).await {
            Ok(address) => return Ok((process, address)),
            Err(reason) => reason,
        };
        process.stop(false).await;
        Err(PlatformError::NotStarted { agent: name.to_owned(), reason, log: log.to_owned() })
    }

    async fn address(
        &mut self,
        mut first_line: mpsc::UnboundedReceiver<OutputLine>,
    ) -> Result<SocketAddr, String> {
        match timeout(START_TIME, first_line.recv()).await {
            Ok(Some(OutputLine::Listening { listening })) => Ok(listening),
            Ok(Some(OutputLine::Error { error })) => Err(error.message),
            Ok(None) => Err(match self.exit.within(END_TIME).await {
                Some(exit) => exit.to_string(),
                None => "it printed no address; is it another program?".to_owned(),
            }),
            Err(_) => Err(format!("it does not listen after {} s", START_TIME.as_secs())),
        }
    }

    /// Reports when and how it ended.
    pub fn exit(&self) -> ExitWatch {
        self.exit.clone()
    }

    /// Waits for the process to end. Kills it if it was not `requested` to end or does not end in time.
    pub async fn stop(&mut self, requested: bool) {
        if requested && self.exit.within(END_TIME).await.is_some() {
            return;
        }
        for signal in [Signal::TERM, Signal::KILL] {
            // An error means that the process has already ended.
            let _ = self.signals.send(signal);
            if self.exit.within(END_TIME).await.is_some() {
                return;
            }
        }
        tracing::error!("an agent process outlives SIGKILL; the kernel holds it");
    }
}

/// Reads standard output to its end: passes the first line on, returns the last error.
async fn read_output(
    stdout: Option<ChildStdout>,
    first_line: mpsc::UnboundedSender<OutputLine>,
) -> Option<String> {
    let mut lines = BufReader::new(stdout?);
    let mut first_line = Some(first_line);
    let mut last_error = None;
    while let Ok(line) = next_line(&mut lines).await {
        let Ok(parsed) = serde_json::from_slice::<OutputLine>(&line) else {
            tracing::debug!(line = %String::from_utf8_lossy(&line), "an agent printed an unknown line");
            continue;
        };
        if let OutputLine::Error { error } = &parsed {
            last_error = Some(error.message.clone());
        }
        if let Some(first_line) = first_line.take() {
            let _ = first_line.send(parsed);
        }
    }
    last_error
}

/// Holds the child until it has ended, so that the kernel cannot reuse its process id while signals are sent.
/// Ends when the sender of signals is dropped; dropping the child then kills it.
async fn supervise(
    mut child: Child,
    mut signals: mpsc::UnboundedReceiver<Signal>,
    output: tokio::task::JoinHandle<Option<String>>,
    exit: watch::Sender<Option<Exit>>,
) {
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let how = loop {
        tokio::select! {
            status = child.wait() => break match status {
                Ok(status) => describe(status),
                Err(error) => format!("ended, and how is not known ({error})"),
            },
            signal = signals.recv() => match signal {
                Some(signal) => {
                    if let Some(group) = group {
                        let _ = kill_process_group(group, signal);
                    }
                }
                None => return,
            }
        }
    };
    exit.send_replace(Some(Exit { how, error: output.await.ok().flatten() }));
}

/// Description of an exit status.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}{}", signal_name(signal)),
        (None, None) => "ended".to_owned(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn start(script: &str) -> (Result<(AgentProcess, SocketAddr), PlatformError>, String) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("tx0.log");
        let arguments = ["-c".to_owned(), script.to_owned()];
        let command = Invocation {
            program: Path::new("/bin/sh"),
            arguments: &arguments,
            token: &Token("t".into()),
            runtime_directory: dir.path(),
        };
        let started = AgentProcess::start("tx0", command, &log).await;
        (started, std::fs::read_to_string(&log).unwrap())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_agent_listens_or_reports_the_reason() {
        let (started, log) = start(r#"echo noise >&2; echo '{"listening":"127.0.0.1:5"}'; sleep 60"#).await;
        let (mut process, address) = started.unwrap();
        assert_eq!((address.port(), log.as_str()), (5, "noise\n"));
        let begun = std::time::Instant::now();
        process.stop(false).await;
        assert!(begun.elapsed() < Duration::from_secs(2));
        let exit = process.exit().within(Duration::ZERO).await.unwrap();
        assert_eq!(exit.to_string(), "was killed by signal 15 (SIGTERM)");

        for (script, part) in [
            (r#"echo '{"error":{"message":"no hugepages"}}'; exit 1"#, "tx0 did not start: no hugepages"),
            ("exit 3", "tx0 did not start: ended with exit status 3"),
            ("echo hello; exit 0", "ended with exit status 0"),
            ("kill -9 $$", "was killed by signal 9 (SIGKILL)"),
        ] {
            let message = start(script).await.0.unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("tx0.log"), "{message}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_last_words_are_kept() {
        let script =
            r#"echo '{"listening":"127.0.0.1:5"}'; echo '{"error":{"message":"lcore 1 failed"}}'; exit 1"#;
        let (mut process, _) = start(script).await.0.unwrap();
        process.stop(true).await;
        let exit = process.exit().within(Duration::ZERO).await.unwrap();
        assert_eq!(exit.to_string(), "ended with exit status 1: lcore 1 failed");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_that_ignores_sigterm_is_killed() {
        let script = r#"trap '' TERM; echo '{"listening":"127.0.0.1:5"}'; while :; do sleep 0.1; done"#;
        let (mut process, _) = start(script).await.0.unwrap();
        process.stop(false).await;
        let exit = process.exit().within(Duration::ZERO).await.unwrap();
        assert_eq!(exit.how, "was killed by signal 9 (SIGKILL)");
    }
}
