//! Profiles of HTTP load: the places of the matrix in `spec.http`. Pure.

use linerate_wire::http::{AbsenceKind, AbsenceWork, Arrivals, MOST_CONNECTIONS};
use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, Spanned};

use super::protocol::HttpProtocol;
use super::search::HttpSearchPlace;
use super::section::{ArrivalKind, HttpSection, RequestRate};
use super::target::HttpTarget;

/// Load of a trial: all of its clients together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpProfile {
    /// Its name, under which results are filed, such as `direct_4_backends_64_connections_max`.
    pub name: String,
    /// What requests are sent to.
    pub target: HttpTarget,
    /// Backends behind it; 0 for a URL, whose servers are the user's.
    pub backends: u32,
    /// How requests are sent.
    #[serde(default, skip_serializing_if = "HttpProtocol::is_usual")]
    pub protocol: HttpProtocol,
    /// Requests of a connection at the same time; 1 with HTTP/1.1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub streams: u32,
    /// File of the authorities of servers behind a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Clients.
    pub clients: u32,
    /// Connections of all clients.
    pub connections: u32,
    /// Threads of each client.
    pub threads: u32,
    /// When all clients together send.
    pub arrivals: Arrivals,
    /// Path of the requests.
    pub path: String,
    /// False: each request has a connection of its own.
    pub keep_alive: bool,
    /// Time for an answer in milliseconds.
    pub timeout_ms: u32,
    /// Time of sending in milliseconds.
    pub duration_ms: u64,
    /// Answers of each backend in a row before the trial begins.
    pub gate_times: u32,
    /// Longest wait for them in milliseconds.
    pub gate_limit_ms: u32,
    /// Absence of the last backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub churn: Option<AbsenceWork>,
    /// The trial's part in a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<HttpSearchPlace>,
}

type Wrong = (Location, String);

fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

impl HttpSection {
    /// The profiles of the matrix, in the order target, protocol, streams, connections, threads, rate, backends, each for `duration_ms`.
    ///
    /// # Errors
    /// The first value that clients cannot have.
    pub(crate) fn profiles(&self, duration_ms: u64) -> Result<Vec<HttpProfile>, Wrong> {
        let targets = not_empty("targets", &self.targets)?;
        let backends = not_empty("backends", &self.backends)?;
        let connections = not_empty("connections", &self.connections)?;
        let threads = self.threads.as_ref().map(|threads| not_empty("threads", threads)).transpose()?;
        let rates = not_empty("rates", &self.rates)?;
        let slash = self.path.starts_with('/') && self.path.bytes().all(|byte| byte.is_ascii_graphic());
        if !slash {
            let problem = format!(
                "spec.http.path: '{}' is no path; begin it with a slash, and use visible ASCII without spaces",
                self.path
            );
            return Err((Location::UNKNOWN, problem));
        }
        let threads: Vec<Option<u32>> = match threads {
            Some(list) => list.iter().map(|threads| Some(threads.get_u32())).collect(),
            None => vec![None],
        };
        let mut profiles = Vec::new();
        for target in targets {
            let numbers: Vec<u32> = match target.has_backends() {
                true => backends.iter().map(|number| number.get_u32()).collect(),
                false => vec![0],
            };
            for by in self.ways(target)? {
                for connections in connections {
                    for threads in &threads {
                        for rate in rates {
                            for backends in &numbers {
                                let place = (*backends, connections.get_u32(), *threads, *rate);
                                profiles.push(self.profile(target, by, place, duration_ms)?);
                            }
                        }
                    }
                }
            }
        }
        if self.ca.is_some() && profiles.iter().all(|profile| profile.ca.is_none()) {
            let problem = "spec.http.ca: it is for https URLs, and spec.http.targets has none; remove it, as backends of the run are known by their \
                           own certificates";
            return Err((Location::UNKNOWN, problem.to_owned()));
        }
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = profiles.iter().find(|profile| !names.insert(&profile.name)) {
            let problem = format!(
                "spec.http: two profiles have the name {}, and results are filed under it; remove a value that stands twice",
                twice.name
            );
            return Err((Location::UNKNOWN, problem));
        }
        Ok(profiles)
    }

    /// Protocols by which a target is asked, with the requests of a connection at the same time where they are chosen.
    fn ways(&self, target: &HttpTarget) -> Result<Vec<(HttpProtocol, Option<u32>)>, Wrong> {
        let is_tls = match target {
            HttpTarget::Url(url) => Some(url.is_tls()),
            _ => None,
        };
        let usual = if is_tls == Some(true) { HttpProtocol::Https } else { HttpProtocol::Http };
        let asked = self.protocols.as_ref().map(|list| not_empty("protocols", list)).transpose()?;
        let streams = self.streams.as_ref().map(|list| not_empty("streams", list)).transpose()?;
        let (protocols, place) = match (asked, &self.protocols) {
            (Some(list), Some(spanned)) => (list.clone(), spanned.referenced),
            _ => (vec![usual], Location::UNKNOWN),
        };
        let wrong = |problem: String| Err((place, problem));
        if streams.is_some() && !protocols.iter().any(|protocol| protocol.is_http2()) {
            return wrong(
                "spec.http.streams: they are for h2 and h2c, and spec.http.protocols has neither".to_owned(),
            );
        }
        if !self.keep_alive && protocols.iter().any(|protocol| protocol.is_http2()) {
            return wrong(
                "spec.http.keepAlive: only HTTP/1.1 has a connection for each request; remove it, or h2 and h2c from spec.http.protocols"
                    .to_owned(),
            );
        }
        let mut ways = Vec::new();
        for protocol in protocols {
            if is_tls.is_some_and(|is_tls| is_tls != protocol.is_tls()) {
                continue;
            }
            match streams.filter(|_| protocol.is_http2()) {
                Some(list) => ways.extend(list.iter().map(|number| (protocol, Some(number.get_u32())))),
                None => ways.push((protocol, None)),
            }
        }
        match ways.is_empty() {
            true => wrong(format!(
                "spec.http.protocols: none of them is for {target}; add {}",
                if is_tls == Some(true) { "https or h2" } else { "http or h2c" }
            )),
            false => Ok(ways),
        }
    }

    fn profile(
        &self,
        target: &HttpTarget,
        (protocol, streams): (HttpProtocol, Option<u32>),
        (backends, connections, threads, rate): (u32, u32, Option<u32>, RequestRate),
        duration_ms: u64,
    ) -> Result<HttpProfile, Wrong> {
        let clients = self.clients.get_u32();
        let each = threads.unwrap_or(1);
        let least = clients * each;
        if connections < least {
            let problem = format!(
                "spec.http.connections: {connections} are less than one for each of the {each} threads of {clients} clients; give at least {least}, \
                 or lower spec.http.threads"
            );
            return Err((self.connections.referenced, problem));
        }
        if *target == HttpTarget::Direct && connections / clients < backends {
            let problem = format!(
                "spec.http.connections: {connections} of {clients} clients do not reach each of {backends} backends; give at least {}",
                clients * backends
            );
            return Err((self.connections.referenced, problem));
        }
        let at_once = u64::from(connections) * u64::from(streams.unwrap_or(1));
        if at_once > u64::from(MOST_CONNECTIONS) {
            let problem = format!(
                "spec.http.streams: {} of {connections} connections are {at_once} requests at the same time, more than {MOST_CONNECTIONS}; lower one of \
                 them",
                streams.unwrap_or(1)
            );
            return Err((self.connections.referenced, problem));
        }
        let mut name = target.label();
        if protocol != HttpProtocol::Http {
            name.push_str(&format!("_{protocol}"));
        }
        if let Some(streams) = streams {
            name.push_str(&format!("_{streams}_streams"));
        }
        if target.has_backends() {
            name.push_str(&format!("_{backends}_backends"));
        }
        name.push_str(&format!("_{connections}_connections"));
        if let Some(threads) = threads {
            name.push_str(&format!("_{threads}_threads"));
        }
        let arrivals = match (rate, self.arrivals) {
            (RequestRate::Max, _) => Arrivals::Closed,
            (RequestRate::PerSecond(rate), ArrivalKind::Constant) => Arrivals::Constant(rate),
            (RequestRate::PerSecond(rate), ArrivalKind::Poisson) => Arrivals::Poisson(rate),
        };
        name.push_str(&match arrivals {
            _ if self.search.is_some() => "_search".to_owned(),
            Arrivals::Closed => "_max".to_owned(),
            Arrivals::Constant(rate) => format!("_{rate}_per_s"),
            Arrivals::Poisson(rate) => format!("_{rate}_per_s_poisson"),
        });
        let path = match target {
            HttpTarget::Url(url) => url.path().to_owned(),
            _ => self.path.clone(),
        };
        Ok(HttpProfile {
            name,
            target: target.clone(),
            protocol,
            streams: streams.unwrap_or(1),
            ca: self.ca.clone().filter(|_| protocol.is_tls() && !target.has_backends()),
            backends,
            clients,
            connections,
            threads: each,
            arrivals,
            path,
            keep_alive: self.keep_alive,
            timeout_ms: self.timeout.millis_u32(),
            duration_ms,
            gate_times: self.gate.times.get_u32(),
            gate_limit_ms: self.gate.timeout.millis_u32(),
            churn: self.absence(target, duration_ms)?,
            search: None,
        })
    }
}

impl HttpSection {
    /// The absence of a backend in a trial of so many milliseconds.
    fn absence(&self, target: &HttpTarget, duration_ms: u64) -> Result<Option<AbsenceWork>, Wrong> {
        let Some(churn) = self.churn else { return Ok(None) };
        let absence =
            AbsenceWork { after_ms: churn.after.millis(), for_ms: churn.away.millis(), kind: churn.kind };
        let wrong = |problem: String| Err((Location::UNKNOWN, format!("spec.http.churn: {problem}")));
        if !target.has_backends() {
            return wrong(format!("{target} has no backend of this run; remove it from spec.http.targets"));
        }
        if absence.kind == AbsenceKind::NotReady && !target.is_service() {
            return wrong(format!(
                "nobody before {target} asks whether a backend is ready; give killed or notAccepting"
            ));
        }
        let back_ms = absence.after_ms + absence.for_ms;
        if back_ms >= duration_ms {
            return wrong(format!(
                "the backend is back after {back_ms} ms, and sending ends after {duration_ms} ms; raise spec.trial.duration"
            ));
        }
        Ok(Some(absence))
    }
}

impl HttpProfile {
    /// Connections of each client: they share those of the trial evenly.
    pub fn connections_of(&self, client: u32) -> u32 {
        self.connections / self.clients + u32::from(client < self.connections % self.clients)
    }

    /// When each client sends.
    pub fn arrivals_of_each(&self) -> Arrivals {
        let share = |rate: f64| rate / f64::from(self.clients);
        match self.arrivals {
            Arrivals::Closed => Arrivals::Closed,
            Arrivals::Constant(rate) => Arrivals::Constant(share(rate)),
            Arrivals::Poisson(rate) => Arrivals::Poisson(share(rate)),
        }
    }

    /// Time from the start to the beginning of a client's schedule, in nanoseconds: at a constant rate the clients take turns,
    /// so that all of them together send at equal distances. Poisson arrivals are independent of each other.
    pub fn offset_ns(&self, client: u32) -> u64 {
        match self.arrivals {
            Arrivals::Constant(rate) => (f64::from(client) * 1e9 / rate) as u64,
            Arrivals::Closed | Arrivals::Poisson(_) => 0,
        }
    }

    /// The rate as in a document.
    pub fn rate(&self) -> RequestRate {
        self.arrivals.per_second().map_or(RequestRate::Max, RequestRate::PerSecond)
    }
}

fn not_empty<'d, T>(field: &str, list: &'d Spanned<Vec<T>>) -> Result<&'d Vec<T>, Wrong> {
    crate::not_empty(&format!("spec.http.{field}"), list)
}
