//! A run of trials of HTTP, from plan to results.

mod authorities;
mod course;
mod gate;
mod result;
mod samples;
mod trial;

use linerate_experiment::Experiment;
use linerate_experiment::http::{HttpPlan, HttpTrial};
use linerate_results::http::{HttpTrialContext, HttpTrialSummary};
use linerate_results::planned::SAMPLES_FILE;
use linerate_results::store::{Earlier, StoreError};
use linerate_results::summary::Summary;

pub use self::course::planned_number;
use self::course::{TrialCourse, known_trials};
use self::trial::{Context, Ran};
use super::fleet::{Attempt, close};
use super::host_settings::put_in_force;
use super::node_watch::NodeWatch;
use super::observer::Observer;
use super::part::{KernelAgent, NotRun, acknowledge};
use super::planned::{PlannedJob, lost, not_run, of_trial, readable, refused};
use super::recorder::Recorder;
use super::{EarlierRun, Ending, Numbers};
use crate::platform::Platform;
use crate::platform::balancer::Balancers;

/// Directory of the trials.
const DIRECTORY: &str = "http";

/// What to run, and on what.
pub type HttpJob<'a> = PlannedJob<'a, HttpPlan>;

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
    let known = known_trials(job.plan, job.earlier.map(|earlier| &earlier.summary));
    let mut recorder = Recorder::open_planned::<HttpTrialSummary, _>(
        job.store,
        job.experiment,
        &known,
        job.filter,
        job.earlier,
    )?;
    recorder.search_http(job.plan.searches.as_ref().map(|searches| (&searches.section).into()));
    recorder.start_up_begins();
    let mut agents = Vec::new();
    let mut course = TrialCourse::new(job.plan, job.earlier.map(|earlier| &earlier.summary));
    let ending = drive(&job, &mut course, platform, &mut agents, &mut recorder, observer).await;
    close(ending, platform, &agents, recorder, observer, course.number()).await
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
    let trials = known_trials(plan, Some(&before.summary));
    let mut recorder = Recorder::open_planned::<HttpTrialSummary, _>(
        &earlier.store,
        experiment,
        &trials,
        filter,
        Some(&before),
    )?;
    recorder.search_http(plan.searches.as_ref().map(|searches| (&searches.section).into()));
    let (status, reason) = recorder.planned_status(trials.len());
    recorder.close(status, reason)
}

async fn drive(
    job: &HttpJob<'_>,
    course: &mut TrialCourse<'_>,
    platform: &mut (impl Platform + Balancers),
    agents: &mut Vec<KernelAgent>,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<(), Ending> {
    let experiment = job.experiment;
    let numbers = Numbers::random()?;
    // Before anything is set up; each trial reads it again.
    for path in experiment.http.iter().filter_map(|profile| profile.ca.as_deref()) {
        authorities::read(path).map_err(Ending::Failed)?;
    }
    let mut watch =
        job.start_agents(experiment.http_agents().len(), platform, agents, recorder, observer).await?;
    recorder.set_connections(experiment.http_clients() as usize);
    recorder.traffic_begins();
    recorder.trials_begin();
    // Trials with fewer backends do without the last ones.
    let mut given_up: Vec<(usize, String)> = Vec::new();
    while let Some(trial) = course.next() {
        if *job.interrupted.borrow() {
            return Err(Ending::Interrupted);
        }
        recorder.plan_has(course.number());
        let setting = trial.host_setting.as_ref();
        if let Err(reason) = put_in_force(setting, platform, recorder, observer, &job.interrupted).await? {
            not_run(NotRun::Refused(reason), &trial, DIRECTORY, false, recorder, observer)?;
            course.end(&trial, None);
            continue;
        }
        let mut left = experiment.trial().retries.get_u32();
        loop {
            let needed = 0..(trial.profile.clients + trial.profile.backends) as usize;
            if let Some((_, reason)) = given_up.iter().find(|(place, _)| needed.contains(place)) {
                not_run(NotRun::Refused(reason.clone()), &trial, DIRECTORY, false, recorder, observer)?;
                course.end(&trial, None);
                break;
            }
            let (attempt, result) = run_trial(
                job,
                (&trial, course.number()),
                agents,
                &mut watch,
                platform,
                &numbers,
                recorder,
                observer,
                left > 0,
            )
            .await?;
            if attempt.is_filed {
                course.end(&trial, result);
            }
            if !attempt.agents.is_empty() && course.next().is_some() {
                let recovery = job.recovery(observer);
                given_up.extend(recovery.bring_back(attempt.agents, agents, platform, recorder).await?);
            }
            if attempt.is_filed {
                break;
            }
            left -= 1;
        }
    }
    Ok(())
}

/// Runs a trial, the number of `of` so far, and stores what it gave. A trial that was not begun because an agent was lost is not stored when it is
/// `repeatable`.
#[expect(clippy::too_many_arguments, reason = "a trial needs all of them")]
async fn run_trial(
    job: &HttpJob<'_>,
    (trial, of): (&HttpTrial, usize),
    agents: &[KernelAgent],
    watch: &mut NodeWatch,
    platform: &mut (impl Platform + Balancers),
    numbers: &Numbers,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
    repeatable: bool,
) -> Result<(Attempt, Option<HttpTrialSummary>), Ending> {
    let began_s = recorder.elapsed_s();
    observer.http_trial_began(trial, of);
    let clients = trial.profile.clients as usize;
    let taking_part = &agents[..clients + trial.profile.backends as usize];
    let context = Context {
        trial,
        gate_id: numbers.next(0).0,
        id: numbers.next(0).0,
        of,
        settings: job.experiment.trial(),
        directory: job.store.directory(),
        observer,
        interrupted: job.interrupted.clone(),
    };
    let ran = match trial::open(&context, taking_part, platform).await {
        Ok(open) => {
            // Neither set-up nor gate, which take a time of their own for each target, is a part of what is seen.
            watch.begin(context.id, context.settings.orphan.get()).await;
            let ran = trial::run(&context, taking_part, platform, open).await;
            let watched = watch.end().await;
            ran.map(|ran| (ran, watched))
        }
        Err(why) => Err(why),
    };
    let (ran, watched) = match ran {
        Ok(ran) => ran,
        Err(why) => {
            let attempt = not_run(why, trial, DIRECTORY, repeatable, recorder, observer)?;
            return Ok((attempt, None));
        }
    };
    let id = context.id;
    if let Err(error) = platform.still_tuned() {
        let reason = error.to_string();
        let ended = refused(reason, trial, id, DIRECTORY, taking_part, &ran.parts, recorder, observer);
        return Ok((ended.await?, None));
    }
    let interval_s = context.settings.sample_interval.get().as_secs_f64();
    let (mut record, start) = result::record(trial, interval_s, taking_part, &ran);
    record.nodes = watched;
    let Ran { parts, samples, .. } = ran;
    let directory = format!("{DIRECTORY}/{}", trial.directory());
    let mut result = HttpTrialSummary::of(
        &record,
        HttpTrialContext {
            environment_period: recorder.environment_period(),
            host_setting: of_trial(trial.host_setting.as_ref(), &record.agents),
            start,
            overhead_s: 0.0,
            trial: format!("{directory}/trial.json"),
            samples_file: format!("{directory}/{SAMPLES_FILE}"),
        },
    );
    result.overhead_s = recorder.elapsed_s() - began_s - result.duration_s;
    if let Err(reason) = readable(&result) {
        let ended = refused(reason, trial, id, DIRECTORY, taking_part, &parts, recorder, observer);
        return Ok((ended.await?, None));
    }
    record.result = Some(result.clone());
    recorder.planned_trial(trial, &directory, &record, result.clone(), samples)?;
    observer.http_trial_ended(&result);
    let mut lost = lost(&parts);
    lost.extend(acknowledge(id, taking_part, &parts).await);
    if *job.interrupted.borrow() {
        return Err(Ending::Interrupted);
    }
    Ok((Attempt { agents: lost, is_filed: true }, Some(result)))
}
