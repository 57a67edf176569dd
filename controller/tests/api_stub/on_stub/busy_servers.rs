//! Servers that are busy, restarting, slow or break connections: a run waits and continues.

use std::time::{Duration, Instant};

use super::whole::assert_whole;
use crate::cluster::{Cluster, POD, TWO_TRIALS};
use crate::faults::{Effect, Fault};

const CLAIM: &str = "  kubernetes: {cpu: 1, memory: 64Mi, hugepages: {count: 0}, link: {kind: memif}, output: {persistentVolumeClaim: {size: 1Gi}}}\n";
/// All requests of a run, except those for pods that do not start.
const REQUESTS: [(&str, &str); 19] = [
    ("create", "selfsubjectaccessreviews"),
    ("list", "leases"),
    ("list", "nodes"),
    ("list", "pods"),
    ("list", "resourcequotas"),
    ("create", "leases"),
    ("create", "secrets"),
    ("create", "persistentvolumeclaims"),
    ("create", "pods"),
    ("watch", "pods"),
    ("get", "pods/portforward"),
    ("get", "pods/log"),
    ("delete", "pods"),
    ("get", "secrets"),
    ("delete", "secrets"),
    ("list", "persistentvolumeclaims"),
    ("delete", "persistentvolumeclaims"),
    ("delete", "leases"),
    ("list", "events"),
];

async fn everything_once(effect: &Effect) -> (Cluster, String) {
    let cluster = Cluster::start().await;
    for (verb, resource) in REQUESTS {
        cluster.fault(Fault::of(verb, resource, effect.clone()));
    }
    let said = cluster.run(&format!("{CLAIM}{TWO_TRIALS}"), &[]).ends_with(0).await;
    assert_whole(&cluster, 1, 2);
    let left: Vec<_> =
        cluster.state.faults.lock().unwrap().iter().map(|fault| format!("{fault:?}")).collect();
    assert!(left.len() <= 1, "only the events were not asked for: {left:?}");
    (cluster, said)
}

fn error(code: u16) -> Effect {
    Effect::Answer { code, reason: "InternalError", message: "etcdserver: leader changed" }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_may_fail_for_a_while() {
    for code in [500, 503] {
        let (_, said) = everything_once(&error(code)).await;
        assert!(said.contains("etcdserver: leader changed"), "the log has it: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_may_break_off() {
    everything_once(&Effect::Torn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_given_the_time_that_it_names() {
    let begun = Instant::now();
    let (_, said) = everything_once(&Effect::Busy { seconds: 1 }).await;
    assert!(begun.elapsed() > Duration::from_secs(10), "a second, ten times and more");
    assert!(said.contains("Too many requests"), "the log has it: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_not_waited_for_for_ever() {
    let cluster = Cluster::start().await;
    let busy = Effect::Busy { seconds: 3600 };
    cluster.fault(Fault::of("list", "leases", busy).times(usize::MAX));
    let begun = Instant::now();
    let said = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]).ends_with(1).await;
    assert!(said.contains("cannot list the leases of other runs: the API server is busy"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
    assert!(cluster.count("list", "leases") < 10);
    cluster.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_and_denied_is_not_done_twice() {
    let cluster = Cluster::start().await;
    for resource in ["leases", "secrets", "persistentvolumeclaims", "pods"] {
        // Dry runs come first: those of a lease, a secret, two claims and two pods.
        let first = if resource == "leases" || resource == "secrets" { 1 } else { 2 };
        let fault = Fault::of("create", resource, Effect::DoneAndDenied { code: 500 });
        cluster.fault(fault.after(first));
    }
    for resource in ["leases", "secrets", "persistentvolumeclaims", "pods"] {
        cluster.fault(Fault::of("delete", resource, Effect::DoneAndDenied { code: 500 }));
    }
    cluster.run(&format!("{CLAIM}{TWO_TRIALS}"), &[]).ends_with(0).await;
    assert_whole(&cluster, 1, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_answer_is_repeated() {
    let cluster = Cluster::start().await;
    let never = || Effect::Late(Duration::from_secs(600));
    cluster.fault(Fault::of("list", "nodes", never()));
    cluster.fault(Fault::of("watch", "pods", never()));
    let said = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]).ends_with(0).await;
    assert!(said.contains("no answer within"), "{said}");
    assert_whole(&cluster, 1, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_be_away_when_a_run_begins() {
    let mut cluster = Cluster::start().await;
    let (run, ()) = {
        let running = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]);
        tokio::join!(running.ends_with(0), cluster.server.restart(Duration::from_secs(3)))
    };
    assert!(run.contains("the API server did not do it"), "{run}");
    assert_whole(&cluster, 1, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_restart_in_a_trial() {
    let mut cluster = Cluster::start().await;
    let long = TWO_TRIALS.replace("400ms", "1s");
    let running = cluster.run(&format!("  pairs: 2\n{POD}{long}"), &[]);
    cluster.until_trial().await;
    cluster.server.restart(Duration::from_secs(3)).await;
    let restarted = cluster.requests().len();
    running.ends_with(0).await;
    assert_whole(&cluster, 2, 2);
    let recoveries = cluster.summary().unwrap().recoveries;
    assert_eq!(recoveries.len(), 2, "{recoveries:?}");
    assert!(recoveries.iter().all(|text| text.contains("was connected again")), "{recoveries:?}");
    let during = cluster.requests().len() - restarted;
    assert!(during < 100, "{during} requests after the restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_ends_the_run() {
    let mut cluster = Cluster::start().await;
    let running = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]);
    let said = tokio::select! {
        said = running.ends_with(1) => said,
        () = cluster.server.restart(Duration::from_secs(600)) => panic!("the run goes on without a server"),
    };
    assert!(said.contains("the API server cannot be reached"), "{said}");
    assert!(said.contains("onnection refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_of_the_lease_that_conflicts_is_made_again() {
    let cluster = Cluster::start().await;
    let conflict = Effect::Answer { code: 409, reason: "Conflict", message: "the object has been modified" };
    cluster.fault(Fault::of("patch", "leases", conflict));
    let long = "  traffic: {frameSizes: [64], flows: [10], rates: [1kpps]}\n  trial: {duration: 15s}\n";
    let said = cluster.run(&format!("{POD}{long}"), &[]).ends_with(0).await;
    assert!(said.contains("could not be renewed") && said.contains("the object has been modified"), "{said}");
    assert!(cluster.count("patch", "leases") >= 2, "it is made again before its time");
    assert_whole(&cluster, 1, 1);
}
