//! A trial of HTTP in the summary: all of its clients together. Pure.

use std::collections::BTreeMap;

use linerate_experiment::http::{HttpProtocol, HttpSearchPlace};
use linerate_wire::http::{Connections, LoadReport, RequestCounts, TlsReport};
use linerate_wire::report::{Distribution, LatencySummary};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::balance::{BackendShare, Balance};
use super::churn::ChurnSummary;
use super::evenness::Evenness;
use super::record::HttpTrialRecord;
use super::verdict::HttpVerdict;
use crate::host_setting::TrialHostSetting;
use crate::nodes::NodeSummary;
use crate::planned::{PlannedRecord, PlannedResult};
use crate::store::inner_path;
use crate::store::trial_log::LogRecord;
use crate::streams::{AgentCpu, LostAgent, together};
use crate::summary::{StartSpread, Summary};

/// Most reasons that a summary names.
const MOST_REASONS: usize = 16;

/// A finished trial of HTTP, all clients together.
///
/// Requests: `intended = sent + skipped`, `sent = answered + failed + unfinished`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpTrialSummary {
    /// Name of the profile.
    #[serde(deserialize_with = "inner_path::name")]
    pub profile: String,
    /// Which time the profile was run.
    pub repeat: u32,
    /// Number of the period in `environment.json` in which it ran.
    pub environment_period: u32,
    /// The setting of hosts under which it ran; absent where the document has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_setting: Option<TrialHostSetting>,
    /// Nodes beside the trial, as agents in the nodes' own networks saw them; absent where none watched, and in older records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeSummary>,
    /// What requests were sent to.
    pub target: String,
    /// How requests were sent.
    #[serde(default)]
    pub protocol: HttpProtocol,
    /// Requests of a connection at the same time that were asked for; null with HTTP/1.1.
    #[serde(default)]
    pub streams: Option<u32>,
    /// Requests under way at the same time that the servers of HTTP/2 permitted, all connections together; null with HTTP/1.1, and when they said nothing.
    #[serde(default)]
    pub permitted: Option<u64>,
    /// TLS of the clients' connections; null without it.
    #[serde(default)]
    pub tls: Option<TlsReport>,
    /// Backends behind it; 0 for servers of the user's.
    pub backends: u32,
    /// Clients.
    pub clients: u32,
    /// Connections of all clients.
    pub connections: u32,
    /// Threads of each client.
    pub threads: u32,
    /// Requests per second of all clients, as written; `max` for a closed loop.
    pub rate: String,
    /// True when all requests are accounted for, both ends agree, and no agent was lost.
    pub complete: bool,
    /// Why it is not complete, each in one sentence; the first few.
    pub reasons: Vec<String>,
    /// Agents that were lost in the trial.
    pub lost_agents: Vec<LostAgent>,
    /// Requests of all clients.
    pub requests: RequestCounts,
    /// Whole answers by the class of their status, such as `2xx`.
    pub statuses: BTreeMap<String, u64>,
    /// Intended requests per second; null for a closed loop.
    pub intended_per_s: Option<f64>,
    /// Requests sent per second of sending.
    pub sent_per_s: Option<f64>,
    /// Whole answers within the time of sending, per second of it.
    pub requests_per_s: Option<f64>,
    /// Share of the sent requests that failed, are unfinished, or were answered with 4xx or 5xx, 0…1; null when none was sent.
    pub error_share: Option<f64>,
    /// Which of the latencies to believe.
    pub latency_basis: LatencyBasis,
    /// Corrected latency in nanoseconds: from the intended instant to the last byte; null for a closed loop.
    pub corrected_ns: Option<LatencySummary>,
    /// Service time in nanoseconds: from the request's first byte to the answer's last.
    pub service_ns: Option<LatencySummary>,
    /// From the request's first byte to the answer's first, in nanoseconds.
    pub first_byte_ns: Option<LatencySummary>,
    /// From the intended instant to when a connection was given the request: the clients' own error, and waiting for a connection.
    pub send_error_ns: Option<LatencySummary>,
    /// Time for a connection to be made, in nanoseconds.
    pub connect_ns: Option<LatencySummary>,
    /// Connections of all clients.
    pub connects: Connections,
    /// Requests by backend.
    pub by_backend: BTreeMap<String, BackendShare>,
    /// Answers without a name of a backend.
    pub unnamed: u64,
    /// Test of evenness of the spread; null for fewer than two backends, without a balancer or for one that is not meant to be even, when a backend was to go away, and for kept connections to a URL.
    pub evenness: Option<Evenness>,
    /// Contradictions between the accounts of clients and backends, each in one sentence.
    pub disagreements: Vec<String>,
    /// The gate before the trial.
    pub gate: GateSummary,
    /// What the absence of a backend cost; left out without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub churn: Option<ChurnSummary>,
    /// First failure of a connection in words; null without one.
    pub first_failure: Option<String>,
    /// Seconds of sending, of the client that sent longest.
    pub duration_s: f64,
    /// CPU of the clients in microseconds per answer; null when nothing was answered.
    pub client_cpu_us: Option<f64>,
    /// CPU of the backends in microseconds per answer; null for servers of the user's.
    pub backend_cpu_us: Option<f64>,
    /// CPU of the balancer's process in microseconds per answer; null for a balancer in the kernel, and without one.
    pub balancer_cpu_us: Option<f64>,
    /// CPU time of each agent.
    pub agents: Vec<AgentCpu>,
    /// What limited it.
    pub verdict: HttpVerdict,
    /// Its part in a search; left out without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<HttpSearchPlace>,
    /// Spread of the clients' starts; null for one client.
    pub start: Option<StartSpread>,
    /// Seconds from the first request to the last report, less the seconds of sending.
    pub overhead_s: f64,
    /// File with the accounts of all agents, relative to the summary.
    #[serde(deserialize_with = "inner_path::path")]
    pub trial: String,
    /// File with the samples, relative to the summary.
    #[serde(deserialize_with = "inner_path::path")]
    pub samples_file: String,
}

/// Which latency says what a user waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LatencyBasis {
    /// The corrected one: requests were due at instants of their own.
    Corrected,
    /// There is only the service time, and a closed loop sends nothing while servers stall: its percentiles are too low then.
    Service,
}

/// The gate before a trial: a trial begins when every backend has answered every client.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct GateSummary {
    /// Seconds waited, by the client that waited longest.
    pub waited_s: f64,
    /// Probes of all clients, each in a connection of its own.
    pub probes: u64,
    /// Of those, probes without a whole answer: they were sent again.
    pub failed: u64,
    /// The backend that answered last for the first time; null when none has a name.
    pub last_backend: Option<String>,
    /// Reason of the latest failure; null without one.
    pub last_failure: Option<String>,
}

/// What the reports do not tell.
#[derive(Debug, Clone)]
pub struct HttpTrialContext {
    /// Number of the environment's period.
    pub environment_period: u32,
    /// The setting of hosts under which it ran.
    pub host_setting: Option<TrialHostSetting>,
    /// Spread of the starts.
    pub start: Option<StartSpread>,
    /// Seconds beside the sending.
    pub overhead_s: f64,
    /// Path of the record.
    pub trial: String,
    /// Path of the samples.
    pub samples_file: String,
}

impl HttpTrialSummary {
    /// The trial's figures from the accounts of its agents.
    pub fn of(record: &HttpTrialRecord, context: HttpTrialContext) -> Self {
        let mut requests = RequestCounts::default();
        let mut connects = Connections::default();
        let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
        let (mut written, mut in_time) = (0_u64, 0_u64);
        for (_, load) in record.loads() {
            requests += &load.requests;
            connects += load.connections;
            written = written.saturating_add(load.written);
            in_time = in_time.saturating_add(load.answered_in_time);
            for (class, count) in &load.statuses {
                let sum = statuses.entry(class.clone()).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        let balance = Balance::of(record, &requests, written);
        let duration_s = record.loads().map(|(_, load)| load.duration_s).fold(0.0, f64::max);
        let all = record.clients.iter().all(|part| part.report.is_some());
        let per_second = |count: u64| (all && duration_s > 0.0).then(|| count as f64 / duration_s);
        let refused = refusals(&statuses);
        let bad = requests.failures().saturating_add(requests.unfinished).saturating_add(refused);
        let lost_agents: Vec<LostAgent> = record
            .agents
            .iter()
            .filter_map(|part| Some(LostAgent { agent: part.agent.clone(), reason: part.lost.clone()? }))
            .collect();
        let churn = ChurnSummary::of(record);
        let reasons = reasons(record, &balance, churn.as_ref(), &lost_agents);
        let profile = &record.spec;
        let cpu_us = |seconds: Option<f64>| {
            seconds.filter(|_| requests.answered > 0).map(|s| s * 1e6 / requests.answered as f64)
        };
        let HttpTrialContext { environment_period, host_setting, start, overhead_s, trial, samples_file } =
            context;
        let mut summary = Self {
            profile: record.profile.clone(),
            repeat: record.repeat,
            environment_period,
            host_setting,
            nodes: record.nodes.iter().map(NodeSummary::from).collect(),
            target: profile.target.to_string(),
            protocol: profile.protocol,
            streams: profile.protocol.is_http2().then_some(profile.streams),
            permitted: permitted(record),
            tls: tls(record),
            backends: profile.backends,
            clients: profile.clients,
            connections: profile.connections,
            threads: profile.threads,
            rate: profile.rate().to_string(),
            complete: reasons.is_empty(),
            reasons,
            lost_agents,
            intended_per_s: profile.arrivals.per_second(),
            sent_per_s: per_second(requests.sent),
            requests_per_s: per_second(in_time),
            error_share: (requests.sent > 0).then(|| bad as f64 / requests.sent as f64),
            latency_basis: match profile.arrivals.per_second() {
                Some(_) => LatencyBasis::Corrected,
                None => LatencyBasis::Service,
            },
            corrected_ns: times(record, |load| load.times.corrected.as_ref()),
            service_ns: times(record, |load| load.times.service.as_ref()),
            first_byte_ns: times(record, |load| load.times.first_byte.as_ref()),
            send_error_ns: times(record, |load| load.times.send_error.as_ref()),
            connect_ns: times(record, |load| load.times.connect.as_ref()),
            connects,
            statuses,
            by_backend: balance.backends,
            unnamed: balance.unnamed,
            evenness: balance.evenness,
            disagreements: balance.disagreements,
            gate: gate(record),
            churn,
            first_failure: record.loads().find_map(|(_, load)| load.first_failure.clone()),
            duration_s,
            client_cpu_us: cpu_us(cpu_s(record, record.clients.iter().map(|part| part.agent.as_str()))),
            backend_cpu_us: cpu_us(cpu_s(record, record.backends.iter().map(|part| part.agent.as_str()))),
            balancer_cpu_us: cpu_us(record.balancer.as_ref().and_then(|balancer| balancer.cpu_s)),
            agents: record
                .agents
                .iter()
                .filter_map(|part| {
                    let report = part.report.as_ref()?;
                    Some(AgentCpu::of(&part.agent, report))
                })
                .collect(),
            requests,
            verdict: HttpVerdict::default(),
            search: profile.search.clone(),
            start,
            overhead_s,
            trial,
            samples_file,
        };
        summary.verdict = HttpVerdict::of(record, &summary);
        summary
    }

    /// What the reports do not tell, as it was recorded.
    pub fn context(&self) -> HttpTrialContext {
        HttpTrialContext {
            environment_period: self.environment_period,
            host_setting: self.host_setting.clone(),
            start: self.start,
            overhead_s: self.overhead_s,
            trial: self.trial.clone(),
            samples_file: self.samples_file.clone(),
        }
    }

    /// The latency to believe, in nanoseconds.
    pub fn latency_ns(&self) -> Option<LatencySummary> {
        match self.latency_basis {
            LatencyBasis::Corrected => self.corrected_ns,
            LatencyBasis::Service => self.service_ns,
        }
    }

    /// Intended requests that are in no latency, because they were skipped, failed or are unfinished, in words; `None` without
    /// one. They may have been the slowest, so percentiles above the share of those answered are not known.
    pub fn left_out(&self) -> Option<String> {
        let RequestCounts { intended, answered, .. } = self.requests;
        let left_out = intended.checked_sub(answered).filter(|left_out| *left_out > 0)?;
        Some(format!(
            "{left_out} of {intended} intended requests have no latency (skipped, failed or unfinished): what users waited above \
             the {:.4}th percentile is not known",
            100.0 * answered as f64 / intended as f64
        ))
    }

    /// Connections that waited for an answer on average, by Little's law; `None` when nothing was answered.
    pub fn busy_connections(&self) -> Option<f64> {
        Some(self.requests_per_s? * self.service_ns?.mean as f64 / 1e9)
    }
}

impl PlannedResult for HttpTrialSummary {
    type Record = HttpTrialRecord;

    fn all(summary: &Summary) -> &Vec<Self> {
        &summary.http
    }

    fn label(&self) -> (String, u32) {
        (self.profile.clone(), self.repeat)
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn duration_s(&self) -> f64 {
        self.duration_s
    }

    fn files(&self) -> [&String; 2] {
        [&self.trial, &self.samples_file]
    }

    fn in_record(record: &HttpTrialRecord) -> Option<&Self> {
        record.result.as_ref()
    }

    fn logged(record: PlannedRecord<Self>) -> LogRecord {
        LogRecord::Http(Box::new(record))
    }
}

/// Requests at the same time that servers permitted all clients together.
fn permitted(record: &HttpTrialRecord) -> Option<u64> {
    let all = record.loads().try_fold(0_u64, |sum, (_, load)| sum.checked_add(load.permitted?));
    all.filter(|_| record.spec.protocol.is_http2() && record.loads().next().is_some())
}

/// TLS of all clients together.
fn tls(record: &HttpTrialRecord) -> Option<TlsReport> {
    let mut all = record.loads().filter_map(|(_, load)| load.tls.as_ref());
    let mut sum = all.next()?.clone();
    all.for_each(|one| sum += one);
    Some(sum)
}

/// Answers with 4xx or 5xx.
pub(super) fn refusals(statuses: &BTreeMap<String, u64>) -> u64 {
    ["4xx", "5xx"].iter().filter_map(|class| statuses.get(*class)).copied().fold(0, u64::saturating_add)
}

/// Why a trial is not complete.
fn reasons(
    record: &HttpTrialRecord,
    balance: &Balance,
    churn: Option<&ChurnSummary>,
    lost: &[LostAgent],
) -> Vec<String> {
    let lost = lost.iter().map(|one| format!("{} was lost: {}", one.agent, one.reason));
    let gaps = record.loads().filter_map(|(agent, load)| Some(format!("{agent}: {}", load.requests.gap()?)));
    let told = balance.disagreements.iter().cloned();
    lost.chain(gaps).chain(told).chain(churn.and_then(ChurnSummary::gap)).take(MOST_REASONS).collect()
}

/// Times of all clients together.
fn times(
    record: &HttpTrialRecord,
    of: impl Fn(&LoadReport) -> Option<&Distribution>,
) -> Option<LatencySummary> {
    let all = record.loads().filter_map(|(_, load)| of(load));
    together(all.map(|one| (&one.summary, one.histogram.as_slice())))
}

/// CPU seconds of agents; `None` when there are none, or one of them has no account.
fn cpu_s<'a>(record: &HttpTrialRecord, agents: impl Iterator<Item = &'a str>) -> Option<f64> {
    let seconds = agents.map(|agent| Some(record.agent(agent)?.report.as_ref()?.detail.process_s));
    let all: Vec<f64> = seconds.collect::<Option<_>>()?;
    (!all.is_empty()).then(|| all.iter().sum())
}

fn gate(record: &HttpTrialRecord) -> GateSummary {
    let reports = || record.gate.iter().map(|part| &part.report);
    let first = |report: &linerate_wire::http::GateReport| {
        let answered = report.backends.iter().filter_map(|(name, one)| Some((one.first_ns?, name.clone())));
        answered.max()
    };
    GateSummary {
        waited_s: reports().map(|report| report.waited_ns).max().unwrap_or(0) as f64 / 1e9,
        probes: reports().map(|report| report.probes).fold(0, u64::saturating_add),
        failed: reports().map(|report| report.failed).fold(0, u64::saturating_add),
        last_backend: reports().filter_map(first).max().map(|(_, name)| name),
        last_failure: reports().filter_map(|report| report.last_failure.clone()).next(),
    }
}
