use linerate_experiment::http::HttpTarget;
use linerate_wire::http::{AbsenceKind, AbsenceReport, AbsenceWork, Arrivals, LoadReport};
use linerate_wire::time::WorkerTime;

use super::{
    AgentStarts, BalancerPart, Evenness, EvennessUnit, HttpLimit, HttpTrialRecord, HttpTrialSummary,
    LatencyBasis,
};
use crate::fixtures::http::{context, part, record};

fn summary(record: &HttpTrialRecord) -> HttpTrialSummary {
    HttpTrialSummary::of(record, context())
}

fn load(record: &mut HttpTrialRecord) -> &mut LoadReport {
    record.clients[0].report.as_mut().unwrap()
}

#[test]
fn an_exact_trial_has_its_figures() {
    let trial = summary(&record(HttpTarget::NftablesRandom, Arrivals::Constant(100.0), &[40, 60]));
    assert!(trial.complete, "{:?}", trial.reasons);
    assert_eq!((trial.requests_per_s, trial.error_share), (Some(100.0), Some(0.0)));
    assert_eq!(trial.latency_basis, LatencyBasis::Corrected);
    assert_eq!(trial.latency_ns().unwrap().p99, 2_000_000);
    assert_eq!(trial.evenness, Evenness::of(EvennessUnit::Connections, &[8, 8]));
    assert_eq!((trial.client_cpu_us, trial.backend_cpu_us), (Some(3000.0), Some(6000.0)));
    assert_eq!((trial.gate.waited_s, trial.gate.failed), (1.5, 2));
    assert_eq!(trial.gate.last_backend.as_deref(), Some("b1"));
    assert_eq!(trial.verdict.kind, HttpLimit::Clean);
    // haproxy balances requests.
    let trial = summary(&record(HttpTarget::Haproxy, Arrivals::Closed, &[40, 60]));
    assert_eq!(trial.evenness, Evenness::of(EvennessUnit::Requests, &[40, 60]));
    assert_eq!(trial.latency_ns().unwrap().p99, 1_000_000);
}

#[test]
fn contradictions_of_the_ends_are_told() {
    let base = || record(HttpTarget::Direct, Arrivals::Closed, &[40, 60]);
    let reasons = |change: &dyn Fn(&mut HttpTrialRecord)| {
        let mut record = base();
        change(&mut record);
        let trial = summary(&record);
        assert_eq!(trial.complete, trial.reasons.is_empty());
        trial.reasons.join("; ")
    };
    let served = |record: &mut HttpTrialRecord, answered: u64| {
        let report = record.backends[0].report.as_mut().unwrap();
        (report.answered, report.requests) = (answered, answered);
    };
    assert_eq!(reasons(&|_| {}), "");
    assert!(reasons(&|record| served(record, 39)).contains("received 40 answers of b0, which wrote 39"));
    assert!(reasons(&|record| served(record, 41)).contains("b0 wrote 41 answers, clients received 40"));
    // A request that the client gave up may have been answered.
    let given_up = reasons(&|record| {
        served(record, 41);
        let load = load(record);
        (load.requests.sent, load.requests.intended, load.requests.unfinished, load.written) =
            (101, 101, 1, 101);
    });
    assert_eq!(given_up, "");
    assert!(reasons(&|record| load(record).requests.answered = 99).contains("100 requests were sent, 99"));
    assert!(reasons(&|record| load(record).unnamed = 3).contains("3 answers carry no name"));
    let stranger = reasons(&|record| {
        load(record).by_backend.insert("pod-7".into(), 5);
    });
    assert!(stranger.contains("5 answers carry the name pod-7"), "{stranger}");
    let lost = reasons(&|record| record.agents[2].lost = Some("killed".into()));
    assert!(lost.contains("b1 was lost: killed"), "{lost}");
}

#[test]
fn verdicts_follow_the_evidence() {
    let verdict = |target: HttpTarget, arrivals, change: &dyn Fn(&mut HttpTrialRecord)| {
        let mut record = record(target, arrivals, &[4000, 4000]);
        change(&mut record);
        let verdict = summary(&record).verdict;
        assert!(!verdict.evidence.is_empty());
        verdict
    };
    let open = Arrivals::Constant(9000.0);
    let skipped = |record: &mut HttpTrialRecord| {
        let load = load(record);
        (load.requests.intended, load.requests.skipped) = (9000, 1000);
    };
    let busy_client = |record: &mut HttpTrialRecord| {
        (load(record).workers[0].cpu_s, load(record).workers[0].spun_s) = (0.99, 0.0);
    };
    let kind =
        |target, arrivals, change: &dyn Fn(&mut HttpTrialRecord)| verdict(target, arrivals, change).kind;
    assert_eq!(kind(HttpTarget::Direct, Arrivals::Closed, &|_| {}), HttpLimit::ConnectionLimited);
    assert_eq!(kind(HttpTarget::Direct, Arrivals::Closed, &busy_client), HttpLimit::ClientLimited);
    // Waiting in a loop for the next request is no work.
    let spinning = |record: &mut HttpTrialRecord| {
        skipped(record);
        (load(record).workers[0].cpu_s, load(record).workers[0].spun_s) = (0.99, 0.5);
    };
    assert_eq!(kind(HttpTarget::Direct, open, &spinning), HttpLimit::ConnectionLimited);
    assert_eq!(
        kind(HttpTarget::Direct, Arrivals::Closed, &|record| record.agents[1] = part("b0", 0.99)),
        HttpLimit::BackendLimited
    );
    let haproxy = |record: &mut HttpTrialRecord| {
        let (program, cpu_s) = ("haproxy 2.6".to_owned(), Some(0.99));
        record.balancer = Some(BalancerPart { program, cpu_s, elapsed_s: 1.0 });
    };
    assert_eq!(kind(HttpTarget::Haproxy, Arrivals::Closed, &haproxy), HttpLimit::BalancerLimited);
    let uneven = |record: &mut HttpTrialRecord| {
        record.agents[1] = part("b0", 0.99);
        record.backends[0].report.as_mut().unwrap().connections = 60;
    };
    let told = verdict(HttpTarget::NftablesRandom, Arrivals::Closed, &uneven);
    assert_eq!(told.kind, HttpLimit::BalancerLimited);
    assert!(told.evidence.contains("connections were spread unevenly"), "{}", told.evidence);
    let nothing = |record: &mut HttpTrialRecord| record.clients[0].report = None;
    assert_eq!(kind(HttpTarget::Direct, open, &nothing), HttpLimit::Unknown);
    assert_eq!(kind(HttpTarget::Direct, open, &|_| {}), HttpLimit::Clean);
}

/// An open loop of 8,000 requests that were due, of which so many were skipped, and failed by kind.
fn troubled(skipped: u64, failed: &[(&str, u64)]) -> impl Fn(&mut HttpTrialRecord) {
    move |record| {
        let load = load(record);
        load.requests.skipped = skipped;
        load.requests.failed = failed.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
        let bad = load.requests.failures();
        load.requests.answered = 8000 - bad;
        load.requests.intended = 8000 + skipped;
    }
}

#[test]
fn verdicts_of_open_loops_name_who_hindered_them() {
    let open = Arrivals::Constant(8000.0);
    let url = || HttpTarget::try_from("http://192.0.2.1/".to_owned()).unwrap();
    let verdict = |target: HttpTarget, arrivals, change: &dyn Fn(&mut HttpTrialRecord)| {
        let mut record = record(target, arrivals, &[4000, 4000]);
        // Connections have time left: eight of them for 8,000 requests of 100 µs.
        load(&mut record).times.service.as_mut().unwrap().summary.mean = 100_000;
        load(&mut record).times.service.as_mut().unwrap().histogram = vec![(100_000, 8000)];
        change(&mut record);
        summary(&record).verdict
    };
    let kind = |target, change: &dyn Fn(&mut HttpTrialRecord)| verdict(target, open, change).kind;
    // One reset of a connection is no limit.
    let clean = verdict(HttpTarget::Haproxy, open, &troubled(0, &[("reset", 1)]));
    assert_eq!(clean.kind, HttpLimit::Clean);
    assert!(clean.evidence.contains("1 failed"), "{}", clean.evidence);
    assert_eq!(kind(HttpTarget::Haproxy, &troubled(0, &[("reset", 40)])), HttpLimit::BalancerLimited);
    assert_eq!(kind(HttpTarget::Direct, &troubled(0, &[("reset", 400)])), HttpLimit::BackendLimited);
    assert_eq!(kind(HttpTarget::Haproxy, &troubled(0, &[("local", 400)])), HttpLimit::ClientLimited);
    // A stall: no connection was free for a time, and most of the time they were.
    assert_eq!(kind(HttpTarget::Direct, &troubled(800, &[])), HttpLimit::BackendLimited);
    assert_eq!(kind(HttpTarget::NftablesInc, &troubled(800, &[])), HttpLimit::BalancerLimited);
    let refused = |record: &mut HttpTrialRecord| {
        load(record).statuses = [("5xx".to_owned(), 8000)].into();
    };
    assert_eq!(kind(HttpTarget::Haproxy, &refused), HttpLimit::BalancerLimited);
    let late = |queued| {
        move |record: &mut HttpTrialRecord| {
            let times = load(record).times.corrected.clone().unwrap();
            load(record).times.send_error = Some(times);
            load(record).queued = queued;
        }
    };
    assert_eq!(kind(HttpTarget::Direct, &late(Some(4000))), HttpLimit::BackendLimited);
    assert_eq!(kind(HttpTarget::Direct, &late(Some(4))), HttpLimit::ClientLimited);
    // A worker that came late for its last requests; connections were free.
    let came_late = |queued| {
        move |record: &mut HttpTrialRecord| {
            troubled(100, &[])(record);
            load(record).queued = Some(queued);
        }
    };
    assert_eq!(kind(HttpTarget::Direct, &came_late(4)), HttpLimit::ClientLimited);
    assert_eq!(kind(HttpTarget::Direct, &came_late(400)), HttpLimit::BackendLimited);
    let stalled = |gap_s: f64| {
        move |record: &mut HttpTrialRecord| {
            came_late(400)(record);
            let worker =
                WorkerTime { longest_gap_s: gap_s, elapsed_s: 1.0, off_cpu_s: 0.7, ..WorkerTime::default() };
            record.agents[0].report.as_mut().unwrap().workers = vec![worker];
        }
    };
    let told = verdict(HttpTarget::Direct, open, &stalled(0.04));
    assert_eq!((told.kind, told.clients_short), (HttpLimit::ClientLimited, true));
    assert!(told.evidence.contains("did not look at its events for up to 40.0 ms"), "{}", told.evidence);
    let told = verdict(HttpTarget::Direct, open, &stalled(0.01));
    assert_eq!(
        (told.kind, told.clients_short),
        (HttpLimit::BackendLimited, false),
        "it explains 80 requests"
    );
    // Both are short of CPU time: the busier one is named, and the other is told.
    let both = |record: &mut HttpTrialRecord| {
        came_late(4000)(record);
        (load(record).workers[0].cpu_s, load(record).workers[0].spun_s) = (0.97, 0.0);
        record.agents[1] = part("b0", 0.99);
    };
    let told = verdict(HttpTarget::Direct, open, &both);
    assert_eq!((told.kind, told.clients_short), (HttpLimit::BackendLimited, true));
    let lost = |record: &mut HttpTrialRecord| record.agents[0].lost = Some("killed".to_owned());
    assert_eq!(kind(HttpTarget::Direct, &lost), HttpLimit::Unknown);
    // Requests that time out keep connections busy, too: 40 times 1 s of 8 connections.
    let slow = |record: &mut HttpTrialRecord| {
        troubled(800, &[("timeout", 40)])(record);
    };
    assert_eq!(kind(HttpTarget::Direct, &slow), HttpLimit::ConnectionLimited);
    let servers = |record: &mut HttpTrialRecord| {
        record.backends.clear();
        record.agents.truncate(1);
    };
    assert_eq!(verdict(url(), Arrivals::Closed, &servers).kind, HttpLimit::Unknown);
}

#[test]
fn errors_of_an_ordered_absence_are_no_limit() {
    let open = Arrivals::Constant(8000.0);
    let of = |failed_at_ms: u64, kind: AbsenceKind| {
        let mut record = record(HttpTarget::NftablesRandom, open, &[4000, 4000]);
        load(&mut record).times.service.as_mut().unwrap().summary.mean = 100_000;
        load(&mut record).times.service.as_mut().unwrap().histogram = vec![(100_000, 8000)];
        troubled(0, &[("reset", 400)])(&mut record);
        load(&mut record).failure_bins = vec![(failed_at_ms, 400)];
        record.spec.churn = Some(AbsenceWork { after_ms: 200, for_ms: 300, kind });
        record.spec.timeout_ms = 100;
        let absence = AbsenceReport {
            left_ns: Some(200_000_000),
            returned_ns: Some(500_000_000),
            ..AbsenceReport::default()
        };
        record.backends[1].report.as_mut().unwrap().absence = Some(absence);
        record.starts = Some(AgentStarts { after_ns: [].into(), uncertainty_ns: 0 });
        summary(&record).verdict
    };
    let ordered = of(250, AbsenceKind::Killed);
    assert_eq!(ordered.kind, HttpLimit::Clean, "{}", ordered.evidence);
    let words = "no other request failed; 400 errors from when b1 went away, as ordered, do not count";
    assert!(ordered.evidence.ends_with(words), "{}", ordered.evidence);
    // What met the absence may fail until its time limit; before the absence, and long after it, nothing has to.
    for (failed_at_ms, limit) in
        [(100, HttpLimit::BalancerLimited), (600, HttpLimit::Clean), (700, HttpLimit::BalancerLimited)]
    {
        let verdict = of(failed_at_ms, AbsenceKind::Killed);
        assert_eq!(verdict.kind, limit, "{failed_at_ms}: {}", verdict.evidence);
    }
    // It serves while it is not ready: nothing has to fail.
    let not_ready = of(250, AbsenceKind::NotReady);
    assert_eq!(not_ready.kind, HttpLimit::BalancerLimited, "{}", not_ready.evidence);
}

#[test]
fn only_what_is_balanced_is_tested_for_evenness() {
    let even = |target: &str, keep_alive: bool| {
        let target = HttpTarget::try_from(target.to_owned()).unwrap();
        let mut record = record(target, Arrivals::Closed, &[40, 60]);
        record.spec.keep_alive = keep_alive;
        if !record.spec.target.has_backends() {
            record.backends.clear();
        }
        summary(&record).evenness.map(|one| one.unit)
    };
    assert_eq!(even("direct", true), None);
    assert_eq!(even("ipvs-wrr", true), None);
    assert_eq!(even("nftables-inc", true), Some(EvennessUnit::Connections));
    assert_eq!(even("nftables-inc", false), Some(EvennessUnit::Requests));
    assert_eq!(even("http://192.0.2.1/", true), None);
    assert_eq!(even("http://192.0.2.1/", false), Some(EvennessUnit::Requests));
}

#[test]
fn requests_without_a_latency_are_told() {
    let base = || record(HttpTarget::Direct, Arrivals::Constant(8000.0), &[4000, 4000]);
    assert_eq!(summary(&base()).left_out(), None);
    let mut few = base();
    troubled(1600, &[("timeout", 400)])(&mut few);
    let told = summary(&few).left_out().unwrap();
    assert!(
        told.starts_with("2000 of 9600 intended requests have no latency") && told.contains("79.1667th"),
        "{told}"
    );
}
