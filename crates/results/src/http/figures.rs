//! The figures of trials of HTTP, as a table: workbooks, comparisons, exports and printed tables read it.

use linerate_wire::report::LatencySummary;

use super::trial::HttpTrialSummary;
use crate::streams::StreamsUnit::{
    Microseconds, Nanoseconds, Number, Probability, Requests, RequestsPerSecond, Seconds, Share,
};
use crate::streams::{Figure, figure};

type Trial = HttpTrialSummary;

/// Figures of a trial, in the order of exports and comparisons.
pub const HTTP_FIGURES: &[Figure<Trial>] = &[
    figure("repeat", "repeat", Number, "Which time the profile was run", |t: &Trial| Some(t.repeat.into())),
    figure("backends", "backends", Number, "Backends behind the target", |t: &Trial| Some(t.backends.into())),
    figure("connections", "connections", Number, "Connections of all clients", |t: &Trial| {
        Some(t.connections.into())
    }),
    figure(
        "intended_requests_per_s",
        "intended",
        RequestsPerSecond,
        "Intended requests per second",
        |t: &Trial| t.intended_per_s,
    ),
    figure("sent_requests_per_s", "sent", RequestsPerSecond, "Requests sent per second", |t: &Trial| {
        t.sent_per_s
    }),
    figure(
        "requests_per_s",
        "answered",
        RequestsPerSecond,
        "Requests answered per second within the time of sending",
        |t: &Trial| t.requests_per_s,
    )
    .more_is_better(),
    figure(
        "error_ratio",
        "errors",
        Share,
        "Share of the requests sent that failed or were refused",
        |t: &Trial| t.error_share,
    )
    .less_is_better(),
    figure("intended_requests", "intended", Requests, "Requests that were due", |t: &Trial| {
        Some(t.requests.intended as f64)
    }),
    figure("sent_requests", "sent", Requests, "Requests given to a connection", |t: &Trial| {
        Some(t.requests.sent as f64)
    }),
    figure("skipped_requests", "skipped", Requests, "Requests that were due and never sent", |t: &Trial| {
        Some(t.requests.skipped as f64)
    }),
    figure("answered_requests", "answered", Requests, "Requests with a whole answer", |t: &Trial| {
        Some(t.requests.answered as f64)
    }),
    figure("failed_requests", "failed", Requests, "Requests that failed", |t: &Trial| {
        Some(t.requests.failures() as f64)
    }),
    figure(
        "unfinished_requests",
        "unfinished",
        Requests,
        "Requests without an answer at the end",
        |t: &Trial| Some(t.requests.unfinished as f64),
    ),
    figure(
        "response_p50_ns",
        "latency p50",
        Nanoseconds,
        "Median latency, corrected in an open loop",
        |t: &Trial| latency(t, |one| one.p50),
    )
    .less_is_better(),
    figure(
        "response_p99_ns",
        "latency p99",
        Nanoseconds,
        "99th percentile of latency, corrected in an open loop",
        |t: &Trial| latency(t, |one| one.p99),
    )
    .less_is_better(),
    figure(
        "response_p999_ns",
        "latency p99.9",
        Nanoseconds,
        "99.9th percentile of latency, corrected in an open loop",
        |t: &Trial| latency(t, |one| one.p999),
    )
    .less_is_better(),
    figure(
        "response_max_ns",
        "latency max",
        Nanoseconds,
        "Largest latency, corrected in an open loop",
        |t: &Trial| latency(t, |one| one.max),
    )
    .less_is_better(),
    figure("service_p99_ns", "service p99", Nanoseconds, "99th percentile of service time", |t: &Trial| {
        t.service_ns.map(|one| one.p99 as f64)
    }),
    figure(
        "send_error_p99_ns",
        "send error p99",
        Nanoseconds,
        "99th percentile of the time from when a request was due to when it was written",
        |t: &Trial| t.send_error_ns.map(|one| one.p99 as f64),
    ),
    figure(
        "spread_p_value",
        "spread p",
        Probability,
        "Probability of so uneven a spread by chance",
        |t: &Trial| t.evenness.and_then(|one| one.p_value),
    ),
    figure("client_cpu_us", "CPU of clients", Microseconds, "CPU of the clients per answer", |t: &Trial| {
        t.client_cpu_us
    })
    .less_is_better(),
    figure(
        "backend_cpu_us",
        "CPU of backends",
        Microseconds,
        "CPU of the backends per answer",
        |t: &Trial| t.backend_cpu_us,
    )
    .less_is_better(),
    figure(
        "balancer_cpu_us",
        "CPU of balancer",
        Microseconds,
        "CPU of the balancer's process per answer",
        |t: &Trial| t.balancer_cpu_us,
    )
    .less_is_better(),
    figure("gate_wait_s", "gate", Seconds, "Wait for all backends before the trial", |t: &Trial| {
        Some(t.gate.waited_s)
    }),
    figure(
        "churn_error_s",
        "errors of churn",
        Seconds,
        "Time in which requests failed because a backend was away",
        |t: &Trial| Some(t.churn.as_ref()?.error_ms? as f64 / 1e3),
    )
    .less_is_better(),
    figure(
        "churn_return_s",
        "return of churn",
        Seconds,
        "Time from a backend's return until a request reached it",
        |t: &Trial| Some(t.churn.as_ref()?.first_request_ms? / 1e3),
    )
    .less_is_better(),
    figure("duration_s", "duration", Seconds, "Time of sending", |t: &Trial| Some(t.duration_s)),
];

fn latency(trial: &Trial, of: fn(&LatencySummary) -> u64) -> Option<f64> {
    trial.latency_ns().map(|latency| of(&latency) as f64)
}
