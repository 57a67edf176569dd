//! From both accounts to figures. Pure.

use std::net::SocketAddr;

use linerate_wire::report::{Distribution, LatencySummary};
use linerate_wire::streams::CpuUse;
use serde::Serialize;

use super::connections::ports_words;
use super::outcome::Tally;
use super::run::Exchanged;
use super::{ExchangeKind, ExchangeSpec, distribution};
use crate::control::program;
use crate::result::text::time;

/// A trial of requests and responses.
#[derive(Debug, Serialize)]
pub(crate) struct ExchangeResult {
    pub(crate) program: String,
    pub(crate) began_unix_s: f64,
    /// True when every stream ended in order and both ends' counts agree.
    pub(crate) complete: bool,
    pub(crate) interrupted: bool,
    pub(crate) failures: Vec<String>,
    pub(crate) trial: ExchangeSpec,
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) server_host: Option<String>,
    /// requests = responses + lost + unknown.
    pub(crate) requests: u64,
    pub(crate) responses: u64,
    pub(crate) lost: u64,
    /// Under way when their stream was broken off: whether they were answered is not known.
    pub(crate) unknown: u64,
    /// Requests that were due and never sent; null without a rate.
    pub(crate) forgone: Option<u64>,
    /// Responses that came after their request had been counted as lost.
    pub(crate) late: u64,
    /// UDP: further copies of responses, and datagrams that answer no request.
    pub(crate) duplicates: u64,
    pub(crate) foreign: u64,
    /// Requests that the server's program read, and responses that its kernel took; null when its account is
    /// missing.
    pub(crate) server_requests: Option<u64>,
    pub(crate) server_responses: Option<u64>,
    pub(crate) elapsed_s: f64,
    /// Responses per second.
    pub(crate) per_second: f64,
    pub(crate) times: Times,
    /// Largest delay of a request against its schedule; null without a rate.
    pub(crate) largest_slip_ns: Option<u64>,
    pub(crate) client_cpu: CpuUse,
    pub(crate) server_cpu: Option<CpuUse>,
    /// CPU seconds of each end per 1,000 responses; null when unknown or shared with other trials.
    pub(crate) client_cpu_s_per_thousand: Option<f64>,
    pub(crate) server_cpu_s_per_thousand: Option<f64>,
    pub(crate) notes: Vec<String>,
}

/// Round-trip times.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Times {
    /// Which one tells what users wait: `corrected` or `application`.
    pub(crate) believe: &'static str,
    pub(crate) why: &'static str,
    /// Requests that are in none of the times of the client, because they were lost, are unknown or were not sent.
    pub(crate) left_out: u64,
    /// Percentile of the requests up to which the percentiles of those answered can be theirs, too: those left out
    /// may have been the slowest ones. Null when there was no request.
    pub(crate) known_up_to_percent: Option<f64>,
    /// From the time at which a request was due to the client's call that has received; null without a rate.
    pub(crate) corrected_ns: Option<LatencySummary>,
    /// From the client's call that sends to its call that has received; for connections, from the call that
    /// connects. Null when nothing was answered.
    pub(crate) application_ns: Option<LatencySummary>,
    /// From the request's departure from the client's kernel to the response's arrival in it.
    pub(crate) client_kernel_ns: Option<LatencySummary>,
    /// From the request's arrival in the server's kernel to the response's departure from it.
    pub(crate) server_kernel_ns: Option<LatencySummary>,
    /// Why times of a kernel are null.
    pub(crate) kernel_note: Option<String>,
    /// Time for a connection to be made; null where there is one connection per stream.
    pub(crate) connect_ns: Option<LatencySummary>,
    /// Of `application_ns`: upper bounds in nanoseconds, and responses.
    pub(crate) histogram: Vec<(u64, u64)>,
    /// Of `corrected_ns`, likewise.
    pub(crate) corrected_histogram: Vec<(u64, u64)>,
}

impl Times {
    /// Those of `tally`; `forgone` requests more were due and not sent.
    pub(super) fn of(
        spec: &ExchangeSpec,
        tally: &Tally,
        forgone: u64,
        server: Option<&Distribution>,
    ) -> Self {
        let (believe, why) = match spec.per_second {
            None => (
                "application",
                "without a rate a server that stalls keeps requests from being sent, and they are missing here: --rate measures what \
                 users wait",
            ),
            Some(_) => (
                "corrected",
                "they include the time for which a request that was due could not leave, because earlier ones took long",
            ),
        };
        let due = tally.requests + forgone;
        let application = distribution(&tally.application);
        let corrected = distribution(&tally.corrected);
        let (client, server) = (distribution(&tally.kernel), server);
        let note = if spec.kind == ExchangeKind::Connect {
            Some("the kernel's times are taken on connections that stay")
        } else if client.is_none() || server.is_none() {
            Some("the kernel, or the interface's driver, took no times of packets (SO_TIMESTAMPING)")
        } else {
            None
        };
        let histogram = |times: &Option<Distribution>| {
            times.as_ref().map(|times| times.histogram.clone()).unwrap_or_default()
        };
        Self {
            believe,
            why,
            left_out: due - tally.responses.min(due),
            known_up_to_percent: (due > 0).then(|| 100.0 * tally.responses as f64 / due as f64),
            histogram: histogram(&application),
            corrected_histogram: histogram(&corrected),
            corrected_ns: corrected.map(|times| times.summary),
            application_ns: application.map(|times| times.summary),
            client_kernel_ns: client.map(|times| times.summary),
            server_kernel_ns: server.map(|times| times.summary),
            kernel_note: note.map(str::to_owned),
            connect_ns: distribution(&tally.connect).map(|times| times.summary),
        }
    }
}

impl ExchangeResult {
    pub(crate) fn of(exchanged: &Exchanged) -> Self {
        let mut sum = Tally::default();
        for stream in &exchanged.streams {
            [&stream.idle, &stream.loaded].into_iter().for_each(|tally| sum.merge(tally));
        }
        let streams = || exchanged.streams.iter();
        let mut failures: Vec<String> = exchanged.failure.iter().cloned().collect();
        failures.extend(streams().filter_map(|stream| stream.failure.clone()));
        let theirs = exchanged.theirs.as_ref();
        failures.extend(theirs.into_iter().flat_map(|theirs| theirs.failures.clone()));
        failures.extend(disagreement(&sum, exchanged));
        if sum.unknown > 0 {
            let under_way = match sum.unknown {
                1 => "1 request was under way when its stream was broken off; whether it was answered is not known"
                    .to_owned(),
                unknown => format!(
                    "{unknown} requests were under way when their streams were broken off; whether they were answered is not known"
                ),
            };
            failures.push(under_way);
        }
        let forgone: u64 = streams().map(|stream| stream.forgone).sum();
        if forgone > 0 && exchanged.spec.per_second.is_some() {
            let broken_off = exchanged.interrupted
                || exchanged.failure.is_some()
                || streams().any(|stream| stream.failure.is_some());
            failures.push(forgone_words(forgone, broken_off));
        }
        // What broke a trial stands before what came of it.
        let mut told = std::collections::HashSet::new();
        failures.retain(|failure| told.insert(failure.clone()));
        let began = streams().map(|stream| stream.began_ns).filter(|ns| *ns > 0).min().unwrap_or(0);
        let ended = streams().map(|stream| stream.ended_ns).max().unwrap_or(0);
        // A schedule ends with the pause after its last request.
        let asked_s = exchanged.spec.duration_ms.filter(|_| !exchanged.interrupted && failures.is_empty());
        let elapsed_s =
            (ended.saturating_sub(began) as f64 / 1e9).max(asked_s.map_or(0.0, |ms| ms as f64 / 1e3));
        let per_thousand = |cpu: Option<&CpuUse>| {
            cpu.filter(|cpu| !cpu.shared && sum.responses > 0)
                .map(|cpu| cpu.process_s / sum.responses as f64 * 1000.0)
        };
        let spec = exchanged.spec;
        let mut notes = Vec::new();
        if spec.kind == ExchangeKind::Connect && spec.client_closes {
            notes.push(ports_words());
        }
        Self {
            program: program(),
            began_unix_s: exchanged.began_unix_s,
            complete: failures.is_empty(),
            interrupted: exchanged.interrupted,
            failures,
            trial: spec,
            client: exchanged.client,
            server: exchanged.server,
            server_host: exchanged.welcome.host.clone(),
            requests: sum.requests,
            responses: sum.responses,
            lost: sum.lost,
            unknown: sum.unknown,
            forgone: exchanged.spec.per_second.map(|_| forgone),
            late: streams().map(|stream| stream.late).sum(),
            duplicates: streams().map(|stream| stream.duplicates).sum(),
            foreign: streams().map(|stream| stream.foreign).sum(),
            server_requests: theirs.map(|theirs| theirs.requests),
            server_responses: theirs.map(|theirs| theirs.responses),
            elapsed_s,
            per_second: if elapsed_s > 0.0 { sum.responses as f64 / elapsed_s } else { 0.0 },
            times: Times::of(&spec, &sum, forgone, theirs.and_then(|theirs| theirs.kernel.as_ref())),
            largest_slip_ns: spec
                .per_second
                .map(|_| streams().map(|stream| stream.slip_ns).max().unwrap_or(0)),
            client_cpu: exchanged.cpu,
            server_cpu: theirs.map(|theirs| theirs.cpu),
            client_cpu_s_per_thousand: per_thousand(Some(&exchanged.cpu)),
            server_cpu_s_per_thousand: per_thousand(theirs.map(|theirs| &theirs.cpu)),
            notes,
        }
    }
}

/// Requests that were due and not sent, with a remedy unless the trial was broken off.
pub(super) fn forgone_words(forgone: u64, broken_off: bool) -> String {
    let words = match forgone {
        1 => "1 request was due and not sent".to_owned(),
        _ => format!("{forgone} requests were due and not sent"),
    };
    let remedy = ": a lower rate (--rate), or more streams (--parallel)";
    if broken_off { words } else { words + remedy }
}

/// Counts of the two ends that cannot be: a request that was answered must have been read.
fn disagreement(sum: &Tally, exchanged: &Exchanged) -> Option<String> {
    if sum.requests != sum.responses + sum.lost + sum.unknown {
        return Some(format!(
            "{} requests are not {} responses, {} lost and {} unknown",
            sum.requests, sum.responses, sum.lost, sum.unknown
        ));
    }
    let theirs = exchanged.theirs.as_ref()?;
    (theirs.responses < sum.responses)
        .then(|| format!("{} responses came, and the server sent {}", sum.responses, theirs.responses))
}

/// The result for people.
pub(crate) fn describe(result: &ExchangeResult) -> String {
    let what = match result.trial.kind {
        ExchangeKind::Tcp => "requests on TCP connections",
        ExchangeKind::Udp => "requests in datagrams",
        ExchangeKind::Connect => "requests, a TCP connection each",
    };
    let mut lines = vec![
        format!(
            "{what}: {:.1} per second, {} stream{}, {} bytes there and {} back",
            result.per_second,
            result.trial.streams,
            if result.trial.streams == 1 { "" } else { "s" },
            result.trial.request_bytes,
            result.trial.response_bytes
        ),
        format!("  account     {}", account(result.requests, result.responses, result.lost, result.unknown)),
    ];
    if let Some(forgone) = result.forgone.filter(|forgone| *forgone > 0) {
        lines.push(format!("  forgone     {}", forgone_words(forgone, true)));
    }
    if result.late > 0 {
        lines
            .push(format!("  late        {} responses came when their request counted as lost", result.late));
    }
    if result.duplicates + result.foreign > 0 {
        lines.push(format!(
            "  others      {} further copies of responses, {} datagrams that answer no request",
            result.duplicates, result.foreign
        ));
    }
    lines.extend(time_lines(&result.times));
    lines.extend(why_line(&result.times));
    if let Some(slip) = result.largest_slip_ns {
        lines.push(format!("  schedule    requests left at most {} late", time(slip as f64)));
    }
    let cost = |cost: Option<f64>| cost.map_or_else(|| "unknown".to_owned(), |cost| format!("{cost:.4} s"));
    lines.push(format!(
        "  CPU         client {} per 1,000 responses, server {}",
        cost(result.client_cpu_s_per_thousand),
        cost(result.server_cpu_s_per_thousand)
    ));
    lines.extend(result.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(result.failures.iter().map(|failure| format!("warning: not complete: {failure}")));
    lines.join("\n")
}

/// The account in words.
pub(super) fn account(requests: u64, responses: u64, lost: u64, unknown: u64) -> String {
    let unknown = if unknown > 0 { format!(" + {unknown} unknown") } else { String::new() };
    format!("{requests} requests = {responses} responses + {lost} lost{unknown}")
}

/// Why one of two times is the one to believe.
pub(super) fn why_line(times: &Times) -> Option<String> {
    times.corrected_ns.is_some().then(|| format!("  {} times: {}", times.believe, times.why))
}

/// The times, a line each.
pub(super) fn time_lines(times: &Times) -> Vec<String> {
    let figures = |figures: &LatencySummary| {
        let shown =
            [figures.p50, figures.p90, figures.p99, figures.p999, figures.max].map(|ns| time(ns as f64));
        let [p50, p90, p99, p999, max] = shown;
        format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")
    };
    let all = [
        ("corrected", &times.corrected_ns),
        ("application", &times.application_ns),
        ("  connect", &times.connect_ns),
        ("client's kernel", &times.client_kernel_ns),
        ("server's kernel", &times.server_kernel_ns),
    ];
    // Without a rate there is one time alone.
    let at_rate = times.corrected_ns.is_some();
    let mut lines: Vec<String> = all
        .into_iter()
        .filter_map(|(name, summary)| {
            let mark = if at_rate && name == times.believe { "  <- believe this" } else { "" };
            Some(format!("  {name:<16}{}{mark}", figures(summary.as_ref()?)))
        })
        .collect();
    if let Some(known) = times.known_up_to_percent.filter(|_| times.left_out > 0) {
        lines.push(format!(
            "  {} requests have no time (lost, unknown or not sent): what users waited above the {known:.4}th percentile is not known",
            times.left_out
        ));
    }
    lines.extend(times.kernel_note.iter().map(|note| format!("  kernel          no times: {note}")));
    lines
}
