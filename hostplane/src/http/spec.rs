//! What is asked for.

use std::net::SocketAddr;

use linerate_hardware::CpuSet;
use linerate_http::request::Request;
use linerate_http::response::NamedBy;
use linerate_http::tls::client::ClientTls;
use linerate_traffic::limit::Limit;
use linerate_traffic::profile::StageRates;
use linerate_traffic::safety::WINDOW_S;
use linerate_traffic::schedule::Schedule;
use serde::Serialize;

use crate::streams::pool::PoolError;
use crate::streams::socket::Place;

/// Most connections of a trial.
pub(crate) const MOST_CONNECTIONS: u32 = 1_000_000;
/// Most requests of a connection at the same time.
pub(crate) const MOST_STREAMS: u32 = 65_536;
/// Most worker threads.
pub(crate) const MOST_THREADS: u32 = 1024;
/// Most requests per second that can be asked for: a thread can count so many as due, if not send them.
pub(crate) const MOST_PER_SECOND: f64 = 1e7;
/// Most requests that may wait for a free connection.
pub(crate) const MOST_PENDING: u32 = 10_000_000;
/// Longest time limit of a request, and longest trial: beyond a year, clocks are of no use.
const MOST_TIMEOUT_MS: f64 = 3.6e6;
const MOST_DURATION_MS: f64 = 3.2e10;
/// Most names of backends that are told apart; what others answer is counted together.
pub(crate) const MOST_BACKENDS: usize = 1024;

/// Times between the requests of an open loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    /// Equal at a steady rate.
    #[default]
    Constant,
    /// Exponentially distributed, as of many independent users.
    Poisson,
}

/// When requests are sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum HttpLoad {
    /// Closed loop: each connection sends a request when the response to its last one has come.
    Closed,
    /// Open loop: requests are due at their times, whatever connections do.
    Open {
        /// Requests per second over time, all workers together; the last rate persists.
        stages: Vec<StageRates>,
        arrivals: Arrivals,
        /// Start of the random numbers of Poisson arrivals: the same seed, the same times.
        seed: u64,
    },
}

/// A trial of HTTP requests.
#[derive(Debug, Clone)]
pub(crate) struct HttpSpec {
    /// The request: each one is the same.
    pub(crate) request: Request,
    /// Where connections go: each to one of them, in turn.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Requests of a connection at the same time, by HTTP/2; `None`: HTTP/1.1.
    pub(crate) streams: Option<u32>,
    /// How they are encrypted; `None`: not at all.
    pub(crate) tls: Option<ClientTls>,
    /// Where they come from.
    pub(crate) place: Place,
    /// Connections, distributed over the workers; at least one each.
    pub(crate) connections: u32,
    /// Worker threads; those without a connection are left out.
    pub(crate) threads: u32,
    /// A CPU for each worker, in turn. Workers that have a CPU of their own wait for the last 50 µs before a
    /// request in a loop, because waking up takes as long.
    pub(crate) cpus: Option<CpuSet>,
    pub(crate) load: HttpLoad,
    /// Time from the start to the beginning of an open loop's schedule, in nanoseconds.
    pub(crate) offset_ns: u64,
    /// Time of sending; null: until it is stopped.
    pub(crate) duration_ms: Option<u64>,
    /// Requests that are intended, at most.
    pub(crate) requests: Option<u64>,
    /// Requests after which this end closes a connection; null: none. One: each request has a connection of its
    /// own.
    pub(crate) requests_per_connection: Option<u32>,
    /// Longest time from a request's start on its connection to the last byte of its response. Requests under
    /// way when the time of sending ends are waited for as long.
    pub(crate) timeout_ms: u64,
    /// Requests that wait at most when all connections are busy, all workers together; further ones are skipped.
    pub(crate) most_pending: u32,
    /// What tells backends apart.
    pub(crate) named_by: NamedBy,
    /// Largest body of a response.
    pub(crate) most_body_bytes: u64,
    /// Most requests per second within any 10 ms, which ceilings set.
    pub(crate) most_per_second: Option<f64>,
}

/// Error: a trial cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("{what}: {value} is outside {least} to {most}")]
    Outside { what: &'static str, value: f64, least: f64, most: f64 },
    #[error("there is no address to connect to")]
    NoAddress,
    #[error(
        "{connections} connections need {needed} open files, and this process may have {allowed}\n  remedy: fewer connections (-c), or a \
         higher limit (ulimit -n)"
    )]
    Descriptors { connections: u32, needed: u64, allowed: u64 },
    #[error(
        "a ceiling of {most:.0} requests per second, held within any 10 ms, does not admit {threads} threads\n  remedy: fewer threads (-t 1)"
    )]
    Ceiling { most: f64, threads: u32 },
    #[error("a load without a rate has no bound, and there is a ceiling\n  remedy: give a rate (--rate)")]
    Unbounded,
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error("a worker cannot be started: {0}")]
    Start(#[from] std::io::Error),
}

impl HttpSpec {
    /// Checks the numbers.
    ///
    /// # Errors
    /// The first one that is outside its range.
    pub(crate) fn check(&self) -> Result<(), HttpError> {
        let within = |what, value: f64, least: f64, most: f64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(HttpError::Outside { what, value, least, most })
            }
        };
        within("connections", self.connections.into(), 1.0, MOST_CONNECTIONS.into())?;
        within("threads", self.threads.into(), 1.0, MOST_THREADS.into())?;
        within("time limit of a request in milliseconds", self.timeout_ms as f64, 1.0, MOST_TIMEOUT_MS)?;
        within("waiting requests", self.most_pending.into(), 0.0, MOST_PENDING.into())?;
        within(
            "requests of a connection",
            self.requests_per_connection.unwrap_or(1).into(),
            1.0,
            u32::MAX.into(),
        )?;
        within("streams of a connection", self.streams.unwrap_or(1).into(), 1.0, MOST_STREAMS.into())?;
        let places = f64::from(self.connections) * f64::from(self.streams.unwrap_or(1));
        within("streams of all connections", places, 1.0, MOST_CONNECTIONS.into())?;
        within("requests", self.requests.unwrap_or(1) as f64, 1.0, 1e18)?;
        within("duration in milliseconds", self.duration_ms.unwrap_or(1) as f64, 1.0, MOST_DURATION_MS)?;
        match &self.load {
            HttpLoad::Closed if self.most_per_second.is_some() => return Err(HttpError::Unbounded),
            HttpLoad::Closed => {}
            HttpLoad::Open { stages, .. } => {
                for rate in stages.iter().flat_map(|stage| [stage.from_per_s, stage.to_per_s]) {
                    within("requests per second", rate, 0.0, MOST_PER_SECOND)?;
                }
                let most = StageRates::peak_per_s(stages);
                within("requests per second", most, 0.001, MOST_PER_SECOND)?;
            }
        }
        if self.addresses.is_empty() { Err(HttpError::NoAddress) } else { Ok(()) }
    }

    /// Requests that can be under way at the same time.
    pub(crate) fn places(&self) -> u32 {
        self.connections.saturating_mul(self.streams.unwrap_or(1))
    }

    /// Workers that have a connection.
    pub(crate) fn workers(&self) -> u32 {
        self.threads.min(self.connections).max(1)
    }

    /// Connections of one worker.
    pub(crate) fn connections_of(&self, worker: u32) -> u32 {
        let workers = self.workers();
        self.connections / workers + u32::from(worker < self.connections % workers)
    }

    /// Address of a worker's connection: the addresses in turn, over all workers.
    pub(crate) fn address_of(&self, worker: u32, connection: u32) -> usize {
        let before: usize = (0..worker).map(|earlier| self.connections_of(earlier) as usize).sum();
        (before + connection as usize) % self.addresses.len().max(1)
    }

    /// Least time between two requests of a worker, in nanoseconds, so that all of them together keep to the
    /// ceiling within any 10 ms, one request more allowed; 0 without a ceiling.
    ///
    /// # Errors
    /// The ceiling is too low for so many workers.
    pub(crate) fn spacing_ns(&self) -> Result<u64, HttpError> {
        const WINDOW_NS: f64 = WINDOW_S * 1e9;
        let Some(most) = self.most_per_second else { return Ok(0) };
        let workers = f64::from(self.workers());
        // A worker with this spacing sends at most WINDOW / spacing + 1 requests in a window.
        let others = most * WINDOW_S + 1.0 - workers;
        if workers > 1.0 && others <= 0.0 {
            return Err(HttpError::Ceiling { most, threads: self.workers() });
        }
        Ok((workers * WINDOW_NS / others.max(f64::MIN_POSITIVE)).ceil() as u64)
    }

    /// Time until the schedule of a number of requests at constant intervals ends: with the pause after the last one.
    pub(super) fn schedule_s(&self) -> Option<f64> {
        let HttpLoad::Open { stages, arrivals: Arrivals::Constant, .. } = &self.load else { return None };
        let ends_s = Schedule::new(stages, 1.0).time_of(self.requests?)?;
        Some(self.duration_ms.map_or(ends_s, |ms| ends_s.min(ms as f64 / 1e3)))
    }

    /// Requests per second of an open loop's schedule: its mean until its end, or until `stopped_s`.
    pub(super) fn intended_per_s(&self, stopped_s: Option<f64>) -> Option<f64> {
        let HttpLoad::Open { stages, .. } = &self.load else { return None };
        let schedule = Schedule::new(stages, 1.0);
        if let [only] = stages.as_slice()
            && only.from_per_s == only.to_per_s
        {
            return Some(only.from_per_s);
        }
        Some(match stopped_s {
            Some(seconds) => schedule.mean_rate(Some(seconds)),
            None => {
                schedule.mean_rate_within(&Limit { duration_ms: self.duration_ms, packets: self.requests }, 1)
            }
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use linerate_http::request::Parts;

    use super::*;

    pub(in super::super) fn spec(url: &str) -> HttpSpec {
        let target: linerate_http::target::Target = url.parse().unwrap();
        let parts =
            Parts { method: "GET", headers: &[], body: b"", keep_alive: true, user_agent: "linerate" };
        HttpSpec {
            request: Request::new(&target, &parts).unwrap(),
            addresses: vec![SocketAddr::new(target.host.parse().unwrap(), target.port)],
            streams: None,
            tls: None,
            place: Place::default(),
            connections: 10,
            threads: 1,
            cpus: None,
            load: HttpLoad::Closed,
            offset_ns: 0,
            duration_ms: Some(100),
            requests: None,
            requests_per_connection: None,
            timeout_ms: 1000,
            most_pending: 100,
            named_by: NamedBy::Body,
            most_body_bytes: 1 << 20,
            most_per_second: None,
        }
    }

    #[test]
    fn connections_are_shared_out() {
        let shared = |connections, threads| {
            let spec = HttpSpec { connections, threads, ..spec("http://127.0.0.1/") };
            (0..spec.workers()).map(|worker| spec.connections_of(worker)).collect::<Vec<_>>()
        };
        assert_eq!(shared(10, 4), [3, 3, 2, 2]);
        assert_eq!(shared(2, 8), [1, 1]);
    }

    #[test]
    fn ceilings_space_requests() {
        let of = |most, threads| {
            HttpSpec { most_per_second: Some(most), threads, ..spec("http://127.0.0.1/") }.spacing_ns()
        };
        assert_eq!(of(1000.0, 1).unwrap(), 1_000_000);
        assert_eq!(of(1000.0, 2).unwrap(), 2_222_223);
        assert_eq!(of(10.0, 1).unwrap(), 100_000_000);
        assert!(matches!(of(100.0, 2), Err(HttpError::Ceiling { threads: 2, .. })));
        let closed = HttpSpec { most_per_second: Some(1.0), ..spec("http://127.0.0.1/") };
        assert!(matches!(closed.check(), Err(HttpError::Unbounded)));
    }

    #[test]
    fn numbers_outside_their_range_are_named() {
        let good = spec("http://127.0.0.1/");
        assert!(good.check().is_ok());
        for (spec, part) in [
            (HttpSpec { connections: 0, ..good.clone() }, "connections: 0 is outside 1 to 1000000"),
            (HttpSpec { requests: Some(0), ..good.clone() }, "requests: 0"),
            (HttpSpec { addresses: Vec::new(), ..good.clone() }, "no address"),
        ] {
            let error = spec.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_intended_rate_is_the_schedules_and_not_the_time_between_requests() {
        let open = |stages: Vec<StageRates>, arrivals, requests, duration_ms| {
            let load = HttpLoad::Open { stages, arrivals, seed: 1 };
            HttpSpec { load, requests, duration_ms, ..spec("http://127.0.0.1/") }
        };
        let steady = || vec![StageRates::steady(100.0)];
        let ramp = || vec![StageRates { from_per_s: 0.0, to_per_s: 200.0, seconds: 2.0 }];
        for (spec, stopped_s, intended, schedule) in [
            (open(steady(), Arrivals::Constant, Some(2), None), None, Some(100.0), Some(0.02)),
            (open(steady(), Arrivals::Constant, Some(2), None), Some(0.01), Some(100.0), Some(0.02)),
            (open(steady(), Arrivals::Constant, Some(2), Some(10)), None, Some(100.0), Some(0.01)),
            (open(steady(), Arrivals::Poisson, Some(2), None), None, Some(100.0), None),
            (open(steady(), Arrivals::Poisson, None, Some(1000)), None, Some(100.0), None),
            (open(ramp(), Arrivals::Constant, None, Some(2000)), None, Some(100.0), None),
            (open(ramp(), Arrivals::Constant, None, Some(2000)), Some(1.0), Some(50.0), None),
            (spec("http://127.0.0.1/"), None, None, None),
        ] {
            assert_eq!((spec.intended_per_s(stopped_s), spec.schedule_s()), (intended, schedule));
        }
    }
}
