//! The gate: probes, each in a connection of its own, until every backend has answered often enough in a row.
//!
//! One probe follows the other while they are fast. On a path where they take long, several are under way at the same
//! time: many backends, each to be heard several times, would otherwise need minutes.

mod probe;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use linerate_wire::http::{GateReport, HttpGate};

pub(super) use self::probe::Probe;
use crate::http::spec::MOST_BACKENDS;

/// Longest time for a probe.
const PROBE_TIME: Duration = Duration::from_secs(2);
/// Least time between two probes: a gate is no load.
const DISTANCE: Duration = Duration::from_millis(1);
/// Pause after a probe that failed.
const PAUSE: Duration = Duration::from_millis(50);
/// Time that a probe takes from which on several are under way at the same time, and how many.
const LONG: Duration = Duration::from_millis(5);
const AT_ONCE: usize = 16;
/// Longest sleep before another look at what there is to do.
const LOOK: Duration = Duration::from_millis(10);

/// A client at the gate.
#[derive(Debug)]
pub(super) struct Gate {
    shared: Arc<Shared>,
    work: Option<(HttpGate, Probe, Duration)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    probes: AtomicU64,
    report: Mutex<GateReport>,
}

impl Gate {
    /// A gate that is not yet tried; `pause` is the least time between two probes.
    pub(super) fn new(gate: HttpGate, probe: Probe, pause: Duration) -> Self {
        Self { shared: Arc::default(), work: Some((gate, probe, pause.max(DISTANCE))), thread: None }
    }

    /// Begins to probe.
    pub(super) fn start(&mut self) {
        let Some((gate, probe, pause)) = self.work.take() else { return };
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("gate".to_owned()).spawn(move || {
            let report = Probing::new(gate, &probe, pause, &shared).run();
            *shared.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
        });
        match thread {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => {
                let report = GateReport { last_failure: Some(error.to_string()), ..GateReport::default() };
                *self.shared.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
            }
        }
    }

    /// Probes so far.
    pub(super) fn probes(&self) -> u64 {
        self.shared.probes.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What was seen at the gate.
    pub(super) fn finish(mut self) -> GateReport {
        self.end();
        std::mem::take(&mut *self.shared.report.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn end(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the gate panicked");
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.end();
    }
}

/// Probes in progress.
struct Probing<'a> {
    gate: HttpGate,
    probe: &'a Probe,
    /// Least time between the beginnings of two probes.
    pause: Duration,
    shared: &'a Shared,
    begun: Instant,
    course: Mutex<Course>,
}

/// How far it got.
struct Course {
    report: GateReport,
    /// Answers of each backend since the latest failure, of probes that began after it.
    in_a_row: BTreeMap<String, u32>,
    /// All of these answers.
    all_in_a_row: u32,
    /// Probes that have begun, and those of them that have not ended.
    begun: usize,
    under_way: usize,
    /// Probes that may be under way at the same time.
    at_once: usize,
    /// When the next one may begin.
    next_at: Instant,
    over: bool,
}

/// A probe that has begun.
struct Ticket {
    address: SocketAddr,
    /// Failures before it.
    failed_before: u64,
    begun: Instant,
    limit: Duration,
}

impl Ticket {
    /// True when it had less time than others, and took all of it.
    fn is_cut(&self) -> bool {
        self.limit < PROBE_TIME && self.begun.elapsed() >= self.limit
    }
}

impl<'a> Probing<'a> {
    fn new(gate: HttpGate, probe: &'a Probe, pause: Duration, shared: &'a Shared) -> Self {
        let backends = gate.backends.iter().map(|name| (name.clone(), Default::default())).collect();
        let begun = Instant::now();
        let course = Course {
            report: GateReport { backends, ..GateReport::default() },
            in_a_row: BTreeMap::new(),
            all_in_a_row: 0,
            begun: 0,
            under_way: 0,
            at_once: 1,
            next_at: begun,
            over: gate.destination.addresses.is_empty(),
        };
        Self { gate, probe, pause, shared, begun, course: Mutex::new(course) }
    }

    fn run(self) -> GateReport {
        std::thread::scope(|scope| {
            let mut alone = true;
            while let Some(ticket) = self.take() {
                let several = self.try_out(&ticket);
                if several && std::mem::take(&mut alone) {
                    for _ in 1..AT_ONCE {
                        let another = std::thread::Builder::new().name("gate".to_owned());
                        let spawned = another.spawn_scoped(scope, || {
                            while let Some(ticket) = self.take() {
                                self.try_out(&ticket);
                            }
                        });
                        // Fewer do as well.
                        if let Err(error) = spawned {
                            tracing::debug!(%error, "fewer probes at the same time");
                            break;
                        }
                    }
                }
            }
        });
        let waited_ns = nanoseconds(self.begun);
        let mut report = self.course.into_inner().unwrap_or_else(PoisonError::into_inner).report;
        report.waited_ns = waited_ns;
        report
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until another probe may begin; `None` when none is to.
    fn take(&self) -> Option<Ticket> {
        let limit = Duration::from_millis(self.gate.limit_ms.into());
        loop {
            let left = limit.saturating_sub(self.begun.elapsed());
            let mut course = self.course();
            if left.is_zero() || self.shared.stop.load(Ordering::Relaxed) {
                course.over = true;
            }
            if course.over {
                return None;
            }
            let now = Instant::now();
            // Those under way may fail: until they have ended, nothing is decided.
            let may_begin = course.under_way < course.at_once && !self.is_open(&course);
            if may_begin && now >= course.next_at {
                let addresses = &self.gate.destination.addresses;
                let address = *addresses.get(course.begun % addresses.len())?;
                course.begun += 1;
                course.under_way += 1;
                course.next_at = now + self.pause;
                let failed_before = course.report.failed;
                return Some(Ticket { address, failed_before, begun: now, limit: PROBE_TIME.min(left) });
            }
            let pause = if may_begin { course.next_at.saturating_duration_since(now) } else { LOOK };
            drop(course);
            sleep(pause.min(LOOK).min(left));
        }
    }

    /// Sends a probe, and takes account of it. True when several are to be under way at the same time.
    fn try_out(&self, ticket: &Ticket) -> bool {
        let answer = self.probe.send(ticket.address, ticket.limit);
        let mut course = self.course();
        course.under_way -= 1;
        course.report.probes += 1;
        self.shared.probes.store(course.report.probes, Ordering::Relaxed);
        if ticket.begun.elapsed() > LONG {
            course.at_once = AT_ONCE;
        }
        match answer {
            Ok(name) => self.answered(&mut course, name, ticket),
            Err(reason) => {
                // A probe that the gate's end cut short tells less than one before it.
                let told = course.report.last_failure.take().filter(|_| ticket.is_cut());
                let reason = told.unwrap_or_else(|| format!("{}: {reason}", ticket.address));
                self.failed(&mut course, reason);
            }
        }
        if course.under_way == 0 && self.is_open(&course) {
            course.report.passed = true;
            course.over = true;
        }
        course.at_once > 1
    }

    fn answered(&self, course: &mut Course, name: Option<String>, ticket: &Ticket) {
        // A probe that began before a failure says nothing of the time after it.
        let counts = ticket.failed_before == course.report.failed;
        let Some(name) = name else {
            course.all_in_a_row += u32::from(counts);
            return;
        };
        // The balancer of the trial before may have had more backends, and not know yet that they are gone.
        if !self.gate.backends.is_empty() && !self.gate.backends.contains(&name) {
            return self.failed(course, format!("{name} answered, which is no backend of the trial"));
        }
        course.all_in_a_row += u32::from(counts);
        let first_ns = nanoseconds(self.begun);
        // A server that is no backend may have another name each time.
        if course.report.backends.len() >= MOST_BACKENDS && !course.report.backends.contains_key(&name) {
            return;
        }
        if counts {
            *course.in_a_row.entry(name.clone()).or_default() += 1;
        }
        let answers = course.report.backends.entry(name).or_default();
        answers.answers += 1;
        answers.first_ns.get_or_insert(first_ns);
    }

    fn failed(&self, course: &mut Course, reason: String) {
        course.report.failed += 1;
        course.report.last_failure = Some(reason);
        course.in_a_row.clear();
        course.all_in_a_row = 0;
        course.next_at = Instant::now() + self.pause.max(PAUSE);
    }

    fn is_open(&self, course: &Course) -> bool {
        let enough = |name: &String| course.in_a_row.get(name).is_some_and(|row| *row >= self.gate.times);
        let addresses = self.gate.destination.addresses.len();
        match self.gate.backends.is_empty() {
            true => course.all_in_a_row as usize >= self.gate.times as usize * addresses,
            false => self.gate.backends.iter().all(enough),
        }
    }
}

fn nanoseconds(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use linerate_http::request::{Parts, Request};
    use linerate_http::tls::client::{ClientOptions, ClientTls, Trust};
    use linerate_http::tls::server::ServerTls;
    use linerate_wire::http::{Destination, GateAnswers};

    use crate::http::backend::{Backend, BackendConfig};

    /// Answers each connection with the next of these texts, the last one again and again.
    fn server(answers: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (mut stream, mut room) = (stream.unwrap(), [0; 1024]);
                let _ = stream.read(&mut room);
                let body = answers.get(number).or(answers.last()).unwrap();
                let _ = stream.write_all(body.as_bytes());
            }
        });
        address
    }

    fn request_to(host: &str) -> Request {
        let target = format!("http://{host}/").parse().unwrap();
        let parts = Parts { method: "GET", headers: &[], body: b"", keep_alive: false, user_agent: "test" };
        Request::new(&target, &parts).unwrap()
    }

    fn passed(address: SocketAddr, backends: &[&str], limit_ms: u32) -> GateReport {
        let host = address.to_string();
        let request = request_to(&host);
        let destination =
            Destination { addresses: vec![address], host, path: "/".to_owned(), tls: None, http2: false };
        let backends = backends.iter().map(|name| (*name).to_owned()).collect();
        let gate = HttpGate { destination, backends, times: 2, limit_ms };
        let mut gate = Gate::new(gate, Probe::new(request, None, false), Duration::ZERO);
        gate.start();
        while !gate.is_over() {
            sleep(Duration::from_millis(1));
        }
        gate.finish()
    }

    const A: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    const B: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb";

    #[test]
    fn a_failure_begins_the_row_again() {
        let report =
            passed(server(&[A, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", A, A]), &["a"], 10_000);
        // A busy machine may make a probe a long one, and then more are under way.
        assert!(report.passed && report.probes >= 4 && report.failed == 1, "{report:?}");
        assert!(report.last_failure.unwrap().contains("status 503"));
        assert!(report.backends["a"].answers >= 3);
    }

    #[test]
    fn every_backend_must_answer() {
        let report = passed(server(&[A, A, A, B, B]), &["a", "b"], 10_000);
        assert!(report.passed && report.probes >= 5, "{report:?}");
        let report = passed(server(&[A]), &["a", "b"], 100);
        assert_eq!((report.passed, report.backends["b"]), (false, GateAnswers::default()));
        assert!(report.waited_ns >= 100_000_000, "{report:?}");
        // Without names, whoever answers will do.
        let report = passed(server(&["HTTP/1.1 204 No\r\n\r\n"]), &[], 10_000);
        assert!(report.passed && report.probes >= 2, "{report:?}");
    }

    /// Answers with the names of these backends in turn, each after this time; `broken` of the answers is none.
    fn slow_server(names: &'static [&'static str], after: Duration, broken: Option<usize>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let _ = stream.read(&mut [0; 1024]);
                    sleep(after);
                    let name = names[number % names.len()];
                    if broken != Some(number) {
                        let answer =
                            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
                        let _ = stream.write_all(answer.as_bytes());
                    }
                });
            }
        });
        address
    }

    #[test]
    fn probes_that_take_long_are_under_way_at_the_same_time() {
        const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
        // One after the other, 8 backends twice would take 16 x 100 ms.
        let address = slow_server(&NAMES, Duration::from_millis(100), None);
        let report = passed(address, &NAMES, 1_200);
        assert!(report.passed && report.failed == 0, "{report:?}");
        assert!(report.probes < 64, "{report:?}");
        // A failure among those under way begins all rows again.
        let address = slow_server(&NAMES, Duration::from_millis(20), Some(9));
        let report = passed(address, &NAMES, 10_000);
        assert_eq!((report.passed, report.failed), (true, 1), "{report:?}");
        assert!(report.probes >= 10 + 16, "{report:?}");
    }

    #[test]
    fn probes_are_sent_as_the_load_is() {
        let (tls, pem) = ServerTls::self_signed_as("b0", &["b0.test".to_owned()]).unwrap();
        let config = BackendConfig::new(vec!["127.0.0.1:0".parse().unwrap()], "b0".to_owned());
        let backend = Backend::start(BackendConfig { tls: Some(tls), plain_too: true, ..config }).unwrap();
        let address = backend.addresses()[0];
        let client = |trust: Trust, name: &str, http2| {
            let protocol = if http2 { "h2" } else { "http/1.1" };
            let options = ClientOptions { trust, server_name: name.to_owned(), protocol, resume: false };
            ClientTls::new(options).unwrap()
        };
        let probe = |tls: Option<ClientTls>, http2| {
            let request = request_to(&address.to_string());
            Probe::new(request, tls, http2).send(address, Duration::from_secs(5))
        };
        for http2 in [false, true] {
            let known = || client(Trust::Pem(pem.clone()), "b0.test", http2);
            assert_eq!(probe(None, http2), Ok(Some("b0".to_owned())));
            assert_eq!(probe(Some(known()), http2), Ok(Some("b0".to_owned())));
            let other = client(Trust::Pem(pem.clone()), "b1.test", http2);
            assert!(probe(Some(other), http2).unwrap_err().contains("certificate"));
        }
        let counts = backend.finish();
        assert_eq!((counts.requests, counts.answered, counts.malformed), (4, 4, 0));
    }
}
