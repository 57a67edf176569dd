//! One trial in all groups at the same time. The groups go through the phases in step. When one fails, the
//! trial fails for all, because the load then differs from the requested one.

use std::time::{Instant, SystemTime};

use futures_util::future::join_all;
use tempfile::NamedTempFile;
use tokio::sync::watch;

use super::flows::fetch;
use super::group::Group;
use super::node_watch::NodeWatch;
use super::observer::{GroupObserver, Observer};
use super::recorder::Recorder;
use super::start::Clocks;
use super::trial::steps::TrialPhase;
use super::trial::{Assignment, DrainTimes, GroupTrial, Stopped};
use super::{Ending, Job, Numbers};
use crate::platform::Platform;
use linerate_experiment::plan::Trial;
use linerate_experiment::topology::Path;
use linerate_results::figures::figures;
use linerate_results::nodes::{NodeSummary, WatchedNode};
use linerate_results::store::record::{Samples, TRIAL_SCHEMA, TrialRecord};
use linerate_results::store::{FLOWS_FILE, StoreError};
use linerate_results::summary::{Aggregate, StartSpread, TrialFailure, TrialSummary};

/// A group's part in the trial.
struct Lane<'g, 'a> {
    /// Its position among all groups.
    position: usize,
    group: &'g mut Group,
    /// The paths that the trial loads.
    paths: &'a [Path],
    course: GroupTrial<'a>,
    /// When its transmitters were started.
    started: Option<SystemTime>,
    /// When all packets were sent.
    sent: Option<Instant>,
    /// File of the flows of each path, when they were requested.
    flows: Vec<NamedTempFile>,
    stopped: Option<Stopped>,
    /// True for the first: its first path has what is of the whole node.
    is_first: bool,
}

/// A group that lost an agent.
#[derive(Debug)]
pub(super) struct Lost {
    /// Position of the group among all groups.
    pub(super) position: usize,
    /// Its name.
    pub(super) group: String,
    pub(super) reason: String,
}

/// Outcome of a trial in all groups.
#[derive(Debug)]
pub(super) struct Round {
    /// Groups that were lost, in the order of the groups.
    pub(super) lost: Vec<Lost>,
    /// True when results or failures of the trial are on disk; false when the trial must be repeated.
    pub(super) is_filed: bool,
}

/// Runs `trial` in all groups, stores its outcome, and releases the agents for the next trial. When a group
/// is lost and the trial is `repeatable`, nothing is stored. A group that is lost after its results were
/// stored keeps them.
#[expect(clippy::too_many_arguments, reason = "a round needs all of them")]
pub(super) async fn run(
    job: &Job<'_>,
    trial: &Trial,
    groups: &mut [Group],
    nodes: &mut NodeWatch,
    platform: &mut impl Platform,
    numbers: &Numbers,
    repeatable: bool,
    recorder: &mut Recorder<'_>,
    observer: &dyn Observer,
) -> Result<Round, Ending> {
    let began_s = recorder.elapsed_s();
    let loaded = |group: &Group| {
        group.paths().iter().filter(|path| trial.loads(&path.name)).cloned().collect::<Vec<_>>()
    };
    let paths: Vec<Vec<Path>> = groups.iter().map(loaded).collect();
    let (id, tag) = numbers.next(paths.iter().map(Vec::len).sum());
    let assignment = Assignment {
        id,
        tag,
        profile: trial.profile.clone(),
        limit: trial.limit,
        settings: job.experiment.trial().clone(),
        drain: DrainTimes::of(&job.experiment.trial().drain),
    };
    let halt = watch::Sender::new(false);
    let mut paths_before = 0;
    let mut lanes = Vec::with_capacity(groups.len());
    for (position, (group, paths)) in groups.iter_mut().zip(&paths).enumerate() {
        if paths.is_empty() {
            continue;
        }
        let watch = GroupObserver { observer, paths };
        let mut course =
            GroupTrial::new(&assignment, group, paths, watch, job.interrupted.clone(), halt.subscribe());
        course.paths_before = paths_before;
        paths_before += paths.len();
        course.has_interrupts = lanes.is_empty() && trial.host_setting.is_some();
        lanes.push(Lane {
            position,
            group,
            paths,
            course,
            started: None,
            sent: None,
            flows: Vec::new(),
            stopped: None,
            is_first: lanes.is_empty(),
        });
    }
    nodes.begin(id, job.experiment.trial().orphan.get()).await;
    in_step(&mut lanes, &halt, async |lane| {
        lane.course.frames_fit(lane.group)?;
        lane.course.advance(lane.group, TrialPhase::StartCounting).await
    })
    .await;
    let clocks = agree(&mut lanes, &halt).await;
    in_step(&mut lanes, &halt, async |lane| {
        lane.course.advance(lane.group, TrialPhase::Sending).await?;
        lane.started = Some(SystemTime::now());
        Ok(())
    })
    .await;
    observer.sending_began();
    in_step(&mut lanes, &halt, async |lane| {
        let Lane { group, paths, course, flows, sent, .. } = lane;
        course.advance(group, TrialPhase::ReportSenders).await?;
        *sent = Some(Instant::now());
        course.advance(group, TrialPhase::Done).await?;
        for path in paths.iter().filter(|_| assignment.settings.all_flows) {
            let traffic = group.traffic(path, &trial.profile).profile;
            let lines = group.flow_lines(path, &traffic, &course.seen);
            flows.push(fetch(&group.agents[path.to], lines, job.store.directory()).await?);
        }
        Ok(())
    })
    .await;
    if lanes.iter().any(|lane| lane.stopped.is_some()) {
        join_all(lanes.iter_mut().map(|lane| {
            lane.stopped.get_or_insert(Stopped::Elsewhere);
            lane.course.abandon(lane.group)
        }))
        .await;
    }
    let unwatching = Instant::now();
    let watched = nodes.end().await;
    let unwatching = unwatching.elapsed();
    let lost_in_trial = lost(&lanes);
    if repeatable && !lost_in_trial.is_empty() && !*job.interrupted.borrow() {
        // Returns the remaining agents to idle.
        acknowledge(&mut lanes).await;
        return Ok(Round { lost: lost(&lanes), is_filed: false });
    }
    if let Err(error) = platform.still_tuned() {
        for lane in &mut lanes {
            lane.stopped.get_or_insert(Stopped::Untuned(error.to_string()));
        }
    }
    let took_s = recorder.elapsed_s() - began_s;
    let (mut trials, mut failures) = (Vec::new(), Vec::new());
    let mut unfiled = None;
    for lane in &mut lanes {
        let mut flows = std::mem::take(&mut lane.flows).into_iter();
        for path in lane.paths {
            // What is of whole nodes stands with the first path that has a result.
            let watched = if trials.is_empty() { watched.as_slice() } else { &[] };
            match settle(lane, path, flows.next(), watched, trial, &assignment, recorder, took_s) {
                Ok(Ok(result)) => trials.push(result),
                Ok(Err(failure)) => failures.push(failure),
                // The results of the other paths are still stored.
                Err(error) => {
                    failures.push(failure(lane, path, trial, error.to_string()));
                    unfiled = unfiled.or(Some(error));
                }
            }
        }
    }
    // The end of the watch is no part of the way of the results.
    let last_packet = lanes.iter().filter_map(|lane| lane.sent).max().map(|at| at + unwatching);
    let aggregate = failures.is_empty().then(|| Aggregate::of(&trials, spread(&lanes, clocks.as_ref())));
    let logged = recorder.round(trial, &trials, &failures, aggregate.flatten(), last_packet);
    // Writing the log most likely fails as well; the first error is reported.
    unfiled.map_or(logged, Err)?;
    trials.iter().for_each(|result| observer.trial_ended(result));
    failures.iter().for_each(|failure| observer.trial_failed(failure));

    if let Some(stopped) = lanes.iter().find_map(|lane| lane.stopped.clone().filter(Stopped::ends_run)) {
        // The run ends, so a lost acknowledgement does not matter.
        acknowledge(&mut lanes).await;
        return Err(stopped.into());
    }
    // All reports are stored now, failed trials included.
    acknowledge(&mut lanes).await;
    Ok(Round { lost: lost(&lanes), is_filed: true })
}

/// Acknowledges the reports, so that the agents drop them. A lane with an agent that does not reply is lost,
/// whatever the outcome of its trial.
async fn acknowledge(lanes: &mut [Lane<'_, '_>]) {
    join_all(lanes.iter_mut().map(|lane| async move {
        // A lost agent cannot reply.
        if let Err(stopped) = lane.course.acknowledge(lane.group).await
            && !lane.stopped.as_ref().is_some_and(Stopped::loses_agent)
        {
            tracing::warn!(pair = lane.group.name(), %stopped, "lost when its report was acknowledged");
            lane.stopped = Some(Stopped::Agent { cause: stopped.to_string(), refusal: false });
        }
    }))
    .await;
}

/// Agrees on a common start for all lanes, if there are several.
async fn agree(lanes: &mut [Lane<'_, '_>], halt: &watch::Sender<bool>) -> Option<Clocks> {
    if lanes.len() < 2 || *halt.borrow() {
        return None;
    }
    let senders: Vec<(usize, usize)> = senders(lanes).collect();
    let agents: Vec<_> = senders.iter().map(|(lane, agent)| &lanes[*lane].group.agents[*agent]).collect();
    match Clocks::compare(&agents).await {
        Ok(clocks) => {
            for ((lane, agent), begin_ns) in senders.into_iter().zip(clocks.soon()) {
                lanes[lane].course.begins_ns[agent] = Some(begin_ns);
            }
            Some(clocks)
        }
        Err((index, stopped)) => {
            if let Some((lane, _)) = senders.get(index) {
                lanes[*lane].stopped = Some(stopped);
            }
            halt.send_replace(true);
            None
        }
    }
}

/// The agents that send, by lane and position in it.
fn senders(lanes: &[Lane<'_, '_>]) -> impl Iterator<Item = (usize, usize)> {
    let of = |(index, lane): (usize, &Lane<'_, '_>)| {
        lane.course.senders().map(move |agent| (index, agent)).collect::<Vec<_>>()
    };
    lanes.iter().enumerate().flat_map(of)
}

/// Measured spread of the lanes' starts.
fn spread(lanes: &[Lane<'_, '_>], clocks: Option<&Clocks>) -> Option<StartSpread> {
    let started = senders(lanes)
        .map(|(lane, agent)| lanes[lane].course.seen[agent].report.as_ref().map(|report| report.started_ns));
    clocks?.spread(&started.collect::<Option<Vec<_>>>()?)
}

fn lost(lanes: &[Lane<'_, '_>]) -> Vec<Lost> {
    let of = |lane: &Lane<'_, '_>| {
        let stopped = lane.stopped.as_ref().filter(|stopped| stopped.loses_agent())?;
        Some(Lost {
            position: lane.position,
            group: lane.group.name().to_owned(),
            reason: stopped.to_string(),
        })
    };
    lanes.iter().filter_map(of).collect()
}

/// Advances every group that has not failed by one phase; stops all when one fails.
async fn in_step(
    lanes: &mut [Lane<'_, '_>],
    halt: &watch::Sender<bool>,
    step: impl AsyncFn(&mut Lane<'_, '_>) -> Result<(), Stopped>,
) {
    if *halt.borrow() {
        return;
    }
    let step = &step;
    join_all(lanes.iter_mut().map(|lane| async move {
        if let Err(stopped) = step(lane).await {
            lane.stopped = Some(stopped);
            halt.send_replace(true);
        }
    }))
    .await;
}

/// Stores the outcome of one path of a group: a result, or a failure with the known figures. `watched` stands with a result,
/// and with a failure of the first path, which may be all there is.
#[expect(clippy::too_many_arguments, reason = "a result needs all of them")]
fn settle(
    lane: &Lane<'_, '_>,
    path: &Path,
    flows: Option<NamedTempFile>,
    watched: &[WatchedNode],
    trial: &Trial,
    assignment: &Assignment,
    recorder: &mut Recorder<'_>,
    took_s: f64,
) -> Result<Result<TrialSummary, TrialFailure>, StoreError> {
    let (group, seen) = (&*lane.group, &lane.course.seen);
    let place = trial.directory();
    let traffic = group.traffic(path, &trial.profile);
    let (from, to, far) = (&seen[path.from], &seen[path.to], &seen[path.far()]);
    let clock = group.clock(path);
    let result = match (&lane.stopped, &from.report, &to.report) {
        (None, Some(tx), Some(rx)) => {
            let direction = assignment.settings.direction;
            let subject = group.subject(path, trial, &traffic.profile, &clock, direction, seen);
            figures(subject, tx, rx).map_err(Stopped::from)
        }
        (stopped, ..) => Err(stopped.clone().unwrap_or(Stopped::Elsewhere)),
    };
    let (time_axis, samples) = Samples::on_one_axis(from, far, &group.clocks(path.from, path.far()));
    let mut record = TrialRecord {
        schema: TRIAL_SCHEMA.to_owned(),
        profile: trial.name.clone(),
        pair: path.name.clone(),
        repeat: trial.repeat,
        tag: lane.course.tag_of(|of| of.name == path.name),
        reason: None,
        result: None,
        started_at: lane.started.map(|at| humantime::format_rfc3339_millis(at).to_string()),
        time_axis,
        tx: from.report.clone(),
        rx: far.report.clone(),
        loss: None,
        nodes: watched.to_vec(),
        samples,
    };
    let has_node = lane.is_first && lane.paths.first().is_some_and(|first| first.name == path.name);
    match result {
        Ok(mut result) => {
            result.notes.extend(traffic.notes);
            result.nodes = record.nodes.iter().map(NodeSummary::from).collect();
            if let Some(setting) = result.host_setting.as_mut().filter(|_| !has_node) {
                setting.leave_node();
            }
            result.environment_period = recorder.environment_period();
            result.overhead_s = took_s - result.duration_s;
            result.trial = format!("{}/{place}/trial.json", path.name);
            result.flows_file = flows.as_ref().map(|_| format!("{}/{place}/{FLOWS_FILE}", path.name));
            record.result = Some(result);
        }
        Err(stopped) => record.reason = Some(stopped.to_string()),
    }
    record.settle_loss(assignment.settings.direction);
    // An agent may report any number; the record must stay readable.
    if let Some(why) = record.without_unreadable() {
        record.result = None;
        record.reason.get_or_insert(why);
    }
    if record.result.is_none() && !has_node {
        record.nodes.clear();
    }
    match (&record.result, &record.reason) {
        (Some(result), _) => {
            recorder.file(&place, &record, flows)?;
            Ok(Ok(result.clone()))
        }
        (None, reason) => {
            let reason = reason.clone().unwrap_or_default();
            let filed =
                if from.any() || far.any() { Some(recorder.file(&place, &record, None)?) } else { None };
            Ok(Err(TrialFailure { trial: filed, ..failure(lane, path, trial, reason) }))
        }
    }
}

/// The failure of a path without a result and without a file.
fn failure(lane: &Lane<'_, '_>, path: &Path, trial: &Trial, reason: String) -> TrialFailure {
    let seen = &lane.course.seen;
    TrialFailure {
        profile: trial.name.clone(),
        pair: path.name.clone(),
        repeat: trial.repeat,
        reason,
        transmit: seen[path.from].last_transmit(),
        receive: seen[path.to].last_receive(),
        trial: None,
    }
}
