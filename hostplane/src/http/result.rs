//! From an outcome to the result that is printed. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use linerate_wire::report::{Distribution, LatencySummary};
use linerate_wire::streams::CpuUse;
use linerate_wire::time::Throttling;
use serde::Serialize;

use super::counters::HttpCounters;
use super::outcome::{BackendCounts, FailureTimes, HttpOutcome, HttpSample, HttpWorker};
use super::spec::{Arrivals, HttpLoad, HttpSpec};
use super::tls::TlsPart;
use super::verdict::HttpVerdict;
use crate::control::program;

/// A trial of HTTP requests.
#[derive(Debug, Serialize)]
pub(crate) struct HttpResult {
    pub(crate) program: String,
    pub(crate) began_unix_s: f64,
    /// True when every worker's counts are there, and add up.
    pub(crate) complete: bool,
    pub(crate) interrupted: bool,
    pub(crate) failures: Vec<String>,
    pub(crate) url: String,
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whole responses.
    pub(crate) requests: u64,
    /// Whole responses within the time of sending, per second of it.
    pub(crate) requests_per_s: f64,
    /// Time of sending; from then on, requests under way were waited for. A number of requests at constant intervals lasts
    /// at least as long as its schedule, with the pause after the last one.
    pub(crate) duration_s: f64,
    /// From the start until the last worker ended, as measured: shorter than `duration_s` where nothing was left to do in the
    /// pause after the last request.
    pub(crate) elapsed_s: f64,
    pub(crate) load: LoadPart,
    pub(crate) account: Account,
    /// Whole responses by class of their status.
    pub(crate) statuses: BTreeMap<&'static str, u64>,
    /// Failed requests by kind.
    pub(crate) errors: BTreeMap<&'static str, u64>,
    pub(crate) connections: Connections,
    /// Null without TLS.
    pub(crate) tls: Option<TlsPart>,
    /// Bytes of requests and responses; with TLS, before encryption and after decryption.
    pub(crate) written_bytes: u64,
    pub(crate) read_bytes: u64,
    pub(crate) body_bytes: u64,
    pub(crate) latency: Latency,
    pub(crate) backends: BackendCounts,
    /// When requests failed, or were answered with 5xx.
    pub(crate) failure_times: FailureTimes,
    pub(crate) intervals: Vec<HttpInterval>,
    /// Intervals that were left out: the oldest of a long trial.
    pub(crate) intervals_left_out: u64,
    pub(crate) verdict: HttpVerdict,
    pub(crate) cpu: CpuUse,
    /// CPU seconds of this program per 1,000 responses; null when nothing was answered.
    pub(crate) cpu_s_per_thousand: Option<f64>,
    pub(crate) throttling: Option<Throttling>,
    pub(crate) workers: Vec<HttpWorker>,
    pub(crate) notes: Vec<String>,
}

/// What was asked for.
#[derive(Debug, Serialize)]
pub(crate) struct LoadPart {
    /// `closed` or `open`.
    #[serde(rename = "loop")]
    pub(crate) kind: &'static str,
    /// `1.1` or `2`.
    pub(crate) http: &'static str,
    pub(crate) connections: u32,
    /// Requests of a connection at the same time, at most; null with HTTP/1.1.
    pub(crate) streams: Option<u32>,
    /// Requests that the server permitted to be under way at the same time, all connections together, at most those asked
    /// for; null with HTTP/1.1, and when it said nothing.
    pub(crate) permitted: Option<u64>,
    pub(crate) threads: u32,
    /// Null in a closed loop.
    pub(crate) arrivals: Option<Arrivals>,
    /// Requests per second that were asked for, on average over the schedule; null in a closed loop.
    pub(crate) intended_per_s: Option<f64>,
    pub(crate) requests_per_connection: Option<u32>,
    pub(crate) timeout_ms: u64,
    /// Most requests that may wait for a connection; null in a closed loop.
    pub(crate) max_pending: Option<u32>,
}

/// intended = sent + skipped; sent = answered + failed + unfinished.
#[derive(Debug, Serialize)]
pub(crate) struct Account {
    pub(crate) intended: u64,
    pub(crate) sent: u64,
    pub(crate) skipped: u64,
    /// Of those skipped: because the queue was full, and because the time of sending ended.
    pub(crate) skipped_queue_full: u64,
    pub(crate) skipped_at_end: u64,
    /// Requests that waited for a connection, however short.
    pub(crate) queued: u64,
    pub(crate) answered: u64,
    /// Of those answered, within the time of sending.
    pub(crate) answered_in_time: u64,
    pub(crate) failed: u64,
    pub(crate) unfinished: u64,
    /// Requests of which at least one byte was written: those that a server can have seen.
    pub(crate) written: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Connections {
    pub(crate) made: u64,
    /// Of those, in place of an earlier one.
    pub(crate) made_again: u64,
    pub(crate) failures: u64,
    /// Connections that the peer closed between requests without having said so.
    pub(crate) closed_idle: u64,
    /// Connections on which bytes came that no request had asked for.
    pub(crate) unsolicited: u64,
    /// Times that a server of HTTP/2 ended a connection (GOAWAY), and requests that it returned then without having
    /// begun with them: they were sent again, on another connection.
    pub(crate) goaways: u64,
    pub(crate) returned: u64,
}

/// Times of answered requests.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    /// Which one tells what users wait: `corrected` or `service`.
    pub(crate) believe: &'static str,
    pub(crate) why: &'static str,
    /// Intended requests that are in none of the times below, because they were skipped, failed or are unfinished.
    pub(crate) left_out: u64,
    /// Percentile of the intended requests up to which the percentiles of those answered can be theirs, too: those
    /// left out may have been the slowest ones. Null when nothing was intended.
    pub(crate) known_up_to_percent: Option<f64>,
    /// From the time at which a request was due to the last byte of its response; null in a closed loop.
    pub(crate) corrected_ns: Option<LatencySummary>,
    /// From the call that wrote the request to the last byte of its response.
    pub(crate) service_ns: Option<LatencySummary>,
    /// From the same call to the first byte of the response.
    pub(crate) first_byte_ns: Option<LatencySummary>,
    /// From the time at which a request was due to when a connection was given it; null in a closed loop.
    pub(crate) send_error_ns: Option<LatencySummary>,
    /// For a connection to be made.
    pub(crate) connect_ns: Option<LatencySummary>,
    /// From the established connection to the end of TLS's handshake; null without TLS.
    pub(crate) handshake_ns: Option<LatencySummary>,
    pub(crate) histograms: Histograms,
}

/// Upper bounds of buckets in nanoseconds, and times in them; empty buckets are left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Histograms {
    pub(crate) corrected_ns: Vec<(u64, u64)>,
    pub(crate) service_ns: Vec<(u64, u64)>,
    pub(crate) send_error_ns: Vec<(u64, u64)>,
    pub(crate) handshake_ns: Vec<(u64, u64)>,
}

/// What happened between two samples.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HttpInterval {
    /// Beginning and end, in seconds after the start.
    pub(crate) from_s: f64,
    pub(crate) to_s: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) intended: u64,
    pub(crate) sent: u64,
    pub(crate) skipped: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// Responses with a status of 400 or more.
    pub(crate) refused: u64,
    pub(crate) connected: u64,
    pub(crate) read_bytes: u64,
    /// Requests that wait, and connections with a request, at the end of the interval.
    pub(crate) waiting: u64,
    pub(crate) busy: u64,
    /// CPUs that this program used.
    pub(crate) cpus: f64,
}

impl HttpInterval {
    /// Between two samples of a trial that began at `start_ns`.
    pub(crate) fn between(before: &HttpSample, now: &HttpSample, start_ns: u64) -> Self {
        let since = |ns: u64| ns.saturating_sub(start_ns) as f64 / 1e9;
        let (from_s, to_s) = (since(before.at_ns), since(now.at_ns));
        let seconds = (to_s - from_s).max(1e-9);
        let more = |of: fn(&HttpCounters) -> u64| of(&now.counters).saturating_sub(of(&before.counters));
        let answered = more(|counters| counters.answered);
        Self {
            from_s,
            to_s,
            requests_per_s: answered as f64 / seconds,
            intended: more(|counters| counters.intended),
            sent: more(|counters| counters.sent),
            skipped: more(HttpCounters::skipped),
            answered,
            failed: more(HttpCounters::failed),
            refused: more(HttpCounters::error_responses),
            connected: more(|counters| counters.connected),
            read_bytes: more(|counters| counters.read_bytes),
            waiting: now.counters.waiting,
            busy: now.counters.busy,
            cpus: now.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e9 / seconds,
        }
    }
}

impl HttpResult {
    pub(crate) fn of(
        url: String,
        spec: &HttpSpec,
        outcome: HttpOutcome,
        (intervals, intervals_left_out): (Vec<HttpInterval>, u64),
        notes: Vec<String>,
    ) -> Self {
        let counters = outcome.counters;
        let stopped_s = outcome.stopped_s();
        let schedule_s = spec.schedule_s().filter(|_| stopped_s.is_none()).unwrap_or(0.0);
        let sending_s = outcome.sending_s.max(schedule_s);
        let requests_per_s = if sending_s > 0.0 { counters.answered_in_time as f64 / sending_s } else { 0.0 };
        let statuses = [
            ("2xx", counters.status_2xx),
            ("3xx", counters.status_3xx),
            ("4xx", counters.status_4xx),
            ("5xx", counters.status_5xx),
            ("other", counters.status_other),
        ];
        let answered = counters.answered;
        Self {
            program: program(),
            began_unix_s: outcome.began_unix_s,
            complete: outcome.failures.is_empty(),
            interrupted: outcome.interrupted,
            failures: outcome.failures,
            url,
            addresses: spec.addresses.clone(),
            requests: answered,
            requests_per_s,
            duration_s: sending_s,
            elapsed_s: outcome.elapsed_s,
            load: load_part(spec, stopped_s, outcome.permitted),
            account: Account {
                intended: counters.intended,
                sent: counters.sent,
                skipped: counters.skipped(),
                skipped_queue_full: counters.skipped_full,
                skipped_at_end: counters.skipped_at_end,
                queued: counters.queued,
                answered,
                answered_in_time: counters.answered_in_time,
                failed: counters.failed(),
                unfinished: counters.unfinished,
                written: counters.written,
            },
            statuses: statuses.into(),
            errors: counters.failures().into(),
            connections: Connections {
                made: counters.connected,
                made_again: counters.reconnected,
                failures: counters.connect_failures,
                closed_idle: counters.closed_idle,
                unsolicited: counters.unsolicited,
                goaways: counters.goaways,
                returned: counters.returned,
            },
            tls: TlsPart::of(spec, &counters, outcome.agreed, outcome.handshakes_failed),
            written_bytes: counters.written_bytes,
            read_bytes: counters.read_bytes,
            body_bytes: counters.body_bytes,
            latency: latency(spec, &counters, outcome.times),
            backends: outcome.backends,
            failure_times: outcome.failure_times,
            intervals,
            intervals_left_out,
            verdict: outcome.verdict,
            cpu_s_per_thousand: (answered > 0).then(|| outcome.cpu.process_s / answered as f64 * 1e3),
            cpu: outcome.cpu,
            throttling: outcome.throttling,
            workers: outcome.workers,
            notes,
        }
    }
}

fn load_part(spec: &HttpSpec, stopped_s: Option<f64>, permitted: Option<u64>) -> LoadPart {
    let arrivals = match &spec.load {
        HttpLoad::Closed => None,
        HttpLoad::Open { arrivals, .. } => Some(*arrivals),
    };
    LoadPart {
        kind: if arrivals.is_some() { "open" } else { "closed" },
        http: if spec.streams.is_some() { "2" } else { "1.1" },
        connections: spec.connections,
        streams: spec.streams,
        permitted,
        threads: spec.workers(),
        arrivals,
        intended_per_s: spec.intended_per_s(stopped_s),
        requests_per_connection: spec.requests_per_connection,
        timeout_ms: spec.timeout_ms,
        max_pending: arrivals.map(|_| spec.most_pending),
    }
}

fn latency(spec: &HttpSpec, counters: &HttpCounters, times: super::outcome::HttpTimes) -> Latency {
    let (believe, why) = match spec.load {
        HttpLoad::Closed => (
            "service",
            "in a closed loop a server that stalls keeps requests from being sent, and they are missing here: --rate measures what users wait",
        ),
        HttpLoad::Open { .. } => (
            "corrected",
            "it includes the time for which requests waited because the server was not done with earlier ones",
        ),
    };
    let summary = |times: &Option<Distribution>| times.as_ref().map(|times| times.summary);
    Latency {
        believe,
        why,
        left_out: counters.intended.saturating_sub(counters.answered),
        known_up_to_percent: (counters.intended > 0)
            .then(|| 100.0 * counters.answered as f64 / counters.intended as f64),
        corrected_ns: summary(&times.corrected),
        service_ns: summary(&times.service),
        first_byte_ns: summary(&times.first_byte),
        send_error_ns: summary(&times.send_error),
        connect_ns: summary(&times.connect),
        handshake_ns: summary(&times.handshake),
        histograms: Histograms {
            corrected_ns: times.corrected.map(|times| times.histogram).unwrap_or_default(),
            service_ns: times.service.map(|times| times.histogram).unwrap_or_default(),
            send_error_ns: times.send_error.map(|times| times.histogram).unwrap_or_default(),
            handshake_ns: times.handshake.map(|times| times.histogram).unwrap_or_default(),
        },
    }
}
