//! An agent's account of its part in a trial of HTTP.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::Distribution;
use crate::streams::CpuUse;

/// An agent's account of its part in a trial of HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpReport {
    /// What it did.
    pub part: HttpPart,
    /// CPU time of the agent and its host.
    pub cpu: CpuUse,
}

/// Account of a part, by its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpPart {
    /// Of a client.
    Load(Box<LoadReport>),
    /// Of a backend.
    Serve(ServeReport),
    /// Of a client at the gate.
    Gate(GateReport),
}

/// Account of a client.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LoadReport {
    /// Seconds from the start to the end of sending.
    pub duration_s: f64,
    /// Its requests.
    pub requests: RequestCounts,
    /// Its connections.
    pub connections: Connections,
    /// Answers by the name of the backend in them.
    pub by_backend: BTreeMap<String, u64>,
    /// Answers without a name.
    pub unnamed: u64,
    /// Answers with names beyond those that are told apart.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub others: u64,
    /// Whole answers by the class of their status, such as `2xx`.
    pub statuses: BTreeMap<String, u64>,
    /// Requests of which at least one byte was written: those that a server can have seen.
    pub written: u64,
    /// Requests that were due and waited for a connection, however short; null from older agents.
    #[serde(default)]
    pub queued: Option<u64>,
    /// Bytes of requests written.
    pub sent_bytes: u64,
    /// Bytes of answers read.
    pub received_bytes: u64,
    /// Answers whose last byte came within the time of sending.
    pub answered_in_time: u64,
    /// Times of its requests.
    pub times: RequestTimes,
    /// Failures in short times, as milliseconds since the start and number; those with a status of 5xx included.
    pub failure_bins: Vec<(u64, u64)>,
    /// Failures after the last of these times that is kept.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub failures_without_time: u64,
    /// Its workers.
    pub workers: Vec<LoadWorker>,
    /// The first failure of a connection in words; null without one.
    pub first_failure: Option<String>,
    /// TLS of its connections; null without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsReport>,
    /// Requests that servers of HTTP/2 permitted to be under way at the same time, all connections together; null with HTTP/1.1, and when they said
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permitted: Option<u64>,
}

/// TLS of a client's connections, or of all clients'.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct TlsReport {
    /// What the first handshake agreed on, such as `TLSv1.3`; null when none was completed.
    pub version: Option<String>,
    /// Its cipher suite.
    pub cipher: Option<String>,
    /// Handshakes that were completed.
    pub handshakes: u64,
    /// Of those, handshakes that took up an earlier session.
    pub resumed: u64,
    /// Handshakes that failed, by kind.
    pub failed: BTreeMap<String, u64>,
}

impl std::ops::AddAssign<&TlsReport> for TlsReport {
    fn add_assign(&mut self, other: &TlsReport) {
        self.version = self.version.take().or_else(|| other.version.clone());
        self.cipher = self.cipher.take().or_else(|| other.cipher.clone());
        add(&mut self.handshakes, other.handshakes);
        add(&mut self.resumed, other.resumed);
        for (kind, count) in &other.failed {
            add(self.failed.entry(kind.clone()).or_default(), *count);
        }
    }
}

/// Distributions of the times of requests, in nanoseconds; null when nothing was measured. What counts from intended
/// instants is null for a closed loop, which has none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RequestTimes {
    /// Corrected latency: from the intended instant of a request to the last byte of its answer.
    pub corrected: Option<Distribution>,
    /// Service time: from when its first byte was written to the last byte of its answer.
    pub service: Option<Distribution>,
    /// From when its first byte was written to the first byte of its answer.
    pub first_byte: Option<Distribution>,
    /// From the intended instant to when a connection was given it: the client's own error, and waiting for a connection.
    pub send_error: Option<Distribution>,
    /// Time for a connection to be made.
    pub connect: Option<Distribution>,
}

/// A worker thread of a client.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoadWorker {
    /// The CPU that it is pinned to; null: wherever the scheduler puts it.
    pub cpu: Option<u32>,
    /// Its connections.
    pub connections: u32,
    /// CPU time in seconds.
    pub cpu_s: f64,
    /// Of that, seconds in which it waited in a loop for a request to be due.
    pub spun_s: f64,
}

/// Requests of a client or of a trial: `intended = sent + skipped`, `sent = answered + failed + unfinished`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct RequestCounts {
    /// Requests that were due. Closed loop: those sent.
    pub intended: u64,
    /// Requests given to a connection.
    pub sent: u64,
    /// Requests that were due, and never sent because no connection was free in time.
    pub skipped: u64,
    /// Requests with a whole answer, whatever its status.
    pub answered: u64,
    /// Requests that failed, by kind of failure.
    pub failed: BTreeMap<String, u64>,
    /// Requests without an answer when the trial was over.
    pub unfinished: u64,
}

impl RequestCounts {
    /// Number of failed requests.
    pub fn failures(&self) -> u64 {
        self.failed.values().copied().fold(0, u64::saturating_add)
    }

    /// Why the counts do not add up; `None` when they do.
    pub fn gap(&self) -> Option<String> {
        let Self { intended, sent, skipped, answered, unfinished, .. } = self;
        let failed = self.failures();
        if u128::from(*intended) != u128::from(*sent) + u128::from(*skipped) {
            return Some(format!("{intended} requests were intended, {sent} sent and {skipped} skipped"));
        }
        let ended = [*answered, failed, *unfinished].map(u128::from).into_iter().sum::<u128>();
        (u128::from(*sent) != ended).then(|| {
            format!(
                "{sent} requests were sent, {answered} answered, {failed} failed and {unfinished} are unfinished"
            )
        })
    }
}

impl std::ops::AddAssign<&RequestCounts> for RequestCounts {
    fn add_assign(&mut self, other: &RequestCounts) {
        add(&mut self.intended, other.intended);
        add(&mut self.sent, other.sent);
        add(&mut self.skipped, other.skipped);
        add(&mut self.answered, other.answered);
        add(&mut self.unfinished, other.unfinished);
        for (kind, count) in &other.failed {
            add(self.failed.entry(kind.clone()).or_default(), *count);
        }
    }
}

/// Connections of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    /// Connections opened, reopened ones included.
    pub opened: u64,
    /// Attempts that failed.
    pub refused: u64,
    /// Connections opened again after their first one had ended.
    pub reopened: u64,
    /// Connections that the server closed between requests without having said so.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub closed_idle: u64,
    /// Connections on which bytes came that no request had asked for.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub unsolicited: u64,
}

impl std::ops::AddAssign for Connections {
    fn add_assign(&mut self, Self { opened, refused, reopened, closed_idle, unsolicited }: Self) {
        add(&mut self.closed_idle, closed_idle);
        add(&mut self.unsolicited, unsolicited);
        add(&mut self.opened, opened);
        add(&mut self.refused, refused);
        add(&mut self.reopened, reopened);
    }
}

/// Adds a count. Sums of plausible ones are exact; others stay at the largest number, which agrees with no account.
fn add(sum: &mut u64, count: u64) {
    *sum = sum.saturating_add(count);
}

/// Account of a backend: what it counted from when it was armed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServeReport {
    /// The name that its answers carry.
    pub name: String,
    /// Requests read.
    pub requests: u64,
    /// Answers written.
    pub answered: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Its absence; null when it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absence: Option<AbsenceReport>,
}

/// A backend's absence, in nanoseconds since the start of the trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AbsenceReport {
    /// When it left; null when the trial ended before.
    pub left_ns: Option<u64>,
    /// When it listened again; null when it did not.
    pub returned_ns: Option<u64>,
    /// When it had read the first request after that; null without one.
    pub first_request_ns: Option<u64>,
    /// Connections that it reset when it left.
    pub cut_connections: u64,
    /// When the last new connection came while it was away; null without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_connection_ns: Option<u64>,
}

/// Account of a client at the gate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GateReport {
    /// True when every backend answered often enough in a row.
    pub passed: bool,
    /// Nanoseconds until it passed, or was given up.
    pub waited_ns: u64,
    /// Probes sent, each in a connection of its own.
    pub probes: u64,
    /// Of those, probes without a whole answer.
    pub failed: u64,
    /// Reason of the latest failure; null without one.
    pub last_failure: Option<String>,
    /// By name of a backend: those that must answer, and those that answered besides.
    pub backends: BTreeMap<String, GateAnswers>,
}

/// A backend's answers at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GateAnswers {
    /// Answers.
    pub answers: u64,
    /// Nanoseconds from the start to its first answer; null when it did not answer.
    pub first_ns: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_or_say_why_not() {
        let counts = RequestCounts {
            intended: 10,
            sent: 8,
            skipped: 2,
            answered: 5,
            failed: BTreeMap::from([("timeout".to_owned(), 1), ("reset".to_owned(), 1)]),
            unfinished: 1,
        };
        assert_eq!((counts.failures(), counts.gap()), (2, None));
        let mut twice = counts.clone();
        twice += &counts;
        assert_eq!((twice.intended, twice.failed["reset"], twice.gap()), (20, 2, None));
        let lost = RequestCounts { unfinished: 0, ..counts.clone() };
        assert!(lost.gap().unwrap().contains("8 requests were sent, 5 answered, 2 failed and 0"));
        let unsent = RequestCounts { skipped: 1, ..counts };
        assert!(unsent.gap().unwrap().contains("10 requests were intended"));
    }
}
