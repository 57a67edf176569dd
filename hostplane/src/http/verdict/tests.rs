use linerate_measure::histogram::TickHistogram;
use linerate_wire::report::Distribution;
use linerate_wire::streams::CpuUse;
use linerate_wire::time::{Throttling, WorkerTime};

use super::super::counters::HttpCounters;
use super::super::outcome::{BackendCounts, FailureTimes, HttpTimes};
use super::super::spec::Arrivals;
use super::super::spec::tests::spec;
use super::*;

fn times(ns: &[u64]) -> Option<Distribution> {
    let mut histogram = TickHistogram::default();
    ns.iter().for_each(|ns| histogram.record_times(*ns, 1));
    histogram.read(1_000_000_000)
}

fn outcome(counters: HttpCounters, service: &[u64], send_error: &[u64], busy_s: f64) -> HttpOutcome {
    let time = WorkerTime { elapsed_s: 1.0, waited_s: Some(0.0), ..WorkerTime::default() };
    HttpOutcome {
        began_unix_s: 0.0,
        sending_s: 1.0,
        elapsed_s: 1.0,
        counters,
        times: HttpTimes { service: times(service), send_error: times(send_error), ..HttpTimes::default() },
        backends: BackendCounts::default(),
        failure_times: FailureTimes::default(),
        workers: vec![HttpWorker {
            worker: 0,
            cpu: None,
            connections: 1,
            cpu_s: busy_s + 0.1,
            spun_s: 0.1,
            time,
        }],
        cpu: CpuUse::default(),
        throttling: None,
        verdict: HttpVerdict::default(),
        interrupted: false,
        failures: Vec::new(),
        agreed: None,
        handshakes_failed: Default::default(),
        first_failure: None,
        permitted: None,
    }
}

fn open(rate: f64) -> HttpSpec {
    let stage = linerate_traffic::profile::StageRates::steady(rate);
    let load = HttpLoad::Open { stages: vec![stage], arrivals: Arrivals::Constant, seed: 1 };
    HttpSpec { load, ..spec("http://127.0.0.1/") }
}

#[test]
fn limits_follow_from_the_evidence() {
    let all = HttpCounters { intended: 1000, sent: 1000, answered: 1000, ..HttpCounters::default() };
    let skipped = HttpCounters { sent: 900, answered: 900, skipped_full: 100, queued: 500, ..all };
    let (fast, slow) = (100_000, 50_000_000);
    // Only the first of a thousand found no other before it.
    let saturated = [&[fast][..], &[slow; 999]].concat();
    let (closed, open) = (spec("http://127.0.0.1/"), open(1000.0));
    for (name, spec, outcome, limit) in [
        ("nothing answered", &closed, outcome(HttpCounters::default(), &[], &[], 0.1), LoadLimit::Unanswered),
        ("a worker is full", &closed, outcome(all, &[fast], &[], 0.99), LoadLimit::ClientLimited),
        ("no queue at the target", &closed, outcome(all, &[fast], &[], 0.5), LoadLimit::ConnectionLimited),
        ("a queue at the target", &closed, outcome(all, &saturated, &[], 0.5), LoadLimit::TargetLimited),
        ("in time", &open, outcome(all, &[fast], &[1000], 0.5), LoadLimit::None),
        ("late, and a worker is full", &open, outcome(all, &[fast], &[slow], 0.99), LoadLimit::ClientLimited),
        ("late with free connections", &open, outcome(all, &[fast], &[slow], 0.1), LoadLimit::ClientLimited),
        (
            "ten connections, always slow",
            &open,
            outcome(skipped, &[slow], &[slow], 0.1),
            LoadLimit::ConnectionLimited,
        ),
        ("slow under load", &open, outcome(skipped, &saturated, &[slow], 0.1), LoadLimit::TargetLimited),
    ] {
        let verdict = judge(spec, &outcome);
        assert_eq!(verdict.limit, limit, "{name}: {:?}", verdict.evidence);
        assert!(!verdict.evidence.is_empty(), "{name}");
    }
    let mut throttled = outcome(skipped, &[slow], &[slow], 0.1);
    throttled.throttling = Some(Throttling { quota_cpus: Some(1.0), periods: 3, stopped_s: 0.2 });
    assert_eq!(judge(&open, &throttled).limit, LoadLimit::ClientLimited);
}

#[test]
fn connections_carry_what_the_server_permits_on_them() {
    let all = HttpCounters { intended: 1000, sent: 1000, answered: 1000, ..HttpCounters::default() };
    let skipped = HttpCounters { sent: 900, answered: 900, skipped_full: 100, queued: 500, ..all };
    let (spec, slow) = (HttpSpec { streams: Some(100), ..open(1000.0) }, 50_000_000);
    for (permitted, limit, part) in [
        (None, LoadLimit::TargetLimited, "with 1000 requests at the same time"),
        (Some(10), LoadLimit::ConnectionLimited, "with 10 requests at the same time"),
    ] {
        let outcome = HttpOutcome { permitted, ..outcome(skipped, &[slow], &[slow], 0.1) };
        let verdict = judge(&spec, &outcome);
        assert_eq!(verdict.limit, limit, "{:?}", verdict.evidence);
        assert!(verdict.evidence.iter().any(|words| words.contains(part)), "{:?}", verdict.evidence);
    }
}

#[test]
fn failures_are_told() {
    let counters = HttpCounters {
        intended: 9,
        sent: 9,
        answered: 4,
        failed_reset: 5,
        status_5xx: 2,
        ..HttpCounters::default()
    };
    let evidence =
        judge(&spec("http://127.0.0.1/"), &outcome(counters, &[1000], &[], 0.1)).evidence.join("\n");
    assert!(
        evidence.contains("5 requests failed: reset 5") && evidence.contains("2 responses"),
        "{evidence}"
    );
}
