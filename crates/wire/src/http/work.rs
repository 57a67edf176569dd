//! An agent's part in a trial of HTTP.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most connections of a client.
pub const MOST_CONNECTIONS: u32 = 1_000_000;
/// Most requests of a connection at the same time.
const MOST_STREAMS: u32 = 65_536;
/// Most threads of a client.
const MOST_THREADS: u32 = 1024;
/// Latest beginning and longest time of an absence, in milliseconds: a month.
const MOST_ABSENCE_MS: u64 = 30 * 24 * 3_600_000;
/// Highest rate of a client, in requests per second.
const HIGHEST_RATE: f64 = 1e7;
/// Payload of a packet, and bytes of a request's head beside its path.
const SEGMENT_BYTES: usize = 1428;
const HEAD_BYTES: usize = 128;
/// Mean length in bytes of a request's packets and of acknowledgements, without the path.
const PACKET_BYTES: f64 = 160.0;
/// Packets with which a client makes and ends a connection.
const CONNECTION_PACKETS: f64 = 4.0;
/// Packets of its part in a handshake of TLS and in its end, and bytes by which a record is longer than its content.
const HANDSHAKE_PACKETS: f64 = 5.0;
const RECORD_BYTES: usize = 29;
/// Most answers in a row that a gate waits for.
const MOST_TIMES: u32 = 1000;

/// An agent's part in a trial of HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpWork {
    /// Sends requests.
    Load(HttpLoad),
    /// Answers requests, and counts them from the moment it is armed.
    Serve,
    /// Answers requests, is away for a time, and answers again.
    Churn(AbsenceWork),
    /// Probes until every backend answers.
    Gate(HttpGate),
}

/// Requests of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpLoad {
    /// Where they go.
    pub destination: Destination,
    /// Connections that it holds open.
    pub connections: u32,
    /// Threads that share the connections.
    pub threads: u32,
    /// When requests are sent.
    pub arrivals: Arrivals,
    /// Time of sending, in milliseconds.
    pub duration_ms: u64,
    /// Time for an answer, in milliseconds; a request without one has failed then.
    pub timeout_ms: u32,
    /// False: each request has a connection of its own.
    pub keep_alive: bool,
    /// Requests of a connection at the same time, by HTTP/2.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub streams: u32,
    /// Start of the random numbers of Poisson arrivals: the same seed, the same instants.
    #[serde(default)]
    pub seed: u64,
    /// Time from the start to the beginning of an open loop's schedule, in nanoseconds: clients at a constant rate take turns.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub offset_ns: u64,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Addresses; connections are dealt out over them in order.
    pub addresses: Vec<SocketAddr>,
    /// Value of the header `Host`.
    pub host: String,
    /// Path of the request, which begins with a slash.
    pub path: String,
    /// How servers prove who they are; left out: requests are not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerProof>,
    /// True: by HTTP/2.
    #[serde(default, skip_serializing_if = "is_false")]
    pub http2: bool,
}

/// What servers prove by TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerProof {
    /// Name that their certificates must have; a name that is no address is told to them (SNI).
    pub server_name: String,
    /// Certificates of the authorities that are trusted, as PEM; null: those that the client's host trusts.
    pub authorities: Option<String>,
}

/// The name in certificates that backends make for themselves, whatever their addresses are.
pub const BACKEND_SERVER_NAME: &str = "backend.linerate.internal";

fn is_false(value: &bool) -> bool {
    !value
}

fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Closed loop: each connection sends as soon as it has its answer.
    Closed,
    /// Open loop: so many requests per second at equal distances, whatever the answers do.
    Constant(f64),
    /// Open loop: so many requests per second on average, at exponentially distributed distances.
    Poisson(f64),
}

/// Packets that a client sends for a request: its own, an acknowledgement of the answer, and those of a connection when it
/// has one of its own.
pub fn packets_of_a_request(path: &str, keep_alive: bool, tls: bool) -> f64 {
    let record = if tls { RECORD_BYTES } else { 0 };
    let request = (HEAD_BYTES + path.len() + record).div_ceil(SEGMENT_BYTES) as f64;
    let handshake = if tls { HANDSHAKE_PACKETS } else { 0.0 };
    request + 1.0 + if keep_alive { 0.0 } else { CONNECTION_PACKETS + handshake }
}

impl Arrivals {
    /// Packets per second that a client sends, for ceilings; `None` for a closed loop. Mean bytes of a packet with all headers.
    pub fn packets(self, path: &str, keep_alive: bool, tls: bool) -> (Option<f64>, f64) {
        let of_each = packets_of_a_request(path, keep_alive, tls);
        let packet_bytes = PACKET_BYTES + path.len() as f64 / of_each;
        (self.per_second().map(|rate| rate * of_each), packet_bytes)
    }

    /// Requests per second; `None` for a closed loop.
    pub fn per_second(self) -> Option<f64> {
        match self {
            Arrivals::Closed => None,
            Arrivals::Constant(rate) | Arrivals::Poisson(rate) => Some(rate),
        }
    }
}

/// A backend's absence in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbsenceWork {
    /// From the start of the trial to its beginning, in milliseconds.
    pub after_ms: u64,
    /// Its length in milliseconds.
    pub for_ms: u64,
    /// What the backend does.
    pub kind: AbsenceKind,
}

/// How a backend is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AbsenceKind {
    /// As a process that is killed: its connections are reset, new ones refused.
    #[default]
    Killed,
    /// New connections are refused; requests on those that it has are answered.
    NotAccepting,
    /// It says that it is not ready, and serves all the same.
    NotReady,
}

/// Gate before a load: probes, each in a connection of its own, until every backend has answered `times` times
/// without a failure in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGate {
    /// Where probes go.
    pub destination: Destination,
    /// Names of the backends that must answer; none: the destination must answer, whoever does.
    pub backends: Vec<String>,
    /// Answers in a row.
    pub times: u32,
    /// Longest wait, in milliseconds.
    pub limit_ms: u32,
}

/// Where an agent answers requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpDoor {
    /// Its address.
    pub listen: SocketAddr,
    /// The name that its answers carry.
    pub name: String,
    /// The certificate of [`BACKEND_SERVER_NAME`] that it made for itself, as PEM: it answers HTTP/1.1 and HTTP/2, by TLS and without it. Left
    /// out by older agents, which answer HTTP/1.1 without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// Error: a client cannot send such requests.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HttpError {
    /// A number is outside its range.
    #[error("{field}: {value} is outside {least} to {most}")]
    Range {
        /// The field.
        field: &'static str,
        /// Its value.
        value: f64,
        /// Smallest value.
        least: f64,
        /// Largest value.
        most: f64,
    },
    /// There is no address.
    #[error("addresses: there is none")]
    NoAddress,
    /// The text cannot stand in a request.
    #[error("{field}: {text:?} cannot stand in a request; use visible ASCII without spaces{and}")]
    Text {
        /// The field.
        field: &'static str,
        /// The text.
        text: String,
        /// A further condition.
        and: &'static str,
    },
}

impl Destination {
    /// Checks that requests can be written.
    ///
    /// # Errors
    /// The field and the reason.
    pub fn check(&self) -> Result<(), HttpError> {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let wrong = |field, text: &str, and| Err(HttpError::Text { field, text: text.to_owned(), and });
        if self.addresses.is_empty() {
            return Err(HttpError::NoAddress);
        }
        if !plain(&self.host) {
            return wrong("host", &self.host, "");
        }
        if let Some(proof) = self.tls.as_ref().filter(|proof| !plain(&proof.server_name)) {
            return wrong("server_name", &proof.server_name, "");
        }
        if !plain(&self.path) || !self.path.starts_with('/') {
            return wrong("path", &self.path, ", beginning with /");
        }
        Ok(())
    }
}

impl HttpWork {
    /// Checks that an agent can do it.
    ///
    /// # Errors
    /// The field and the reason.
    pub fn check(&self) -> Result<(), HttpError> {
        match self {
            HttpWork::Load(load) => load.check(),
            HttpWork::Serve => Ok(()),
            HttpWork::Churn(absence) => {
                range("after_ms", absence.after_ms as f64, 0.0, MOST_ABSENCE_MS as f64)?;
                range("for_ms", absence.for_ms as f64, 1.0, MOST_ABSENCE_MS as f64)
            }
            HttpWork::Gate(gate) => {
                range("times", gate.times.into(), 1.0, MOST_TIMES.into())?;
                range("limit_ms", gate.limit_ms.into(), 1.0, u32::MAX.into())?;
                gate.destination.check()
            }
        }
    }
}

impl HttpLoad {
    /// Checks that a client can send it.
    ///
    /// # Errors
    /// The field and the reason.
    pub fn check(&self) -> Result<(), HttpError> {
        range("connections", self.connections.into(), 1.0, MOST_CONNECTIONS.into())?;
        range("threads", self.threads.into(), 1.0, MOST_THREADS.into())?;
        range("duration_ms", self.duration_ms as f64, 1.0, u64::MAX as f64)?;
        range("timeout_ms", self.timeout_ms.into(), 1.0, u32::MAX.into())?;
        let most = if self.destination.http2 { MOST_STREAMS } else { 1 };
        range("streams", self.streams.into(), 1.0, most.into())?;
        if let Some(rate) = self.arrivals.per_second() {
            range("rate", rate, 0.01, HIGHEST_RATE)?;
        }
        self.destination.check()
    }
}

fn range(field: &'static str, value: f64, least: f64, most: f64) -> Result<(), HttpError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(HttpError::Range { field, value, least, most }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> HttpLoad {
        HttpLoad {
            destination: Destination {
                addresses: vec!["10.0.0.1:80".parse().unwrap()],
                host: "10.0.0.1".into(),
                path: "/".into(),
                tls: None,
                http2: false,
            },
            connections: 8,
            threads: 1,
            arrivals: Arrivals::Closed,
            duration_ms: 10,
            timeout_ms: 100,
            keep_alive: true,
            streams: 1,
            seed: 7,
            offset_ns: 0,
        }
    }

    #[test]
    fn work_has_a_stable_form() {
        let text = concat!(
            r#"{"load":{"destination":{"addresses":["10.0.0.1:80"],"host":"10.0.0.1","path":"/"},"connections":8,"threads":1,"#,
            r#""arrivals":"closed","duration_ms":10,"timeout_ms":100,"keep_alive":true,"seed":7}}"#
        );
        let work = HttpWork::Load(load());
        assert_eq!(serde_json::to_string(&work).unwrap(), text);
        assert_eq!(serde_json::from_str::<HttpWork>(text).unwrap(), work);
        assert_eq!(serde_json::to_string(&HttpWork::Serve).unwrap(), r#""serve""#);
        let absence =
            HttpWork::Churn(AbsenceWork { after_ms: 5, for_ms: 7, kind: AbsenceKind::NotAccepting });
        let text = r#"{"churn":{"after_ms":5,"for_ms":7,"kind":"notAccepting"}}"#;
        assert_eq!(serde_json::to_string(&absence).unwrap(), text);
        assert_eq!(serde_json::to_string(&Arrivals::Poisson(5.0)).unwrap(), r#"{"poisson":5.0}"#);
    }

    #[test]
    fn impossible_work_names_the_field() {
        let destination = |change: &dyn Fn(&mut Destination)| {
            let mut work = load();
            change(&mut work.destination);
            work.check().map_err(|error| error.to_string())
        };
        assert_eq!(load().check(), Ok(()));
        for (work, part) in [
            (HttpLoad { connections: 0, ..load() }, "connections: 0 is outside 1 to 1000000"),
            (HttpLoad { threads: 0, ..load() }, "threads: 0"),
            (HttpLoad { streams: 2, ..load() }, "streams: 2 is outside 1 to 1"),
            (HttpLoad { arrivals: Arrivals::Constant(0.0), ..load() }, "rate: 0"),
            (HttpLoad { arrivals: Arrivals::Constant(f64::NAN), ..load() }, "rate: NaN"),
        ] {
            let problem = work.check().unwrap_err().to_string();
            assert!(problem.contains(part), "{problem}");
        }
        assert!(destination(&|to| to.addresses.clear()).unwrap_err().contains("there is none"));
        assert!(destination(&|to| to.path = "x".into()).unwrap_err().contains("beginning with /"));
        assert!(destination(&|to| to.host = "a\r\nb: c".into()).unwrap_err().contains("host"));
    }
}
