//! Measures of HTTP at an instant, cumulative since the start.

use serde::{Deserialize, Serialize};

/// Measures of an agent's part in a trial of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpMeasures {
    /// Of a client.
    Load(LoadSample),
    /// Of a backend: answers written.
    Serve(u64),
    /// Of a client at the gate: probes sent.
    Gate(u64),
}

/// Measures of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LoadSample {
    /// Requests that were due.
    pub intended: u64,
    /// Requests given to a connection.
    pub sent: u64,
    /// Requests skipped.
    pub skipped: u64,
    /// Requests with a whole answer.
    pub answered: u64,
    /// Requests that failed.
    pub failed: u64,
}
