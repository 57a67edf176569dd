//! Record of one trial of HTTP: `trial.json`, and its samples beside it.

use std::collections::BTreeMap;

use linerate_experiment::http::HttpProfile;
use linerate_wire::host::HostSample;
use linerate_wire::http::{GateReport, HttpMeasures, LoadReport, LoadSample, ServeReport};
use linerate_wire::sample::{Measures, Sample};
use serde::{Deserialize, Serialize};

use super::trial::HttpTrialSummary;
use crate::nodes::WatchedNode;
use crate::store::inner_path;
use crate::streams::AgentPart;

/// Name of the file's schema.
pub const HTTP_TRIAL_SCHEMA: &str = "linerate.dev/http-trial/v1alpha1";

/// Record of one trial of HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpTrialRecord {
    /// [`HTTP_TRIAL_SCHEMA`].
    pub schema: String,
    /// Name of the profile.
    #[serde(deserialize_with = "inner_path::name")]
    pub profile: String,
    /// Number of the repeat.
    pub repeat: u32,
    /// The trial's figures; null when it was not finished.
    pub result: Option<HttpTrialSummary>,
    /// When sending began, in UTC (RFC 3339); null if it did not begin.
    pub started_at: Option<String>,
    /// What the clients send, together.
    pub spec: HttpProfile,
    /// Addresses to which connections go.
    pub addresses: Vec<String>,
    /// Seconds between samples.
    pub sample_interval_s: f64,
    /// The gate before the trial, by client.
    pub gate: Vec<GatePart>,
    /// The agents of the trial: clients, then backends.
    pub agents: Vec<AgentPart>,
    /// Nodes beside the trial, as agents in the nodes' own networks saw them; absent where none watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<WatchedNode>,
    /// The clients' accounts.
    pub clients: Vec<ClientPart>,
    /// The backends' accounts; empty for servers of the user's.
    pub backends: Vec<BackendPart>,
    /// The balancer; null where Linerate has started none.
    pub balancer: Option<BalancerPart>,
    /// When the agents began, on one clock; left out by earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<AgentStarts>,
}

/// When agents began, on one clock: what each of them tells counts from its own start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStarts {
    /// Nanoseconds after the first of them, by name; those that were lost are left out.
    pub after_ns: BTreeMap<String, u64>,
    /// Uncertainty of the time between two of them, in nanoseconds.
    pub uncertainty_ns: u64,
}

/// A client at the gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatePart {
    /// Its name.
    #[serde(deserialize_with = "inner_path::name")]
    pub agent: String,
    /// Its account.
    pub report: GateReport,
}

/// A client's account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientPart {
    /// Its name.
    #[serde(deserialize_with = "inner_path::name")]
    pub agent: String,
    /// Its account; null when it was lost.
    pub report: Option<LoadReport>,
}

/// A backend's account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackendPart {
    /// Its name, which its answers carry.
    #[serde(deserialize_with = "inner_path::name")]
    pub agent: String,
    /// Its account; null when it was lost.
    pub report: Option<ServeReport>,
}

/// A balancer that Linerate has started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BalancerPart {
    /// Its kind and version, such as `haproxy 2.6.12`.
    pub program: String,
    /// CPU seconds of its process in the trial; null for a balancer in the kernel.
    pub cpu_s: Option<f64>,
    /// Seconds of that period.
    pub elapsed_s: f64,
}

impl HttpTrialRecord {
    /// The part of the agent of this name.
    pub fn agent(&self, name: &str) -> Option<&AgentPart> {
        self.agents.iter().find(|part| part.agent == name)
    }

    /// Accounts of the clients that have one.
    pub fn loads(&self) -> impl Iterator<Item = (&str, &LoadReport)> + Clone {
        self.clients.iter().filter_map(|part| Some((part.agent.as_str(), part.report.as_ref()?)))
    }
}

/// A line of the file of samples: what an agent measured at an instant, cumulative since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpSampleLine {
    /// The agent.
    pub agent: String,
    /// Nanoseconds since the start of the trial.
    pub at_ns: i64,
    /// Requests of a client; null for a backend.
    pub load: Option<LoadSample>,
    /// Answers of a backend; null for a client.
    pub served: Option<u64>,
    /// Its host; null when it takes no such samples.
    pub host: Option<HostSample>,
}

impl HttpSampleLine {
    /// The line of a sample of a trial that began at `started_ns` on the agent's clock; `None` for a sample of
    /// other traffic.
    pub fn of(agent: &str, sample: &Sample, started_ns: u64) -> Option<Self> {
        let Measures::Http(measures) = &sample.measures else { return None };
        let (load, served) = match measures {
            HttpMeasures::Load(load) => (Some(*load), None),
            HttpMeasures::Serve(answers) => (None, Some(*answers)),
            HttpMeasures::Gate(_) => return None,
        };
        let at_ns = sample.at_ns.wrapping_sub(started_ns) as i64;
        Some(Self { agent: agent.to_owned(), at_ns, load, served, host: sample.host })
    }
}
