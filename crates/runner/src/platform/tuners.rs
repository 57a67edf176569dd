//! Settings of hosts that a run puts in force: for each interface a process of `linerate-hostplane tune apply` holds
//! them. It restores them when the pipe to it ends, which it does with this process in every case.

mod tuner;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use linerate_experiment::Experiment;
use linerate_experiment::host_settings::HostSetting;
use linerate_results::host_setting::HostSettingValue;

use self::tuner::{Tuner, restore};
use super::PlatformError;

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
    /// Path of `linerate-hostplane`; `None` where no setting of the document changes anything.
    program: Option<PathBuf>,
    log: PathBuf,
    in_force: Option<HostSetting>,
    /// Every process that was started and is not known to have restored what it changed.
    held: Vec<Tuner>,
    /// The setting that could not be put in force last, and why.
    refused: Option<(HostSetting, String)>,
    /// True when what processes of earlier runs left behind on the machine is restored.
    is_clean: bool,
    /// Network namespaces in which something could not be restored; `None`: the machine's. Under another setting it would
    /// still be in force.
    unrestored: BTreeSet<Option<String>>,
}

impl Tuners {
    /// Nothing is changed yet. What the processes print for people goes to a file in `directory`. There is no `program` where
    /// no setting of the document changes anything.
    pub(super) fn new(program: Option<PathBuf>, directory: &Path) -> Self {
        let log = directory.join(LOG);
        Self {
            program,
            log,
            in_force: None,
            held: Vec::new(),
            refused: None,
            is_clean: false,
            unrestored: BTreeSet::new(),
        }
    }

    /// Puts a setting in force in place of the one before it, on its interfaces or else on the `agents`'; these are `None`
    /// for agents whose packets pass no kernel, of which there is nothing to set. Returns what was read back; `None` when
    /// the setting was in force already. When it is dropped before its end, [`Tuners::release`] restores what was begun.
    ///
    /// # Errors
    /// When a value did not take, or an earlier one is not restored; then everything is as before the run as far as it
    /// can be.
    pub(super) async fn put(
        &mut self,
        setting: Option<&HostSetting>,
        agents: impl FnOnce() -> Option<Vec<Target>>,
    ) -> Result<Option<Vec<HostSettingValue>>, PlatformError> {
        let is_so = self.in_force.as_ref() == setting
            && self.unrestored.is_empty()
            && (setting.is_some() || self.held.is_empty())
            && self.still_held().is_ok();
        if is_so {
            return Ok(None);
        }
        if let (Some((refused, why)), Some(setting)) = (&self.refused, setting)
            && refused == setting
        {
            return Err(PlatformError::HostSetting(why.clone()));
        }
        self.release().await?;
        match self.change(setting, agents).await {
            Ok(values) => {
                self.in_force = setting.cloned();
                Ok(setting.map(|_| values))
            }
            Err(why) => {
                if let Some(setting) = setting {
                    self.refused = Some((setting.clone(), why.clone()));
                }
                Err(PlatformError::HostSetting(why))
            }
        }
    }

    async fn change(
        &mut self,
        setting: Option<&HostSetting>,
        agents: impl FnOnce() -> Option<Vec<Target>>,
    ) -> Result<Vec<HostSettingValue>, String> {
        self.recover().await?;
        let Some(setting) = setting else { return Ok(Vec::new()) };
        match self.apply(setting, agents).await {
            Ok(values) => Ok(values),
            Err(why) => {
                let why = format!("host setting {}: {why}", setting.label());
                Err(match self.release().await {
                    Ok(()) => why,
                    Err(error) => format!("{why}; {error}"),
                })
            }
        }
    }

    /// Restores what processes that were killed left behind: trials as it is would be run with it. Once on the machine, and
    /// wherever something was not restored.
    async fn recover(&mut self) -> Result<(), String> {
        let Some(program) = &self.program else { return Ok(()) };
        if !self.is_clean {
            // A process at work is not ours: it holds the settings of a user.
            restore(program, &self.log, None, false).await.map_err(|why| {
                format!(
                    "what was left behind is not restored: {why}; `linerate-hostplane tune restore --forget` leaves it as it is"
                )
            })?;
            self.is_clean = true;
        }
        while let Some(namespace) = self.unrestored.first().cloned() {
            let restored = restore(program, &self.log, namespace.as_deref(), true).await;
            restored.map_err(|why| not_restored(&why))?;
            self.unrestored.remove(&namespace);
        }
        Ok(())
    }

    async fn apply(
        &mut self,
        setting: &HostSetting,
        agents: impl FnOnce() -> Option<Vec<Target>>,
    ) -> Result<Vec<HostSettingValue>, String> {
        if !setting.changes() {
            return Ok(Vec::new());
        }
        let Self { program, log, held, .. } = self;
        let program =
            program.as_deref().ok_or("linerate-hostplane, which changes settings, was not found")?;
        let mut work = work(setting, agents)?;
        let mut values = Vec::new();
        while !work.is_empty() {
            let (begun, mut failure) = (held.len(), None);
            for (target, options) in work.drain(..work.len().min(STARTING_AT_ONCE)) {
                match Tuner::spawn(program, log, target, options) {
                    // Held from here on, whoever stops waiting.
                    Ok(tuner) => held.push(tuner),
                    Err(why) => failure = failure.or(Some(why)),
                }
            }
            for answer in join_all(held[begun..].iter_mut().map(Tuner::answer)).await {
                match answer {
                    Ok(applied) => values.extend(applied),
                    Err(why) => failure = failure.or(Some(why)),
                }
            }
            if let Some(why) = failure {
                return Err(why);
            }
        }
        Ok(values)
    }

    /// Looks whether the setting is still held, after a trial.
    ///
    /// # Errors
    /// Which process has ended: a part of the trial may have been run without the setting.
    pub(super) fn still_held(&mut self) -> Result<(), PlatformError> {
        match self.held.iter_mut().find_map(|tuner| (!tuner.holds()).then(|| tuner.target.in_words())) {
            None => Ok(()),
            Some(words) => Err(PlatformError::HostSetting(format!(
                "{words}: the process that holds the host setting ended in the trial, which may have been run without it; --resume runs it again"
            ))),
        }
    }

    /// Restores everything.
    ///
    /// # Errors
    /// What is not restored.
    pub(super) async fn release(&mut self) -> Result<(), PlatformError> {
        self.in_force = None;
        let Self { program: Some(program), log, held, unrestored, .. } = self else { return Ok(()) };
        let (program, log): (&Path, &Path) = (program, log);
        let ended = join_all(held.iter_mut().map(|tuner| tuner.end(program, log))).await;
        let mut failed = Vec::new();
        for (tuner, ended) in held.drain(..).zip(ended) {
            if let Err(why) = ended {
                failed.push(why);
                unrestored.insert(tuner.target.namespace);
            }
        }
        match failed.is_empty() {
            true => Ok(()),
            false => Err(PlatformError::HostSetting(not_restored(&failed.join("; ")))),
        }
    }
}

/// Interfaces with the options of `tune apply` that put a setting in force on each.
fn work(
    setting: &HostSetting,
    agents: impl FnOnce() -> Option<Vec<Target>>,
) -> Result<Vec<(Target, Vec<String>)>, String> {
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
        let option = ["--governor".to_owned(), governor.to_string()];
        match work.iter_mut().find(|(target, _)| target.namespace.is_none()) {
            // Settings of the whole host have one lock, which RFS needs, too.
            Some((_, options)) => options.extend(option),
            None => work.push((Target::of_machine("lo"), option.to_vec())),
        }
    }
    Ok(work)
}

fn not_restored(what: &str) -> String {
    format!("not restored: {what}; `linerate-hostplane tune restore` tries again")
}

#[cfg(test)]
mod tests;
