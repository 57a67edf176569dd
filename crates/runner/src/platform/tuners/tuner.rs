//! A process that holds the settings of an interface, and what killed ones left behind.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::FutureExt;
use linerate_results::host_setting::HostSettingValue;
use linerate_tune::tuning::{Applied, Recovery, Restored};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};

use super::{LOG, Target};

/// Longest time for settings to be changed or restored: a link that a driver closes for it takes up to 15 s, and what
/// killed processes left is restored first.
const CHANGE_TIME: Duration = Duration::from_secs(60);

/// What a process prints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutputLine {
    Applied(Vec<Applied>),
    Restored(Restored),
    Error(ErrorMessage),
}

#[derive(Debug, Deserialize)]
struct ErrorMessage {
    message: String,
}

/// What `tune restore` prints.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    journals: Vec<Journal>,
    error: Option<ErrorMessage>,
}

#[derive(Debug, Deserialize)]
struct Journal {
    interface: Option<Named>,
    outcome: Recovery,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

impl Journal {
    /// Why its values are not in force again. One that is `busy` is of a process at work.
    fn failure(&self, is_whole: bool, busy: bool) -> Option<String> {
        let why = match &self.outcome {
            Recovery::Restored(restored) => failures(restored).err()?,
            Recovery::AtWork if busy => "a process that holds it is at work".to_owned(),
            // One of another network namespace is in nobody's way.
            Recovery::Left(why) if !is_whole => why.clone(),
            Recovery::AtWork | Recovery::Left(_) | Recovery::Discarded(_) => return None,
        };
        Some(self.interface.iter().fold(why, |why, interface| format!("{}: {why}", interface.name)))
    }
}

/// What of a restoration failed.
fn failures(restored: &Restored) -> Result<(), String> {
    let failed = restored.failed.iter().map(|one| format!("{}: {}", one.name, one.reason));
    let failed: Vec<String> = failed.chain(restored.link_down.clone()).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join(", ")) }
}

/// The program, run in a network namespace or in the machine's.
fn command(program: &Path, namespace: Option<&str>, log: File) -> Command {
    let mut command = match namespace {
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace]).arg(program);
            command
        }
        None => Command::new(program),
    };
    // Ctrl-C on the terminal reaches the controller only, which restores in good order.
    command.stdout(Stdio::piped()).stderr(log).process_group(0);
    command
}

fn open(log: &Path) -> Result<File, String> {
    let file = OpenOptions::new().create(true).append(true).open(log);
    file.map_err(|error| format!("cannot write {LOG}: {error}"))
}

/// Restores what processes that were killed left behind in a network namespace; `None`: the machine's. With `busy`, a
/// process that is at work there is a failure.
///
/// # Errors
/// What is not restored, and why.
pub(super) async fn restore(
    program: &Path,
    log: &Path,
    namespace: Option<&str>,
    busy: bool,
) -> Result<(), String> {
    restore_until(program, log, namespace, busy, Instant::now() + CHANGE_TIME).await
}

/// The same until an instant.
async fn restore_until(
    program: &Path,
    log: &Path,
    namespace: Option<&str>,
    busy: bool,
    deadline: Instant,
) -> Result<(), String> {
    let mut command = command(program, namespace, open(log)?);
    let child = command.args(["tune", "restore", "--json"]).stdin(Stdio::null()).spawn();
    let child = child.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let begun = Instant::now();
    let ended = timeout_at(deadline, child.wait_with_output()).await;
    let ended = ended
        .map_err(|_| format!("`tune restore` takes longer than {:.0} s", begun.elapsed().as_secs_f64()))?;
    let output = ended.map_err(|error| format!("`tune restore` is not known to have ended: {error}"))?;
    let is_whole = output.status.success();
    let answer: Answer = match serde_json::from_slice(&output.stdout) {
        Ok(answer) => answer,
        Err(_) if !is_whole => Answer::default(),
        Err(error) => return Err(format!("`tune restore` printed something else: {error}")),
    };
    let failed = answer.journals.iter().filter_map(|journal| journal.failure(is_whole, busy));
    let failed: Vec<String> = failed.chain(answer.error.map(|error| error.message)).collect();
    match (failed.is_empty(), is_whole) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("`tune restore` ended with {}; {LOG} says why", output.status)),
        (false, _) => Err(failed.join("; ")),
    }
}

/// A process that holds the settings of an interface.
#[derive(Debug)]
pub(super) struct Tuner {
    pub(super) target: Target,
    pub(super) child: Child,
    /// Its end is the sign to restore.
    pipe: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    /// What it said of restoring, once it has.
    restored: Option<Restored>,
    /// True when it refused before it changed anything.
    has_refused: bool,
}

impl Tuner {
    /// Starts it.
    ///
    /// # Errors
    /// Why it cannot be run.
    pub(super) fn spawn(
        program: &Path,
        log: &Path,
        target: Target,
        options: Vec<String>,
    ) -> Result<Self, String> {
        let of = |why: String| format!("{}: {why}", target.in_words());
        let mut command = command(program, target.namespace.as_deref(), open(log).map_err(of)?);
        command
            .args(["tune", "apply", "--interface", &target.interface])
            .args(options)
            .args(["--allow-host-changes", "--until-eof", "--json", "--quiet"])
            .stdin(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| of(format!("cannot run {}: {error}", program.display())))?;
        let (Some(pipe), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(of("its process has no pipes".to_owned()));
        };
        let output = BufReader::new(stdout).lines();
        Ok(Self { target, child, pipe: Some(pipe), output, restored: None, has_refused: false })
    }

    /// What it read back.
    ///
    /// # Errors
    /// Why its settings are not in force; it is to be ended all the same.
    pub(super) async fn answer(&mut self) -> Result<Vec<HostSettingValue>, String> {
        let words = self.target.in_words();
        let of = |why: String| Err(format!("{words}: {why}"));
        match timeout(CHANGE_TIME, self.next()).await {
            Ok(Some(OutputLine::Applied(applied))) => match applied.iter().find(|one| !one.took) {
                None => Ok(applied.into_iter().map(|applied| self.value(applied)).collect()),
                Some(other) => {
                    let now = other.now.as_ref().map_or("not known".to_owned(), ToString::to_string);
                    let why = other.error.as_ref().map_or(String::new(), |error| format!(" ({error})"));
                    // It restores the others by itself.
                    of(format!("{} did not take: wanted {}, it is {now}{why}", other.name, other.wanted))
                }
            },
            Ok(Some(OutputLine::Error(error))) => {
                self.has_refused = true;
                of(error.message)
            }
            Ok(Some(OutputLine::Restored(_)) | None) => of("its process ended without an answer".to_owned()),
            Err(_) => of(format!("not applied after {} s", CHANGE_TIME.as_secs())),
        }
    }

    /// True while its settings are in force: it says nothing until it begins to restore them.
    pub(super) fn holds(&mut self) -> bool {
        let said = self.output.next_line().now_or_never();
        if let Some(Ok(Some(line))) = &said {
            self.note(line);
        }
        said.is_none() && matches!(self.child.try_wait(), Ok(None))
    }

    fn note(&mut self, line: &str) {
        if let Some(OutputLine::Restored(restored)) = parse(line) {
            self.restored = Some(restored);
        }
    }

    /// The next line that it prints; `None` at the end.
    async fn next(&mut self) -> Option<OutputLine> {
        while let Ok(Some(line)) = self.output.next_line().await {
            if let Some(parsed) = parse(&line) {
                return Some(parsed);
            }
        }
        None
    }

    fn value(&self, applied: Applied) -> HostSettingValue {
        HostSettingValue {
            agent: self.target.agent.clone(),
            interface: self.target.interface.clone(),
            name: applied.name,
            before: applied.before.map(|value| value.to_string()),
            now: applied.now.map(|value| value.to_string()),
        }
    }

    /// Has it restore what it changed, and waits for its end. What it left behind when it was killed is restored from its
    /// journal. May be dropped before its end and asked again.
    ///
    /// # Errors
    /// What is not restored.
    pub(super) async fn end(&mut self, program: &Path, log: &Path) -> Result<(), String> {
        self.pipe = None;
        // One for both steps.
        let deadline = Instant::now() + CHANGE_TIME;
        let ended = timeout_at(deadline, async {
            while let Ok(Some(line)) = self.output.next_line().await {
                self.note(&line);
            }
            self.child.wait().await
        });
        let ended = match (ended.await, &self.restored) {
            (Err(_), _) => Err(format!("not after {} s", CHANGE_TIME.as_secs())),
            (Ok(Err(error)), _) => Err(format!("its process is not known to have ended: {error}")),
            (Ok(Ok(_)), Some(restored)) => failures(restored),
            (Ok(Ok(_)), None) if self.has_refused => Ok(()),
            (Ok(Ok(status)), None) => {
                let namespace = self.target.namespace.as_deref();
                let restored = restore_until(program, log, namespace, false, deadline).await;
                restored.map_err(|why| format!("its process ended with {status}, and {why}"))
            }
        };
        tracing::debug!(interface = self.target.interface, ?ended, "restored");
        ended.map_err(|why| format!("{}: {why}", self.target.in_words()))
    }
}

fn parse(line: &str) -> Option<OutputLine> {
    match serde_json::from_str(line) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            tracing::debug!(line, %error, "tune printed an unknown line");
            None
        }
    }
}
