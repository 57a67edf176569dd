//! From a plan to results: agents start, warm up, run every trial, and end, whatever happens in between.

mod addressing;
mod agent;
mod arrivals;
mod flows;
mod ledger;
pub mod observer;
mod path;
mod recover;
mod round;
mod start;
mod stopwatch;
mod trial;
mod warm_up;
mod way;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::watch;

use self::agent::Pair;
use self::ledger::Ledger;
use self::observer::Observer;
use self::recover::Rescue;
use self::round::Round;
use self::trial::Stopped;
use self::warm_up::{WarmUpError, warm_up};
use self::way::ways;
use crate::platform::{Platform, PlatformError, random_bytes};
use linerate_experiment::Experiment;
use linerate_experiment::plan::Plan;
use linerate_results::store::manifest::FileSum;
use linerate_results::store::{Earlier, Store, StoreError};
use linerate_results::summary::{Status, Summary};

/// The longest time between two signs of life to an agent.
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// An agent hears from us this many times within its orphan time.
const SIGNS_OF_LIFE: u32 = 4;
/// Pairs that are connected to, or agents that are asked for their preflight report, at the same time.
const CONNECTING_AT_ONCE: usize = 32;

/// What to run, and on what.
#[derive(Debug)]
pub struct Job<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its trials.
    pub plan: &'a Plan,
    /// What selected them.
    pub filter: Option<&'a str>,
    /// What is recorded of the experiment, when it was begun earlier.
    pub earlier: Option<&'a EarlierRun>,
    /// Where the results go.
    pub store: &'a Store,
    /// Becomes true when the user wants it to end.
    pub interrupted: watch::Receiver<bool>,
}

/// What is recorded of an experiment that was begun earlier.
#[derive(Debug)]
pub struct EarlierRun {
    /// Its result so far: of trials, only those that stay.
    pub summary: Summary,
    /// Checksums of its files, by path relative to the summary.
    pub sums: BTreeMap<String, FileSum>,
}

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error("interrupted")]
    Interrupted,
    #[error("{0}")]
    Failed(String),
    /// Something that the run cannot do without is refused for good; no pair can be brought back.
    #[error("{0}")]
    Refused(String),
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

/// Names of trials and tags of their probes: each used once, from a random beginning, so that another run's packets are told apart.
#[derive(Debug)]
struct Numbers {
    last: Cell<u32>,
    first_tag: u16,
}

impl Numbers {
    fn random() -> Result<Self, PlatformError> {
        let bytes = random_bytes(2)?;
        Ok(Self { last: Cell::new(0), first_tag: u16::from_be_bytes([bytes[0], bytes[1]]) })
    }

    fn next(&self) -> (u32, u16) {
        let id = self.last.get() + 1;
        self.last.set(id);
        (id, self.first_tag.wrapping_add(id as u16))
    }
}

/// Runs a job and ends every agent. The summary says how it went; failures of trials and agents are in there.
///
/// # Errors
/// When results cannot be stored.
pub async fn run(
    job: Job<'_>,
    platform: &mut impl Platform,
    observer: &dyn Observer,
) -> Result<Summary, StoreError> {
    let mut ledger = Ledger::open(job.store, job.experiment, job.plan, job.filter, job.earlier)?;
    ledger.start_up_begins();
    let mut pairs = Vec::new();
    let ending = drive(&job, platform, &mut pairs, &mut ledger, observer).await;
    observer.phase("ending the agents");
    ledger.tear_down_begins();
    if !platform.keeps() {
        let agents = pairs.iter().flat_map(|pair| [&pair.tx, &pair.rx]);
        join_all(agents.map(|agent| agent.session.shut_down())).await;
    }
    platform.stop(!pairs.is_empty()).await;
    observer.end();
    let (status, reason) = match ending {
        Ok(()) if ledger.failures() == 0 => (Status::Complete, None),
        Ok(()) => (Status::Failed, Some(format!("{} trials could not be finished", ledger.failures()))),
        Err(Ending::Interrupted) => (Status::Interrupted, Some("interrupted by a signal".to_owned())),
        Err(ending @ (Ending::Failed(_) | Ending::Refused(_))) => (Status::Failed, Some(ending.to_string())),
        Err(Ending::Store(error)) => {
            // The summary most likely cannot be written either; the error that came first is the one to tell.
            let _ = ledger.close(Status::Failed, Some(error.to_string()));
            return Err(error);
        }
    };
    ledger.close(status, reason)
}

/// Ends a run that was killed between its last trial and its end: nothing is left to measure.
///
/// # Errors
/// When the summary cannot be stored.
pub fn end(
    experiment: &Experiment,
    plan: &Plan,
    filter: Option<&str>,
    earlier: &Earlier,
) -> Result<Summary, StoreError> {
    let before = EarlierRun { summary: earlier.summary.clone(), sums: earlier.sums.clone() };
    let ledger = Ledger::open(&earlier.store, experiment, plan, filter, Some(&before))?;
    ledger.close(Status::Complete, None)
}

async fn drive(
    job: &Job<'_>,
    platform: &mut impl Platform,
    pairs: &mut Vec<Pair>,
    ledger: &mut Ledger<'_>,
    observer: &dyn Observer,
) -> Result<(), Ending> {
    if job.experiment.trial().all_flows {
        let pairs = (job.experiment.pairs() * job.experiment.direction().ways()) as u64;
        job.store.has_room(pairs * job.plan.flow_bytes())?;
    }
    let numbers = Numbers::random()?;
    let mut interrupted = job.interrupted.clone();
    let agents = 2 * job.experiment.pairs();
    observer.phase(&format!("starting {agents} agents"));
    *pairs = tokio::select! {
        pairs = connect(job.experiment, platform, ledger, observer) => pairs?,
        Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(Ending::Interrupted),
    };
    if let Some(other) = ledger.other_programs(pairs).or_else(|| ledger.other_equipment(pairs)) {
        return Err(Ending::Failed(other));
    }
    ledger.connected(pairs)?;
    let agents: Vec<_> = pairs.iter().flat_map(|pair| [&pair.tx, &pair.rx]).collect();
    let asked = agents.iter().map(|agent| async { (agent.name(), agent.session.preflight().await) });
    for (agent, report) in stream::iter(asked).buffered(CONNECTING_AT_ONCE).collect::<Vec<_>>().await {
        match report {
            Ok(report) => ledger.preflight(agent, &report)?,
            // A report that is missing is no reason to end what works.
            Err(error) => tracing::warn!(agent, %error, "no preflight report"),
        }
    }

    for pair in &*pairs {
        for agent in [&pair.tx, &pair.rx] {
            let link_bps = agent.session.welcome().port.link_bps;
            job.plan.check(job.experiment, link_bps).map_err(|error| Ending::Failed(error.to_string()))?;
        }
    }
    observer.phase("warming up");
    ledger.traffic_begins();
    let left = job.plan.trials.iter().find(|trial| !ledger.is_recorded(trial)).or(job.plan.trials.first());
    let Some(first) = left else { return Ok(()) };
    let warming = pairs
        .iter_mut()
        .map(|pair| warm_up(pair, job.experiment, &first.profile, &numbers, &job.interrupted));
    let mut warm_ups = Vec::new();
    for warm in join_all(warming).await {
        warm_ups.extend(warm?);
    }
    ledger.warmed_up(warm_ups)?;

    let retries = job.experiment.trial().retries.get_u32();
    for (index, trial) in job.plan.trials.iter().enumerate() {
        if *interrupted.borrow() {
            return Err(Ending::Interrupted);
        }
        if ledger.is_recorded(trial) {
            continue;
        }
        let watched: Vec<_> = pairs
            .iter()
            .flat_map(|pair| ways(job.experiment.direction(), pair).into_iter().map(move |way| (way, pair)))
            .map(|(way, pair)| way.watched(pair, trial))
            .collect();
        observer.trial_began(index + 1, job.plan.trials.len(), trial, &watched);
        for attempt in 0..=retries {
            let repeatable = attempt < retries;
            let Round { lost, is_filed } =
                round::run(job, trial, pairs, numbers.next(), repeatable, ledger, observer).await?;
            let Some(first) = lost.first() else { break };
            // What is filed needs no repetition, only the pair for the trials that are left.
            if retries == 0 && !ledger.is_recorded(trial) {
                return Err(Ending::Failed(first.reason.clone()));
            }
            let left = &job.plan.trials[if is_filed { index + 1 } else { index }..];
            if left.iter().all(|trial| ledger.is_recorded(trial)) {
                for lost in &lost {
                    ledger
                        .recovered(format!("{} was lost after its last trial: {}", lost.pair, lost.reason))?;
                }
                break;
            }
            let rescue = Rescue { job, numbers: &numbers, left, observer };
            rescue.bring_back(lost, pairs, platform, ledger).await?;
            if is_filed {
                break;
            }
        }
    }
    Ok(())
}

async fn connect(
    experiment: &Experiment,
    platform: &mut impl Platform,
    ledger: &mut Ledger<'_>,
    observer: &dyn Observer,
) -> Result<Vec<Pair>, Ending> {
    let keep_alive = LONGEST_KEEP_ALIVE.min(experiment.trial().orphan.get() / SIGNS_OF_LIFE);
    let endpoints = platform.start(&|text| observer.phase(text)).await?;
    ledger.agents_run();
    let connecting = endpoints
        .into_iter()
        .enumerate()
        .map(|(number, pair)| Pair::connect(number, pair, keep_alive, &experiment.profiles));
    // All at once, hundreds of handshakes would outlast each one's time.
    stream::iter(connecting).buffered(CONNECTING_AT_ONCE).try_collect().await.map_err(Ending::from)
}
