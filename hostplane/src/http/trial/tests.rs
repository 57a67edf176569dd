use linerate_traffic::profile::StageRates;

use super::super::backend::{Backend, BackendConfig};
use super::super::spec::tests::spec;
use super::super::spec::{Arrivals, HttpLoad};
use super::super::verdict::LoadLimit;
use super::*;

fn backend() -> Backend {
    Backend::start(BackendConfig::new(vec!["127.0.0.1:0".parse().unwrap()], "pod-1".to_owned())).unwrap()
}

fn towards(backend: &Backend) -> HttpSpec {
    spec(&format!("http://{}/", backend.addresses()[0]))
}

fn ready(trial: &HttpTrial) {
    let limit = monotonic_ns() + 60_000_000_000;
    while !trial.is_ready() {
        assert!(monotonic_ns() < limit, "not ready");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn balanced(counters: &HttpCounters) {
    assert_eq!(counters.intended, counters.sent + counters.skipped() + counters.waiting);
    assert_eq!(counters.sent, counters.answered + counters.failed() + counters.unfinished);
}

#[test]
fn an_engines_steps_lead_to_an_account() {
    let backend = backend();
    let mut trial = HttpTrial::arm(HttpSpec { threads: 3, ..towards(&backend) }).unwrap();
    ready(&trial);
    let armed = trial.sample().counters;
    assert_eq!((armed.connected, armed.intended), (10, 0));
    trial.start_at(monotonic_ns() + 1_000_000);
    let outcome = trial.finish();
    let counters = outcome.counters;
    balanced(&counters);
    assert!(counters.answered > 0 && counters.unfinished == 0, "{counters:?}");
    assert_eq!(backend.counters().connections, 10);
    assert_eq!(backend.finish().answered, counters.answered);
    assert_eq!((outcome.sending_s, outcome.workers.len(), outcome.interrupted), (0.1, 3, false));
    assert_eq!(outcome.backends.named[0].responses, counters.answered);
    assert!(outcome.times.corrected.is_none() && outcome.failures.is_empty());
}

#[test]
fn requests_that_nobody_takes_fail() {
    let mut trial = HttpTrial::arm(spec("http://127.0.0.1:1/")).unwrap();
    trial.start_at(monotonic_ns());
    let outcome = trial.finish();
    balanced(&outcome.counters);
    assert_eq!(outcome.counters.failed_connect, outcome.counters.intended);
    assert_eq!(outcome.verdict.limit, LoadLimit::Unanswered);
    assert!(outcome.first_failure.unwrap().words.contains("127.0.0.1:1"));
}

#[test]
fn a_trial_ends_when_it_is_stopped_or_dropped() {
    let backend = backend();
    let endless = HttpSpec { duration_ms: None, ..towards(&backend) };
    let mut trial = HttpTrial::arm(endless.clone()).unwrap();
    trial.start_at(monotonic_ns());
    std::thread::sleep(Duration::from_millis(20));
    trial.stop();
    let outcome = trial.finish();
    assert!(outcome.interrupted);
    balanced(&outcome.counters);
    let unstarted = HttpTrial::arm(endless).unwrap();
    assert_eq!(unstarted.finish_unstarted(), None);
    drop(HttpTrial::arm(towards(&backend)).unwrap());
}

#[test]
fn an_open_loop_has_exactly_the_requests_of_its_schedule() {
    let backend = backend();
    let steady = vec![StageRates::steady(2000.0)];
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        let load = HttpLoad::Open { stages: steady.clone(), arrivals, seed: 3 };
        let spec =
            HttpSpec { load, threads: 3, duration_ms: Some(200), most_pending: 1000, ..towards(&backend) };
        let mut trial = HttpTrial::arm(spec).unwrap();
        ready(&trial);
        trial.start_at(monotonic_ns() + 1_000_000);
        let outcome = trial.finish();
        balanced(&outcome.counters);
        if arrivals == Arrivals::Constant {
            assert_eq!(outcome.counters.intended, 400);
        }
        assert_eq!(outcome.counters.skipped_full, 0);
        assert!(outcome.times.corrected.is_some() && outcome.times.send_error.is_some());
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpus = Some("4095".parse().unwrap());
    let error = HttpTrial::arm(HttpSpec { cpus, ..spec("http://127.0.0.1:1/") }).unwrap_err().to_string();
    assert!(error.contains("CPU 4095"), "{error}");
    let error = HttpTrial::arm(HttpSpec { connections: 0, ..spec("http://127.0.0.1:1/") }).unwrap_err();
    assert!(error.to_string().contains("connections: 0"));
}
