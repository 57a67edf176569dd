//! A run of trials of streams, from plan to results.

mod result;
mod samples;
mod trial;
pub(super) mod work;

use linerate_experiment::Experiment;
use linerate_experiment::streams::{Connection, StreamsPlan, StreamsTrial};
use linerate_results::engines::EngineFigures;
use linerate_results::store::{Earlier, StoreError};
use linerate_results::streams::{StreamsTrialContext, StreamsTrialSummary};
use linerate_results::summary::Summary;
use linerate_traffic::profile::IpVersion;

use self::trial::{Context, Ran};
use self::work::Route;
use super::fleet::{Attempt, close};
use super::host_settings::put_in_force;
use super::node_watch::NodeWatch;
use super::observer::Observer;
use super::part::{KernelAgent, NotRun, acknowledge};
use super::planned::{PlannedJob, lost, not_run, of_trial, readable, refused};
use super::recorder::Recorder;
use super::{EarlierRun, Ending, Numbers};
use crate::platform::Platform;

/// Directory of the trials.
pub(super) const DIRECTORY: &str = "streams";

/// What to run, and on what.
pub type StreamsJob<'a> = PlannedJob<'a, StreamsPlan>;

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
    close(ending, platform, &agents, recorder, observer, job.plan.trials.len()).await
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

pub(super) async fn drive(
    job: &StreamsJob<'_>,
    platform: &mut impl Platform,
    agents: &mut Vec<KernelAgent>,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<(), Ending> {
    let experiment = job.experiment;
    let topology = experiment.streams_topology();
    let numbers = Numbers::random()?;
    let mut watch = job.start_agents(topology.agents().len(), platform, agents, recorder, observer).await?;
    let nodes: Vec<String> = agents.iter().map(|agent| agent.node().to_owned()).collect();
    let connections = topology.connections(&nodes);
    if connections.is_empty() {
        return Err(Ending::Failed("no two agents have a connection; change spec.topology.rules".to_owned()));
    }
    recorder.set_connections(connections.len());
    recorder.traffic_begins();
    recorder.trials_begin();
    let left: Vec<&StreamsTrial> =
        job.plan.trials.iter().filter(|trial| !recorder.has_result(trial)).collect();
    let mut trials = left.into_iter().peekable();
    while let Some(trial) = trials.next() {
        if *job.interrupted.borrow() {
            return Err(Ending::Interrupted);
        }
        let setting = trial.host_setting.as_ref();
        if let Err(reason) = put_in_force(setting, platform, recorder, observer, &job.interrupted).await? {
            not_run(NotRun::Refused(reason), trial, DIRECTORY, false, recorder, observer)?;
            continue;
        }
        let mut left = experiment.trial().retries.get_u32();
        loop {
            let (number, repeatable) = (numbers.next(1), left > 0);
            let lost = run_trial(
                job,
                trial,
                agents,
                &connections,
                &mut watch,
                platform,
                number,
                recorder,
                observer,
                repeatable,
            )
            .await?;
            let is_last = lost.is_filed && trials.peek().is_none();
            if !lost.agents.is_empty() && !is_last {
                let recovery = job.recovery(observer);
                let given_up = recovery.bring_back(lost.agents, agents, platform, recorder).await?;
                // Every trial needs every agent.
                if let Some((_, reason)) = given_up.into_iter().next() {
                    return Err(Ending::Failed(reason));
                }
            }
            if lost.is_filed {
                break;
            }
            left -= 1;
        }
    }
    Ok(())
}

/// Runs a trial and stores what it gave. A trial that was not begun because an agent was lost is not stored when it is
/// `repeatable`.
#[expect(clippy::too_many_arguments, reason = "a trial needs all of them")]
async fn run_trial(
    job: &StreamsJob<'_>,
    trial: &StreamsTrial,
    agents: &[KernelAgent],
    connections: &[Connection],
    watch: &mut NodeWatch,
    platform: &mut impl Platform,
    (id, tag): (u32, u16),
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
    repeatable: bool,
) -> Result<Attempt, Ending> {
    let began_s = recorder.elapsed_s();
    let of = recorder.trials_with(trial.number as usize);
    observer.streams_trial_began(trial, of, connections);
    let version = job.experiment.part.map(|part| part.version);
    let routes = routes(agents, connections, version).map_err(Ending::Failed)?;
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
    watch.begin(id, settings.orphan.get()).await;
    let ran = trial::run(&context, agents).await;
    let watched = watch.end().await;
    let mut ran = match ran {
        Ok(ran) => ran,
        Err(why) => return not_run(why, trial, DIRECTORY, repeatable, recorder, observer),
    };
    if let Err(error) = platform.still_tuned() {
        let reason = error.to_string();
        return refused(reason, trial, id, DIRECTORY, agents, &ran.parts, recorder, observer).await;
    }
    let interval_s = settings.sample_interval.get().as_secs_f64();
    let (mut record, start) = result::record(trial, interval_s, agents, connections, &mut ran);
    record.nodes = watched;
    let Ran { parts, samples, .. } = ran;
    let directory = format!("{DIRECTORY}/{}", trial.directory());
    let frames = trial.profile.frames.as_ref();
    let engine = frames.map(|frames| EngineFigures::of_datagrams(frames, &record));
    let context = StreamsTrialContext {
        rate: trial.profile.rate.to_string(),
        environment_period: recorder.environment_period(),
        engine,
        host_setting: of_trial(trial.host_setting.as_ref(), &record.agents),
        start,
        overhead_s: 0.0,
        trial: format!("{directory}/trial.json"),
        samples_file: format!("{directory}/{}", linerate_results::planned::SAMPLES_FILE),
    };
    let mut result = StreamsTrialSummary::of(&record, context);
    result.overhead_s = recorder.elapsed_s() - began_s - result.duration_s;
    if let Err(reason) = readable(&record.connections).and_then(|()| readable(&result)) {
        return refused(reason, trial, id, DIRECTORY, agents, &parts, recorder, observer).await;
    }
    record.result = Some(result.clone());
    recorder.planned_trial(trial, &directory, &record, result.clone(), samples)?;
    observer.streams_trial_ended(&result);
    let mut lost = lost(&parts);
    lost.extend(acknowledge(id, agents, &parts).await);
    if *job.interrupted.borrow() {
        return Err(Ending::Interrupted);
    }
    Ok(Attempt { agents: lost, is_filed: true })
}

fn routes(
    agents: &[KernelAgent],
    connections: &[Connection],
    version: Option<IpVersion>,
) -> Result<Vec<Route>, String> {
    let of = |connection: &Connection| {
        let (from, to) = (&agents[connection.from], &agents[connection.to]);
        let names = (from.name(), to.name());
        Route::find(connection, names, from.streams_engine(), to.streams_engine(), version, to.address())
    };
    connections.iter().map(of).collect()
}
