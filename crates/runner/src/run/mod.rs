//! A run, from plan to results: agents start, warm up, run every trial, and are ended in every case.

mod addressing;
mod agent;
mod arrivals;
pub mod diagnosis;
pub mod engines;
mod fleet;
mod flows;
mod group;
mod host_settings;
pub mod http;
mod node_watch;
pub mod observer;
mod part;
mod path_times;
pub mod planned;
mod recorder;
mod recover;
mod round;
mod sample_file;
mod start;
mod stopwatch;
pub mod streams;
mod trial;
mod warm_up;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::watch;

use self::group::Group;
use self::host_settings::{put_in_force, restore};
use self::node_watch::NodeWatch;
use self::observer::Observer;
use self::recorder::Recorder;
use self::recover::Recovery;
use self::round::Round;
use self::trial::Stopped;
use self::warm_up::{WarmUpError, warm_up};
use crate::platform::{Platform, PlatformError, random_bytes};
use linerate_experiment::Experiment;
use linerate_experiment::plan::Trial;
use linerate_experiment::search::SearchOutcome;
use linerate_experiment::strategy::{NextTrial, Strategy};
use linerate_results::store::checksum::FileSum;
use linerate_results::store::{Earlier, Store, StoreError};
use linerate_results::summary::{Status, Summary, TrialFailure};

/// The longest interval between two pings to an agent.
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Pings to an agent within its orphan time.
const SIGNS_OF_LIFE: u32 = 4;
/// Pairs that are connected at the same time; also the agents whose preflight reports are requested at the
/// same time.
const CONNECTING_AT_ONCE: usize = 32;

/// What to run, and on what.
#[derive(Debug)]
pub struct Job<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Selects the trials.
    pub strategy: &'a dyn Strategy,
    /// The filter that selected them.
    pub filter: Option<&'a str>,
    /// Records of an earlier run of the experiment, when it is resumed.
    pub earlier: Option<&'a EarlierRun>,
    /// Directory for the results.
    pub store: &'a Store,
    /// Becomes true when the user interrupts the run.
    pub interrupted: watch::Receiver<bool>,
}

/// Records of an earlier run of the experiment.
#[derive(Debug)]
pub struct EarlierRun {
    /// Its summary, with the trials that are kept.
    pub summary: Summary,
    /// Checksums of its files, by path relative to the summary.
    pub sums: BTreeMap<String, FileSum>,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error("interrupted")]
    Interrupted,
    #[error("{0}")]
    Failed(String),
    /// Access that the run needs is refused; no pair can be recovered.
    #[error("{0}")]
    Refused(String),
    /// Settings of hosts are not restored: nothing more is run with them in force.
    #[error("{0}")]
    Unrestored(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Stopped> for Ending {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Interrupted => Ending::Interrupted,
            other => Ending::Failed(other.to_string()),
        }
    }
}

impl From<WarmUpError> for Ending {
    fn from(error: WarmUpError) -> Self {
        match error {
            WarmUpError::Stopped(stopped) => stopped.into(),
            other => Ending::Failed(other.to_string()),
        }
    }
}

impl From<PlatformError> for Ending {
    fn from(error: PlatformError) -> Self {
        Ending::Failed(error.to_string())
    }
}

/// Numbers of trials, and tags of probes: each path of each trial has its own, from a random start, so that packets of
/// other paths, trials and runs are recognised.
#[derive(Debug)]
struct Numbers {
    last: Cell<u32>,
    next_tag: Cell<u16>,
}

impl Numbers {
    fn random() -> Result<Self, PlatformError> {
        let bytes = random_bytes(2)?;
        Ok(Self { last: Cell::new(0), next_tag: Cell::new(u16::from_be_bytes([bytes[0], bytes[1]])) })
    }

    /// The next trial's number, and the first of the tags of its `paths`; the others follow, modulo 2¹⁶.
    fn next(&self, paths: usize) -> (u32, u16) {
        let (id, tag) = (self.last.get() + 1, self.next_tag.get());
        self.last.set(id);
        self.next_tag.set(tag.wrapping_add(paths as u16));
        (id, tag)
    }
}

/// Runs a job and ends every agent. The summary records the outcome, failures of trials and agents included.
///
/// # Errors
/// When results cannot be stored.
pub async fn run(
    job: Job<'_>,
    platform: &mut impl Platform,
    observer: &dyn Observer,
) -> Result<Summary, StoreError> {
    let mut recorder = Recorder::open(job.store, job.experiment, job.strategy, job.filter, job.earlier)?;
    recorder.start_up_begins();
    let mut groups = Vec::new();
    let ending = drive(&job, platform, &mut groups, &mut recorder, observer).await;
    let ending = restore(ending, platform, &mut recorder).await;
    // A run that ends early keeps the bounds of its searches so far.
    let searched = recorder.searches(job.experiment, job.strategy);
    let ending = ending.and(searched.map_err(Ending::from));
    observer.phase("ending the agents");
    recorder.tear_down_begins();
    if !platform.keeps() {
        let agents = groups.iter().flat_map(|group| &group.agents);
        join_all(agents.map(|agent| agent.session.shut_down())).await;
    }
    platform.stop(!groups.is_empty()).await;
    observer.end();
    let (status, reason) = match ending {
        Ok(()) if recorder.failures() == 0 => of_searches(&recorder, job.strategy),
        Ok(()) => (Status::Failed, Some(format!("{} trials could not be finished", recorder.failures()))),
        Err(Ending::Interrupted) => (Status::Interrupted, Some("interrupted by a signal".to_owned())),
        Err(ending @ (Ending::Failed(_) | Ending::Refused(_) | Ending::Unrestored(_))) => {
            (Status::Failed, Some(ending.to_string()))
        }
        Err(Ending::Store(error)) => {
            // Closing the summary most likely fails as well; the first error is reported.
            let _ = recorder.close(Status::Failed, Some(error.to_string()));
            return Err(error);
        }
    };
    recorder.close(status, reason)
}

/// Closes a run that was killed after its last trial; no trial is left to run.
///
/// # Errors
/// When the summary cannot be stored.
pub fn end(
    experiment: &Experiment,
    strategy: &dyn Strategy,
    filter: Option<&str>,
    earlier: &Earlier,
) -> Result<Summary, StoreError> {
    let before = EarlierRun { summary: earlier.summary.clone(), sums: earlier.sums.clone() };
    let mut recorder = Recorder::open(&earlier.store, experiment, strategy, filter, Some(&before))?;
    recorder.searches(experiment, strategy)?;
    let (status, reason) = of_searches(&recorder, strategy);
    recorder.close(status, reason)
}

/// Status of a run whose trials all have results: failed when a search could not begin or go on.
fn of_searches(recorder: &Recorder<'_>, strategy: &dyn Strategy) -> (Status, Option<String>) {
    let searches = strategy.searches(recorder.outcomes());
    let failed = searches.iter().find_map(|search| match &search.ended {
        Some(SearchOutcome::Failed(why)) => {
            Some(format!("search {} of {}: {why}", search.number, search.name))
        }
        _ => None,
    });
    if failed.is_some() { (Status::Failed, failed) } else { (Status::Complete, None) }
}

async fn drive(
    job: &Job<'_>,
    platform: &mut impl Platform,
    groups: &mut Vec<Group>,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<(), Ending> {
    let foreseen = job.strategy.foreseen();
    if job.experiment.trial().all_flows {
        let left = foreseen.iter().filter(|trial| !recorder.is_recorded(trial));
        let bytes = left.map(Trial::flow_bytes).fold(0, u64::saturating_add);
        job.store.has_room(bytes.saturating_mul(job.experiment.topology().paths().count() as u64))?;
    }
    let numbers = Numbers::random()?;
    let mut interrupted = job.interrupted.clone();
    let agents = job.experiment.topology().agents().count();
    observer.phase(&format!("starting {agents} agents"));
    *groups = tokio::select! {
        groups = connect(job, platform, recorder, observer) => groups?,
        Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(Ending::Interrupted),
    };
    if let Some(other) = recorder.other_programs(groups).or_else(|| recorder.other_equipment(groups)) {
        return Err(Ending::Failed(other));
    }
    recorder.connected(groups)?;
    let keep_alive = keep_alive(job.experiment);
    let mut nodes = NodeWatch::start(platform, keep_alive, &job.interrupted, recorder, observer).await?;
    let agents: Vec<_> = groups.iter().flat_map(|group| &group.agents).collect();
    let asked = agents.iter().map(|agent| async { (agent.name(), agent.session.preflight().await) });
    for (agent, report) in stream::iter(asked).buffered(CONNECTING_AT_ONCE).collect::<Vec<_>>().await {
        match report {
            Ok(report) => recorder.preflight(agent, &report)?,
            // A missing preflight report does not stop a run.
            Err(error) => tracing::warn!(agent, %error, "no preflight report"),
        }
    }

    // Only a sender has a load, which may depend on the speed of its link.
    let senders = groups.iter().flat_map(|group| {
        group.agents.iter().enumerate().filter(|(index, _)| group.sends(*index)).map(|(_, agent)| agent)
    });
    let links: Vec<Option<u64>> = senders.map(|agent| agent.port().link_bps).collect();
    let check = |trial: &Trial| {
        let checked = links.iter().try_for_each(|link_bps| trial.check(job.experiment, *link_bps));
        checked.map_err(|error| Ending::Failed(error.to_string()))
    };
    foreseen.iter().try_for_each(check)?;
    let first = match job.strategy.next(recorder.outcomes()) {
        NextTrial::Run(trial) => *trial,
        NextTrial::Finished => match foreseen.first() {
            Some(trial) => trial.clone(),
            None => return Ok(()),
        },
    };
    // The warm-up sends as well.
    check(&first)?;
    observer.phase("warming up");
    recorder.traffic_begins();
    let warming = groups
        .iter_mut()
        .map(|group| warm_up(group, job.experiment, &first.profile, &numbers, &job.interrupted));
    let mut warm_ups = Vec::new();
    for warm in join_all(warming).await {
        warm_ups.extend(warm?);
    }
    recorder.warmed_up(warm_ups)?;

    while let NextTrial::Run(trial) = job.strategy.next(recorder.outcomes()) {
        if *interrupted.borrow() {
            return Err(Ending::Interrupted);
        }
        if trial.search.is_some() {
            check(&trial)?;
            if job.experiment.trial().all_flows {
                let loaded = job.experiment.topology().paths().filter(|path| trial.loads(&path.name)).count();
                job.store.has_room(trial.flow_bytes().saturating_mul(loaded as u64))?;
            }
        }
        let setting = trial.host_setting.as_ref();
        if let Err(reason) = put_in_force(setting, platform, recorder, observer, &interrupted).await? {
            let paths = groups.iter().flat_map(|group| group.paths()).filter(|path| trial.loads(&path.name));
            let failures: Vec<TrialFailure> = paths
                .map(|path| TrialFailure {
                    profile: trial.name.clone(),
                    pair: path.name.clone(),
                    repeat: trial.repeat,
                    reason: reason.clone(),
                    transmit: None,
                    receive: None,
                    trial: None,
                })
                .collect();
            recorder.round(&trial, &[], &failures, None, None)?;
            failures.iter().for_each(|failure| observer.trial_failed(failure));
            continue;
        }
        let watched: Vec<_> = groups
            .iter()
            .flat_map(|group| group.paths().iter().map(move |path| (group, path)))
            .filter(|(_, path)| trial.loads(&path.name))
            .map(|(group, path)| group.watched(path, &trial))
            .collect();
        let number = recorder.number(&trial) as usize;
        observer.trial_began(number, recorder.trials_with(number), &trial, &watched);
        run_trial(job, &trial, groups, &mut nodes, platform, &numbers, recorder, observer).await?;
        if let Some(state) = job.strategy.search_of(&trial, recorder.outcomes()) {
            observer.search_advanced(&state);
            if state.has_news() {
                recorder.search(job.experiment, job.strategy, &state)?;
            }
        }
    }
    Ok(())
}

/// Waits before a trial that asks for time without traffic.
async fn rest(job: &Job<'_>, trial: &Trial) -> Result<(), Ending> {
    if trial.rest.is_zero() {
        return Ok(());
    }
    let mut interrupted = job.interrupted.clone();
    match tokio::time::timeout(trial.rest, interrupted.wait_for(|flag| *flag)).await {
        Ok(Ok(_)) => Err(Ending::Interrupted),
        Ok(Err(_)) => {
            tokio::time::sleep(trial.rest).await;
            Ok(())
        }
        Err(_) => Ok(()),
    }
}

/// Runs a trial until it has a result or its retries are used up.
#[expect(clippy::too_many_arguments, reason = "a trial needs all of them")]
async fn run_trial(
    job: &Job<'_>,
    trial: &Trial,
    groups: &mut Vec<Group>,
    nodes: &mut NodeWatch,
    platform: &mut impl Platform,
    numbers: &Numbers,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<(), Ending> {
    let retries = job.experiment.trial().retries.get_u32();
    for attempt in 0..=retries {
        rest(job, trial).await?;
        let repeatable = attempt < retries;
        let Round { lost, is_filed } =
            round::run(job, trial, groups, nodes, platform, numbers, repeatable, recorder, observer).await?;
        let Some(first) = lost.first() else { break };
        // A recorded trial is not repeated; only the groups are recovered for the trials left.
        if retries == 0 && !recorder.is_recorded(trial) {
            return Err(Ending::Failed(first.reason.clone()));
        }
        let mut left = left(job.strategy, recorder);
        if !is_filed && left.iter().all(|other| other.key != trial.key) {
            left.insert(0, trial.clone());
        }
        if left.is_empty() {
            let had_result = recorder.is_recorded(trial);
            for lost in lost.iter().filter(|_| had_result) {
                recorder
                    .recovered(format!("{} was lost after its last trial: {}", lost.group, lost.reason))?;
            }
            break;
        }
        let profiles = job.strategy.profiles();
        let recovery = Recovery { job, numbers, left: &left, profiles: &profiles, observer };
        recovery.bring_back(lost, groups, platform, recorder).await?;
        if is_filed {
            break;
        }
    }
    Ok(())
}

/// The known trials that are left.
fn left(strategy: &dyn Strategy, recorder: &Recorder<'_>) -> Vec<Trial> {
    let known: Vec<Trial> =
        strategy.foreseen().iter().filter(|trial| recorder.outcomes().of(trial).is_none()).cloned().collect();
    match strategy.next(recorder.outcomes()) {
        NextTrial::Run(trial) if known.is_empty() => vec![*trial],
        _ => known,
    }
}

/// Longest time between two signs of life of an agent.
fn keep_alive(experiment: &Experiment) -> Duration {
    LONGEST_KEEP_ALIVE.min(experiment.trial().orphan.get() / SIGNS_OF_LIFE)
}

async fn connect(
    job: &Job<'_>,
    platform: &mut impl Platform,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<Vec<Group>, Ending> {
    let keep_alive = keep_alive(job.experiment);
    let endpoints = platform.start(&|text| observer.phase(text)).await?;
    recorder.agents_run();
    let profiles = job.strategy.profiles();
    let plans = job.experiment.topology().groups.into_iter().zip(endpoints).enumerate();
    let connecting =
        plans.map(|(number, (plan, agents))| Group::connect(number, plan, agents, keep_alive, &profiles));
    // Hundreds of handshakes at once would exceed their time limits.
    stream::iter(connecting).buffered(CONNECTING_AT_ONCE).try_collect().await.map_err(Ending::from)
}
