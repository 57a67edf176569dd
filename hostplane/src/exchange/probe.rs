//! Requests beside a load: round-trip times while the path is idle, and under it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::outcome::{Shared, Tally};
use super::result::{ExchangeResult, Times, account, time_lines, why_line};
use super::run::{Ends, Trial, begin};
use super::{ExchangeKind, ExchangeSpec, LEAST_DATAGRAM};
use crate::client::{ClientError, Request};
use crate::result::text::time;

/// Bytes of a request, and of a response.
const BYTES: u32 = 64;

/// A probe that runs.
pub(crate) struct Probe {
    trial: Trial,
}

/// Times without load and under it. requests = responses + lost + unknown in each.
#[derive(Debug, Serialize)]
pub(crate) struct ProbeResult {
    pub(crate) kind: ExchangeKind,
    pub(crate) client: SocketAddr,
    pub(crate) complete: bool,
    pub(crate) failures: Vec<String>,
    pub(crate) per_second: f64,
    /// Those that were due before the load began.
    pub(crate) idle: PhaseResult,
    /// Those that were due from its beginning on; to the end of sending where that is known beforehand.
    pub(crate) loaded: PhaseResult,
    /// Median of the corrected times under load less the idle one, in nanoseconds; null when one is unknown.
    pub(crate) added_ns: Option<i64>,
}

/// One phase.
#[derive(Debug, Serialize)]
pub(crate) struct PhaseResult {
    pub(crate) requests: u64,
    pub(crate) responses: u64,
    pub(crate) lost: u64,
    /// Under way when the probe was broken off.
    pub(crate) unknown: u64,
    pub(crate) times: Times,
}

impl PhaseResult {
    fn of(spec: &ExchangeSpec, tally: &Tally) -> Self {
        // What was not sent is of no phase.
        let mut times = Times::of(spec, tally, 0, None);
        // The server does not divide its times by the client's phases.
        times.kernel_note = times
            .client_kernel_ns
            .is_none()
            .then(|| "the kernel, or the interface's driver, took no times of packets".to_owned());
        let Tally { requests, responses, lost, unknown, .. } = *tally;
        Self { requests, responses, lost, unknown, times }
    }
}

impl Probe {
    /// Begins to ask, `idle` before the load. Must run in a local set.
    pub(crate) async fn start(
        request: &Request,
        kind: ExchangeKind,
        per_second: f64,
        idle: Duration,
    ) -> Result<Self, ClientError> {
        let bytes = BYTES.max(LEAST_DATAGRAM);
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let spec = ExchangeSpec {
            kind,
            streams: 1,
            request_bytes: bytes,
            response_bytes: bytes,
            per_second: Some(per_second),
            // What ceilings are asked for; setting up the load's streams makes it a little longer.
            duration_ms: request.spec.each.duration_ms.map(|ms| ms.saturating_add(idle_ms)),
            client_closes: false,
        };
        Ok(Self { trial: begin(request, spec, Ends::WithLoad).await? })
    }

    /// What marks the phases.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.trial.shared)
    }

    /// Ends it, and gathers the accounts.
    pub(crate) async fn finish(self) -> ProbeResult {
        self.trial.shared.stop.store(true, Ordering::Relaxed);
        let (_keep, stop) = watch::channel(false);
        let exchanged = self.trial.finish(stop).await;
        let mut tallies = [Tally::default(), Tally::default()];
        for stream in &exchanged.streams {
            tallies[0].merge(&stream.idle);
            tallies[1].merge(&stream.loaded);
        }
        let whole = ExchangeResult::of(&exchanged);
        let kind = exchanged.spec.kind;
        let [idle, loaded] = tallies.map(|tally| PhaseResult::of(&exchanged.spec, &tally));
        let median =
            |phase: &PhaseResult| phase.times.corrected_ns.as_ref().map(|times| times.p50.cast_signed());
        Self::result(kind, &whole, idle, loaded, median)
    }

    fn result(
        kind: ExchangeKind,
        whole: &ExchangeResult,
        idle: PhaseResult,
        loaded: PhaseResult,
        median: impl Fn(&PhaseResult) -> Option<i64>,
    ) -> ProbeResult {
        ProbeResult {
            kind,
            client: whole.client,
            complete: whole.complete,
            failures: whole.failures.clone(),
            per_second: whole.trial.per_second.unwrap_or(0.0),
            added_ns: median(&idle).zip(median(&loaded)).map(|(idle, loaded)| loaded - idle),
            idle,
            loaded,
        }
    }
}

/// The result for people.
pub(crate) fn describe(probe: &ProbeResult) -> String {
    let name = match probe.kind {
        ExchangeKind::Udp => "UDP",
        _ => "TCP",
    };
    let added = probe.added_ns.map_or_else(
        || "the load's part is unknown".to_owned(),
        |ns| match ns {
            1.. => format!("the load adds {} to the median", time(ns as f64)),
            _ => "the load adds nothing to the median".to_owned(),
        },
    );
    let mut lines = vec![format!("latency by {name} requests, {} per second: {added}", probe.per_second)];
    for (phase, result) in [("idle", &probe.idle), ("under load", &probe.loaded)] {
        let PhaseResult { requests, responses, lost, unknown, .. } = *result;
        lines.push(format!("  {phase}: {}", account(requests, responses, lost, unknown)));
        lines.extend(time_lines(&result.times).into_iter().map(|line| format!("  {line}")));
    }
    lines.extend(why_line(&probe.loaded.times));
    lines.extend(probe.failures.iter().map(|failure| format!("warning: probe: {failure}")));
    lines.join("\n")
}
