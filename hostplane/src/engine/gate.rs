//! The gate: probes, each in a connection of its own, until every backend has answered often enough in a row.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use linerate_http::response::{Expected, HeadCache, NamedBy, Progress, ResponseReader};
use linerate_wire::http::{GateAnswers, GateReport, HttpGate};

use crate::http::spec::MOST_BACKENDS;

/// Longest time for a probe.
const PROBE_TIME: Duration = Duration::from_secs(2);
/// Least time between two probes: a gate is no load.
const DISTANCE: Duration = Duration::from_millis(1);
/// Pause after a probe that failed.
const PAUSE: Duration = Duration::from_millis(50);
/// Largest body of an answer.
const MOST_BODY_BYTES: u64 = 1 << 20;

/// A client at the gate.
#[derive(Debug)]
pub(super) struct Gate {
    shared: Arc<Shared>,
    work: Option<(HttpGate, Vec<u8>, Duration)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    probes: AtomicU64,
    report: Mutex<GateReport>,
}

impl Gate {
    /// A gate that is not yet tried; `request` is what a probe sends, `pause` the least time between two probes.
    pub(super) fn new(gate: HttpGate, request: Vec<u8>, pause: Duration) -> Self {
        Self { shared: Arc::default(), work: Some((gate, request, pause.max(DISTANCE))), thread: None }
    }

    /// Begins to probe.
    pub(super) fn start(&mut self) {
        let Some((gate, request, pause)) = self.work.take() else { return };
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("gate".to_owned()).spawn(move || {
            let report = Probing::new(gate, &request, pause, &shared).run();
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
    request: &'a [u8],
    pause: Duration,
    shared: &'a Shared,
    begun: Instant,
    report: GateReport,
    /// Answers of each backend since the latest failure.
    in_a_row: BTreeMap<String, u32>,
    /// Answers since the latest failure.
    all_in_a_row: u32,
}

impl<'a> Probing<'a> {
    fn new(gate: HttpGate, request: &'a [u8], pause: Duration, shared: &'a Shared) -> Self {
        let backends = gate.backends.iter().map(|name| (name.clone(), GateAnswers::default())).collect();
        let report = GateReport { backends, ..GateReport::default() };
        let in_a_row = BTreeMap::new();
        Self { gate, request, pause, shared, begun: Instant::now(), report, in_a_row, all_in_a_row: 0 }
    }

    fn run(mut self) -> GateReport {
        let limit = Duration::from_millis(self.gate.limit_ms.into());
        let addresses = self.gate.destination.addresses.clone();
        let mut turn = addresses.iter().cycle();
        while let Some(address) = turn.next().filter(|_| !self.shared.stop.load(Ordering::Relaxed)) {
            let left = limit.saturating_sub(self.begun.elapsed());
            if left.is_zero() {
                break;
            }
            let answer = probe(*address, self.request, PROBE_TIME.min(left));
            self.report.probes += 1;
            self.shared.probes.store(self.report.probes, Ordering::Relaxed);
            match answer {
                Ok(name) => self.answered(name),
                Err(reason) => self.failed(format!("{address}: {reason}")),
            }
            if self.is_open(addresses.len()) {
                self.report.passed = true;
                break;
            }
            let failed_last = self.all_in_a_row == 0;
            let pause = if failed_last { self.pause.max(PAUSE) } else { self.pause };
            sleep(pause.min(left));
        }
        self.report.waited_ns = nanoseconds(self.begun);
        self.report
    }

    fn answered(&mut self, name: Option<String>) {
        self.all_in_a_row += 1;
        let Some(name) = name else { return };
        // The balancer of the trial before may have had more backends, and not know yet that they are gone.
        if !self.gate.backends.is_empty() && !self.gate.backends.contains(&name) {
            return self.failed(format!("{name} answered, which is no backend of the trial"));
        }
        let first_ns = nanoseconds(self.begun);
        // A server that is no backend may have another name each time.
        if self.report.backends.len() >= MOST_BACKENDS && !self.report.backends.contains_key(&name) {
            return;
        }
        *self.in_a_row.entry(name.clone()).or_default() += 1;
        let answers = self.report.backends.entry(name).or_default();
        answers.answers += 1;
        answers.first_ns.get_or_insert(first_ns);
    }

    fn failed(&mut self, reason: String) {
        self.report.failed += 1;
        self.report.last_failure = Some(reason);
        self.in_a_row.clear();
        self.all_in_a_row = 0;
    }

    fn is_open(&self, addresses: usize) -> bool {
        let enough = |name: &String| self.in_a_row.get(name).is_some_and(|row| *row >= self.gate.times);
        match self.gate.backends.is_empty() {
            true => self.all_in_a_row as usize >= self.gate.times as usize * addresses,
            false => self.gate.backends.iter().all(enough),
        }
    }
}

fn nanoseconds(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Sends a request in a connection of its own; returns the name in the answer, if it has one.
fn probe(address: SocketAddr, request: &[u8], limit: Duration) -> Result<Option<String>, String> {
    let begun = Instant::now();
    let told = |error: std::io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    };
    let mut stream = TcpStream::connect_timeout(&address, limit).map_err(told)?;
    stream.set_write_timeout(Some(limit)).map_err(told)?;
    stream.write_all(request).map_err(told)?;
    let expected = Expected { head: false, most_body_bytes: MOST_BODY_BYTES, named_by: NamedBy::Body };
    let (mut reader, mut cache) = (ResponseReader::default(), HeadCache::default());
    let (mut kept, mut room) = (Vec::new(), [0; 4096]);
    let response = loop {
        let left = limit.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
        if begun.elapsed() >= limit {
            return Err("no answer in time".to_owned());
        }
        stream.set_read_timeout(Some(left)).map_err(told)?;
        let read = stream.read(&mut room).map_err(told)?;
        if read == 0 {
            break reader.end().map_err(|bad| format!("{bad:?}"))?;
        }
        kept.extend_from_slice(&room[..read]);
        match reader.read(&kept, &expected, &mut cache) {
            Ok(Progress::Whole(_, response)) => break response,
            Ok(Progress::Partial(taken)) => drop(kept.drain(..taken)),
            Err(bad) => return Err(format!("the answer is no HTTP/1.1 ({bad:?})")),
        }
    };
    if !(200..400).contains(&response.status) {
        return Err(format!("status {}", response.status));
    }
    Ok(reader.name().and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use linerate_wire::http::Destination;

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

    fn passed(address: SocketAddr, backends: &[&str], limit_ms: u32) -> GateReport {
        let destination =
            Destination { addresses: vec![address], host: address.to_string(), path: "/".to_owned() };
        let backends = backends.iter().map(|name| (*name).to_owned()).collect();
        let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let gate = HttpGate { destination, backends, times: 2, limit_ms };
        let mut gate = Gate::new(gate, request.into_bytes(), Duration::ZERO);
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
        assert_eq!((report.passed, report.probes, report.failed), (true, 4, 1), "{report:?}");
        assert!(report.last_failure.unwrap().contains("status 503"));
        assert_eq!(report.backends["a"].answers, 3);
    }

    #[test]
    fn every_backend_must_answer() {
        let report = passed(server(&[A, A, A, B, B]), &["a", "b"], 10_000);
        assert_eq!((report.passed, report.probes), (true, 5), "{report:?}");
        let report = passed(server(&[A]), &["a", "b"], 100);
        assert_eq!((report.passed, report.backends["b"]), (false, GateAnswers::default()));
        assert!(report.waited_ns >= 100_000_000, "{report:?}");
        // Without names, whoever answers will do.
        let report = passed(server(&["HTTP/1.1 204 No\r\n\r\n"]), &[], 10_000);
        assert_eq!((report.passed, report.probes), (true, 2), "{report:?}");
    }
}
