//! Diagnosis of a path as the work of agents: one answers measurements, the other makes them and says what it found.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::streams::{Load, MOST_STREAMS};

/// Longest measurement of a diagnosis, in milliseconds: an hour.
const LONGEST_MS: u64 = 3_600_000;

/// An agent's part in a diagnosis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiagnosisWork {
    /// It answers the measurements of those who know the secret, where its streams arrive.
    Answer {
        /// The secret.
        token: Secret,
    },
    /// It measures.
    Ask(Box<DiagnosisAsk>),
}

/// A diagnosis of the path to a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiagnosisAsk {
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Secret that the server demands.
    pub token: Secret,
    /// Local address; absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// Interface; absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// What is measured.
    pub spec: DiagnosisSpec,
}

/// What a diagnosis measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiagnosisSpec {
    /// Time of sending of each measurement, in milliseconds; those of single CPUs take half of it.
    pub duration_ms: u64,
    /// Load of TCP.
    pub load: Load,
    /// Load of datagrams; null: one that TCP says the path can carry.
    pub datagrams: Option<Load>,
    /// Streams of the measurement with several; 1 leaves it out.
    pub parallel: u32,
    /// Send and receive buffer of TCP in bytes; null: the kernel's.
    pub window_bytes: Option<u32>,
    /// Ends whose CPUs are tried one by one.
    pub sweep: SweepEnds,
    /// CPUs of the asking end that are tried; empty: a few at equal distances.
    #[serde(default)]
    pub sweep_cpus: Vec<u32>,
    /// Nodes whose BGP port must answer.
    #[serde(default)]
    pub nodes: Vec<IpAddr>,
}

impl DiagnosisSpec {
    /// Checks the values.
    ///
    /// # Errors
    /// Option, value and range.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=LONGEST_MS).contains(&self.duration_ms) {
            return Err(format!("--duration: {} ms are outside 1 ms to 1 h", self.duration_ms));
        }
        if !(1..=MOST_STREAMS).contains(&self.parallel) {
            return Err(format!("--parallel must be 1 to {MOST_STREAMS}"));
        }
        if self.window_bytes == Some(0) {
            return Err("--window must be more than zero".to_owned());
        }
        Ok(())
    }
}

/// Ends whose CPUs are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SweepEnds {
    /// Both.
    Both,
    /// That of the client, which asks.
    Client,
    /// That of the server, which answers.
    Server,
    /// Neither.
    None,
}

impl SweepEnds {
    /// The names, as users write them.
    pub const NAMES: [&str; 4] = ["both", "client", "server", "none"];
}

impl FromStr for SweepEnds {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "both" => Ok(Self::Both),
            "client" => Ok(Self::Client),
            "server" => Ok(Self::Server),
            "none" => Ok(Self::None),
            other => Err(format!("'{other}' is none of {}", Self::NAMES.join(", "))),
        }
    }
}

/// A secret on its way to an agent. It is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What an agent is at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DiagnosisMeasures {
    /// The measurement in progress, in words; empty at the end that answers.
    pub step: String,
}

/// What became of an agent's part in a diagnosis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiagnosisReport {
    /// It answered.
    Answered,
    /// It measured, and found this.
    Found(Box<DiagnosisFound>),
    /// It could not measure: the reason and the remedy.
    Failed(String),
}

/// Findings of a diagnosis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiagnosisFound {
    /// Measurements, views of both hosts and findings: the object that `linerate-hostplane diagnose --json` prints.
    pub diagnosis: serde_json::Value,
    /// The same for people.
    pub text: String,
    /// True when something does not work.
    pub has_fault: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_secrets_are_not_shown() {
        let good = DiagnosisSpec {
            duration_ms: 2000,
            load: Load::Max,
            datagrams: None,
            parallel: 4,
            window_bytes: None,
            sweep: SweepEnds::Both,
            sweep_cpus: Vec::new(),
            nodes: Vec::new(),
        };
        assert_eq!(good.check(), Ok(()));
        for (bad, part) in [
            (DiagnosisSpec { duration_ms: 0, ..good.clone() }, "--duration"),
            (DiagnosisSpec { duration_ms: LONGEST_MS + 1, ..good.clone() }, "--duration"),
            (DiagnosisSpec { parallel: 0, ..good.clone() }, "--parallel"),
            (DiagnosisSpec { window_bytes: Some(0), ..good.clone() }, "--window"),
        ] {
            assert!(bad.check().unwrap_err().contains(part), "{bad:?}");
        }
        let work = DiagnosisWork::Answer { token: Secret("0123456789abcdef".to_owned()) };
        assert!(!format!("{work:?}").contains("0123"), "{work:?}");
        let text = serde_json::to_string(&work).unwrap();
        assert_eq!(text, r#"{"answer":{"token":"0123456789abcdef"}}"#);
        for name in SweepEnds::NAMES {
            let ends: SweepEnds = name.parse().unwrap();
            assert_eq!(serde_json::to_value(ends).unwrap(), name);
        }
    }
}
