//! Checks of a complete run.

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
    cluster.run(&two_engines(), &[]).ends_with(0).await;
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

/// Two engines between two nodes.
fn two_engines() -> String {
    let kubernetes =
        "  kubernetes: {cpu: 1, memory: 64Mi, hugepages: {count: 0}, placement: differentNodes}\n";
    format!("  engines: [af_packet, af_xdp]\n{kubernetes}{TWO_TRIALS}")
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_are_not_compared_on_nodes_of_the_schedulers_choice() {
    let cluster = Cluster::with_role(Role::printed().without("list", "nodes")).await;
    let said = cluster.run(&two_engines(), &[]).ends_with(1).await;
    assert!(
        said.contains("spec.kubernetes.nodes: missing, and this account may not list the nodes"),
        "{said}"
    );
    assert_eq!(cluster.ours(), []);
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
