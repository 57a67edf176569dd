//! Watches that break, expire, lag or miss events.

use std::time::{Duration, Instant};

use super::whole::assert_whole;
use crate::api::delete_pod;
use crate::cluster::{Cluster, POD, TWO_TRIALS};
use crate::faults::{Effect, Fault};
use crate::state::pod_key;

async fn whole_with(effects: impl IntoIterator<Item = Effect>) -> (Cluster, String) {
    let cluster = Cluster::start().await;
    for effect in effects {
        cluster.fault(Fault::of("watch", "pods", effect));
    }
    let said = cluster.run(&format!("  pairs: 2\n{POD}{TWO_TRIALS}"), &[]).ends_with(0).await;
    assert_whole(&cluster, 2, 2);
    (cluster, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_has_expired_begins_anew() {
    for event in [0, 3] {
        let (_, said) = whole_with([Effect::GoneAtEvent(event)]).await;
        assert!(said.contains("too old resource version"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_refused_as_expired_begins_anew() {
    let gone = Effect::Answer { code: 410, reason: "Expired", message: "too old resource version" };
    // A cut watch resumes at its version, which the server then no longer has.
    let cluster = Cluster::start().await;
    cluster.fault(Fault::of("watch", "pods", Effect::CutInEvent(2)));
    cluster.fault(Fault::of("watch", "pods", gone).times(usize::MAX));
    let running = cluster.run(&format!("  pairs: 2\n{POD}{TWO_TRIALS}"), &[]);
    running.ends_with(0).await;
    assert_whole(&cluster, 2, 2);
    assert!(cluster.count("watch", "pods") < 15, "no storm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_may_break_off_in_an_object() {
    whole_with([Effect::CutInEvent(1), Effect::CutInEvent(0), Effect::CutInEvent(2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_fails_is_taken_up_with_growing_delays() {
    let down = Effect::Answer { code: 500, reason: "InternalError", message: "etcdserver: no leader" };
    let (cluster, said) = whole_with(vec![down; 4]).await;
    assert!(said.contains("etcdserver: no leader"), "{said}");
    let watches = cluster.count("watch", "pods");
    assert!((5..12).contains(&watches), "{watches}");
}

/// A new list without the pod reveals its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_without_a_watch_event_is_noticed() {
    let cluster = Cluster::start().await;
    cluster.fault(Fault::of("watch", "pods", Effect::GoneForDeletion));
    let running = cluster.run(&format!("  pairs: 2\n{POD}{}", TWO_TRIALS.replace("400ms", "1s")), &[]);
    cluster.until_trial().await;
    // Removed at once, so that the list does not have it.
    cluster.fault(Fault::of("list", "pods", Effect::Late(Duration::from_millis(300))));
    delete_pod(&cluster.state, &pod_key("rx1"));
    let begun = Instant::now();
    running.ends_with(0).await;
    assert_whole(&cluster, 2, 2);
    let recoveries = cluster.summary().unwrap().recoveries;
    assert!(recoveries.len() == 1 && recoveries[0].contains("tx1-rx1 was started anew"), "{recoveries:?}");
    assert!(begun.elapsed() < Duration::from_secs(9), "without waiting for one that is gone");
}

/// Late events of a pod do not affect its successor.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_may_lag_behind() {
    let cluster = Cluster::start().await;
    cluster.fault(Fault::of("watch", "pods", Effect::LateEvents(Duration::from_millis(150))));
    let running = cluster.run(&format!("  pairs: 1\n{POD}{}", TWO_TRIALS.replace("400ms", "1s")), &[]);
    cluster.until_trial().await;
    delete_pod(&cluster.state, &pod_key("tx0"));
    running.ends_with(0).await;
    assert_whole(&cluster, 1, 2);
}
