//! Verdict on a trial of HTTP: what limited its requests per second. Pure.

use std::fmt;

use linerate_experiment::http::HttpTarget;
use linerate_wire::http::Arrivals;
use linerate_wire::report::Report;
use linerate_wire::streams::CpuUse;
use linerate_wire::time::WorkerTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::HttpTrialRecord;
use super::trial::{HttpTrialSummary, refusals};

/// Share of its time on a CPU from which a thread was at its limit.
const FULL_SHARE: f64 = 0.95;
/// Share of its time that a thread waited for a CPU from which the wait was a limit.
const WAITING_SHARE: f64 = 0.1;
/// Share of its time for which a quota stopped an agent, above which the quota was a limit.
const THROTTLED_SHARE: f64 = 0.01;
/// Share of requests that fail from which the target is the limit.
const FAILING_SHARE: f64 = 0.01;
/// Share of requests that may be skipped, and that may fail, be refused or be unfinished, in a clean trial.
const MISSED_SHARE: f64 = 0.001;
/// Lateness that 1 % of the requests may exceed in a clean trial, in nanoseconds.
const LATE_NS: u64 = 1_000_000;
/// Time for which a client's thread did not look at its events from which it stalled, in seconds.
const STALL_S: f64 = 1e-3;
/// Share of the requests that waited for a connection, below which late ones were late on their own.
const QUEUED_SHARE: f64 = 0.01;
/// Share of the connections busy from which their number was the limit.
const BUSY_SHARE: f64 = 0.9;
/// Probability below which a spread is uneven.
const UNEVEN: f64 = 0.001;
/// Utilisation of the idlest backend below which an uneven spread has left room.
const IDLE_SHARE: f64 = 0.6;

/// What limited the requests per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HttpLimit {
    /// Nothing: but for at most 0.1 % each, the intended requests were sent when they were due, and answered without an error.
    Clean,
    /// A client: its threads had no CPU time left or stalled, or it had no local port or file descriptor.
    ClientLimited,
    /// A backend: its threads had no CPU time left. Without a balancer also: its failures, or stalls in which no connection was free.
    BackendLimited,
    /// The balancer: its CPU, its failures and refusals, stalls in which no connection was free, or an uneven spread that leaves backends idle. For a URL also the servers behind it.
    BalancerLimited,
    /// The number of connections: all of them waited for answers, and CPUs had time left.
    ConnectionLimited,
    /// There is no account to judge by, as of the servers in a closed loop to a URL, or nothing was answered.
    #[default]
    Unknown,
}

impl fmt::Display for HttpLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HttpLimit::Clean => "clean",
            HttpLimit::ClientLimited => "client-limited",
            HttpLimit::BackendLimited => "backend-limited",
            HttpLimit::BalancerLimited => "balancer-limited",
            HttpLimit::ConnectionLimited => "connection-limited",
            HttpLimit::Unknown => "unknown",
        })
    }
}

/// What limited a trial, and the numbers that say so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct HttpVerdict {
    /// The limit.
    pub kind: HttpLimit,
    /// One sentence with the numbers.
    pub evidence: String,
    /// True when the clients were short of CPU time, too, or stalled so long that this alone can have delayed what was late: then the
    /// trial is no evidence against the target, whatever the limit. Left out when false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clients_short: bool,
}

/// The busiest thread of some agents.
struct Busiest {
    agent: String,
    /// Share of its time on a CPU, without waiting in a loop for the next request.
    busy: f64,
    /// Share of its time that it was ready and had none.
    waiting: f64,
    throttled: Option<String>,
}

impl Busiest {
    fn is_limit(&self) -> bool {
        self.busy >= FULL_SHARE || self.waiting >= WAITING_SHARE || self.throttled.is_some()
    }

    fn pressure(&self) -> f64 {
        self.busy + self.waiting
    }

    fn evidence(&self) -> String {
        let Self { agent, busy, waiting, throttled } = self;
        let quota = throttled.as_ref().map_or(String::new(), |quota| format!("; {quota}"));
        format!(
            "a thread of {agent} was on a CPU {:.0} % of the time and waited for one {:.0} %{quota}",
            busy * 100.0,
            waiting * 100.0
        )
    }
}

impl HttpVerdict {
    /// The verdict on a trial with these figures.
    pub fn of(record: &HttpTrialRecord, trial: &HttpTrialSummary) -> Self {
        let clients = busiest(record, trial, record.clients.iter().map(|part| part.agent.as_str()));
        let stall = Stall::of(record, trial);
        let clients_short = clients.as_ref().is_some_and(Busiest::is_limit) || stall.is_some();
        let ordered = ordered(record, trial).map_or(String::new(), |(backend, errors)| {
            format!("; {errors} errors from when {backend} went away, as ordered, do not count")
        });
        let verdict =
            |kind, evidence: String| Self { kind, evidence: format!("{evidence}{ordered}"), clients_short };
        let requests = &trial.requests;
        if requests.answered == 0 {
            let why = trial.first_failure.as_deref().unwrap_or("no client has an account of it");
            return verdict(HttpLimit::Unknown, format!("nothing was answered: {why}"));
        }
        let backends = busiest(record, trial, record.backends.iter().map(|part| part.agent.as_str()));
        let balancer = record.balancer.as_ref().and_then(|one| {
            let share = (one.cpu_s? / trial.duration_s.max(1e-9)).min(1.0);
            (share >= FULL_SHARE)
                .then(|| format!("{} was on a CPU {:.0} % of the time", one.program, share * 100.0))
        });
        let is_open = record.spec.arrivals != Arrivals::Closed;
        let account = Account::of(record, trial);
        if is_open && account.is_clean() {
            return verdict(HttpLimit::Clean, account.clean(trial));
        }
        if let Some(evidence) = balancer {
            return verdict(HttpLimit::BalancerLimited, evidence);
        }
        if let Some(evidence) = uneven(record, trial) {
            return verdict(HttpLimit::BalancerLimited, evidence);
        }
        let limits = [(HttpLimit::ClientLimited, &clients), (HttpLimit::BackendLimited, &backends)];
        let limits = limits.into_iter().filter_map(|(kind, one)| Some((kind, one.as_ref()?)));
        let pressed = limits
            .filter(|(_, one)| one.is_limit())
            .max_by(|(_, a), (_, b)| a.pressure().total_cmp(&b.pressure()));
        if let Some((kind, busiest)) = pressed {
            return verdict(kind, format!("{}; {}", busiest.evidence(), queue(trial)));
        }
        let room = clients.map_or(String::new(), |one| format!("; {}", one.evidence()));
        // What is not the clients' is the target's: the backends themselves, or a balancer and what is behind it.
        let target = match record.spec.target {
            HttpTarget::Direct => HttpLimit::BackendLimited,
            _ => HttpLimit::BalancerLimited,
        };
        let timely = account.met && !account.late;
        // In an open loop that sent all in time nothing else than errors can have hindered it.
        let failing = if is_open && timely { MISSED_SHARE } else { FAILING_SHARE };
        if account.share(account.local) > failing {
            return verdict(HttpLimit::ClientLimited, account.failing(account.local, trial));
        }
        if account.share(account.bad) > failing {
            return verdict(target, account.failing(account.bad, trial));
        }
        if is_open && timely {
            let lost = trial.lost_agents.iter().map(|one| one.agent.as_str()).collect::<Vec<_>>().join(", ");
            return verdict(HttpLimit::Unknown, format!("{lost} has no whole account; {}", queue(trial)));
        }
        let busy = account.busy_share;
        let all_busy = busy >= BUSY_SHARE;
        let what = match trial.streams {
            Some(_) => format!(
                "the {:.0} requests that {} connections can have under way",
                places(trial),
                trial.connections
            ),
            None => format!("the {} connections", trial.connections),
        };
        let connections = format!(
            "{:.0} % of {what} waited for an answer on average; {}{room}",
            busy * 100.0,
            queue(trial)
        );
        if let Some(stall) = stall.filter(|_| !all_busy) {
            return verdict(HttpLimit::ClientLimited, format!("{stall}; {connections}"));
        }
        // Servers that are not Linerate's have no account.
        match (is_open, record.backends.is_empty(), all_busy) {
            (true, true, true) => verdict(HttpLimit::BalancerLimited, connections),
            (true, false, true) => verdict(HttpLimit::ConnectionLimited, connections),
            (true, _, false) if account.unqueued => {
                let words = "requests left late although a connection was free";
                verdict(HttpLimit::ClientLimited, format!("{words}; {connections}"))
            }
            (true, _, false) => {
                let words = "for part of the time no connection was free";
                verdict(target, format!("{words}; {connections}"))
            }
            (false, true, _) => {
                let words =
                    "the servers have no account: if more connections carry no more, they are the limit";
                verdict(HttpLimit::Unknown, format!("{words}; {connections}"))
            }
            (false, false, _) => verdict(HttpLimit::ConnectionLimited, connections),
        }
    }
}

/// Errors of an absence that was ordered, with the backend's name: they are no fault of the target's. `None` when there are none.
fn ordered<'a>(record: &HttpTrialRecord, trial: &'a HttpTrialSummary) -> Option<(&'a str, u64)> {
    let churn = trial.churn.as_ref()?;
    let errors = churn.ordered(record).filter(|errors| *errors > 0)?;
    Some((churn.backend.as_str(), errors))
}

/// A time in which a client's thread did not look at its events, long enough that all the requests which were skipped or queued can have
/// become due in it.
struct Stall {
    agent: String,
    s: f64,
}

impl Stall {
    /// The longest one, if it explains what was skipped and queued. A bound: all clients may have stalled with that thread.
    fn of(record: &HttpTrialRecord, trial: &HttpTrialSummary) -> Option<Self> {
        let of = |agent: &str| {
            let report = record.agent(agent)?.report.as_ref()?;
            let absent = |worker: &WorkerTime| worker.longest_gap_s.max(worker.waited_s.unwrap_or(0.0));
            let s = report.workers.iter().map(absent).fold(0.0, f64::max);
            Some(Self { agent: agent.to_owned(), s })
        };
        let stalls = record.clients.iter().filter_map(|part| of(&part.agent));
        let longest = stalls.max_by(|a, b| a.s.total_cmp(&b.s)).filter(|stall| stall.s > STALL_S)?;
        let hindered = trial.requests.skipped.max(queued(record).unwrap_or(0) / 2);
        let due = trial.intended_per_s? * longest.s;
        (hindered > 0 && due >= hindered as f64).then_some(longest)
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agent, s } = self;
        write!(f, "a thread of {agent} did not look at its events for up to {:.1} ms", s * 1e3)
    }
}

/// Requests of all clients that waited for a connection; `None` from older agents.
fn queued(record: &HttpTrialRecord) -> Option<u64> {
    record.loads().try_fold(0_u64, |sum, (_, load)| sum.checked_add(load.queued?))
}

/// What became of the requests.
struct Account {
    sent: u64,
    /// Requests that failed, are unfinished, or were answered with 4xx or 5xx, but for errors from when a backend went away as
    /// ordered; those that failed at the client.
    bad: u64,
    local: u64,
    /// Those that do not count.
    ordered: u64,
    /// At most [`MISSED_SHARE`] were skipped.
    met: bool,
    /// More than 1 % of them left later than [`LATE_NS`].
    late: bool,
    /// Hardly any waited for a connection.
    unqueued: bool,
    /// An agent was lost.
    lost: bool,
    /// Share of the connections that waited for an answer, on average; those of requests that timed out, too.
    busy_share: f64,
}

impl Account {
    fn of(record: &HttpTrialRecord, trial: &HttpTrialSummary) -> Self {
        let requests = &trial.requests;
        let refused = refusals(&trial.statuses);
        let ordered = ordered(record, trial).map_or(0, |(_, errors)| errors);
        let queued = queued(record);
        let few = QUEUED_SHARE * requests.intended as f64;
        let met = requests.skipped as f64 <= MISSED_SHARE * requests.intended as f64;
        let failed = |kind: &str| requests.failed.get(kind).copied().unwrap_or(0);
        let timed_out_s = failed("timeout") as f64 * f64::from(record.spec.timeout_ms) / 1e3;
        let busy = trial.busy_connections().unwrap_or(0.0) + timed_out_s / trial.duration_s.max(1e-9);
        Self {
            sent: requests.sent,
            bad: requests
                .failures()
                .saturating_add(requests.unfinished)
                .saturating_add(refused)
                .saturating_sub(ordered),
            local: failed("local"),
            ordered,
            met,
            late: trial.send_error_ns.is_some_and(|error| error.p99 > LATE_NS),
            // Without the number, requests that were skipped are taken for some that waited.
            unqueued: queued.map_or(met, |queued| queued as f64 <= few),
            lost: !trial.lost_agents.is_empty(),
            busy_share: (busy / places(trial)).min(1.0),
        }
    }

    fn share(&self, count: u64) -> f64 {
        count as f64 / self.sent.max(1) as f64
    }

    fn is_clean(&self) -> bool {
        self.met && !self.late && !self.lost && self.share(self.bad) <= MISSED_SHARE
    }

    fn clean(&self, trial: &HttpTrialSummary) -> String {
        let late = trial.send_error_ns.map_or(String::new(), |error| {
            format!(", 99 % of them at most {:.0} µs late", error.p99 as f64 / 1e3)
        });
        let bad = match self.bad {
            0 if self.ordered > 0 => "no other request failed".to_owned(),
            0 => "all were answered without an error".to_owned(),
            bad => format!("{bad} failed, were refused or are unfinished"),
        };
        format!("{} of {} intended requests were sent{late}; {bad}", self.sent, trial.requests.intended)
    }

    fn failing(&self, count: u64, trial: &HttpTrialSummary) -> String {
        let why = trial.first_failure.as_deref().map_or(String::new(), |why| format!("; first: {why}"));
        let of_client =
            if count == self.local { " for lack of a local port, descriptor or memory" } else { "" };
        format!(
            "{:.1} % of the requests failed, were refused or are unfinished{of_client} while clients and backends had CPU time left{why}",
            self.share(count) * 100.0
        )
    }
}

/// Requests that can be under way at the same time: one on each connection, or as many as servers of HTTP/2 permit, at most those asked for.
fn places(trial: &HttpTrialSummary) -> f64 {
    let asked = u64::from(trial.connections) * u64::from(trial.streams.unwrap_or(1));
    trial.permitted.unwrap_or(asked).max(1) as f64
}

/// Requests that were due, in words.
fn queue(trial: &HttpTrialSummary) -> String {
    match trial.intended_per_s {
        None => format!(
            "closed loop, mean service time {:.0} µs",
            trial.service_ns.map_or(0.0, |one| one.mean as f64 / 1e3)
        ),
        Some(_) => format!(
            "{} of {} intended requests were skipped",
            trial.requests.skipped, trial.requests.intended
        ),
    }
}

/// Evidence that the spread left some backends idle while another was at its limit.
fn uneven(record: &HttpTrialRecord, trial: &HttpTrialSummary) -> Option<String> {
    let evenness = trial.evenness.filter(|one| one.p_value.is_some_and(|p| p < UNEVEN))?;
    let shares: Vec<f64> = record
        .backends
        .iter()
        .filter_map(|part| Some(busiest(record, trial, [part.agent.as_str()].into_iter())?.busy))
        .collect();
    let (most, least) =
        (shares.iter().copied().fold(0.0, f64::max), shares.iter().copied().fold(1.0, f64::min));
    (most >= FULL_SHARE && least < IDLE_SHARE).then(|| {
        format!(
            "the busiest backend was on a CPU {:.0} % of the time, the idlest {:.0} %; {} were spread unevenly (p = {:.1e})",
            most * 100.0,
            least * 100.0,
            evenness.unit,
            evenness.p_value.unwrap_or(0.0)
        )
    })
}

/// The busiest thread of some agents while requests were sent. Backends have idle time before and after, in which they use no CPU, so
/// that their CPU time is that of the sending.
fn busiest<'a>(
    record: &HttpTrialRecord,
    trial: &HttpTrialSummary,
    agents: impl Iterator<Item = &'a str>,
) -> Option<Busiest> {
    let duration_s = trial.duration_s.max(1e-9);
    let of = |agent: &str| {
        let report = record.agent(agent)?.report.as_ref()?;
        let load = record.loads().find(|(name, _)| *name == agent).map(|(_, load)| load);
        let threads = match load {
            Some(load) => load.workers.iter().map(|one| one.cpu_s - one.spun_s).collect(),
            None => cpu_s(report),
        };
        let busy = threads.into_iter().fold(0.0, f64::max) / duration_s;
        let waited = report.workers.iter().filter_map(|worker| worker.waited_s).fold(0.0, f64::max);
        let throttled = report
            .throttling
            .filter(|quota| quota.stopped_s > THROTTLED_SHARE * duration_s)
            .map(|quota| quota.to_string());
        let waiting = (waited / duration_s).min(1.0);
        Some(Busiest { agent: agent.to_owned(), busy: busy.min(1.0), waiting, throttled })
    };
    agents.filter_map(of).max_by(|a, b| a.pressure().total_cmp(&b.pressure()))
}

/// CPU seconds of each thread of a backend; those of its process where threads are not told apart.
fn cpu_s(report: &Report<CpuUse>) -> Vec<f64> {
    match report.workers.as_slice() {
        [] => vec![report.detail.process_s],
        workers => workers.iter().map(|worker| worker.elapsed_s - worker.off_cpu_s).collect(),
    }
}
