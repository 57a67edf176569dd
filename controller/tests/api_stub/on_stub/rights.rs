//! The Role that `linerate rbac` prints has exactly the rights that are used.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::kept;
use crate::api::delete_pod;
use crate::cluster::{Cluster, TWO_TRIALS};
use crate::kubelet::Fate;
use crate::role::{Right, Role, right};
use crate::state::pod_key;

/// Settings that use every feature.
const EVERYTHING: &str = "  kubernetes: {cpu: 1, memory: 64Mi, hugepages: {count: 0}, resources: {intel.com/dpdk: 1}, networks: [sriov-a], readyTimeout: 4s, \
                          output: {persistentVolumeClaim: {size: 1Gi}}}\n";

/// Its backends stand behind a Service until its trial is refused.
const THROUGH_A_SERVICE: &str = "  http: {targets: [cluster-ip]}\n  trial: {duration: 100ms}\n";

/// The rights that requests used, in the namespace and cluster-wide.
fn used(cluster: &Cluster) -> (BTreeSet<Right>, BTreeSet<Right>) {
    let asked = cluster.requests();
    let asked = asked.iter().filter(|asked| asked.resource != "selfsubjectaccessreviews");
    let (inside, beyond): (Vec<_>, Vec<_>) = asked.partition(|asked| asked.namespace.is_some());
    (inside.into_iter().map(right).collect(), beyond.into_iter().map(right).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_is_exactly_what_is_used() {
    let (mut inside, mut beyond) = (BTreeSet::new(), BTreeSet::new());
    for is_old in [true, false] {
        let cluster = Cluster::start().await;
        cluster.state.is_old.store(is_old, Ordering::Relaxed);
        cluster.put("network-attachment-definitions", "lab", "sriov-a", json!({}));
        // A pod that starts late, a pod that is removed, and a lease that is renewed.
        cluster.fate("rx0", [Fate::NeverScheduled("0/2 nodes are available")]);
        let spec = format!("{EVERYTHING}{}", TWO_TRIALS.replace("400ms", if is_old { "1s" } else { "6s" }));
        cluster.run(&spec, &[]).ends_with(1).await;
        std::fs::remove_dir_all(cluster.path("results")).unwrap();
        let running = cluster.run(&spec, &[]);
        cluster.until_trial().await;
        delete_pod(&cluster.state, &pod_key("tx0"));
        tokio::time::sleep(Duration::from_millis(10)).await;
        running.ends_with(0).await;
        kept::run_on_kept_pods(&cluster, TWO_TRIALS).await;
        std::fs::remove_dir_all(cluster.path("results")).unwrap();
        let said = cluster.run(THROUGH_A_SERVICE, &[]).ends_with(1).await;
        assert!(said.contains("the stub's agents send no requests"), "{said}");
        cluster.assert_clean();
        let (namespaced, cluster_wide) = used(&cluster);
        inside.extend(namespaced);
        beyond.extend(cluster_wide);
    }
    let role = Role::printed();
    assert_eq!(inside, role.namespaced);
    assert_eq!(beyond, role.cluster);
}
