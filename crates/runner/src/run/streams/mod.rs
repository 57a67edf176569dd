//! A run of trials of streams, from plan to results.

mod result;
mod samples;
mod trial;
mod work;

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use linerate_experiment::Experiment;
use linerate_experiment::streams::{Connection, StreamsPlan, StreamsTrial};
use linerate_results::store::{Earlier, Store, StoreError};
use linerate_results::streams::{StreamsTrialContext, StreamsTrialSummary};
use linerate_results::summary::{Status, Summary, TrialFailure};
use tokio::sync::watch;

use self::trial::{Context, Ran};
use self::work::Route;
use super::observer::Observer;
use super::part::{KernelAgent, NotRun, Part, acknowledge};
use super::recorder::Recorder;
use super::{CONNECTING_AT_ONCE, EarlierRun, Ending, LONGEST_KEEP_ALIVE, Numbers, SIGNS_OF_LIFE};
use crate::platform::Platform;

/// Time for a lost agent to accept a connection again before it is started anew.
const RECONNECT_TIME: Duration = Duration::from_secs(2);
/// Directory of the trials.
const DIRECTORY: &str = "streams";

/// What to run, and on what.
#[derive(Debug)]
pub struct StreamsJob<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its trials.
    pub plan: &'a StreamsPlan,
    /// The filter that selected them.
    pub filter: Option<&'a str>,
    /// Records of an earlier run of the experiment, when it is resumed.
    pub earlier: Option<&'a EarlierRun>,
    /// Directory for the results.
    pub store: &'a Store,
    /// Becomes true when the user interrupts the run.
    pub interrupted: watch::Receiver<bool>,
}

/// Runs a job and ends every agent. The platform has each agent in a group of its own. The summary records the outcome,
/// failures of trials and lost agents included.
///
/// # Errors
/// When results cannot be stored.
pub async fn run_streams(
    job: StreamsJob<'_>,
    platform: &mut impl Platform,
    observer: &dyn Observer,
) -> Result<Summary, StoreError> {
    let mut recorder = Recorder::open_planned::<StreamsTrialSummary, _>(
        job.store,
        job.experiment,
        &job.plan.trials,
        job.filter,
        job.earlier,
    )?;
    recorder.start_up_begins();
    let mut agents = Vec::new();
    let ending = drive(&job, platform, &mut agents, &mut recorder, observer).await;
    observer.phase("ending the agents");
    recorder.tear_down_begins();
    if !platform.keeps() {
        join_all(agents.iter().map(|agent| agent.session.shut_down())).await;
    }
    platform.stop(!agents.is_empty()).await;
    observer.end();
    let (status, reason) = match ending {
        Ok(()) => recorder.planned_status(job.plan.trials.len()),
        Err(Ending::Interrupted) => (Status::Interrupted, Some("interrupted by a signal".to_owned())),
        Err(ending @ (Ending::Failed(_) | Ending::Refused(_))) => (Status::Failed, Some(ending.to_string())),
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
pub fn end_streams(
    experiment: &Experiment,
    plan: &StreamsPlan,
    filter: Option<&str>,
    earlier: &Earlier,
) -> Result<Summary, StoreError> {
    let before = EarlierRun { summary: earlier.summary.clone(), sums: earlier.sums.clone() };
    let recorder = Recorder::open_planned::<StreamsTrialSummary, _>(
        &earlier.store,
        experiment,
        &plan.trials,
        filter,
        Some(&before),
    )?;
    let (status, reason) = recorder.planned_status(plan.trials.len());
    recorder.close(status, reason)
}

async fn drive(
    job: &StreamsJob<'_>,
    platform: &mut impl Platform,
    agents: &mut Vec<KernelAgent>,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<(), Ending> {
    let experiment = job.experiment;
    let keep_alive = LONGEST_KEEP_ALIVE.min(experiment.trial().orphan.get() / SIGNS_OF_LIFE);
    let topology = experiment.streams_topology();
    let numbers = Numbers::random()?;
    let mut interrupted = job.interrupted.clone();
    observer.phase(&format!("starting {} agents", topology.agents().len()));
    *agents = tokio::select! {
        agents = connect(platform, keep_alive, recorder, observer) => agents?,
        Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(Ending::Interrupted),
    };
    if let Some(other) = recorder.other_kernel_equipment(agents) {
        return Err(Ending::Failed(other));
    }
    recorder.kernel_connected(agents)?;
    let nodes: Vec<String> = agents.iter().map(|agent| agent.node().to_owned()).collect();
    let connections = topology.connections(&nodes);
    if connections.is_empty() {
        return Err(Ending::Failed("no two agents have a connection; change spec.topology.rules".to_owned()));
    }
    recorder.set_connections(connections.len());
    recorder.traffic_begins();
    recorder.trials_begin();
    for trial in &job.plan.trials {
        if recorder.has_result(trial) {
            continue;
        }
        if *interrupted.borrow() {
            return Err(Ending::Interrupted);
        }
        let mut left = experiment.trial().retries.get_u32();
        loop {
            let lost =
                run_trial(job, trial, agents, &connections, numbers.next(), recorder, observer, left > 0)
                    .await?;
            if !lost.agents.is_empty() {
                recover(platform, agents, lost.agents, keep_alive, recorder, observer).await?;
            }
            if lost.is_filed {
                break;
            }
            left -= 1;
        }
    }
    Ok(())
}

async fn connect(
    platform: &mut impl Platform,
    keep_alive: Duration,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<Vec<KernelAgent>, Ending> {
    let endpoints = platform.start(&|text| observer.phase(text)).await?;
    recorder.agents_run();
    let connecting =
        endpoints.into_iter().flatten().map(|endpoint| KernelAgent::connect(endpoint, keep_alive));
    // Hundreds of handshakes at once would exceed their time limits.
    stream::iter(connecting).buffered(CONNECTING_AT_ONCE).try_collect().await.map_err(Ending::from)
}

/// What became of an attempt at a trial.
struct Attempt {
    /// Agents that were lost, by their place, with the reasons.
    agents: Vec<(usize, String)>,
    /// True when its result or failure is on disk.
    is_filed: bool,
}

/// Runs a trial and stores what it gave. A trial that was not begun because an agent was lost is not stored when it is
/// `repeatable`.
#[expect(clippy::too_many_arguments, reason = "a trial needs all of them")]
async fn run_trial(
    job: &StreamsJob<'_>,
    trial: &StreamsTrial,
    agents: &[KernelAgent],
    connections: &[Connection],
    (id, tag): (u32, u16),
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
    repeatable: bool,
) -> Result<Attempt, Ending> {
    let began_s = recorder.elapsed_s();
    let of = job.plan.trials.len();
    observer.streams_trial_began(trial, of, connections);
    let routes = routes(agents, connections).map_err(Ending::Failed)?;
    let settings = job.experiment.trial();
    let context = Context {
        trial,
        id,
        tag,
        of,
        settings,
        connections,
        routes: &routes,
        directory: job.store.directory(),
        observer,
        interrupted: job.interrupted.clone(),
    };
    let mut ran = match trial::run(&context, agents).await {
        Ok(ran) => ran,
        Err(NotRun::Interrupted) => return Err(Ending::Interrupted),
        Err(NotRun::Store(error)) => return Err(error.into()),
        Err(NotRun::Lost(agents)) if repeatable => return Ok(Attempt { agents, is_filed: false }),
        Err(not_run) => {
            let (agents, reason) = not_run.into_reason();
            let failure = TrialFailure {
                profile: trial.profile.name.clone(),
                pair: DIRECTORY.to_owned(),
                repeat: trial.repeat,
                reason,
                transmit: None,
                receive: None,
                trial: None,
            };
            recorder.planned_failed(trial, &failure)?;
            observer.trial_failed(&failure);
            return Ok(Attempt { agents, is_filed: true });
        }
    };
    let interval_s = settings.sample_interval.get().as_secs_f64();
    let (mut record, start) = result::record(trial, interval_s, agents, connections, &mut ran);
    let Ran { parts, samples, .. } = ran;
    let directory = format!("{DIRECTORY}/{}", trial.directory());
    let context = StreamsTrialContext {
        rate: trial.profile.rate.to_string(),
        environment_period: recorder.environment_period(),
        start,
        overhead_s: 0.0,
        trial: format!("{directory}/trial.json"),
        samples_file: format!("{directory}/{}", linerate_results::planned::SAMPLES_FILE),
    };
    let mut result = StreamsTrialSummary::of(&record, context);
    result.overhead_s = recorder.elapsed_s() - began_s - result.duration_s;
    record.result = Some(result.clone());
    recorder.planned_trial(trial, &directory, &record, result.clone(), samples)?;
    observer.streams_trial_ended(&result);
    let mut lost: Vec<(usize, String)> = parts
        .iter()
        .enumerate()
        .filter_map(|(place, part)| match part {
            Part::Lost(reason) => Some((place, reason.clone())),
            Part::Reported(_) | Part::Failed(_) => None,
        })
        .collect();
    lost.extend(acknowledge(id, agents, &parts).await);
    if *job.interrupted.borrow() {
        return Err(Ending::Interrupted);
    }
    Ok(Attempt { agents: lost, is_filed: true })
}

fn routes(agents: &[KernelAgent], connections: &[Connection]) -> Result<Vec<Route>, String> {
    let of = |connection: &Connection| {
        let (from, to) = (&agents[connection.from], &agents[connection.to]);
        Route::find(connection, (from.name(), to.name()), from.streams_engine(), to.streams_engine())
    };
    connections.iter().map(of).collect()
}

/// Connects to lost agents again, or starts them anew.
async fn recover(
    platform: &mut impl Platform,
    agents: &mut [KernelAgent],
    lost: Vec<(usize, String)>,
    keep_alive: Duration,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<(), Ending> {
    recorder.recovery_begins();
    for (place, reason) in lost {
        let name = agents[place].name().to_owned();
        observer.phase(&format!("{name} was lost: {reason}; it is recovered"));
        let how = match agents[place].reconnect(keep_alive, RECONNECT_TIME).await {
            Ok(()) => "connected again",
            Err(_) => {
                let endpoints = platform.restart(place, &|text| observer.phase(text)).await?;
                let endpoint = endpoints.into_iter().next();
                let endpoint =
                    endpoint.ok_or_else(|| Ending::Failed(format!("{name} was not started anew")))?;
                agents[place] = KernelAgent::connect(endpoint, keep_alive).await?;
                "started anew"
            }
        };
        recorder.recovered(format!("{name} was {how}: {reason}"))?;
    }
    recorder.kernel_connected_again(agents)?;
    recorder.recovery_ended();
    Ok(())
}
