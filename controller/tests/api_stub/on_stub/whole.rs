//! Checks of a complete run.

use serde_json::json;

use crate::cluster::{Cluster, POD, TWO_TRIALS};
use crate::role::Role;

/// Checks that each pair has each trial once, that every packet is accounted for, and that no objects are
/// left.
pub fn assert_whole(cluster: &Cluster, pairs: usize, trials: usize) {
    let summary = cluster.summary().unwrap();
    let mut found: Vec<_> =
        summary.trials.iter().map(|trial| (trial.profile.clone(), trial.pair.clone())).collect();
    assert_eq!(found.len(), pairs * trials, "{found:?}");
    found.sort();
    found.dedup();
    assert_eq!(found.len(), pairs * trials, "a trial was doubled");
    for trial in &summary.trials {
        assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets, "{trial:?}");
        assert!(trial.sent_packets > 0 && trial.disagreements.is_empty(), "{trial:?}");
        let number = trial.pair.strip_prefix("tx").unwrap().split_once("-rx").unwrap();
        assert_eq!(number.0, number.1, "pairs do not shift");
    }
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
    cluster.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_have_pods_one_after_the_other_on_the_same_nodes() {
    let cluster = Cluster::start().await;
    cluster.run(&two_engines("differentNodes"), &[]).ends_with(0).await;
    assert_whole(&cluster, 1, 4);
    let summary = cluster.summary().unwrap();
    let ways: Vec<_> =
        summary.trials.iter().map(|trial| (trial.pair.as_str(), trial.engine.is_some())).collect();
    assert_eq!(ways, [("tx0-rx0", true), ("tx0-rx0", true), ("tx1-rx1", true), ("tx1-rx1", true)]);
    let agents = &summary.experiment.agents;
    let node =
        |name: &str| agents.iter().find(|agent| agent.name == name).map(|agent| agent.node.clone()).unwrap();
    assert_eq!((node("tx0"), node("rx0")), (node("tx1"), node("rx1")));
    assert_ne!(node("tx0"), node("rx0"));
}

/// Two engines with pods that are placed by a rule.
fn two_engines(placement: &str) -> String {
    let kubernetes =
        format!("  kubernetes: {{cpu: 1, memory: 64Mi, hugepages: {{count: 0}}, placement: {placement}}}\n");
    format!("  engines: [af_packet, af_xdp]\n{kubernetes}{TWO_TRIALS}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_of_engines_that_is_resumed_stays_on_its_nodes() {
    let cluster = Cluster::start().await;
    let spec = two_engines("sameNode");
    let mut running = cluster.run(&spec, &[]);
    let trials = || cluster.summary().map_or(0, |summary| summary.trials.len());
    cluster.until("an engine is done", || trials() >= 2).await;
    running.child.kill().await.unwrap();
    let node_of = |name: &str| {
        let agents = cluster.summary().unwrap().experiment.agents;
        agents.into_iter().find(|agent| agent.name == name).map(|agent| agent.node)
    };
    let (tx, rx) = (node_of("tx0"), node_of("rx0"));
    // From now on, a new run would be placed on the other node.
    let mut pod = json!({"status": {"phase": "Running"}});
    pod["spec"] =
        json!({"nodeName": tx, "containers": [{"name": "c", "resources": {"requests": {"cpu": "500"}}}]});
    let another = Cluster::of_two_nodes(Role::printed()).await;
    another.put("pods", "elsewhere", "other", pod.clone());
    let said = another.run(&spec, &["--dry-run"]).ends_with(0).await;
    assert!(!said.contains(&format!("# tx0: {}", tx.clone().unwrap())), "{said}");
    cluster.put("pods", "elsewhere", "other", pod);
    cluster.run(&spec, &["--resume"]).ends_with(0).await;
    assert_whole(&cluster, 1, 4);
    assert_eq!((node_of("tx1"), node_of("rx1")), (tx, rx));
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_are_not_compared_on_nodes_of_the_schedulers_choice() {
    let cluster = Cluster::with_role(Role::printed().without("list", "nodes")).await;
    let said = cluster.run(&two_engines("differentNodes"), &[]).ends_with(1).await;
    assert!(
        said.contains("spec.kubernetes.nodes: missing, and this account may not list the nodes"),
        "{said}"
    );
    assert_eq!(cluster.ours(), []);
    let said = cluster
        .run(&two_engines("differentNodes"), &["--dry-run", "--node", "node1,node2"])
        .ends_with(0)
        .await;
    assert!(said.contains("# tx1: node1") && said.contains("# rx1: node2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_faults_is_whole() {
    let cluster = Cluster::start().await;
    cluster.state.wire.loses_one_in.store(1000, std::sync::atomic::Ordering::Relaxed);
    cluster.run(&format!("  pairs: 3\n{POD}{TWO_TRIALS}"), &[]).ends_with(0).await;
    assert_whole(&cluster, 3, 2);
    let summary = cluster.summary().unwrap();
    assert!(summary.trials.iter().all(|trial| trial.lost_packets == 20 && trial.sent_packets == 20_000));
    assert_eq!(cluster.count("create", "pods/portforward"), 6, "one connection for each pod");
}
