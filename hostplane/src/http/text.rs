//! A result as people read it.

use std::fmt::Write as _;

use linerate_wire::report::LatencySummary;

use super::result::{HttpInterval, HttpResult, Latency};
use super::spec::{Arrivals, HttpSpec};
use crate::result::text::{bytes, time};

/// Backends that are listed; the JSON form has all.
const LISTED_BACKENDS: usize = 40;

/// What a trial does, in one line.
pub(crate) fn heading(url: &str, spec: &HttpSpec) -> String {
    let duration = spec.duration_ms.map(|ms| format!("{} s", ms as f64 / 1e3));
    let requests = spec.requests.map(|requests| format!("{requests} requests"));
    let long = duration.or(requests).unwrap_or_else(|| "endless".to_owned());
    let addresses: Vec<String> = spec.addresses.iter().map(ToString::to_string).collect();
    format!("{url} ({}): {long}, {}", addresses.join(", "), threads(spec.workers(), spec.connections))
}

fn threads(threads: u32, connections: u32) -> String {
    let s = |count: u32| if count == 1 { "" } else { "s" };
    format!("{threads} thread{} and {connections} connection{}", s(threads), s(connections))
}

/// An interval in one line.
pub(crate) fn progress(interval: &HttpInterval) -> String {
    let mut line = format!(
        "{:7.1} s {:11.1} requests/s, {} connections busy",
        interval.to_s, interval.requests_per_s, interval.busy
    );
    for (count, what) in [
        (interval.waiting, "waiting"),
        (interval.skipped, "skipped"),
        (interval.failed, "failed"),
        (interval.refused, "with status 400 or more"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {count} {what}");
        }
    }
    line
}

/// The whole result.
pub(crate) fn describe(result: &HttpResult) -> String {
    let load = &result.load;
    let how = match (load.intended_per_s, load.arrivals) {
        (Some(rate), Some(arrivals)) => {
            let arrivals = if arrivals == Arrivals::Poisson { "Poisson" } else { "constant" };
            format!("open loop, {rate:.1} requests/s intended, {arrivals} arrivals")
        }
        _ => "closed loop".to_owned(),
    };
    let mut lines =
        vec![format!("{}, {}, {:.2} s", how, threads(load.threads, load.connections), result.duration_s)];
    lines.extend(times(&result.latency));
    let account = &result.account;
    lines.push(format!(
        "  {} requests in {:.2} s, {} read",
        result.requests,
        result.duration_s,
        bytes(result.read_bytes as f64)
    ));
    lines.push(format!("Requests/sec: {:12.2}", result.requests_per_s));
    // The longer one, as requests per second are over the schedule's.
    let over_s = result.elapsed_s.max(result.duration_s);
    let per_second = if over_s > 0.0 { result.read_bytes as f64 / over_s } else { 0.0 };
    lines.push(format!("Transfer/sec: {:>12}", bytes(per_second)));
    lines.push(format!(
        "  account      {} intended = {} sent + {} skipped; sent = {} answered + {} failed + {} unfinished",
        account.intended, account.sent, account.skipped, account.answered, account.failed, account.unfinished
    ));
    let listed = |counts: &mut dyn Iterator<Item = (&str, u64)>| {
        let words: Vec<String> =
            counts.filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}")).collect();
        words.join(", ")
    };
    let statuses = listed(&mut result.statuses.iter().map(|(name, count)| (*name, *count)));
    if !statuses.is_empty() {
        lines.push(format!("  status       {statuses}"));
    }
    let errors = listed(&mut result.errors.iter().map(|(name, count)| (*name, *count)));
    if !errors.is_empty() {
        lines.push(format!("  errors       {errors}"));
    }
    let connections = &result.connections;
    let details = [
        ("made again", connections.made_again),
        ("not made", connections.failures),
        ("closed by the peer between requests", connections.closed_idle),
        ("with bytes that nobody asked for", connections.unsolicited),
        ("ended by GOAWAY", connections.goaways),
    ];
    let details = listed(&mut details.into_iter());
    let details = if details.is_empty() { String::new() } else { format!("; {details}") };
    lines.push(format!("  connections  made {}{details}", connections.made));
    lines.extend(result.tls.as_ref().map(|tls| format!("  TLS          {}", tls.words())));
    lines.extend(backends(result));
    lines.push(format!("verdict: {}", result.verdict.limit.word()));
    lines.extend(result.verdict.evidence.iter().map(|evidence| format!("  {evidence}")));
    lines.extend(result.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(result.failures.iter().map(|failure| format!("warning: not complete: {failure}")));
    lines.join("\n")
}

fn times(latency: &Latency) -> Vec<String> {
    let mut lines = vec![format!(
        "  {:<12}{:>11}{:>11}{:>11}{:>11}{:>11}{:>11}",
        "", "p50", "p90", "p99", "p99.9", "max", "mean"
    )];
    let row = |name: &str, figures: &LatencySummary| {
        let LatencySummary { p50, p90, p99, p999, max, mean, .. } = *figures;
        let mark = if name == latency.believe { "  <- believe this" } else { "" };
        let cells = [p50, p90, p99, p999, max, mean].map(|ns| format!("{:>11}", time(ns as f64))).concat();
        format!("  {name:<12}{cells}{mark}")
    };
    let rows = [
        ("corrected", &latency.corrected_ns),
        ("service", &latency.service_ns),
        ("first byte", &latency.first_byte_ns),
        ("send error", &latency.send_error_ns),
        ("connect", &latency.connect_ns),
        ("handshake", &latency.handshake_ns),
    ];
    lines.extend(rows.into_iter().filter_map(|(name, figures)| Some(row(name, figures.as_ref()?))));
    if latency.service_ns.is_some() {
        lines.push(format!("  {} latency: {}", latency.believe, latency.why));
    }
    if let Some(known) = latency.known_up_to_percent.filter(|_| latency.left_out > 0) {
        lines.push(format!(
            "  {} intended requests have no latency (skipped, failed or unfinished): what users waited above the {known:.4}th percentile is not known",
            latency.left_out
        ));
    }
    lines
}

fn backends(result: &HttpResult) -> Option<String> {
    let counts = &result.backends;
    if counts.named.is_empty() {
        return None;
    }
    let mut named = counts.named.clone();
    named.sort_by_key(|backend| std::cmp::Reverse(backend.responses));
    let mut words: Vec<String> = named
        .iter()
        .take(LISTED_BACKENDS)
        .map(|backend| format!("{} {}", backend.name, backend.responses))
        .collect();
    if named.len() > LISTED_BACKENDS {
        words.push(format!("and {} more", named.len() - LISTED_BACKENDS));
    }
    for (count, what) in [(counts.others, "of others"), (counts.unnamed, "without a name")] {
        if count > 0 {
            words.push(format!("{count} {what}"));
        }
    }
    Some(format!("  backends     {}: {}", named.len(), words.join(", ")))
}
