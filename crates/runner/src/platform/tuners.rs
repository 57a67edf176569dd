//! Settings of hosts that a run puts in force: for each interface a process of `linerate-hostplane tune apply` holds
//! them. It restores them when the pipe to it ends, which it does with this process in every case.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use linerate_experiment::Experiment;
use linerate_experiment::host_settings::HostSetting;
use linerate_results::host_setting::HostSettingValue;
use linerate_tune::tuning::{Applied, Restored};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::PlatformError;

/// Longest time for settings to be changed or restored: a link that a driver closes for it takes up to 15 s, and what
/// killed processes left is restored first.
const CHANGE_TIME: Duration = Duration::from_secs(60);
/// Processes that are started at the same time.
const STARTING_AT_ONCE: usize = 16;
/// File with what they print for people, in the results' directory.
const LOG: &str = "tune.log";

/// An interface whose settings are changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The agent that has it, in a network namespace of its own; `None`: the machine.
    pub(super) agent: Option<String>,
    /// The namespace.
    pub(super) namespace: Option<String>,
    /// Its name.
    pub(super) interface: String,
}

/// Refuses an experiment that changes settings of hosts for a user who may not.
///
/// # Errors
/// Says so, with the remedy.
pub fn may_tune(experiment: &Experiment) -> Result<(), PlatformError> {
    match experiment.changes_hosts() && !rustix::process::geteuid().is_root() {
        true => Err(PlatformError::HostSetting(
            "spec.hostSettings: settings of hosts can be changed by root alone; run as root, or remove it"
                .to_owned(),
        )),
        false => Ok(()),
    }
}

impl Target {
    fn of_machine(interface: &str) -> Self {
        Self { agent: None, namespace: None, interface: interface.to_owned() }
    }

    fn in_words(&self) -> String {
        let of = self.agent.as_ref().map(|agent| format!(" of {agent}")).unwrap_or_default();
        format!("{}{of}", self.interface)
    }
}

/// The setting of hosts that is in force, and the processes that hold it. Dropping it restores what they changed, without
/// waiting for it.
#[derive(Debug)]
pub(super) struct Tuners {
    /// Path of `linerate-hostplane`.
    program: Option<PathBuf>,
    log: PathBuf,
    in_force: Option<HostSetting>,
    held: Vec<Tuner>,
    /// The setting that could not be put in force last, and why.
    refused: Option<(HostSetting, String)>,
    /// What could not be restored: under another setting it would still be in force.
    unrestored: Option<String>,
}

impl Tuners {
    /// Nothing is changed yet. What the processes print for people goes to a file in `directory`.
    pub(super) fn new(program: Option<PathBuf>, directory: &Path) -> Self {
        let log = directory.join(LOG);
        Self { program, log, in_force: None, held: Vec::new(), refused: None, unrestored: None }
    }

    /// Puts a setting in force in place of the one before it, on its interfaces or else on the `agents`'; these are `None`
    /// for agents whose packets pass no kernel, of which there is nothing to set. Returns what was read back; `None` when
    /// the setting was in force already.
    ///
    /// # Errors
    /// When a value did not take, or an earlier one is not restored; then everything is as before the run as far as it
    /// can be.
    pub(super) async fn put(
        &mut self,
        setting: Option<&HostSetting>,
        agents: impl FnOnce() -> Option<Vec<Target>>,
    ) -> Result<Option<Vec<HostSettingValue>>, PlatformError> {
        if let Some(why) = &self.unrestored {
            return Err(PlatformError::HostSetting(why.clone()));
        }
        let are_held = self.held.iter_mut().all(Tuner::holds);
        if are_held && self.in_force.as_ref() == setting {
            return Ok(None);
        }
        if let (Some((refused, why)), Some(setting)) = (&self.refused, setting)
            && refused == setting
        {
            return Err(PlatformError::HostSetting(why.clone()));
        }
        self.release().await?;
        let Some(setting) = setting else { return Ok(None) };
        match self.apply(setting, agents).await {
            Ok(values) => {
                self.in_force = Some(setting.clone());
                Ok(Some(values))
            }
            Err(why) => {
                let restored = self.release().await;
                let why = match restored {
                    Ok(()) => format!("host setting {}: {why}", setting.label()),
                    Err(error) => format!("host setting {}: {why}; {error}", setting.label()),
                };
                self.refused = Some((setting.clone(), why.clone()));
                Err(PlatformError::HostSetting(why))
            }
        }
    }

    async fn apply(
        &mut self,
        setting: &HostSetting,
        agents: impl FnOnce() -> Option<Vec<Target>>,
    ) -> Result<Vec<HostSettingValue>, String> {
        if !setting.changes() {
            return Ok(Vec::new());
        }
        let program = self.program.clone();
        let program = program.ok_or("linerate-hostplane, which changes settings, was not found")?;
        let mut work: Vec<(Target, Vec<String>)> = Vec::new();
        let options: Vec<String> = setting
            .of_interfaces()
            .into_iter()
            .flat_map(|(option, value)| [option.to_owned(), value.to_string()])
            .collect();
        if !options.is_empty() {
            let targets = match setting.interfaces.as_slice() {
                [] => agents(),
                named => Some(named.iter().map(|name| Target::of_machine(name)).collect()),
            };
            if targets.as_ref().is_some_and(Vec::is_empty) {
                return Err("the agents have no interfaces in network namespaces of their own; name interfaces of this machine in its interfaces".to_owned());
            }
            work.extend(targets.into_iter().flatten().map(|target| (target, options.clone())));
        }
        if let Some(governor) = &setting.governor {
            // Of the whole host, whatever the interface.
            work.push((Target::of_machine("lo"), vec!["--governor".to_owned(), governor.to_string()]));
        }
        let log = &self.log;
        let starting = work.into_iter().map(|(target, options)| Tuner::start(&program, log, target, options));
        let started: Vec<_> = stream::iter(starting).buffered(STARTING_AT_ONCE).collect().await;
        let (mut values, mut failure) = (Vec::new(), None);
        for one in started {
            match one {
                Ok((tuner, applied)) => {
                    values.extend(applied.into_iter().map(|applied| tuner.value(applied)));
                    self.held.push(tuner);
                }
                Err(NotApplied { why, unrestored }) => {
                    self.unrestored = self.unrestored.take().or(unrestored);
                    failure = failure.or(Some(why));
                }
            }
        }
        failure.map_or(Ok(values), Err)
    }

    /// Restores everything.
    ///
    /// # Errors
    /// What is not restored.
    pub(super) async fn release(&mut self) -> Result<(), PlatformError> {
        self.in_force = None;
        let ended = join_all(self.held.drain(..).map(Tuner::end)).await;
        let failed: Vec<String> = ended.into_iter().filter_map(Result::err).collect();
        match failed.is_empty() {
            true => Ok(()),
            false => {
                let why = not_restored(&failed.join("; "));
                self.unrestored = Some(why.clone());
                Err(PlatformError::HostSetting(why))
            }
        }
    }
}

fn not_restored(what: &str) -> String {
    format!("not restored: {what}; `linerate-hostplane tune restore` tries again")
}

/// Why settings of an interface are not in force.
#[derive(Debug)]
struct NotApplied {
    why: String,
    /// What was changed all the same and is not restored.
    unrestored: Option<String>,
}

impl From<String> for NotApplied {
    fn from(why: String) -> Self {
        Self { why, unrestored: None }
    }
}

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

/// A process that holds the settings of an interface.
#[derive(Debug)]
struct Tuner {
    target: Target,
    child: Child,
    /// Its end is the sign to restore.
    pipe: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Tuner {
    async fn start(
        program: &Path,
        log: &Path,
        target: Target,
        options: Vec<String>,
    ) -> Result<(Self, Vec<Applied>), NotApplied> {
        let words = target.in_words();
        let of = |why: String| format!("{words}: {why}");
        let log = OpenOptions::new().create(true).append(true).open(log);
        let log = log.map_err(|error| of(format!("cannot write {LOG}: {error}")))?;
        let mut command = match &target.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .args(["tune", "apply", "--interface", &target.interface])
            .args(options)
            .args(["--allow-host-changes", "--until-eof", "--json", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C on the terminal reaches the controller only, which restores in good order.
            .process_group(0);
        let mut child =
            command.spawn().map_err(|error| of(format!("cannot run {}: {error}", program.display())))?;
        let (Some(pipe), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(of("its process has no pipes".to_owned()).into());
        };
        let mut tuner = Self { target, child, pipe, output: BufReader::new(stdout).lines() };
        match timeout(CHANGE_TIME, tuner.next()).await {
            Ok(Some(OutputLine::Applied(applied))) => {
                let Some(other) = applied.iter().find(|one| !one.took) else { return Ok((tuner, applied)) };
                let now = other.now.as_ref().map_or("not known".to_owned(), ToString::to_string);
                let why = other.error.as_ref().map_or(String::new(), |error| format!(" ({error})"));
                let why =
                    of(format!("{} did not take: wanted {}, it is {now}{why}", other.name, other.wanted));
                // It restores the others by itself.
                Err(tuner.give_up(why).await)
            }
            Ok(Some(OutputLine::Error(error))) => Err(of(error.message).into()),
            Ok(Some(OutputLine::Restored(_)) | None) => {
                Err(of("its process ended without an answer".to_owned()).into())
            }
            Err(_) => {
                let why = of(format!("not applied after {} s", CHANGE_TIME.as_secs()));
                Err(tuner.give_up(why).await)
            }
        }
    }

    /// True while its process runs; when it has ended, so have the settings.
    fn holds(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    async fn give_up(self, why: String) -> NotApplied {
        let unrestored = self.end().await.err().map(|error| not_restored(&error));
        let why = unrestored.iter().fold(why, |why, unrestored| format!("{why}; {unrestored}"));
        NotApplied { why, unrestored }
    }

    /// The next line that it prints; `None` at the end.
    async fn next(&mut self) -> Option<OutputLine> {
        while let Ok(Some(line)) = self.output.next_line().await {
            match serde_json::from_str(&line) {
                Ok(parsed) => return Some(parsed),
                Err(error) => tracing::debug!(line, %error, "tune printed an unknown line"),
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

    /// Has it restore what it changed, and waits for its end.
    async fn end(self) -> Result<(), String> {
        let words = self.target.in_words();
        let Self { target, mut child, pipe, output } = self;
        drop(pipe);
        let ended = async {
            let mut failed = None;
            let mut lines = output;
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(OutputLine::Restored(restored)) = serde_json::from_str(&line) {
                    let of = |one: &linerate_tune::tuning::Failed| format!("{}: {}", one.name, one.reason);
                    let parts = restored.failed.iter().map(of).chain(restored.link_down);
                    failed = Some(parts.collect::<Vec<_>>());
                }
            }
            let status = child.wait().await;
            match (failed, status) {
                (Some(failed), _) if failed.is_empty() => Ok(()),
                (Some(failed), _) => Err(failed.join(", ")),
                (None, Ok(status)) => Err(format!("its process did not say so and ended with {status}")),
                (None, Err(error)) => Err(format!("its process is not known to have ended: {error}")),
            }
        };
        let ended = timeout(CHANGE_TIME, ended).await;
        let ended = ended.unwrap_or_else(|_| Err(format!("not after {} s", CHANGE_TIME.as_secs())));
        tracing::debug!(interface = target.interface, ?ended, "restored");
        ended.map_err(|why| format!("{words}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPLIED: &str = r#"{"applied":[{"name":"rx-0 rps_cpus","place":{"rps_cpus":{"queue":0}},"before":{"cpus":"none"},"wanted":{"cpus":"0-1"},"now":{"cpus":"0-1"},"took":true,"error":null}]}"#;
    const RESTORED: &str = r#"{"restored":{"restored":[],"untouched":1,"failed":[],"link_down":null}}"#;

    fn setting(yaml: &str) -> HostSetting {
        serde_json::from_str(yaml).unwrap()
    }

    /// A program that answers with these lines, the last when its standard input has ended.
    fn program(directory: &Path, first: &str, last: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.join("tune");
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {}/calls\nprintf '%s\\n' '{first}'\ncat > /dev/null\nprintf '%s\\n' '{last}'\n",
            directory.display()
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn eth0() -> Option<Vec<Target>> {
        Some(vec![Target::of_machine("eth0")])
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_setting_is_held_until_another_takes_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let mut tuners = Tuners::new(Some(program(directory.path(), APPLIED, RESTORED)), directory.path());
        let on = setting(r#"{"name":"on","rps":"on","governor":"performance"}"#);
        let values = tuners.put(Some(&on), eth0).await.unwrap().unwrap();
        assert_eq!(
            (values.len(), values[0].now.as_deref(), values[1].interface.as_str()),
            (2, Some("0-1"), "lo")
        );
        assert_eq!(tuners.put(Some(&on), eth0).await.unwrap(), None, "in force already");
        tuners.held[0].child.kill().await.unwrap();
        let told = tuners.put(Some(&on), eth0).await.unwrap_err().to_string();
        assert!(told.contains("did not say so"), "killed, and it may have left them: {told}");
        let mut tuners = Tuners::new(tuners.program, directory.path());
        tuners.put(Some(&on), eth0).await.unwrap();
        let as_it_is = setting(r#"{"name":"as-it-is"}"#);
        assert_eq!(tuners.put(Some(&as_it_is), eth0).await.unwrap(), Some(Vec::new()));
        assert!(tuners.held.is_empty());
        tuners.release().await.unwrap();
        let calls = std::fs::read_to_string(directory.path().join("calls")).unwrap();
        assert!(
            calls.contains(
                "tune apply --interface eth0 --rps on --allow-host-changes --until-eof --json --quiet\n"
            ),
            "{calls}"
        );
        assert!(calls.contains("--interface lo --governor performance"), "{calls}");
        assert_eq!(calls.lines().count(), 4);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_does_not_take_or_is_not_restored_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let untaken =
            APPLIED.replace(r#""now":{"cpus":"0-1"},"took":true"#, r#""now":{"cpus":"0"},"took":false"#);
        let unrestored = RESTORED.replace(
            r#""failed":[]"#,
            r#""failed":[{"name":"rx-0 rps_cpus","wanted":{"cpus":"none"},"reason":"no"}]"#,
        );
        let on = setting(r#"{"name":"on","rps":"on"}"#);
        for (first, last, part) in [
            (
                untaken.as_str(),
                RESTORED,
                "host setting on: eth0: rx-0 rps_cpus did not take: wanted 0-1, it is 0",
            ),
            (r#"{"error":{"message":"root alone"}}"#, "", "host setting on: eth0: root alone"),
            ("", "", "without an answer"),
        ] {
            let program = program(directory.path(), first, last);
            // The last one ends by itself.
            if first.is_empty() {
                std::fs::write(&program, "#!/bin/sh\nexit 3\n").unwrap();
            }
            let mut tuners = Tuners::new(Some(program), directory.path());
            for _ in 0..2 {
                let told = tuners.put(Some(&on), eth0).await.unwrap_err().to_string();
                assert!(told.contains(part), "{told}");
            }
        }
        let mut tuners = Tuners::new(Some(program(directory.path(), APPLIED, &unrestored)), directory.path());
        tuners.put(Some(&on), eth0).await.unwrap();
        let off = setting(r#"{"name":"off","rps":"off"}"#);
        for next in [None, Some(&off)] {
            let told = tuners.put(next, eth0).await.unwrap_err().to_string();
            assert!(
                told.contains("not restored: eth0: rx-0 rps_cpus: no; `linerate-hostplane tune restore`"),
                "no other setting is measured meanwhile: {told}"
            );
        }
        let mut tuners = Tuners::new(Some(program(directory.path(), APPLIED, RESTORED)), directory.path());
        let told = tuners.put(Some(&on), || Some(Vec::new())).await.unwrap_err().to_string();
        assert!(told.contains("name interfaces of this machine"), "{told}");
        // Shared memory has nothing to set.
        assert_eq!(tuners.put(Some(&off), || None).await.unwrap(), Some(Vec::new()));
    }
}
