//! A trial as its user sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use linerate_agent::host::monotonic_ns;
use linerate_http::tls::client::ClientTls;

use super::counters::HttpCounters;
use super::outcome::{HttpOutcome, HttpSample};
use super::spec::{HttpError, HttpSpec};
use super::tally::{Failure, Sum};
use super::transport::{Plain, Tls, TlsEnd};
use super::verdict::judge;
use super::worker::{ABORT, Left, NO_START, Orders, RUN, STOP, Seat, Shown, Worker};
use crate::streams::host::HostWatch;
use crate::streams::pool::{allowed_cpus, chosen_cpus, pin};
use crate::streams::raise_descriptor_limit;

/// File descriptors of a worker besides its connections, and of a program besides its workers.
const DESCRIPTORS_OF_WORKER: u64 = 3;
const OTHER_DESCRIPTORS: u64 = 64;

/// A trial whose workers run. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct HttpTrial {
    spec: Arc<HttpSpec>,
    orders: Arc<Orders>,
    shown: Vec<Arc<Shown>>,
    threads: Vec<JoinHandle<Left>>,
    host: Option<HostWatch>,
    began_unix_s: f64,
}

impl HttpTrial {
    /// Starts the workers, which make their connections, and wait.
    ///
    /// # Errors
    /// What is asked for cannot be, or there are no resources for it.
    pub(crate) fn arm(spec: HttpSpec) -> Result<Self, HttpError> {
        spec.check()?;
        let workers = spec.workers();
        let needed =
            u64::from(spec.connections) + DESCRIPTORS_OF_WORKER * u64::from(workers) + OTHER_DESCRIPTORS;
        if let Some(allowed) = raise_descriptor_limit().filter(|allowed| needed > *allowed) {
            return Err(HttpError::Descriptors { connections: spec.connections, needed, allowed });
        }
        let places = places(&spec)?;
        let orders = Arc::new(Orders {
            start_ns: AtomicU64::new(NO_START),
            end: AtomicU8::new(RUN),
            requests_left: AtomicU64::new(spec.requests.unwrap_or(u64::MAX)),
        });
        let spec = Arc::new(spec);
        let mut trial =
            Self { spec, orders, shown: Vec::new(), threads: Vec::new(), host: None, began_unix_s: 0.0 };
        for (number, cpu) in (0..workers).zip(places.into_iter().cycle()) {
            let seat = Seat::new(number, cpu, &trial.spec, &trial.orders)?;
            trial.shown.push(Arc::clone(&seat.shown));
            let tls = trial.spec.tls.as_ref().map(ClientTls::apart);
            let thread = std::thread::Builder::new().name(format!("http-{number}")).spawn(move || {
                pin(cpu);
                match tls {
                    None => Worker::<Plain>::new(seat, ()).run(),
                    Some(tls) => Worker::<Tls>::new(seat, TlsEnd::Client(tls)).run(),
                }
            })?;
            trial.threads.push(thread);
        }
        Ok(trial)
    }

    /// True when every connection was made, or could not be made. Where each request has a connection of its
    /// own there are none to make.
    pub(crate) fn is_ready(&self) -> bool {
        self.shown.iter().all(|shown| shown.ready.load(Ordering::Acquire))
    }

    /// Has the first request sent at this time, in nanoseconds of the raw monotonic clock; in the past: at once,
    /// and requests that were due meanwhile are late.
    pub(crate) fn start_at(&mut self, start_ns: u64) {
        self.host = Some(HostWatch::begin());
        let ahead = Duration::from_nanos(start_ns.saturating_sub(monotonic_ns()));
        let began = (SystemTime::now() + ahead).duration_since(UNIX_EPOCH);
        self.began_unix_s = began.map_or(0.0, |since| since.as_secs_f64());
        self.orders.start_ns.store(start_ns.min(NO_START - 1), Ordering::Release);
        self.wake();
    }

    /// Ends the sending. Requests under way are still waited for.
    pub(crate) fn stop(&self) {
        self.orders.end.fetch_max(STOP, Ordering::Relaxed);
        self.wake();
    }

    /// Ends the waiting for requests under way, too.
    pub(crate) fn abort(&self) {
        self.orders.end.fetch_max(ABORT, Ordering::Relaxed);
        self.wake();
    }

    fn wake(&self) {
        self.shown.iter().for_each(|shown| shown.wake());
    }

    /// Counters of all workers now.
    pub(crate) fn sample(&self) -> HttpSample {
        let counters = self.shown.iter().map(|shown| shown.counters.read());
        HttpSample {
            at_ns: monotonic_ns(),
            counters: counters.fold(HttpCounters::default(), HttpCounters::plus),
            cpu_ns: self.host.as_ref().map_or(0, HostWatch::cpu_ns),
        }
    }

    /// True when all workers have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Ends a trial that has not been started. Returns why a connection could not be made, if one could not.
    pub(crate) fn finish_unstarted(self) -> Option<Failure> {
        self.abort();
        self.finish().first_failure
    }

    /// Waits for the workers' end and gathers what they measured.
    pub(crate) fn finish(mut self) -> HttpOutcome {
        let start_ns = self.orders.start_ns.load(Ordering::Acquire);
        let mut failures = Vec::new();
        let mut all = Vec::new();
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(left) => all.push(left),
                Err(_) => failures.push("a worker ended in a panic: its counts are missing".to_owned()),
            }
        }
        let since_start = |ns: u64| if start_ns == NO_START { 0 } else { ns.saturating_sub(start_ns) };
        let seconds =
            |ends: &mut dyn Iterator<Item = u64>| ends.map(since_start).max().unwrap_or(0) as f64 / 1e9;
        let sending_s = seconds(&mut all.iter().map(|left| left.sending_ended_ns));
        let elapsed_s = seconds(&mut all.iter().map(|left| left.ended_ns));
        let counters = all.iter().map(|left| left.counters).fold(HttpCounters::default(), HttpCounters::plus);
        let gap = |left: &Left| Some(format!("worker {}: {}", left.worker.worker, left.counters.gap()?));
        failures.extend(all.iter().filter_map(gap));
        let (mut sum, mut workers) = (Sum::default(), Vec::new());
        for left in all {
            sum.add(left.tally);
            workers.push(left.worker);
        }
        let (cpu, throttling) = self.host.take().unwrap_or_else(HostWatch::begin).read();
        let (agreed, handshakes_failed) = sum.handshakes();
        let mut outcome = HttpOutcome {
            began_unix_s: self.began_unix_s,
            sending_s,
            elapsed_s,
            counters,
            times: sum.times(),
            backends: sum.backends(),
            failure_times: sum.failure_times(),
            workers,
            cpu,
            throttling,
            verdict: Default::default(),
            interrupted: self.orders.end.load(Ordering::Relaxed) >= STOP,
            failures,
            agreed,
            handshakes_failed,
            first_failure: sum.first_failure.take(),
            permitted: sum.permitted,
        };
        outcome.verdict = judge(&self.spec, &outcome);
        outcome
    }
}

impl Drop for HttpTrial {
    fn drop(&mut self) {
        self.abort();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker of HTTP requests panicked");
            }
        }
    }
}

/// The CPUs of workers, in turn. Workers that are fewer than the CPUs stay where the scheduler puts them.
fn places(spec: &HttpSpec) -> Result<Vec<Option<u32>>, HttpError> {
    let places: Vec<Option<u32>> = match &spec.cpus {
        Some(chosen) => chosen_cpus(chosen)?.into_iter().map(Some).collect(),
        None => {
            let allowed = allowed_cpus();
            let each = allowed.len() <= spec.workers() as usize;
            allowed.into_iter().map(|cpu| each.then_some(cpu)).collect()
        }
    };
    Ok(if places.is_empty() { vec![None] } else { places })
}

#[cfg(test)]
mod tests;
