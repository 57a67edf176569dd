//! Room as the scheduler counts it, and quotas for other pods.

use serde_json::{Value, json};

use crate::cluster::{Cluster, POD, TWO_TRIALS};

/// Settings with a claim for each pod and without a storage class.
const CLAIM: &str = "  kubernetes: {cpu: 1, memory: 64Mi, hugepages: {count: 0}, link: {kind: memif}, output: {persistentVolumeClaim: {size: 1Gi}}}\n";

/// A foreign pod leaves `node` half a CPU, in fields newer than the API types of this program.
async fn avoids_node1(name: &str, spec: Value) {
    let cluster = Cluster::start().await;
    let mut pod = json!({"spec": spec, "status": {"phase": "Running"}});
    pod["spec"]["nodeName"] = json!("node1");
    cluster.put("pods", "elsewhere", name, pod);
    let said = cluster.run(&format!("  pairs: 2\n{POD}{TWO_TRIALS}"), &["--dry-run"]).ends_with(0).await;
    for pod in ["tx0", "rx0", "tx1", "rx1"] {
        assert!(said.contains(&format!("# {pod}: node2")), "{name}: {said}");
    }
}

fn cpu(name: &str, amount: &str) -> Value {
    json!({"name": name, "resources": {"requests": {"cpu": amount}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_and_resources_of_whole_pods_count() {
    let mut sidecar = cpu("mesh", "999500m");
    sidecar["restartPolicy"] = json!("Always");
    avoids_node1("sidecar", json!({"containers": [cpu("c", "1m")], "initContainers": [sidecar]})).await;
    let resources = json!({"requests": {"cpu": "999500m"}});
    avoids_node1("whole", json!({"containers": [cpu("c", "1m")], "resources": resources})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_about_other_pods_are_not_in_the_way() {
    let priority = json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}});
    for (spec, code) in [
        (json!({"scopes": ["BestEffort"]}), 0),
        (json!({"scopes": ["Terminating"]}), 0),
        (priority, 0),
        (json!({"scopes": ["NotBestEffort"]}), 1),
        (json!({}), 1),
    ] {
        let cluster = Cluster::start().await;
        let status = json!({"hard": {"pods": "3"}, "used": {"pods": "0"}});
        cluster.put("resourcequotas", "lab", "team", json!({"spec": spec, "status": status}));
        let said = cluster.run(&format!("  pairs: 2\n{POD}{TWO_TRIALS}"), &[]).ends_with(code).await;
        assert_eq!(
            said.contains("quota team of namespace lab leaves too little: pods: wanted 4, available 3"),
            code == 1,
            "{said}"
        );
        cluster.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_leases_is_met_before_anything_is_made() {
    let cluster = Cluster::start().await;
    let one = json!({"count/leases.coordination.k8s.io": "1"});
    cluster.put("resourcequotas", "lab", "team", json!({"spec": {}, "status": {"hard": one, "used": one}}));
    let said = cluster.run(&format!("{POD}{TWO_TRIALS}"), &[]).ends_with(1).await;
    assert!(said.contains("count/leases.coordination.k8s.io: wanted 1, available 0"), "{said}");
    assert!(cluster.requests().iter().all(|asked| !asked.writes() || asked.is_dry_run()), "nothing was made");
}

/// A run with two claims is refused because of a quota of one, before anything is created.
async fn one_claim_is_too_few(cluster: Cluster, spec: Value, resource: &str) {
    let hard = json!({resource: "1"});
    let status = json!({"hard": hard, "used": {resource: "0"}});
    cluster.put("resourcequotas", "lab", "disks", json!({"spec": spec, "status": status}));
    let said = cluster.run(&format!("{CLAIM}{TWO_TRIALS}"), &[]).ends_with(1).await;
    let reason = format!("quota disks of namespace lab leaves too little: {resource}: wanted 2, available 1");
    assert!(said.contains(&reason), "'{reason}' is not in: {said}");
    assert!(cluster.requests().iter().all(|asked| !asked.writes() || asked.is_dry_run()), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_claims_without_an_attributes_class_is_about_ours() {
    let without = |operator: &str, values: Value| {
        json!({"scopeSelector": {"matchExpressions": [
        {"scopeName": "VolumeAttributesClass", "operator": operator, "values": values}]}})
    };
    for spec in [without("DoesNotExist", json!([])), without("NotIn", json!(["gold"]))] {
        one_claim_is_too_few(Cluster::start().await, spec, "persistentvolumeclaims").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_the_default_storage_class_counts_claims_that_name_none() {
    let cluster = Cluster::start().await;
    cluster.put("storageclasses", "", "standard", json!({}));
    let resource = "standard.storageclass.storage.k8s.io/persistentvolumeclaims";
    one_claim_is_too_few(cluster, json!({}), resource).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_known_by_its_name_and_not_by_its_hostname_label() {
    let cluster = Cluster::start().await;
    cluster.run(&format!("{POD}{TWO_TRIALS}"), &["--node", "node2,node2"]).ends_with(0).await;
    let agents = cluster.summary().unwrap().experiment.agents;
    let nodes: Vec<_> = agents.iter().map(|agent| agent.node.as_str()).collect();
    assert_eq!(nodes, ["node2", "node2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_taints_are_tolerated_have_room() {
    let tolerant = ", tolerations: [{key: pool, value: net, effect: NoSchedule}]}\n";
    for (end, code) in [("}\n", 1), (tolerant, 0)] {
        let cluster = Cluster::start().await;
        let taints = json!([{"key": "pool", "value": "net", "effect": "NoSchedule"}]);
        for node in ["node1", "node2"] {
            let key = ("nodes".to_owned(), String::new(), node.to_owned());
            cluster
                .state
                .alter(|objects| objects.change(&key, |node| node["spec"]["taints"] = taints.clone()));
        }
        let settings = format!("{}{end}", POD.trim_end_matches("}\n"));
        let said = cluster.run(&format!("{settings}{TWO_TRIALS}"), &[]).ends_with(code).await;
        assert_eq!(said.contains("node node1: it has the taint pool=net:NoSchedule"), code == 1, "{said}");
        cluster.assert_clean();
    }
}
