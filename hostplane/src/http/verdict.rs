//! What limited a trial.

use serde::Serialize;

/// What limited the requests per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HttpLimit {
    /// Nothing: every intended request was sent when it was due.
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

/// What limited a trial, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct HttpVerdict {
    pub(crate) limit: HttpLimit,
    /// Sentences with the numbers.
    pub(crate) evidence: Vec<String>,
}
