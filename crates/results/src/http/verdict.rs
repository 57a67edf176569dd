//! Verdict on a trial of HTTP: what limited its requests per second. Pure.

use std::fmt;

use linerate_wire::http::Arrivals;
use linerate_wire::report::Report;
use linerate_wire::streams::CpuUse;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::HttpTrialRecord;
use super::trial::HttpTrialSummary;

/// Share of its time on a CPU from which a thread was at its limit.
const FULL_SHARE: f64 = 0.95;
/// Share of its time that a thread waited for a CPU from which the wait was a limit.
const WAITING_SHARE: f64 = 0.1;
/// Share of requests that fail from which the target is the limit.
const FAILING_SHARE: f64 = 0.01;
/// Share by which sent requests may be fewer than intended ones.
const MISSED_SHARE: f64 = 0.001;
/// Share of the connections busy from which their number was the limit.
const BUSY_SHARE: f64 = 0.9;
/// Probability below which a spread is uneven.
const UNEVEN: f64 = 0.001;
/// Utilisation of the idlest backend below which an uneven spread has left room.
const IDLE_SHARE: f64 = 0.6;

/// What limited the requests per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HttpLimit {
    /// Nothing: every intended request was sent when it was due, and answered.
    Clean,
    /// A client: its threads had no CPU time left.
    ClientLimited,
    /// A backend: its threads had no CPU time left.
    BackendLimited,
    /// The balancer: its CPU, its refusals, or an uneven spread that leaves backends idle. For a URL also the servers behind it.
    BalancerLimited,
    /// The number of connections: all of them waited for answers, and CPUs had time left.
    ConnectionLimited,
    /// There is no account to judge by, or nothing was answered.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpVerdict {
    /// The limit.
    pub kind: HttpLimit,
    /// One sentence with the numbers.
    pub evidence: String,
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
        let verdict = |kind, evidence: String| Self { kind, evidence };
        let requests = &trial.requests;
        if requests.answered == 0 {
            let why = trial.first_failure.as_deref().unwrap_or("no client has an account of it");
            return verdict(HttpLimit::Unknown, format!("nothing was answered: {why}"));
        }
        let clients = busiest(record, record.clients.iter().map(|part| part.agent.as_str()));
        let backends = busiest(record, record.backends.iter().map(|part| part.agent.as_str()));
        let balancer = record.balancer.as_ref().and_then(|one| {
            let share = one.cpu_s? / one.elapsed_s;
            (share >= FULL_SHARE)
                .then(|| format!("{} was on a CPU {:.0} % of the time", one.program, share * 100.0))
        });
        let failed = requests.failures() as f64 / requests.sent.max(1) as f64;
        let met = requests.skipped as f64 <= MISSED_SHARE * requests.intended as f64;
        let is_open = record.spec.arrivals != Arrivals::Closed;
        if is_open && met && failed == 0.0 {
            return verdict(
                HttpLimit::Clean,
                format!(
                    "{} of {} intended requests were sent and answered",
                    requests.answered, requests.intended
                ),
            );
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
        if failed >= FAILING_SHARE {
            let why = trial.first_failure.as_deref().unwrap_or("see the kinds of failure");
            let evidence = format!(
                "{:.1} % of the requests failed while clients and backends had CPU time left; first: {why}",
                failed * 100.0
            );
            return verdict(HttpLimit::BalancerLimited, evidence);
        }
        let room = clients.map_or(String::new(), |one| format!("; {}", one.evidence()));
        let busy = trial.busy_connections().map(|busy| busy / f64::from(trial.connections.max(1)));
        let all_busy = busy.is_some_and(|busy| busy >= BUSY_SHARE);
        let connections = format!(
            "{:.0} % of the {} connections waited for an answer on average; {}{room}",
            busy.unwrap_or(0.0) * 100.0,
            trial.connections,
            queue(trial)
        );
        match (is_open, record.backends.is_empty(), all_busy) {
            // Servers that are not Linerate's have no account: what is not the client's limit is theirs.
            (_, true, true) if is_open => verdict(HttpLimit::BalancerLimited, connections),
            (_, _, true) | (false, _, false) => verdict(HttpLimit::ConnectionLimited, connections),
            (true, _, false) => verdict(HttpLimit::ClientLimited, connections),
        }
    }
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
        .filter_map(|part| Some(busiest(record, [part.agent.as_str()].into_iter())?.busy))
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

fn busiest<'a>(record: &HttpTrialRecord, agents: impl Iterator<Item = &'a str>) -> Option<Busiest> {
    let of = |agent: &str| {
        let report = record.agent(agent)?.report.as_ref()?;
        let load = record.loads().find(|(name, _)| *name == agent).map(|(_, load)| load);
        let threads = match load {
            Some(load) => load.workers.iter().map(|one| (one.cpu_s - one.spun_s) / load.duration_s).collect(),
            None => shares(report),
        };
        let busy = threads.into_iter().filter(|share: &f64| share.is_finite()).fold(0.0, f64::max);
        let waiting = report.workers.iter().map(|worker| worker.waiting_share()).fold(0.0, f64::max);
        let throttled = report.throttling.map(|quota| quota.to_string());
        Some(Busiest { agent: agent.to_owned(), busy: busy.min(1.0), waiting, throttled })
    };
    agents.filter_map(of).max_by(|a, b| a.pressure().total_cmp(&b.pressure()))
}

/// Share of its time that each thread was on a CPU; that of the process where threads are not told apart.
fn shares(report: &Report<CpuUse>) -> Vec<f64> {
    if report.workers.is_empty() {
        return vec![report.detail.process_s / report.detail.elapsed_s];
    }
    report.workers.iter().map(|worker| (worker.elapsed_s - worker.off_cpu_s) / worker.elapsed_s).collect()
}
