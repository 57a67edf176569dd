//! What limited a trial. Pure.

use serde::Serialize;

use super::outcome::{HttpOutcome, HttpWorker};
use super::spec::{HttpLoad, HttpSpec};
use crate::result::text::time;

/// Share of the time for which a worker had work, above which it limits.
const BUSY_SHARE: f64 = 0.95;
/// Share of the time for which a quota stopped the program, above which it limits.
const THROTTLED_SHARE: f64 = 0.01;
/// Send error that a schedule may have: p99, in nanoseconds.
const LATE_NS: u64 = 1_000_000;
/// A median below so many times the shortest service time shows that requests do not queue at the target.
const UNQUEUED: f64 = 1.5;
/// Share of what the connections can carry from which they limit.
const FULL: f64 = 0.9;

/// What limited the requests per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LoadLimit {
    /// Nothing: every intended request was sent when it was due.
    #[default]
    None,
    /// This program: its CPU, or a quota of it.
    ClientLimited,
    /// The number of connections: more of them would carry more.
    ConnectionLimited,
    /// The target, or the path to it.
    TargetLimited,
    /// Nothing was answered.
    Unanswered,
}

impl LoadLimit {
    /// As in results.
    pub(crate) fn word(self) -> &'static str {
        match self {
            LoadLimit::None => "none",
            LoadLimit::ClientLimited => "client-limited",
            LoadLimit::ConnectionLimited => "connection-limited",
            LoadLimit::TargetLimited => "target-limited",
            LoadLimit::Unanswered => "unanswered",
        }
    }
}

/// What limited a trial, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct HttpVerdict {
    pub(crate) limit: LoadLimit,
    /// Sentences with the numbers.
    pub(crate) evidence: Vec<String>,
}

/// Judges by what was answered, then by the schedule, then by who had no time left.
pub(super) fn judge(spec: &HttpSpec, outcome: &HttpOutcome) -> HttpVerdict {
    let mut evidence = Vec::new();
    let limit = limit(spec, outcome, &mut evidence);
    let counters = &outcome.counters;
    if counters.failed() > 0 && limit != LoadLimit::Unanswered {
        let kinds = counters.failures().into_iter().filter(|(_, count)| *count > 0);
        let kinds: Vec<String> = kinds.map(|(kind, count)| format!("{kind} {count}")).collect();
        evidence.push(format!("{} requests failed: {}", counters.failed(), kinds.join(", ")));
    }
    if counters.error_responses() > 0 {
        evidence.push(format!("{} responses have a status of 400 or more", counters.error_responses()));
    }
    HttpVerdict { limit, evidence }
}

fn limit(spec: &HttpSpec, outcome: &HttpOutcome, evidence: &mut Vec<String>) -> LoadLimit {
    let counters = &outcome.counters;
    let Some(service) = outcome.times.service.as_ref().filter(|_| counters.answered > 0) else {
        evidence.push(match &outcome.first_failure {
            Some(failure) => format!("no request was answered: {}", failure.words),
            None => "no request was answered".to_owned(),
        });
        return LoadLimit::Unanswered;
    };
    // Servers may permit fewer requests at the same time than were asked for.
    let places = outcome.permitted.unwrap_or(spec.places().into());
    // Under load every request queues behind others, but for the first ones: they tell what one alone takes.
    let shortest_ns = service.summary.min;
    if spec.load == HttpLoad::Closed {
        if let Some(words) = pressed(outcome) {
            evidence.push(words);
            return LoadLimit::ClientLimited;
        }
        let (median, short) = (service.summary.p50 as f64, shortest_ns as f64);
        let words = format!(
            "the median service time is {}, the shortest one, such as before a queue has grown, {}; workers were busy for {:.0} % of the time",
            time(median),
            time(short),
            100.0 * outcome.workers.iter().map(busy).fold(0.0, f64::max)
        );
        evidence.push(words);
        // Requests of one connection do not queue behind each other.
        let unqueued = places == 1 || median <= UNQUEUED * short;
        return if unqueued { LoadLimit::ConnectionLimited } else { LoadLimit::TargetLimited };
    }
    let late = outcome.times.send_error.as_ref().map_or(0, |error| error.summary.p99);
    let skipped = counters.skipped();
    if skipped == 0 && late <= LATE_NS {
        evidence.push(format!(
            "all {} intended requests were sent, 99 % of them at most {} late",
            counters.intended,
            time(late as f64)
        ));
        return LoadLimit::None;
    }
    evidence.push(format!(
        "of {} intended requests {} waited for a connection and {skipped} were skipped; 99 % of those sent left at most {} late",
        counters.intended,
        counters.queued,
        time(late as f64)
    ));
    if let Some(words) = pressed(outcome) {
        evidence.push(words);
        return LoadLimit::ClientLimited;
    }
    if skipped == 0 && counters.queued * 100 <= counters.intended {
        evidence.push("requests left late although a connection was free".to_owned());
        return LoadLimit::ClientLimited;
    }
    let intended = spec.intended_per_s(outcome.stopped_s()).unwrap_or(0.0);
    let carried = places as f64 * 1e9 / (shortest_ns.max(1) as f64);
    let at_once = match spec.streams {
        Some(_) => format!(" with {places} requests at the same time"),
        None => String::new(),
    };
    evidence.push(format!(
        "{} connections{at_once} carry at most {carried:.0} requests/s at the shortest service time ({}), and {intended:.0} were intended",
        spec.connections,
        time(shortest_ns as f64)
    ));
    if intended > FULL * carried { LoadLimit::ConnectionLimited } else { LoadLimit::TargetLimited }
}

/// Share of the time in which a worker had work, whether it had a CPU or waited for one.
fn busy(worker: &HttpWorker) -> f64 {
    let work = worker.cpu_s - worker.spun_s + worker.time.waited_s.unwrap_or(0.0);
    if worker.time.elapsed_s > 0.0 { (work / worker.time.elapsed_s).clamp(0.0, 1.0) } else { 0.0 }
}

/// What shows that this program had no time left; `None` when it had.
fn pressed(outcome: &HttpOutcome) -> Option<String> {
    if let Some(throttled) = &outcome.throttling
        && throttled.stopped_s > THROTTLED_SHARE * outcome.elapsed_s
    {
        return Some(format!("the CPU quota stopped this program for {:.2} s", throttled.stopped_s));
    }
    let fullest = outcome.workers.iter().max_by(|a, b| busy(a).total_cmp(&busy(b)))?;
    let share = busy(fullest);
    (share >= BUSY_SHARE).then(|| {
        format!(
            "worker {} had work for {:.0} % of the time: {:.2} s on a CPU and {:.2} s waiting for one, of {:.2} s",
            fullest.worker,
            100.0 * share,
            fullest.cpu_s - fullest.spun_s,
            fullest.time.waited_s.unwrap_or(0.0),
            fullest.time.elapsed_s
        )
    })
}

#[cfg(test)]
mod tests;
