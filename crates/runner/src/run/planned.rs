//! What runs of streams and of HTTP have in common: what to run, how agents are started, and trials that did not run.

use std::time::Duration;

use linerate_experiment::Experiment;
use linerate_experiment::host_settings::HostSetting;
use linerate_experiment::planned::{PlannedTrial, TrialProfile};
use linerate_results::host_setting::TrialHostSetting;
use linerate_results::store::Store;
use linerate_results::store::json::can_be_read;
use linerate_results::streams::AgentPart;
use linerate_results::summary::TrialFailure;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::fleet::{Attempt, Recovery, connect};
use super::node_watch::NodeWatch;
use super::observer::Observer;
use super::part::{KernelAgent, NotRun, Part, acknowledge};
use super::recorder::Recorder;
use super::{EarlierRun, Ending, keep_alive};
use crate::platform::Platform;

/// What to run, and on what.
#[derive(Debug)]
pub struct PlannedJob<'a, Plan> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its trials.
    pub plan: &'a Plan,
    /// The filter that selected them.
    pub filter: Option<&'a str>,
    /// Records of an earlier run of the experiment, when it is resumed.
    pub earlier: Option<&'a EarlierRun>,
    /// Directory for the results.
    pub store: &'a Store,
    /// Becomes true when the user interrupts the run.
    pub interrupted: watch::Receiver<bool>,
}

impl<Plan> PlannedJob<'_, Plan> {
    /// Longest time between two signs of life of an agent.
    pub(super) fn keep_alive(&self) -> Duration {
        keep_alive(self.experiment)
    }

    /// How agents that are lost are recovered.
    pub(super) fn recovery<'r>(&'r self, observer: &'r dyn Observer) -> Recovery<'r> {
        Recovery { keep_alive: self.keep_alive(), interrupted: &self.interrupted, observer }
    }

    /// Starts the agents, so many of them, connects to them, and stores what they are; then the agents that watch their nodes.
    pub(super) async fn start_agents(
        &self,
        number: usize,
        platform: &mut impl Platform,
        agents: &mut Vec<KernelAgent>,
        recorder: &mut Recorder<'_>,
        observer: &dyn Observer,
    ) -> Result<NodeWatch, Ending> {
        let mut interrupted = self.interrupted.clone();
        observer.phase(&format!("starting {number} agents"));
        *agents = tokio::select! {
            agents = connect(platform, self.keep_alive(), recorder, observer) => agents?,
            Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(Ending::Interrupted),
        };
        if let Some(other) = recorder.other_kernel_equipment(agents) {
            return Err(Ending::Failed(other));
        }
        recorder.kernel_connected(agents)?;
        NodeWatch::start(platform, self.keep_alive(), &self.interrupted, recorder, observer).await
    }
}

/// Records that a trial could not be run, unless an agent was lost before it began and it is `repeatable`. Failures are filed under
/// `directory`.
pub(super) fn not_run<P: TrialProfile>(
    why: NotRun,
    trial: &PlannedTrial<P>,
    directory: &str,
    repeatable: bool,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<Attempt, Ending> {
    match why {
        NotRun::Interrupted => return Err(Ending::Interrupted),
        NotRun::Store(error) => return Err(error.into()),
        NotRun::Lost(agents) if repeatable => return Ok(Attempt { agents, is_filed: false }),
        NotRun::Lost(_) | NotRun::Refused(_) => {}
    }
    let (agents, reason) = why.into_reason();
    let (profile, repeat) = trial.label();
    let failure = TrialFailure {
        profile,
        pair: directory.to_owned(),
        repeat,
        reason,
        transmit: None,
        receive: None,
        trial: None,
    };
    recorder.planned_failed(trial, &failure)?;
    observer.trial_failed(&failure);
    Ok(Attempt { agents, is_filed: true })
}

/// Records that a trial which ran has no result, and has the agents drop their reports. Failures are filed under `directory`.
#[expect(clippy::too_many_arguments, reason = "a trial needs all of them")]
pub(super) async fn refused<P: TrialProfile, D>(
    reason: String,
    trial: &PlannedTrial<P>,
    id: u32,
    directory: &str,
    agents: &[KernelAgent],
    parts: &[Part<D>],
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<Attempt, Ending> {
    let filed = not_run(NotRun::Refused(reason), trial, directory, false, recorder, observer)?;
    let mut gone = lost(parts);
    gone.extend(acknowledge(id, agents, parts).await);
    Ok(Attempt { agents: gone, ..filed })
}

/// Checks that a part of a trial's result can be read again: agents may report any number, and figures follow from them.
///
/// # Errors
/// Why it cannot be recorded.
pub(super) fn readable<T: Serialize + DeserializeOwned>(part: &T) -> Result<(), String> {
    can_be_read(part).map_err(|error| {
        format!(
            "the result cannot be recorded: {error}; counters of agents are implausible: restart them, and look at their logs"
        )
    })
}

/// What a trial's summary says of the setting of hosts under which it ran.
pub(super) fn of_trial(setting: Option<&HostSetting>, agents: &[AgentPart]) -> Option<TrialHostSetting> {
    let hosts = agents.iter().filter_map(|part| part.report.as_ref()?.host.as_ref());
    setting.map(|setting| TrialHostSetting::of(setting.label(), hosts))
}

/// Agents that were lost in a trial, by their place, with the reasons.
pub(super) fn lost<D>(parts: &[Part<D>]) -> Vec<(usize, String)> {
    let lost = parts.iter().enumerate().filter_map(|(place, part)| match part {
        Part::Lost(reason) => Some((place, reason.clone())),
        Part::Reported(_) | Part::Failed(_) => None,
    });
    lost.collect()
}
