//! Pods that watch nodes: one on each node of the agents, removed with them; refused, or in the way of others, before anything is made; not needed later.

use serde_json::json;

use crate::cluster::{Cluster, TWO_TRIALS};
use crate::faults::{Effect, Fault};
use crate::kubelet::Fate;
use crate::security::Level;

use super::whole::assert_whole;

/// Pairs between two nodes.
const VIEW: &str = "  kubernetes: {cpu: 1, memory: 64Mi, hugepages: {count: 0}, link: {kind: afPacket}, placement: differentNodes, nodeView: true}\n";
/// Pods that even the strictest level admits.
const STREAMS: &str = "  streams: {rates: [1mbps]}\n  kubernetes: {cpu: 1, memory: 64Mi, placement: differentNodes, nodeView: true}\n";

#[tokio::test(flavor = "multi_thread")]
async fn each_node_of_the_agents_is_watched_by_one_pod() {
    let cluster = Cluster::start().await;
    cluster.run(&format!("  pairs: 2\n{VIEW}{TWO_TRIALS}"), &[]).ends_with(0).await;
    assert_whole(&cluster, 2, 2);
    let summary = cluster.summary().unwrap();
    let watched: Vec<_> = summary.trials.iter().filter(|trial| !trial.nodes.is_empty()).collect();
    assert_eq!(watched.len(), 2, "one path of each trial");
    for trial in watched {
        let mut nodes: Vec<_> =
            trial.nodes.iter().map(|node| (node.node.as_str(), node.interfaces[0].rx_queues_used)).collect();
        nodes.sort_unstable();
        assert_eq!(nodes, [("node1", Some(1)), ("node2", Some(1))]);
    }
    let made: Vec<String> = cluster
        .requests()
        .into_iter()
        .filter(|asked| asked.verb == "get" && asked.resource == "pods/portforward")
        .filter_map(|asked| asked.name)
        .filter(|name| name.starts_with("node"))
        .collect();
    assert_eq!(made.len(), 2, "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_that_forbids_the_nodes_network_is_named_with_both_remedies() {
    for level in [Level::Baseline, Level::Restricted] {
        let cluster = Cluster::start().await;
        *cluster.state.enforced.lock().unwrap() = Some(level);
        let said = cluster.run(STREAMS, &[]).ends_with(1).await;
        for part in [
            "cannot validate Pod node0: pods \"node0\" is forbidden: violates PodSecurity",
            "host namespaces (hostNetwork=true)",
            "remove spec.kubernetes.nodeView",
            "kubectl label --overwrite namespace lab pod-security.kubernetes.io/enforce=privileged",
        ] {
            assert!(said.contains(part), "'{part}' is not in: {said}");
        }
        let requests = cluster.requests();
        assert!(requests.iter().all(|asked| !asked.writes() || asked.is_dry_run()), "nothing was made");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_others_by_the_name_of_a_watcher_is_left_alone() {
    let cluster = Cluster::start().await;
    let metadata = json!({"labels": {"app.kubernetes.io/managed-by": "helm"}});
    let container = json!({"name": "c", "resources": {"requests": {"cpu": "1"}}});
    let spec = json!({"nodeName": "node1", "containers": [container]});
    let pod = json!({"metadata": metadata, "spec": spec, "status": {"phase": "Running"}});
    cluster.put("pods", "lab", "node1", pod);
    let said = cluster.run(&format!("{VIEW}{TWO_TRIALS}"), &[]).ends_with(1).await;
    assert!(said.contains("pod node1 in namespace lab is not Linerate's"), "{said}");
    cluster.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_without_watchers_that_do_not_start_and_leaves_none() {
    let cluster = Cluster::start().await;
    cluster.fate("node0", [Fate::ImageError("no such image")]);
    let quota = "pods \"node1\" is forbidden: exceeded quota: small";
    let refused = Effect::Answer { code: 403, reason: "Forbidden", message: quota };
    cluster.fault(Fault::of("create", "pods", refused).named("node1"));
    cluster.run(&format!("{VIEW}{TWO_TRIALS}"), &[]).ends_with(0).await;
    assert_whole(&cluster, 1, 2);
    for trial in cluster.summary().unwrap().trials {
        let reasons: Vec<_> = trial.nodes.iter().filter_map(|node| node.reason.as_deref()).collect();
        let [image, exceeded] = reasons[..] else { panic!("{reasons:?}") };
        assert!(image.contains("node0") && image.contains("no such image"), "{image}");
        assert!(exceeded.contains(quota) && !exceeded.contains("kubectl label"), "{exceeded}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_no_label_changes_is_told_without_one() {
    let cluster = Cluster::start().await;
    let message = "admission webhook \"policy\" denied the request: no hostNetwork";
    let refused = Effect::Answer { code: 403, reason: "Forbidden", message };
    cluster.fault(Fault::of("create", "pods", refused).named("node0"));
    let said = cluster.run(STREAMS, &[]).ends_with(1).await;
    assert!(said.contains(message) && said.contains("remove spec.kubernetes.nodeView"), "{said}");
    assert!(!said.contains("kubectl label"), "{said}");
}
