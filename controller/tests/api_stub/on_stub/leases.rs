//! Several controllers in one namespace: each judges the others' leases by their changes, and deletes only
//! objects that it has read.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::whole::assert_whole;
use crate::cluster::{Cluster, POD, TWO_TRIALS};
use crate::faults::{Effect, Fault};
use crate::objects::Key;
use crate::state::pod_key;

const LONG: &str =
    "  traffic: {frameSizes: [64], flows: [10], rates: [1kpps]}\n  trial: {duration: 16s, orphan: 1s}\n";

/// The clock of the running controller is ten minutes behind or ahead: a comparison of times would find its
/// lease expired, or valid for ever.
#[tokio::test(flavor = "multi_thread")]
async fn controllers_whose_clocks_differ_leave_each_other_alone() {
    for ahead_s in [-600, 600] {
        let cluster = Cluster::start().await;
        cluster.state.clocks_are_ahead_s.store(ahead_s, Ordering::Relaxed);
        let first = cluster.run(&format!("{POD}{LONG}"), &[]);
        cluster.until_trial().await;
        let ours = cluster.ours();
        std::fs::create_dir(cluster.path("second")).unwrap();
        let document = cluster.path("experiment.yaml");
        let mut second = cluster.command(&["run", document.to_str().unwrap(), "--results", "second/results"]);
        let second = second.spawn().unwrap().wait_with_output().await.unwrap();
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(!second.status.success() && said.contains("uses the pods of namespace lab now"), "{said}");
        assert_eq!(cluster.ours(), ours, "nothing was touched");
        first.ends_with(0).await;
        assert_whole(&cluster, 1, 1);
        assert!(cluster.summary().unwrap().recoveries.is_empty());
    }
}

fn key(resource: &str, name: &str) -> Key {
    (resource.to_owned(), "lab".to_owned(), name.to_owned())
}

/// Adds the objects of a killed controller, with a lease of 2 s.
fn leave(cluster: &Cluster, renewed: &str) {
    let labels = json!({"app.kubernetes.io/managed-by": "linerate", "linerate.dev/experiment": "dead0000"});
    let with = |more: Value| {
        let mut object = json!({"metadata": {"labels": labels}});
        more.as_object().into_iter().flatten().for_each(|(name, value)| object[name] = value.clone());
        object
    };
    let spec = json!({"holderIdentity": "elsewhere/1", "leaseDurationSeconds": 2, "renewTime": renewed});
    cluster.put("leases", "lab", "linerate-dead0000", with(json!({"spec": spec})));
    cluster.put("secrets", "lab", "linerate-tokens", with(json!({"data": {}})));
    let pod = json!({"spec": {"nodeName": "node1", "containers": []}, "status": {"phase": "Running"}});
    cluster.put("pods", "lab", "tx0", with(pod));
}

/// Renewed an hour ago, or an hour in the future.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_does_not_change_belongs_to_the_dead() {
    for renewed in ["2000-01-01T00:00:00.000000Z", "2100-01-01T00:00:00.000000Z"] {
        let cluster = Cluster::start().await;
        leave(&cluster, renewed);
        let said = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]).ends_with(0).await;
        assert!(
            said.contains("watching for up to 2 s") && said.contains("removing what run dead0000 left"),
            "{said}"
        );
        assert_whole(&cluster, 1, 2);
    }
}

/// The pods of a dead run count in quotas until they are removed.
#[tokio::test(flavor = "multi_thread")]
async fn the_quota_of_a_dead_run_is_its_successors() {
    let cluster = Cluster::start().await;
    leave(&cluster, "2000-01-01T00:00:00.000000Z");
    let quota = json!({"spec": {}, "status": {"hard": {"pods": "2"}, "used": {"pods": "2"}}});
    cluster.put("resourcequotas", "lab", "team", quota);
    let said = cluster.run(&format!("{POD}{TWO_TRIALS}"), &["--dry-run"]).ends_with(0).await;
    assert!(said.contains("quotas are not added up"), "{said}");
    // As the quota's controller does when the pod is removed.
    let running = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]);
    let quota = key("resourcequotas", "team");
    cluster
        .until("the dead run's pod is gone", || {
            cluster
                .state
                .pod("tx0")
                .is_none_or(|pod| pod["metadata"]["labels"]["linerate.dev/experiment"] != "dead0000")
        })
        .await;
    cluster
        .state
        .alter(|objects| objects.change(&quota, |quota| quota["status"]["used"]["pods"] = json!("0")));
    running.ends_with(0).await;
    assert_whole(&cluster, 1, 2);
}

/// A controller that returns after a long time notices that it has lost its objects, and creates no new ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_was_taken_for_dead_starts_no_pods_any_more_and_removes_none() {
    let cluster = Cluster::start().await;
    let running = cluster.run(&format!("{POD}{}", LONG.replace("16s", "30s")), &[]);
    cluster.until_trial().await;
    let lease = cluster.ours().into_iter().find(|key| key.0 == "leases").unwrap();
    cluster
        .state
        .alter(|objects| objects.change(&lease, |lease| lease["spec"]["holderIdentity"] = json!("other/2")));
    let pods = cluster.count("create", "pods");
    let renewals = cluster.count("patch", "leases");
    cluster.until("the lease is renewed", || cluster.count("patch", "leases") > renewals).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(crate::api::delete_pod(&cluster.state, &pod_key("tx0")));
    let said = running.ends_with(1).await;
    assert!(said.contains("its lease was taken by other/2"), "{said}");
    assert_eq!(cluster.count("create", "pods"), pods);
    assert_eq!(cluster.count("delete", "pods"), 0, "they are the other controller's now");
    assert!(cluster.ours().contains(&lease) && cluster.state.pod("rx0").is_some());
}

/// Another pod gets the name between the list and the deletion.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_took_the_name_meanwhile_is_left_alone() {
    let cluster = Cluster::start().await;
    cluster.fault(Fault::of("delete", "pods", Effect::Late(Duration::from_millis(600))).named("tx0"));
    let running = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]);
    cluster.until("the pods are to go", || cluster.count("delete", "pods") > 1).await;
    let gone = cluster.state.alter(|objects| objects.remove(&pod_key("tx0")));
    gone.iter().for_each(|pod| cluster.state.end_agent(pod));
    cluster.put("pods", "lab", "tx0", json!({"spec": {"nodeName": "node1"}, "status": {"phase": "Running"}}));
    let begun = Instant::now();
    running.ends_with(0).await;
    assert!(begun.elapsed() < Duration::from_secs(15));
    let theirs = cluster.state.pod("tx0").expect("it is still there");
    assert!(theirs["metadata"]["deletionTimestamp"].is_null());
    cluster.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_others_with_our_name_is_left_alone() {
    let cluster = Cluster::start().await;
    cluster.put("secrets", "lab", "linerate-tokens", json!({"data": {"theirs": "eA=="}}));
    let said = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]).ends_with(1).await;
    assert!(said.contains("secret linerate-tokens in namespace lab is another's"), "{said}");
    assert!(cluster.requests().iter().all(|asked| !asked.writes()), "nothing was written");
}
