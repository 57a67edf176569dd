//! One trial on all pairs at the same time. They go in step; when one fails, the trial is over for all, for the load was
//! no longer what was asked.

use std::time::{Instant, SystemTime};

use futures_util::future::join_all;
use tempfile::NamedTempFile;
use tokio::sync::watch;

use super::agent::Pair;
use super::flows::fetch;
use super::ledger::Ledger;
use super::observer::{Observer, PairObserver};
use super::start::Clocks;
use super::trial::{Assignment, DrainTimes, Stopped};
use super::way::{Way, ways};
use super::{Ending, Job};
use linerate_experiment::plan::Trial;
use linerate_results::figures::figures;
use linerate_results::store::record::{Observations, TRIAL_SCHEMA, TrialRecord};
use linerate_results::store::{FLOWS_FILE, StoreError};
use linerate_results::summary::{Aggregate, StartSpread, TrialFailure, TrialSummary};

/// A pair's part in the trial.
struct Lane<'p> {
    pair: &'p mut Pair,
    ways: Vec<Way>,
    seen: Observations,
    /// When those that send are to begin, each on its own clock; empty: at once.
    begins_ns: Vec<u64>,
    /// When its transmitter was told to begin.
    started: Option<SystemTime>,
    /// When it had sent everything.
    sent: Option<Instant>,
    /// Every flow of each way, where they were asked for.
    flows: Vec<NamedTempFile>,
    stopped: Option<Stopped>,
}

/// A pair of which an agent is lost.
#[derive(Debug)]
pub(super) struct Lost {
    /// Where the pair is among all.
    pub(super) position: usize,
    /// Its name.
    pub(super) pair: String,
    /// Why.
    pub(super) reason: String,
}

/// What came of a trial on all pairs.
#[derive(Debug)]
pub(super) struct Round {
    /// Pairs that were lost, in the order of the pairs.
    pub(super) lost: Vec<Lost>,
    /// True when results or failures of the trial are on disk; false when it has to be repeated.
    pub(super) is_filed: bool,
}

/// Runs `trial` on all pairs, files what came of it, and lets the agents go on to the next. When a pair is lost and the trial is `repeatable`,
/// nothing is filed. A pair that is lost when the results are on disk keeps them.
pub(super) async fn run(
    job: &Job<'_>,
    trial: &Trial,
    pairs: &mut [Pair],
    (id, tag): (u32, u16),
    repeatable: bool,
    ledger: &mut Ledger<'_>,
    observer: &dyn Observer,
) -> Result<Round, Ending> {
    let began_s = ledger.elapsed_s();
    let assignment = Assignment {
        id,
        tag,
        profile: trial.profile.clone(),
        limit: job.experiment.limit(),
        settings: job.experiment.trial().clone(),
        drain: DrainTimes::of(&job.experiment.trial().drain),
    };
    let mut lanes = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let ways = ways(job.experiment.direction(), pair);
        lanes.push(Lane {
            pair,
            ways,
            seen: Observations::default(),
            begins_ns: Vec::new(),
            started: None,
            sent: None,
            flows: Vec::new(),
            stopped: None,
        });
    }
    let halt = watch::Sender::new(false);
    in_step(&mut lanes, &halt, async |lane| assignment.set_up(&lane.pair.tx, &lane.pair.rx).await).await;
    let clocks = agree(&assignment, &mut lanes, &halt).await;
    in_step(&mut lanes, &halt, async |lane| {
        assignment.start(&lane.pair.tx, &lane.pair.rx, &lane.begins_ns).await?;
        lane.started = Some(SystemTime::now());
        Ok(())
    })
    .await;
    observer.sending_began();
    in_step(&mut lanes, &halt, async |lane| {
        let Lane { pair, seen, ways, flows, sent: sent_at, .. } = lane;
        let watch = PairObserver { observer, ways };
        let (tx, rx) = (&mut pair.tx, &mut pair.rx);
        let sent = assignment.follow(tx, rx, seen, watch, job.interrupted.clone(), halt.subscribe()).await?;
        *sent_at = Some(Instant::now());
        assignment.wind_up(tx, rx, sent, seen, watch, job.interrupted.clone()).await?;
        for way in ways.iter().filter(|_| assignment.settings.all_flows) {
            let traffic = way.traffic(&trial.profile, pair).profile;
            let lines = way.flow_lines(&traffic, pair, seen);
            flows.push(fetch(pair.agent(way.to), lines, job.store.directory()).await?);
        }
        Ok(())
    })
    .await;
    if lanes.iter().any(|lane| lane.stopped.is_some()) {
        join_all(lanes.iter_mut().map(|lane| {
            lane.stopped.get_or_insert(Stopped::Elsewhere);
            let watch = PairObserver { observer, ways: &lane.ways };
            assignment.abandon(&mut lane.pair.tx, &mut lane.pair.rx, &mut lane.seen, watch)
        }))
        .await;
    }
    let lost_in_trial = lost(&lanes);
    if repeatable && !lost_in_trial.is_empty() && !*job.interrupted.borrow() {
        // The others go back to idle.
        acknowledge(&assignment, &mut lanes).await;
        return Ok(Round { lost: lost(&lanes), is_filed: false });
    }
    let took_s = ledger.elapsed_s() - began_s;
    let (mut trials, mut failures) = (Vec::new(), Vec::new());
    let mut unfiled = None;
    for lane in &mut lanes {
        let mut flows = std::mem::take(&mut lane.flows).into_iter();
        for way in &lane.ways {
            match settle(lane, way, flows.next(), trial, tag, ledger, took_s) {
                Ok(Ok(result)) => trials.push(result),
                Ok(Err(failure)) => failures.push(failure),
                // What the others have is filed all the same.
                Err(error) => unfiled = unfiled.or(Some(error)),
            }
        }
    }
    let last_packet = lanes.iter().filter_map(|lane| lane.sent).max();
    let aggregate =
        failures.is_empty().then(|| Aggregate::of(&trials, spread(&assignment, &lanes, clocks.as_ref())));
    ledger.round(trial, &trials, &failures, aggregate.flatten(), last_packet)?;
    if let Some(error) = unfiled {
        return Err(error.into());
    }
    trials.iter().for_each(|result| observer.trial_ended(result));
    failures.iter().for_each(|failure| observer.trial_failed(failure));

    if let Some(stopped) = lanes.iter().find_map(|lane| lane.stopped.clone().filter(Stopped::ends_run)) {
        // Whether the agents hear of it makes no difference any more.
        acknowledge(&assignment, &mut lanes).await;
        return Err(stopped.into());
    }
    // The reports are safe now, also those that make no result.
    acknowledge(&assignment, &mut lanes).await;
    Ok(Round { lost: lost(&lanes), is_filed: true })
}

/// Lets the agents forget their reports. A lane of which an agent does not answer is lost, whatever its trial came to.
async fn acknowledge(assignment: &Assignment, lanes: &mut [Lane<'_>]) {
    join_all(lanes.iter_mut().map(|lane| async move {
        // An agent that is lost already cannot answer.
        if let Err(stopped) = assignment.acknowledge(&lane.pair.tx, &lane.pair.rx, &lane.seen).await
            && !lane.stopped.as_ref().is_some_and(Stopped::loses_agent)
        {
            tracing::warn!(pair = lane.pair.name, %stopped, "lost when its report was acknowledged");
            lane.stopped = Some(Stopped::Agent { cause: stopped.to_string(), refusal: false });
        }
    }))
    .await;
}

/// Finds an instant for all lanes to begin at, where there are several.
async fn agree(
    assignment: &Assignment,
    lanes: &mut [Lane<'_>],
    halt: &watch::Sender<bool>,
) -> Option<Clocks> {
    if lanes.len() < 2 || *halt.borrow() {
        return None;
    }
    let senders = || assignment.senders();
    let agents: Vec<_> = lanes.iter().flat_map(|lane| senders().map(|end| lane.pair.agent(end))).collect();
    match Clocks::compare(&agents).await {
        Ok(clocks) => {
            let each = senders().count();
            for (lane, begins_ns) in lanes.iter_mut().zip(clocks.soon().chunks(each)) {
                lane.begins_ns = begins_ns.to_vec();
            }
            Some(clocks)
        }
        Err((agent, stopped)) => {
            if let Some(lane) = lanes.get_mut(agent / senders().count()) {
                lane.stopped = Some(stopped);
            }
            halt.send_replace(true);
            None
        }
    }
}

/// How far apart the lanes really began.
fn spread(assignment: &Assignment, lanes: &[Lane<'_>], clocks: Option<&Clocks>) -> Option<StartSpread> {
    let started = lanes.iter().flat_map(|lane| {
        assignment.senders().map(|end| lane.seen.report(end).map(|report| report.started_ns))
    });
    clocks?.spread(&started.collect::<Option<Vec<_>>>()?)
}

fn lost(lanes: &[Lane<'_>]) -> Vec<Lost> {
    let of = |(position, lane): (usize, &Lane<'_>)| {
        let stopped = lane.stopped.as_ref().filter(|stopped| stopped.loses_agent())?;
        Some(Lost { position, pair: lane.pair.name.clone(), reason: stopped.to_string() })
    };
    lanes.iter().enumerate().filter_map(of).collect()
}

/// Takes every pair that has not failed one step further; none goes on when one fails.
async fn in_step(
    lanes: &mut [Lane<'_>],
    halt: &watch::Sender<bool>,
    step: impl AsyncFn(&mut Lane<'_>) -> Result<(), Stopped>,
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

/// Files one way of a pair: as a result, or as a failure with what is known of it.
fn settle(
    lane: &Lane<'_>,
    way: &Way,
    flows: Option<NamedTempFile>,
    trial: &Trial,
    tag: u16,
    ledger: &mut Ledger<'_>,
    took_s: f64,
) -> Result<Result<TrialSummary, TrialFailure>, StoreError> {
    let (pair, seen) = (&*lane.pair, &lane.seen);
    let place = trial.directory();
    let traffic = way.traffic(&trial.profile, pair);
    let result = match (&lane.stopped, seen.report(way.from), seen.report(way.to)) {
        (None, Some(tx), Some(rx)) => {
            figures(way.subject(trial, &traffic.profile, pair, seen), tx, rx).map_err(Stopped::from)
        }
        (stopped, ..) => Err(stopped.clone().unwrap_or(Stopped::Elsewhere)),
    };
    let own = seen.from_end(way.from);
    let started_ns = own.tx_samples.first().map_or(0, |sample| sample.at_ns);
    let (time_axis, samples) = own.on_one_axis(&pair.clock, started_ns);
    let mut record = TrialRecord {
        schema: TRIAL_SCHEMA.to_owned(),
        profile: trial.profile.name(),
        pair: way.name.clone(),
        repeat: trial.repeat,
        tag,
        reason: None,
        result: None,
        started_at: lane.started.map(|at| humantime::format_rfc3339_millis(at).to_string()),
        time_axis,
        tx: own.tx_report,
        rx: own.rx_report,
        samples,
    };
    match result {
        Ok(mut result) => {
            result.notes.extend(traffic.notes);
            result.environment_period = ledger.environment_period();
            result.overhead_s = took_s - result.duration_s;
            result.trial = format!("{}/{place}/trial.json", way.name);
            result.flows_file = flows.as_ref().map(|_| format!("{}/{place}/{FLOWS_FILE}", way.name));
            record.result = Some(result.clone());
            ledger.file(&place, &record, flows)?;
            Ok(Ok(result))
        }
        Err(stopped) => {
            let reason = stopped.to_string();
            record.reason = Some(reason.clone());
            let filed = if seen.any() { Some(ledger.file(&place, &record, None)?) } else { None };
            let failure = TrialFailure {
                profile: record.profile,
                pair: record.pair,
                repeat: trial.repeat,
                reason,
                transmit: seen.last_transmit(way.from),
                receive: seen.last_receive(way.to),
                trial: filed,
            };
            Ok(Err(failure))
        }
    }
}
