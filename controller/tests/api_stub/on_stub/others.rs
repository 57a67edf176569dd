//! Foreign objects are never changed.

use std::time::Duration;

use serde_json::json;

use crate::cluster::{Cluster, POD, TWO_TRIALS};
use crate::support::stdout;

/// Adds foreign pods with Linerate's names, and objects whose labels resemble Linerate's.
fn fill(cluster: &Cluster, names: &[&str]) {
    for name in names {
        for namespace in ["lab", "elsewhere"] {
            let metadata = json!({"labels": {"role": &name[..2], "app.kubernetes.io/managed-by": "helm"}});
            let container = json!({"name": "c", "resources": {"requests": {"cpu": "1"}}});
            let spec = json!({"nodeName": "node1", "containers": [container]});
            cluster.put(
                "pods",
                namespace,
                name,
                json!({"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}),
            );
        }
        cluster.put("secrets", "lab", name, json!({"data": {}}));
    }
}

/// A snapshot of every object.
fn picture(cluster: &Cluster) -> Vec<String> {
    let all = cluster.state.objects().find(|_, _| true);
    all.iter().map(|(key, object)| format!("{key:?} {object}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing() {
    let spec = format!("  pairs: 3\n{POD}{TWO_TRIALS}");
    for (names, code) in [(&["tx0", "rx0", "tx1", "rx1"][..], 1), (&["tx3", "rx3", "tx"], 0)] {
        let cluster = Cluster::start().await;
        fill(&cluster, names);
        let before = picture(&cluster);
        let said = cluster.run(&spec, &["--dry-run"]).ends_with(code).await;
        assert_eq!(code == 1, said.contains("pod rx0 in namespace lab is not Linerate's"), "{said}");
        let writes: Vec<_> = cluster.requests().into_iter().filter(|asked| asked.writes()).collect();
        assert!(writes.iter().all(|asked| asked.verb == "create" && asked.is_dry_run()), "{writes:?}");
        // A lease, a secret and six pods.
        assert_eq!(writes.len(), if code == 0 { 8 } else { 0 });
        assert_eq!(picture(&cluster), before);
        cluster.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_note_on_addresses_is_about_the_profiles_that_run() {
    let cluster = Cluster::start().await;
    let pod = POD.replace("link: {kind: memif}", "link: {kind: afPacket}");
    let profiles =
        "  profiles:\n  - {frameSize: 64}\n  - {frameSize: 512, destination: {ip: 10.1.0.2, port: 9}}\n";
    for (filter, noted) in [("size_64B", true), ("size_512B", false)] {
        let said =
            cluster.run(&format!("{pod}{profiles}"), &["--dry-run", "--filter", filter]).ends_with(0).await;
        assert_eq!(said.contains("carry the pods' own"), noted, "{filter}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_among_others_leaves_them_alone() {
    let cluster = Cluster::start().await;
    fill(&cluster, &["tx3", "rx3", "tx", "linerate-00000000"]);
    let before = picture(&cluster);
    cluster.run(&format!("  pairs: 3\n{POD}{TWO_TRIALS}"), &[]).ends_with(0).await;
    let is_event = |line: &String| line.starts_with("(\"events\"");
    let after: Vec<_> = picture(&cluster).into_iter().filter(|line| !is_event(line)).collect();
    assert_eq!(after, before);
    cluster.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_does_not_take_names_that_are_taken() {
    let cluster = Cluster::start().await;
    fill(&cluster, &["tx0", "rx0", "tx1"]);
    let before = picture(&cluster);
    let said = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]).ends_with(1).await;
    assert!(said.contains("is not Linerate's and has a name that this run needs"), "{said}");
    assert!(cluster.requests().iter().all(|asked| !asked.writes()), "nothing was written");
    assert_eq!(picture(&cluster), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_leaves_others_alone() {
    let cluster = Cluster::start().await;
    fill(&cluster, &["tx5", "rx5", "tx6"]);
    let before = picture(&cluster);
    std::fs::write(
        cluster.path("pods.yaml"),
        format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec:\n  pairs: 2\n  platform: kubernetes\n{POD}"),
    )
    .unwrap();
    let made = cluster.command(&["pods", "create", "pods.yaml"]).output().await.unwrap();
    assert!(made.status.success(), "{made:?}");
    let id = stdout(&made).trim().lines().last().unwrap().to_owned();
    assert_eq!(cluster.ours().len(), 1 + 1 + 4, "a lease, a secret and pods");
    let lease = cluster.ours().into_iter().find(|key| key.0 == "leases").unwrap();
    let lease = cluster.state.objects().get(&lease).unwrap();
    assert_eq!(lease["metadata"]["annotations"]["linerate.dev/kept"], "true", "{lease}");
    let status = cluster.command(&["pods", "status"]).output().await.unwrap();
    assert_eq!(stdout(&status).matches(&id).count(), 4, "{status:?}");
    for what in ["--all", &id] {
        let deleted = cluster.command(&["pods", "delete", what]).output().await.unwrap();
        assert!(deleted.status.success(), "{deleted:?}");
        assert_eq!(picture(&cluster), before);
        cluster.assert_clean();
    }
}

/// Before, pods of a start that was interrupted stayed, and counted as kept.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_creation_of_pods_leaves_nothing() {
    let cluster = Cluster::start().await;
    *cluster.state.ready_after.lock().unwrap() = Duration::from_secs(60);
    let document =
        format!("apiVersion: linerate.dev/v1alpha1\nkind: Experiment\nspec:\n  platform: kubernetes\n{POD}");
    std::fs::write(cluster.path("pods.yaml"), document).unwrap();
    let creating = cluster.command(&["pods", "create", "pods.yaml"]).spawn().unwrap();
    let is_made = || cluster.state.pod("tx0").is_some() && cluster.state.pod("rx0").is_some();
    cluster.until("the pods are made", is_made).await;
    let lease = cluster.ours().into_iter().find(|key| key.0 == "leases").unwrap();
    let lease = cluster.state.objects().get(&lease).unwrap();
    assert!(lease["metadata"]["annotations"]["linerate.dev/kept"].is_null(), "{lease}");
    let process = rustix::process::Pid::from_raw(creating.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let ended = creating.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    cluster.assert_clean();
}
