//! A run of trials of HTTP, from plan to results.

mod gate;
mod result;
mod samples;
mod trial;

use linerate_experiment::Experiment;
use linerate_experiment::http::{HttpPlan, HttpTrial};
use linerate_results::http::{HttpTrialContext, HttpTrialSummary};
use linerate_results::planned::SAMPLES_FILE;
use linerate_results::store::{Earlier, Store, StoreError};
use linerate_results::summary::{Summary, TrialFailure};
use tokio::sync::watch;

use self::trial::{Context, Ran};
use super::fleet::{Attempt, close, connect, recover};
use super::observer::Observer;
use super::part::{KernelAgent, NotRun, Part, acknowledge};
use super::recorder::Recorder;
use super::{EarlierRun, Ending, LONGEST_KEEP_ALIVE, Numbers, SIGNS_OF_LIFE};
use crate::platform::Platform;
use crate::platform::balancer::Balancers;

/// Directory of the trials.
const DIRECTORY: &str = "http";

/// What to run, and on what.
#[derive(Debug)]
pub struct HttpJob<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its trials.
    pub plan: &'a HttpPlan,
    /// The filter that selected them.
    pub filter: Option<&'a str>,
    /// Records of an earlier run of the experiment, when it is resumed.
    pub earlier: Option<&'a EarlierRun>,
    /// Directory for the results.
    pub store: &'a Store,
    /// Becomes true when the user interrupts the run.
    pub interrupted: watch::Receiver<bool>,
}

/// Runs a job and ends every agent. The platform has each agent in a group of its own: clients, then backends. The
/// summary records the outcome, failures of trials and lost agents included.
///
/// # Errors
/// When results cannot be stored.
pub async fn run_http(
    job: HttpJob<'_>,
    platform: &mut (impl Platform + Balancers),
    observer: &dyn Observer,
) -> Result<Summary, StoreError> {
    let trials = &job.plan.trials;
    let mut recorder = Recorder::open_planned::<HttpTrialSummary, _>(
        job.store,
        job.experiment,
        trials,
        job.filter,
        job.earlier,
    )?;
    recorder.start_up_begins();
    let mut agents = Vec::new();
    let ending = drive(&job, platform, &mut agents, &mut recorder, observer).await;
    close(ending, platform, &agents, recorder, observer, trials.len()).await
}

/// Closes a run that was killed after its last trial; no trial is left to run.
///
/// # Errors
/// When the summary cannot be stored.
pub fn end_http(
    experiment: &Experiment,
    plan: &HttpPlan,
    filter: Option<&str>,
    earlier: &Earlier,
) -> Result<Summary, StoreError> {
    let before = EarlierRun { summary: earlier.summary.clone(), sums: earlier.sums.clone() };
    let (store, trials) = (&earlier.store, &plan.trials);
    let recorder =
        Recorder::open_planned::<HttpTrialSummary, _>(store, experiment, trials, filter, Some(&before))?;
    let (status, reason) = recorder.planned_status(trials.len());
    recorder.close(status, reason)
}

async fn drive(
    job: &HttpJob<'_>,
    platform: &mut (impl Platform + Balancers),
    agents: &mut Vec<KernelAgent>,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<(), Ending> {
    let experiment = job.experiment;
    let keep_alive = LONGEST_KEEP_ALIVE.min(experiment.trial().orphan.get() / SIGNS_OF_LIFE);
    let numbers = Numbers::random()?;
    let mut interrupted = job.interrupted.clone();
    observer.phase(&format!("starting {} agents", experiment.http_agents().len()));
    *agents = tokio::select! {
        agents = connect(platform, keep_alive, recorder, observer) => agents?,
        Ok(_) = interrupted.wait_for(|flag| *flag) => return Err(Ending::Interrupted),
    };
    if let Some(other) = recorder.other_kernel_equipment(agents) {
        return Err(Ending::Failed(other));
    }
    recorder.kernel_connected(agents)?;
    recorder.set_connections(experiment.http_clients() as usize);
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
            let attempt =
                run_trial(job, trial, agents, platform, &numbers, recorder, observer, left > 0).await?;
            if !attempt.agents.is_empty() {
                recover(platform, agents, attempt.agents, keep_alive, recorder, observer).await?;
            }
            if attempt.is_filed {
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
    job: &HttpJob<'_>,
    trial: &HttpTrial,
    agents: &[KernelAgent],
    platform: &mut (impl Platform + Balancers),
    numbers: &Numbers,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
    repeatable: bool,
) -> Result<Attempt, Ending> {
    let began_s = recorder.elapsed_s();
    let of = job.plan.trials.len();
    observer.http_trial_began(trial, of);
    let clients = trial.profile.clients as usize;
    let taking_part = &agents[..clients + trial.profile.backends as usize];
    let context = Context {
        trial,
        gate_id: numbers.next().0,
        id: numbers.next().0,
        of,
        settings: job.experiment.trial(),
        directory: job.store.directory(),
        observer,
        interrupted: job.interrupted.clone(),
    };
    let ran = match trial::run(&context, taking_part, platform).await {
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
    let interval_s = context.settings.sample_interval.get().as_secs_f64();
    let (mut record, start) = result::record(trial, interval_s, taking_part, &ran);
    let Ran { parts, samples, .. } = ran;
    let directory = format!("{DIRECTORY}/{}", trial.directory());
    let mut result = HttpTrialSummary::of(
        &record,
        HttpTrialContext {
            environment_period: recorder.environment_period(),
            start,
            overhead_s: 0.0,
            trial: format!("{directory}/trial.json"),
            samples_file: format!("{directory}/{SAMPLES_FILE}"),
        },
    );
    result.overhead_s = recorder.elapsed_s() - began_s - result.duration_s;
    record.result = Some(result.clone());
    recorder.planned_trial(trial, &directory, &record, result.clone(), samples)?;
    observer.http_trial_ended(&result);
    let mut lost: Vec<(usize, String)> = parts
        .iter()
        .enumerate()
        .filter_map(|(place, part)| match part {
            Part::Lost(reason) => Some((place, reason.clone())),
            Part::Reported(_) | Part::Failed(_) => None,
        })
        .collect();
    lost.extend(acknowledge(context.id, taking_part, &parts).await);
    if *job.interrupted.borrow() {
        return Err(Ending::Interrupted);
    }
    Ok(Attempt { agents: lost, is_filed: true })
}
