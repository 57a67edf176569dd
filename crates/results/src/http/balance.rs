//! Requests by backend: the clients' counts beside the backends' own. Pure.

use std::collections::BTreeMap;

use linerate_experiment::http::{HttpProtocol, HttpTarget};
use linerate_wire::http::RequestCounts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evenness::{Evenness, EvennessUnit};
use super::record::HttpTrialRecord;

/// A backend in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct BackendShare {
    /// Whole answers with its name that clients received.
    pub answers: u64,
    /// Requests that it read; null where it has no account.
    pub requests: Option<u64>,
    /// Answers that it wrote; null where it has no account.
    pub answered: Option<u64>,
    /// Connections that it accepted; null where it has no account.
    pub connections: Option<u64>,
}

/// How requests were spread, and whether both ends agree.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// By name of the backend.
    pub backends: BTreeMap<String, BackendShare>,
    /// Answers without a name.
    pub unnamed: u64,
    /// Test of evenness; `None` for fewer than two backends, without a balancer or for one that is not meant to be even, and
    /// for kept connections to a URL. Of servers behind a URL, those that answered are tested.
    pub evenness: Option<Evenness>,
    /// Contradictions between clients and backends, each in one sentence.
    pub disagreements: Vec<String>,
}

impl Balance {
    /// Spread of a trial with these sums over all clients.
    pub fn of(record: &HttpTrialRecord, requests: &RequestCounts, written: u64) -> Self {
        let mut backends: BTreeMap<String, BackendShare> =
            record.backends.iter().map(|part| (part.agent.clone(), BackendShare::default())).collect();
        let mut unnamed = 0_u64;
        for (_, load) in record.loads() {
            unnamed = unnamed.saturating_add(load.unnamed);
            for (name, answers) in &load.by_backend {
                let share = backends.entry(name.clone()).or_default();
                share.answers = share.answers.saturating_add(*answers);
            }
        }
        for part in &record.backends {
            let (Some(report), Some(share)) = (&part.report, backends.get_mut(&part.agent)) else { continue };
            share.requests = Some(report.requests);
            share.answered = Some(report.answered);
            share.connections = Some(report.connections);
        }
        let mut balance = Self { backends, unnamed, evenness: None, disagreements: Vec::new() };
        balance.evenness = balance.test(record);
        balance.disagreements = balance.disagreements(record, requests, written);
        balance
    }

    fn test(&self, record: &HttpTrialRecord) -> Option<Evenness> {
        let target = &record.spec.target;
        // Nothing is balanced in front of `direct`, and a backend that is away is to have fewer.
        if record.spec.churn.is_some() || !target.is_even() || !target.is_balancer() {
            return None;
        }
        // haproxy looks into HTTP/1.1 alone; what else there is passes through it.
        let by_request = *target == HttpTarget::Haproxy && record.spec.protocol == HttpProtocol::Http;
        if !record.spec.keep_alive || by_request {
            let counts: Vec<u64> = self.backends.values().map(|one| one.answers).collect();
            return Evenness::of(EvennessUnit::Requests, &counts);
        }
        // Requests of a kept connection go to one backend, so only connections are independent. Servers of the user's have no
        // account of theirs.
        let counts: Vec<u64> = self.backends.values().map(|one| one.connections).collect::<Option<_>>()?;
        Evenness::of(EvennessUnit::Connections, &counts)
    }

    /// Clients cannot have more answers of a backend than it wrote, and it cannot have written more than clients received,
    /// but for requests that clients gave up.
    fn disagreements(&self, record: &HttpTrialRecord, requests: &RequestCounts, written: u64) -> Vec<String> {
        if record.backends.is_empty() || record.clients.iter().any(|part| part.report.is_none()) {
            return Vec::new();
        }
        let given_up = requests.failures().saturating_add(requests.unfinished);
        let mut told = Vec::new();
        for (name, share) in &self.backends {
            let BackendShare { answers, answered: Some(answered), requests: Some(read), .. } = *share else {
                if share.answers > 0 && !record.backends.iter().any(|part| part.agent == *name) {
                    told.push(format!(
                        "{} answers carry the name {name}, which is no backend of the trial",
                        share.answers
                    ));
                }
                continue;
            };
            if answers > answered {
                told.push(format!("clients received {answers} answers of {name}, which wrote {answered}"));
            } else if answered - answers > given_up {
                told.push(format!(
                    "{name} wrote {answered} answers, clients received {answers} of it and gave up {given_up} requests in all"
                ));
            }
            if answered > read {
                told.push(format!("{name} wrote {answered} answers to {read} requests"));
            }
        }
        // An error has a message of the balancer's for a body.
        let errors = record
            .loads()
            .flat_map(|(_, load)| &load.statuses)
            .filter(|(class, _)| *class != "2xx")
            .map(|(_, count)| *count)
            .fold(0, u64::saturating_add);
        if self.unnamed > errors {
            told.push(format!("{} answers carry no name of a backend", self.unnamed));
        }
        let others = record.loads().map(|(_, load)| load.others).fold(0, u64::saturating_add);
        if others > 0 {
            told.push(format!("{others} answers carry further names, of which none is that of a backend"));
        }
        let read =
            self.backends.values().try_fold(0_u64, |sum, share| Some(sum.saturating_add(share.requests?)));
        if let Some(read) = read.filter(|read| *read > written) {
            told.push(format!("backends read {read} requests, clients wrote {written}"));
        }
        told
    }
}
