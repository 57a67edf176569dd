//! `spec.http`: requests to load balancers and servers, as written.

use std::fmt;

use linerate_wire::http::AbsenceKind;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_saphyr::Spanned;

use super::protocol::HttpProtocol;
use super::search::HttpSearchSection;
use super::target::HttpTarget;
use crate::document::unplaced;
use crate::ranged::{Ranged, SpanIn};

/// Number of backends.
pub(super) type Backends = Ranged<1, 250>;
/// Connections of a trial.
pub(super) type Connections = Ranged<1, 1_000_000>;
/// Requests of a connection at the same time.
pub(super) type Streams = Ranged<1, 65_536>;
/// Threads of a client.
pub(super) type Threads = Ranged<1, 1024>;
/// Highest rate in requests per second.
const HIGHEST_RATE: f64 = 1e7;
/// Lowest rate.
const LOWEST_RATE: f64 = 0.01;
const HOUR_MS: u64 = 3_600_000;

/// A matrix of HTTP load: every target with every number of backends, connections, threads and rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpSection {
    /// What requests are sent to: `direct` (the backends in turn); on platform local `nftables-random`, `nftables-inc`, `ipvs-rr`, `ipvs-wrr`,
    /// `ipvs-lc`, `ipvs-sh`, `haproxy`; on platform kubernetes `cluster-ip`, `node-port`; or a URL of servers that run already, for which no
    /// backends are started.
    #[schemars(with = "Vec<HttpTarget>", length(min = 1))]
    pub targets: Spanned<Vec<HttpTarget>>,
    /// How requests are sent: `http` (HTTP/1.1), `https` (HTTP/1.1 by TLS), `h2` (HTTP/2 by TLS), `h2c` (HTTP/2 without it). A URL is asked by
    /// those of its scheme; without the list, all targets by HTTP/1.1. By TLS, clients check the certificates, which backends make for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<HttpProtocol>>", length(min = 1))]
    pub protocols: Option<Spanned<Vec<HttpProtocol>>>,
    /// Requests of a connection of HTTP/2 at the same time; 1 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Streams>>", length(min = 1))]
    pub streams: Option<Spanned<Vec<Streams>>>,
    /// PEM file with the authorities of the servers behind `https` URLs; without it, those that the clients' hosts trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Numbers of backends behind the target.
    #[schemars(with = "Vec<Backends>", length(min = 1))]
    pub backends: Spanned<Vec<Backends>>,
    /// Connections of all clients together.
    #[schemars(with = "Vec<Connections>", length(min = 1))]
    pub connections: Spanned<Vec<Connections>>,
    /// Threads of each client; 1 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Threads>>", length(min = 1))]
    pub threads: Option<Spanned<Vec<Threads>>>,
    /// Requests per second of all clients together, such as 5000 (open loop), or `max` (closed loop: each connection sends when it has its answer).
    #[schemars(with = "Vec<RequestRate>", length(min = 1))]
    pub rates: Spanned<Vec<RequestRate>>,
    /// Open loop: distances between requests.
    pub arrivals: ArrivalKind,
    /// Clients, which share connections and rate.
    pub clients: Ranged<1, 1000>,
    /// Path of the requests; a URL has its own.
    pub path: String,
    /// False: each request has a connection of its own.
    pub keep_alive: bool,
    /// Time for an answer.
    pub timeout: SpanIn<1, HOUR_MS>,
    /// Wait for the backends before each trial.
    pub gate: GateSection,
    /// The last backend of each trial goes away while it is loaded, and comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn: Option<ChurnSection>,
    /// A search for the highest rate, in place of `rates`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<HttpSearchSection>,
}

/// A backend that goes away and comes back within each trial.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChurnSection {
    /// From the start of the trial until it goes.
    pub after: SpanIn<1, HOUR_MS>,
    /// Time that it is away.
    #[serde(rename = "for")]
    pub away: SpanIn<1, HOUR_MS>,
    /// How it is away: `killed` (connections are reset, new ones refused), `notAccepting` (new ones are refused), or, behind a Service of Kubernetes,
    /// `notReady` (its readiness probe fails, and it serves all the same).
    #[serde(default)]
    pub kind: AbsenceKind,
}

/// Wait before each trial: it begins when every backend has answered every client, in fresh connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GateSection {
    /// How often each backend must have answered, without a failure in between.
    pub times: Ranged<1, 1000>,
    /// Longest wait; the trial fails after it.
    pub timeout: SpanIn<100, HOUR_MS>,
}

/// Distances between the requests of an open loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArrivalKind {
    /// Equal.
    #[default]
    Constant,
    /// Exponentially distributed, as of many independent users.
    Poisson,
}

/// Requests per second: a number, or `max` for a closed loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RequestRate {
    /// Closed loop.
    Max,
    /// Open loop of so many requests per second.
    PerSecond(f64),
}

impl RequestRate {
    /// Requests per second; `None` for a closed loop.
    pub fn per_second(self) -> Option<f64> {
        match self {
            RequestRate::Max => None,
            RequestRate::PerSecond(rate) => Some(rate),
        }
    }
}

impl fmt::Display for RequestRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestRate::Max => f.write_str("max"),
            RequestRate::PerSecond(rate) => write!(f, "{rate}"),
        }
    }
}

impl Serialize for RequestRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            RequestRate::Max => serializer.serialize_str("max"),
            RequestRate::PerSecond(rate) => serializer.serialize_f64(*rate),
        }
    }
}

impl<'de> Deserialize<'de> for RequestRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rate;

        impl Rate {
            fn refuse<T, E: de::Error>(value: impl fmt::Display) -> Result<T, E> {
                Err(E::custom(format_args!(
                    "'{value}' is no rate; give requests per second from {LOWEST_RATE} to {HIGHEST_RATE}, such as 5000, or max for a closed loop"
                )))
            }
        }

        impl Visitor<'_> for Rate {
            type Value = RequestRate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("requests per second, or max")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
                match (LOWEST_RATE..=HIGHEST_RATE).contains(&value) {
                    true => Ok(RequestRate::PerSecond(value)),
                    false => Self::refuse(value),
                }
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                self.visit_f64(value as f64)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                self.visit_f64(value as f64)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
                if value == "max" { Ok(RequestRate::Max) } else { Self::refuse(value) }
            }
        }

        deserializer.deserialize_any(Rate)
    }
}

impl JsonSchema for RequestRate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RequestRate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Requests per second of an open loop, or `max` for a closed one.",
            "oneOf": [{ "type": "number", "minimum": LOWEST_RATE, "maximum": HIGHEST_RATE }, { "const": "max" }]
        })
    }
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            targets: unplaced(vec![HttpTarget::Direct]),
            protocols: None,
            streams: None,
            ca: None,
            backends: unplaced(vec![Ranged::of::<1>()]),
            connections: unplaced(vec![Ranged::of::<64>()]),
            threads: None,
            rates: unplaced(vec![RequestRate::Max]),
            arrivals: ArrivalKind::Constant,
            clients: Ranged::of::<1>(),
            path: "/".to_owned(),
            keep_alive: true,
            timeout: SpanIn::of_millis::<5000>(),
            gate: GateSection::default(),
            churn: None,
            search: None,
        }
    }
}

impl Default for GateSection {
    fn default() -> Self {
        Self { times: Ranged::of::<3>(), timeout: SpanIn::of_millis::<30_000>() }
    }
}
