//! Reads of the cluster: nodes and their room, quotas, networks, pods with Linerate's names.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node as ApiNode, Pod, ResourceQuota, Secret};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::{GroupVersionKind, PartialObjectMeta};
use kube::{Api, Client, ResourceExt};

use super::error::{ClusterError, is_expired, is_forbidden, is_not_found};
use super::names;
use super::placement::Node;
use super::requests::{AnyPod, requested};
use super::retry::steadily;
use linerate_experiment::kubernetes::Toleration;
use linerate_experiment::quantity::milli;

/// Objects per page of a list, which limits the response for a large cluster.
const PAGE: u32 = 500;
/// Attempts to read a whole list.
const BEGINNINGS: u32 = 3;
/// Key of the taint of nodes that are cordoned.
const CORDONED: &str = "node.kubernetes.io/unschedulable";
/// Pods that have ended hold no resources.
const RUNNING: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// The nodes' room for pods with these tolerations, without the resources that pods of `gone` experiments hold, `None` when nodes may
/// not be listed; and notes for the user.
///
/// # Errors
/// When the server does not answer.
pub async fn nodes(
    client: &Client,
    namespace: &str,
    gone: &BTreeSet<String>,
    tolerations: &[Toleration],
) -> Result<(Option<Vec<Node>>, Vec<String>), ClusterError> {
    let mut notes = Vec::new();
    let nodes = match list_all(&Api::<ApiNode>::all(client.clone()), ListParams::default()).await {
        Ok(nodes) => nodes,
        Err(error) if is_forbidden(&error) => {
            notes.push(
                "this account may not list nodes, so their room is left to the scheduler (linerate rbac --cluster prints what is needed)"
                    .to_owned(),
            );
            return Ok((None, notes));
        }
        Err(error) => return Err(ClusterError::while_("list the nodes")(error)),
    };
    let params = || ListParams::default().fields(RUNNING);
    let kind = ApiResource::erase::<Pod>(&());
    let pods = match list_all(&Api::<AnyPod>::all_with(client.clone(), &kind), params()).await {
        Ok(pods) => pods,
        Err(error) if is_forbidden(&error) => {
            notes.push(format!(
                "this account sees only the pods of namespace {namespace}; what others ask of the nodes is not known"
            ));
            let pods = Api::<AnyPod>::namespaced_with(client.clone(), namespace, &kind);
            list_all(&pods, params()).await.map_err(ClusterError::while_("list the pods"))?
        }
        Err(error) => return Err(ClusterError::while_("list the pods")(error)),
    };
    Ok((Some(room(&nodes, &pods, gone, tolerations)), notes))
}

async fn list_all<K>(api: &Api<K>, mut params: ListParams) -> kube::Result<Vec<K>>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    params = params.limit(PAGE);
    let mut all = Vec::new();
    let mut beginnings = 0;
    loop {
        let page = match steadily(|| api.list(&params)).await {
            // The snapshot that the pages belong to expired during the list.
            Err(error) if is_expired(&error) && beginnings < BEGINNINGS => {
                tracing::debug!(%error, "the list begins anew");
                beginnings += 1;
                params.continue_token = None;
                all.clear();
                continue;
            }
            page => page?,
        };
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(all),
        }
    }
}

/// Allocatable minus requested resources of each node.
fn room(
    nodes: &[ApiNode],
    pods: &[AnyPod],
    gone: &BTreeSet<String>,
    tolerations: &[Toleration],
) -> Vec<Node> {
    let mut taken: BTreeMap<&str, BTreeMap<String, u128>> = BTreeMap::new();
    let is_gone = |pod: &AnyPod| {
        let labels = pod.labels();
        labels.get(names::MANAGED_BY).is_some_and(|value| value == names::LINERATE)
            && labels.get(names::EXPERIMENT).is_some_and(|id| gone.contains(id))
    };
    for pod in pods.iter().filter(|pod| !is_gone(pod)) {
        let Some(node) = pod.spec.node_name.as_deref() else { continue };
        let taken = taken.entry(node).or_default();
        *taken.entry("pods".to_owned()).or_default() += 1000;
        for (resource, amount) in requested(pod) {
            *taken.entry(resource).or_default() += amount;
        }
    }
    nodes
        .iter()
        .map(|node| {
            let name = node.name_any();
            let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
            let taken = taken.get(name.as_str());
            let free = amounts(allocatable).map(|(resource, amount)| {
                let used = taken.and_then(|taken| taken.get(&resource)).copied().unwrap_or(0);
                (resource, amount.saturating_sub(used))
            });
            Node { free: free.collect(), closed: closed(node, tolerations), name }
        })
        .collect()
}

fn amounts(quantities: Option<&BTreeMap<String, Quantity>>) -> impl Iterator<Item = (String, u128)> {
    quantities.into_iter().flatten().filter_map(|(name, amount)| Some((name.clone(), milli(&amount.0)?)))
}

/// Why the node takes no pod with these tolerations.
fn closed(node: &ApiNode, tolerations: &[Toleration]) -> Option<String> {
    let is_tolerated = |key: &str, value: Option<&str>, effect: &str| {
        tolerations.iter().any(|one| one.tolerates(key, value.unwrap_or_default(), effect))
    };
    let spec = node.spec.as_ref();
    let is_cordoned = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
    if is_cordoned && !is_tolerated(CORDONED, None, "NoSchedule") {
        return Some("it is cordoned".to_owned());
    }
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    if let Some(condition) = ready.filter(|condition| condition.status != "True") {
        let message = condition.message.clone().unwrap_or_default();
        return Some(format!("it is not ready: {message}").trim_end_matches([' ', ':']).to_owned());
    }
    let taints = spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    let mut forbidding = taints.filter(|taint| {
        taint.effect != "PreferNoSchedule" && !is_tolerated(&taint.key, taint.value.as_deref(), &taint.effect)
    });
    forbidding.next().map(|taint| {
        let value = taint.value.as_deref().filter(|value| !value.is_empty());
        let value = value.map(|value| format!("={value}")).unwrap_or_default();
        format!(
            "it has the taint {}{value}:{}, which spec.kubernetes.tolerations does not tolerate",
            taint.key, taint.effect
        )
    })
}

/// The quotas of the namespace.
///
/// # Errors
/// When the server does not answer.
pub async fn quotas(client: &Client, namespace: &str) -> Result<Vec<ResourceQuota>, ClusterError> {
    let quotas = Api::<ResourceQuota>::namespaced(client.clone(), namespace);
    let quotas = list_all(&quotas, ListParams::default()).await;
    quotas.map_err(ClusterError::while_("list the resource quotas"))
}

/// Metadata of the namespace's secret with Linerate's name.
///
/// # Errors
/// When the server does not answer.
pub async fn secret(
    client: &Client,
    namespace: &str,
) -> Result<Option<PartialObjectMeta<Secret>>, ClusterError> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let secret = steadily(|| secrets.get_metadata_opt(names::SECRET)).await;
    secret.map_err(ClusterError::while_(format!("look at secret {}", names::SECRET)))
}

/// Checks that the networks to attach exist.
///
/// # Errors
/// The first that does not exist.
pub async fn networks(client: &Client, namespace: &str, networks: &[String]) -> Result<(), ClusterError> {
    let kind = GroupVersionKind::gvk("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition");
    let resource = ApiResource::from_gvk_with_plural(&kind, "network-attachment-definitions");
    for network in networks {
        let (of, name) = network.split_once('/').unwrap_or((namespace, network));
        // `name@interface` sets the interface's name in the pod.
        let name = name.split('@').next().unwrap_or(name);
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), of, &resource);
        match steadily(|| api.get(name)).await {
            Ok(_) => {}
            Err(error) if is_not_found(&error) => {
                return Err(ClusterError::NoNetwork(format!("{of}/{name}")));
            }
            Err(error) => return Err(ClusterError::while_(format!("look at network {of}/{name}"))(error)),
        }
    }
    Ok(())
}

/// Pods of the namespace whose name is in `wanted`.
///
/// # Errors
/// When the server does not answer.
pub async fn pods_named(
    client: &Client,
    namespace: &str,
    wanted: &BTreeSet<String>,
) -> Result<Vec<Pod>, ClusterError> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let pods = list_all(&pods, ListParams::default()).await.map_err(ClusterError::while_("list the pods"))?;
    Ok(pods.into_iter().filter(|pod| wanted.contains(&pod.name_any())).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, spec: &Value, ready: &str) -> ApiNode {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": spec,
            "status": {
                "allocatable": {"cpu": "4", "memory": "8Gi", "hugepages-2Mi": "1Gi", "intel.com/dpdk": "2", "pods": "110"},
                "conditions": [{"type": "Ready", "status": ready, "message": "the kubelet stopped posting"}]
            }
        }))
        .unwrap()
    }

    fn pod(node: &str, experiment: Option<&str>, containers: &Value, init: &Value) -> AnyPod {
        let labels = experiment.map(|id| json!({names::MANAGED_BY: "linerate", names::EXPERIMENT: id}));
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": labels},
            "spec": {"nodeName": node, "containers": containers, "initContainers": init}
        }))
        .unwrap()
    }

    #[test]
    fn room_is_allocatable_less_requested() {
        let nodes = [node("a", &json!({}), "True"), node("b", &json!({}), "True")];
        let some = |cpu: &str| json!([{"name": "c", "resources": {"requests": {"cpu": cpu}, "limits": {"intel.com/dpdk": "1"}}}]);
        let pods = [
            pod("a", None, &some("500m"), &json!([{"name": "i", "resources": {"requests": {"cpu": "2"}}}])),
            pod("a", Some("dead"), &some("1"), &json!([])),
            pod("a", Some("live"), &some("1"), &json!([])),
        ];
        let room = room(&nodes, &pods, &BTreeSet::from(["dead".to_owned()]), &[]);
        assert_eq!(room[0].free["cpu"], 1000, "4 - max(0.5, 2) - 1");
        assert_eq!(room[0].free["intel.com/dpdk"], 0);
        assert_eq!(room[0].free["pods"], 108_000);
        assert_eq!(room[1].free["cpu"], 4000);
        assert_eq!(room[1].closed, None);
    }

    #[test]
    fn closed_nodes_say_why() {
        for (spec, ready, reason) in [
            (json!({"unschedulable": true}), "True", "it is cordoned"),
            (json!({}), "Unknown", "it is not ready: the kubelet stopped posting"),
            (
                json!({"taints": [{"key": "node-role.kubernetes.io/master", "effect": "NoSchedule"}]}),
                "True",
                "it has the taint node-role.kubernetes.io/master:NoSchedule, which spec.kubernetes.tolerations does not tolerate",
            ),
            (
                json!({"taints": [{"key": "pool", "value": "net", "effect": "NoExecute"}]}),
                "True",
                "it has the taint pool=net:NoExecute, which spec.kubernetes.tolerations does not tolerate",
            ),
        ] {
            assert_eq!(closed(&node("a", &spec, ready), &[]).as_deref(), Some(reason));
        }
    }

    #[test]
    fn nodes_are_open_to_pods_that_tolerate_all_of_their_taints() {
        let tolerations = |list: Value| serde_json::from_value::<Vec<Toleration>>(list).unwrap();
        let of_pool = tolerations(json!([{"key": "pool", "value": "net"}]));
        let of_all = tolerations(json!([{"operator": "Exists"}]));
        let pool = json!({"key": "pool", "value": "net", "effect": "NoSchedule"});
        let other = json!({"key": "pool", "value": "gpu", "effect": "NoSchedule"});
        for (spec, ready, tolerations, is_open) in [
            (json!({"taints": [pool]}), "True", &of_pool, true),
            (json!({"taints": [pool, other]}), "True", &of_pool, false),
            (json!({"taints": [pool, other], "unschedulable": true}), "True", &of_all, true),
            (json!({"unschedulable": true}), "True", &of_pool, false),
            // Its kubelet starts nothing, whatever pods tolerate.
            (json!({}), "False", &of_all, false),
        ] {
            let reason = closed(&node("a", &spec, ready), tolerations);
            assert_eq!(reason.is_none(), is_open, "{spec} {ready}: {reason:?}");
        }
    }
}
