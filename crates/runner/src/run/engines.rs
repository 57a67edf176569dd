//! A run of an experiment of engines: part after part, each with its own agents, into one directory of results.
//!
//! A part whose agents cannot be started or are lost fails with all of its trials; the other parts run. When settings of
//! hosts are not restored, no other part runs.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use linerate_experiment::Experiment;
use linerate_experiment::engines::{EnginesPlan, PartTrials, PlannedPart};
use linerate_experiment::plan::{Plan, Trial};
use linerate_experiment::streams::StreamsTrial;
use linerate_results::store::{Earlier, Store, StoreError};
use linerate_results::summary::{Status, Summary};
use tokio::sync::watch;

use super::host_settings::restore;
use super::observer::Observer;
use super::recorder::Recorder;
use super::streams::{self, StreamsJob};
use super::{EarlierRun, Ending, Job, drive};
use crate::platform::Platform;

/// What to run.
#[derive(Debug)]
pub struct EnginesJob<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its trials, part by part.
    pub plan: &'a EnginesPlan,
    /// The filter that selected them.
    pub filter: Option<&'a str>,
    /// Records of an earlier run of the experiment, when it is resumed.
    pub earlier: Option<&'a EarlierRun>,
    /// Directory for the results.
    pub store: &'a Store,
    /// Becomes true when the user interrupts the run.
    pub interrupted: watch::Receiver<bool>,
}

/// Where the agents of a part run.
#[derive(Debug)]
pub enum PartPlatform<F, D> {
    /// Agents with ports of DPDK.
    Frames(F),
    /// Agents with sockets.
    Datagrams(D),
}

/// Labels of a part's trials, and of the results of its kind in a summary: the profile's name and the repeat of each.
fn labels(part: &PlannedPart, summary: &Summary) -> [BTreeSet<(String, u32)>; 2] {
    match &part.trials {
        PartTrials::Frames(plan) => [
            plan.trials.iter().map(Trial::label).collect(),
            summary.trials.iter().map(|result| (result.profile.clone(), result.repeat)).collect(),
        ],
        PartTrials::Datagrams(plan) => [
            plan.trials.iter().map(StreamsTrial::label).collect(),
            summary.streams.iter().map(|result| (result.profile.clone(), result.repeat)).collect(),
        ],
    }
}

/// True when all trials of a part have results in a summary.
pub fn is_measured(part: &PlannedPart, summary: &Summary) -> bool {
    let [planned, recorded] = labels(part, summary);
    planned.is_subset(&recorded)
}

/// True when a trial of a part has a result in a summary.
pub fn is_begun(part: &PlannedPart, summary: &Summary) -> bool {
    let [planned, recorded] = labels(part, summary);
    !planned.is_disjoint(&recorded)
}

/// Runs a job, each part on its platform, and ends every agent. Parts that `earlier` has all trials of need none. The summary records the outcome, failures of parts, trials
/// and agents included.
///
/// # Errors
/// When results cannot be stored.
pub async fn run_engines(
    job: EnginesJob<'_>,
    platforms: &mut [Option<PartPlatform<impl Platform, impl Platform>>],
    observer: &dyn Observer,
) -> Result<Summary, StoreError> {
    let mut recorder = Recorder::open_engines(job.store, job.experiment, job.plan, job.filter, job.earlier)?;
    let mut ending = Ok(());
    for (part, platform) in job.plan.parts.iter().zip(platforms) {
        if recorder.has_part(&part.trials) {
            continue;
        }
        let ended = match platform {
            Some(platform) => run_part(&job, part, platform, &mut recorder, observer).await,
            None => Err(Ending::Failed("its agents were not planned".to_owned())),
        };
        match ended {
            Ok(()) => {}
            Err(Ending::Failed(reason) | Ending::Refused(reason)) => {
                // Failures of the disk end the run.
                let failed = recorder.part_failed(part, &reason, observer);
                if let Err(error) = failed {
                    ending = Err(error.into());
                    break;
                }
            }
            Err(other) => {
                ending = Err(other);
                break;
            }
        }
    }
    observer.end();
    match ending {
        Ok(()) => {
            let (status, reason) = recorder.planned_status(job.plan.count());
            recorder.close(status, reason)
        }
        Err(Ending::Store(error)) => {
            // Closing the summary most likely fails as well; the first error is reported.
            let _ = recorder.close(Status::Failed, Some(error.to_string()));
            Err(error)
        }
        Err(Ending::Interrupted) => {
            recorder.close(Status::Interrupted, Some("interrupted by a signal".to_owned()))
        }
        Err(other) => recorder.close(Status::Failed, Some(other.to_string())),
    }
}

async fn run_part(
    job: &EnginesJob<'_>,
    part: &PlannedPart,
    platform: &mut PartPlatform<impl Platform, impl Platform>,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<(), Ending> {
    let EnginesJob { filter, earlier, store, .. } = *job;
    let (experiment, interrupted) = (&part.experiment, job.interrupted.clone());
    recorder.start_up_begins();
    match (&part.trials, platform) {
        (PartTrials::Frames(plan), PartPlatform::Frames(platform)) => {
            let job = Job { experiment, strategy: plan, filter, earlier, store, interrupted };
            let mut groups = Vec::new();
            let ending = drive(&job, platform, &mut groups, recorder, observer).await;
            let ending = restore(ending, platform, recorder).await;
            let sessions =
                groups.iter().flat_map(|group| &group.agents).map(|agent| agent.session.shut_down());
            end(platform, sessions, recorder, observer).await;
            ending
        }
        (PartTrials::Datagrams(plan), PartPlatform::Datagrams(platform)) => {
            let job = StreamsJob { experiment, plan, filter, earlier, store, interrupted };
            let mut agents = Vec::new();
            let ending = streams::drive(&job, platform, &mut agents, recorder, observer).await;
            let ending = restore(ending, platform, recorder).await;
            end(platform, agents.iter().map(|agent| agent.session.shut_down()), recorder, observer).await;
            ending
        }
        _ => Err(Ending::Failed("its trials and its platform are of different kinds".to_owned())),
    }
}

/// Ends the agents of a part.
async fn end(
    platform: &mut impl Platform,
    sessions: impl Iterator<Item = impl Future>,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) {
    observer.phase("ending the agents");
    recorder.tear_down_begins();
    let asked = !join_all(sessions).await.is_empty();
    platform.stop(asked).await;
}

/// Closes a run that was killed after its last trial; no trial is left to run.
///
/// # Errors
/// When the summary cannot be stored.
pub fn end_engines(
    experiment: &Experiment,
    plan: &EnginesPlan,
    filter: Option<&str>,
    earlier: &Earlier,
) -> Result<Summary, StoreError> {
    let before = EarlierRun { summary: earlier.summary.clone(), sums: earlier.sums.clone() };
    let recorder = Recorder::open_engines(&earlier.store, experiment, plan, filter, Some(&before))?;
    let (status, reason) = recorder.planned_status(plan.count());
    recorder.close(status, reason)
}

/// All trials of frames, as one plan.
pub(super) fn frames(plan: &EnginesPlan) -> Plan {
    Plan { trials: plan.frames().cloned().collect() }
}
