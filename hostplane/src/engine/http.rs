//! HTTP as the work of an agent: requests of a client, answers of a backend, probes at the gate.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use linerate_agent::cpu_time::TaskTime;
use linerate_agent::engine::{EngineError, Finished};
use linerate_agent::host::monotonic_ns;
use linerate_http::request::{Parts, Request};
use linerate_http::response::NamedBy;
use linerate_http::target::Target;
use linerate_http::tls::client::{ClientOptions, ClientTls, Trust};
use linerate_traffic::limit::Limit;
use linerate_traffic::profile::StageRates;
use linerate_traffic::safety::PacketLoad;
use linerate_wire::http::{
    AbsenceWork, Arrivals, Connections, Destination, HttpLoad, HttpMeasures, HttpPart, HttpReport, HttpWork,
    LoadReport, LoadSample, LoadWorker, RequestCounts, RequestTimes, ServeReport, TlsReport,
    packets_of_a_request,
};
use linerate_wire::report::{Ended, Report, ReportDetail};
use linerate_wire::streams::CpuUse;
use linerate_wire::time::{Throttling, WorkerTime};

use super::KernelEngine;
use super::gate::{Gate, Probe};
use crate::http::backend::{Backend, BackendCounters, PlannedAbsence};
use crate::http::counters::HttpCounters;
use crate::http::outcome::HttpOutcome;
use crate::http::spec::{self, HttpSpec};
use crate::http::trial::HttpTrial;
use crate::streams::host::HostWatch;
use crate::streams::socket::Place;

/// Longest wait for the connections of a client to be made.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Longest wait for requests under way when a trial is ended from outside: nobody may be there to see them.
const STOP_TIME: Duration = Duration::from_secs(1);
/// Requests of an open loop that wait for a connection, at most: those of so many seconds.
const PENDING_S: f64 = 1.0;
/// Largest body of an answer.
const MOST_BODY_BYTES: u64 = 64 << 20;

/// A planned part.
#[derive(Debug)]
pub(crate) struct PreparedHttp {
    trial: u32,
    work: PreparedWork,
}

#[derive(Debug)]
enum PreparedWork {
    Load(Box<HttpSpec>),
    Serve(Option<AbsenceWork>),
    /// With what a probe sends, and the least time between two of them.
    Gate(linerate_wire::http::HttpGate, Box<Probe>, Duration),
}

/// A part in progress.
#[derive(Debug)]
pub(crate) struct Http {
    trial: u32,
    started_ns: u64,
    /// When requests under way are given up; `None` unless it was told to end.
    given_up_at: Option<Instant>,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Load(HttpTrial),
    Serve {
        /// What the backend had counted when it was armed.
        before: BackendCounters,
        name: String,
        host: Option<HostWatch>,
        threads: Vec<TaskTime>,
        stopped: bool,
        /// Its absence: as it was ordered, and when it is planned.
        absence: Option<AbsenceWork>,
        planned: Option<PlannedAbsence>,
    },
    Gate(Box<Gate>),
}

impl KernelEngine {
    /// Plans a part in a trial of HTTP.
    pub(super) fn prepare_http(&self, trial: u32, work: &HttpWork) -> Result<PreparedHttp, EngineError> {
        let work = match work {
            HttpWork::Load(load) => PreparedWork::Load(Box::new(self.load(load)?)),
            HttpWork::Serve | HttpWork::Churn(_) if self.backend.is_none() => {
                let why = "this agent answers no HTTP requests; start it with --http 0.0.0.0:8080";
                return Err(EngineError::Refused(why.to_owned()));
            }
            HttpWork::Serve => PreparedWork::Serve(None),
            HttpWork::Churn(absence) => PreparedWork::Serve(Some(*absence)),
            HttpWork::Gate(gate) => {
                let most = self.check_load(&gate.destination, Arrivals::Constant(1.0), false, None)?;
                let pause = most.map_or(Duration::ZERO, |most| Duration::from_secs_f64(1.0 / most));
                let (request, tls) = (request(&gate.destination, false)?, client_tls(&gate.destination)?);
                let probe = Probe::new(request, tls, gate.destination.http2);
                PreparedWork::Gate(gate.clone(), Box::new(probe), pause)
            }
        };
        Ok(PreparedHttp { trial, work })
    }

    /// Checks that ceilings admit a load. Returns the most requests per second that they admit; `None` without one.
    fn check_load(
        &self,
        destination: &Destination,
        arrivals: Arrivals,
        keep_alive: bool,
        duration_ms: Option<u64>,
    ) -> Result<Option<f64>, EngineError> {
        let is_tls = destination.tls.is_some();
        let (packets_per_second, packet_bytes) = arrivals.packets(&destination.path, keep_alive, is_tls);
        let load = PacketLoad { packets_per_second, packet_bytes };
        // The probes of a gate end by their own limit.
        let limit = Limit { duration_ms: duration_ms.or(Some(1)), packets: None };
        for address in &destination.addresses {
            let checked = self.ceilings.check_streams(&load, &limit, Some(address.ip()));
            checked.map_err(|error| EngineError::refused(&error))?;
        }
        let most = self.ceilings.most_packets_per_second(packet_bytes);
        let most = most.map_err(|error| EngineError::refused(&error))?;
        Ok(most.map(|packets| packets / packets_of_a_request(&destination.path, keep_alive, is_tls)))
    }

    fn load(&self, work: &HttpLoad) -> Result<HttpSpec, EngineError> {
        let most_per_second =
            self.check_load(&work.destination, work.arrivals, work.keep_alive, Some(work.duration_ms))?;
        let open = |rate: f64, arrivals| spec::HttpLoad::Open {
            stages: vec![StageRates {
                from_per_s: rate,
                to_per_s: rate,
                seconds: work.duration_ms as f64 / 1e3,
            }],
            arrivals,
            seed: work.seed,
        };
        let pending = work.arrivals.per_second().map_or(0.0, |rate| rate * PENDING_S);
        let spec = HttpSpec {
            request: request(&work.destination, work.keep_alive)?,
            addresses: work.destination.addresses.clone(),
            streams: work.destination.http2.then_some(work.streams),
            tls: client_tls(&work.destination)?,
            place: Place { address: None, interface: None },
            connections: work.connections,
            threads: work.threads,
            cpus: None,
            load: match work.arrivals {
                Arrivals::Closed => spec::HttpLoad::Closed,
                Arrivals::Constant(rate) => open(rate, spec::Arrivals::Constant),
                Arrivals::Poisson(rate) => open(rate, spec::Arrivals::Poisson),
            },
            offset_ns: work.offset_ns,
            duration_ms: Some(work.duration_ms),
            requests: None,
            requests_per_connection: (!work.keep_alive).then_some(1),
            timeout_ms: work.timeout_ms.into(),
            // Each thread has a queue of its own.
            most_pending: (pending.ceil() as u32).clamp(1, spec::MOST_PENDING).max(work.threads),
            named_by: NamedBy::Body,
            most_body_bytes: MOST_BODY_BYTES,
            most_per_second,
        };
        spec.check().map_err(|error| EngineError::refused(&error))?;
        Ok(spec)
    }

    /// Opens the connections of a client, or begins to count at a backend.
    pub(super) fn arm_http(&self, prepared: PreparedHttp) -> Result<Http, EngineError> {
        let PreparedHttp { trial, work } = prepared;
        let role = match work {
            PreparedWork::Load(spec) => {
                let armed = HttpTrial::arm(*spec).map_err(|error| EngineError::refused(&error))?;
                let begun = Instant::now();
                while !armed.is_ready() && begun.elapsed() < CONNECT_TIME {
                    sleep(Duration::from_millis(1));
                }
                Role::Load(armed)
            }
            PreparedWork::Serve(absence) => Role::Serve {
                before: counted(self.backend.as_ref()),
                name: self.door.as_ref().map(|door| door.name.clone()).unwrap_or_default(),
                host: None,
                threads: Vec::new(),
                stopped: false,
                absence,
                planned: None,
            },
            PreparedWork::Gate(gate, probe, pause) => Role::Gate(Box::new(Gate::new(gate, *probe, pause))),
        };
        Ok(Http { trial, started_ns: monotonic_ns(), given_up_at: None, role })
    }
}

impl Http {
    pub(super) fn start_at(&mut self, at_ns: u64, backend: Option<&Backend>) {
        self.started_ns = at_ns.max(monotonic_ns());
        match &mut self.role {
            Role::Load(trial) => trial.start_at(self.started_ns),
            Role::Serve { host, threads, absence, planned, .. } => {
                *host = Some(HostWatch::begin());
                *threads = backend.map(Backend::threads).unwrap_or_default();
                *planned = backend.zip(*absence).map(|(backend, AbsenceWork { after_ms, for_ms, kind })| {
                    let from_ns = self.started_ns.saturating_add(after_ms.saturating_mul(1_000_000));
                    backend.be_away(from_ns, from_ns.saturating_add(for_ms.saturating_mul(1_000_000)), kind)
                });
            }
            Role::Gate(gate) => gate.start(),
        }
    }

    pub(super) fn sample(&self, backend: Option<&Backend>) -> HttpMeasures {
        match &self.role {
            Role::Load(trial) => {
                let counters = trial.sample().counters;
                HttpMeasures::Load(LoadSample {
                    intended: counters.intended,
                    sent: counters.sent,
                    skipped: counters.skipped(),
                    answered: counters.answered,
                    failed: counters.failed(),
                })
            }
            Role::Serve { before, .. } => {
                HttpMeasures::Serve(counted(backend).answered.saturating_sub(before.answered))
            }
            Role::Gate(gate) => HttpMeasures::Gate(gate.probes()),
        }
    }

    /// Ends it soon: [`Http::is_over`] is true after [`STOP_TIME`] at the latest.
    pub(super) fn stop(&mut self) {
        self.given_up_at.get_or_insert_with(|| Instant::now() + STOP_TIME);
        match &mut self.role {
            Role::Load(trial) => trial.stop(),
            Role::Serve { stopped, .. } => *stopped = true,
            Role::Gate(gate) => gate.stop(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match &self.role {
            Role::Load(trial) => {
                let is_over = trial.is_over();
                if !is_over && let Some(given_up_at) = self.given_up_at {
                    if Instant::now() >= given_up_at {
                        trial.abort();
                    }
                    // Who has ended it asks again and again, and would take a CPU from the workers.
                    sleep(Duration::from_millis(1));
                }
                is_over
            }
            Role::Serve { stopped, .. } => *stopped,
            Role::Gate(gate) => gate.is_over(),
        }
    }

    pub(super) fn finish(self, ended: Ended, backend: Option<&Backend>) -> Finished {
        let Self { trial, started_ns, role, .. } = self;
        let mut ended = ended;
        let mut notes = Vec::new();
        let (part, cpu, throttling, workers): (_, CpuUse, Option<Throttling>, Vec<WorkerTime>) = match role {
            Role::Load(load) => {
                let outcome = load.finish();
                if ended == Ended::Stopped && !outcome.interrupted {
                    ended = Ended::Duration;
                }
                notes.extend(outcome.failures.iter().cloned());
                let times = outcome.workers.iter().map(|worker| worker.time).collect();
                let (cpu, throttling) = (outcome.cpu, outcome.throttling);
                (HttpPart::Load(Box::new(load_report(outcome))), cpu, throttling, times)
            }
            Role::Serve { before, name, host, threads, planned, .. } => {
                let now = counted(backend);
                let (cpu, throttling) = host.as_ref().map(HostWatch::read).unwrap_or_default();
                let served = ServeReport {
                    name,
                    requests: now.requests.saturating_sub(before.requests),
                    answered: now.answered.saturating_sub(before.answered),
                    connections: now.connections.saturating_sub(before.connections),
                    absence: planned.map(|planned| planned.report(started_ns)),
                };
                let times =
                    threads.into_iter().zip(0..).filter_map(|(thread, number)| thread.until_now(number));
                (HttpPart::Serve(served), cpu, throttling, times.collect())
            }
            Role::Gate(gate) => (HttpPart::Gate(gate.finish()), CpuUse::default(), None, Vec::new()),
        };
        let detail = ReportDetail::Http(Box::new(HttpReport { part, cpu }));
        let mut report = Report::new(trial, ended, started_ns, detail);
        report.ended_ns = monotonic_ns();
        report.notes = notes;
        report.workers = workers;
        report.throttling = throttling;
        Finished { report, flows: None }
    }
}

fn counted(backend: Option<&Backend>) -> BackendCounters {
    backend.map(Backend::counters).unwrap_or_default()
}

/// The request to a destination.
fn request(destination: &Destination, keep_alive: bool) -> Result<Request, EngineError> {
    let scheme = if destination.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}{}", destination.host, destination.path);
    let target: Target = url.parse().map_err(|error| EngineError::refused(&error))?;
    let user_agent = concat!("linerate/", env!("CARGO_PKG_VERSION"));
    let parts = Parts { method: "GET", headers: &[], body: b"", keep_alive, user_agent };
    Request::new(&target, &parts).map_err(|error| EngineError::refused(&error))
}

/// TLS to a destination, with its certificates checked; `None` without it.
fn client_tls(destination: &Destination) -> Result<Option<ClientTls>, EngineError> {
    let Some(proof) = &destination.tls else { return Ok(None) };
    let options = ClientOptions {
        trust: proof.authorities.clone().map_or(Trust::System, Trust::Pem),
        server_name: proof.server_name.clone(),
        protocol: if destination.http2 { "h2" } else { "http/1.1" },
        resume: true,
    };
    ClientTls::new(options).map(Some).map_err(|error| EngineError::refused(&error))
}

fn load_report(outcome: HttpOutcome) -> LoadReport {
    let counters: HttpCounters = outcome.counters;
    let by_tls = counters.handshakes > 0 || !outcome.handshakes_failed.is_empty();
    let (version, cipher) = outcome.agreed.map(|agreed| (agreed.version, agreed.cipher)).unzip();
    let tls = TlsReport {
        version,
        cipher,
        handshakes: counters.handshakes,
        resumed: counters.resumed,
        failed: outcome.handshakes_failed.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
    };
    let failed = counters.failures().into_iter().filter(|(_, count)| *count > 0);
    let statuses = [
        ("2xx", counters.status_2xx),
        ("3xx", counters.status_3xx),
        ("4xx", counters.status_4xx),
        ("5xx", counters.status_5xx),
        ("other", counters.status_other),
    ];
    let named: BTreeMap<String, u64> =
        outcome.backends.named.iter().map(|one| (one.name.clone(), one.responses)).collect();
    let bins = &outcome.failure_times.bins;
    LoadReport {
        duration_s: outcome.sending_s,
        requests: RequestCounts {
            intended: counters.intended,
            sent: counters.sent,
            skipped: counters.skipped(),
            answered: counters.answered,
            failed: failed.map(|(kind, count)| (kind.to_owned(), count)).collect(),
            unfinished: counters.unfinished,
        },
        connections: Connections {
            opened: counters.connected,
            refused: counters.connect_failures,
            reopened: counters.reconnected,
            closed_idle: counters.closed_idle,
            unsolicited: counters.unsolicited,
        },
        by_backend: named,
        unnamed: outcome.backends.unnamed,
        others: outcome.backends.others,
        statuses: statuses
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(class, count)| (class.to_owned(), count))
            .collect(),
        written: counters.written,
        queued: Some(counters.queued),
        sent_bytes: counters.written_bytes,
        received_bytes: counters.read_bytes,
        answered_in_time: counters.answered_in_time,
        times: RequestTimes {
            corrected: outcome.times.corrected,
            service: outcome.times.service,
            first_byte: outcome.times.first_byte,
            send_error: outcome.times.send_error,
            connect: outcome.times.connect,
        },
        failure_bins: bins.iter().map(|bin| (bin.at_ms, bin.requests)).collect(),
        failures_without_time: outcome.failure_times.later,
        workers: outcome
            .workers
            .iter()
            .map(|worker| LoadWorker {
                cpu: worker.cpu,
                connections: worker.connections,
                cpu_s: worker.cpu_s,
                spun_s: worker.spun_s,
            })
            .collect(),
        first_failure: outcome.first_failure.map(|failure| failure.words),
        tls: by_tls.then_some(tls),
        permitted: outcome.permitted,
    }
}
