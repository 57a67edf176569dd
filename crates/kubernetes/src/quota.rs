//! Check of the namespace's quotas for the objects of a run. Quotas with scopes count only the matching pods
//! or claims. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use super::error::ClusterError;
use super::placement::shown;
use super::requests::{AnyPod, is_best_effort, limited, requested};
use linerate_experiment::quantity::milli;

/// The objects of a run.
pub(super) struct Demand<'a> {
    /// One pod, as the server admits it; all are alike.
    pub(super) pod: &'a AnyPod,
    /// Number of pods.
    pub(super) pods: usize,
    /// Number of volume claims.
    pub(super) claims: usize,
    /// Size of each claim in thousandths of a byte, and its storage class.
    pub(super) claim: Option<(u128, Option<&'a str>)>,
}

/// Checks the quotas of `namespace`.
///
/// # Errors
/// The first quota that leaves too little: its name, the resource and the amounts.
pub(super) fn check(
    quotas: &[ResourceQuota],
    namespace: &str,
    demand: &Demand<'_>,
) -> Result<(), ClusterError> {
    for quota in quotas.iter().filter(|quota| counts(quota, demand.pod)) {
        let Some(status) = &quota.status else { continue };
        let amount = |of: &Option<BTreeMap<String, Quantity>>, name: &str| {
            of.as_ref().and_then(|all| all.get(name)).and_then(|amount| milli(&amount.0))
        };
        for key in status.hard.iter().flatten().map(|(key, _)| key) {
            let Some(hard) = amount(&status.hard, key) else { continue };
            let left = hard.saturating_sub(amount(&status.used, key).unwrap_or(0));
            let needed = needed(key, demand);
            if needed > left {
                let resource = key.trim_start_matches("requests.").trim_start_matches("limits.");
                return Err(ClusterError::Quota {
                    quota: quota.name_any(),
                    namespace: namespace.to_owned(),
                    wanted: shown(resource, needed),
                    available: shown(resource, left),
                    resource: key.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Amount of a quota's `key` that all objects of a run use, in thousandths.
fn needed(key: &str, demand: &Demand<'_>) -> u128 {
    let pods = |each: u128| each * demand.pods as u128;
    let of_pod = |amounts: BTreeMap<String, u128>, name: &str| pods(amounts.get(name).copied().unwrap_or(0));
    let (storage, class) = demand.claim.unwrap_or_default();
    match key {
        "pods" | "count/pods" => pods(1000),
        // The secret and the lease.
        "secrets" | "count/secrets" | "count/leases.coordination.k8s.io" => 1000,
        "persistentvolumeclaims" | "count/persistentvolumeclaims" => demand.claims as u128 * 1000,
        "requests.storage" => demand.claims as u128 * storage,
        _ => match key.split_once(".storageclass.storage.k8s.io/") {
            Some((name, what)) if class == Some(name) => match what {
                "persistentvolumeclaims" => demand.claims as u128 * 1000,
                "requests.storage" => demand.claims as u128 * storage,
                _ => 0,
            },
            Some(_) => 0,
            None => match key.strip_prefix("limits.") {
                Some(resource) => of_pod(limited(demand.pod), resource),
                None => of_pod(requested(demand.pod), key.strip_prefix("requests.").unwrap_or(key)),
            },
        },
    }
}

/// True when the quota counts the run's objects: all of its scopes match the pods, or the claims if the quota
/// is for claims. Quotas with unknown scopes are left to the server, which checks each object.
fn counts(quota: &ResourceQuota, pod: &AnyPod) -> bool {
    let Some(spec) = &quota.spec else { return true };
    let plain = spec.scopes.iter().flatten().all(|scope| has_scope(pod, scope, "Exists", &[]));
    let selected =
        spec.scope_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
    plain
        && selected.into_iter().all(|term| {
            has_scope(pod, &term.scope_name, &term.operator, term.values.as_deref().unwrap_or_default())
        })
}

fn has_scope(pod: &AnyPod, scope: &str, operator: &str, values: &[String]) -> bool {
    let class = pod.spec.priority_class_name.as_deref().filter(|name| !name.is_empty());
    let is_among = || class.is_some_and(|class| values.iter().any(|value| value == class));
    match (scope, operator) {
        ("Terminating", "Exists") => pod.spec.active_deadline_seconds.is_some(),
        ("NotTerminating", "Exists") => pod.spec.active_deadline_seconds.is_none(),
        ("BestEffort", "Exists") => is_best_effort(pod),
        ("NotBestEffort", "Exists") => !is_best_effort(pod),
        ("CrossNamespacePodAffinity", "Exists") => reaches_other_namespaces(&pod.spec.affinity),
        ("PriorityClass", "Exists") => class.is_some(),
        ("PriorityClass", "DoesNotExist") => class.is_none(),
        ("PriorityClass", "In") => is_among(),
        ("PriorityClass", "NotIn") => !is_among(),
        // For claims, from Kubernetes 1.34 on. The claims of a run name no such class.
        ("VolumeAttributesClass", "DoesNotExist" | "NotIn") => true,
        _ => false,
    }
}

/// True when a term of the pod's affinity names other namespaces.
fn reaches_other_namespaces(affinity: &serde_json::Value) -> bool {
    match affinity {
        serde_json::Value::Object(fields) => fields.iter().any(|(name, value)| match name.as_str() {
            "namespaces" => value.as_array().is_some_and(|names| !names.is_empty()),
            "namespaceSelector" => !value.is_null(),
            _ => reaches_other_namespaces(value),
        }),
        serde_json::Value::Array(items) => items.iter().any(reaches_other_namespaces),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn quota(spec: &Value, hard: &Value, used: &Value) -> ResourceQuota {
        serde_json::from_value(
            json!({"metadata": {"name": "team"}, "spec": spec, "status": {"hard": hard, "used": used}}),
        )
        .unwrap()
    }

    fn refusal(quota: ResourceQuota, more: &Value) -> Option<String> {
        let mut spec = json!({"containers": [{"name": "agent", "resources": {
            "requests": {"cpu": "2", "hugepages-2Mi": "64Mi"}, "limits": {"cpu": "2", "hugepages-2Mi": "64Mi"}}}]});
        more.as_object().into_iter().flatten().for_each(|(name, value)| spec[name] = value.clone());
        let pod: AnyPod =
            serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": spec}))
                .unwrap();
        let demand = Demand { pod: &pod, pods: 4, claims: 4, claim: Some(((1 << 30) * 1000, Some("fast"))) };
        check(&[quota], "lab", &demand).err().map(|error| error.to_string())
    }

    #[test]
    fn quotas_count_what_a_run_makes() {
        let none = json!({});
        for (hard, used, part) in [
            (json!({"pods": "4"}), json!({"pods": "0"}), None),
            (json!({"pods": "5"}), json!({"pods": "2"}), Some("pods: wanted 4, available 3")),
            (json!({"limits.cpu": "8"}), none.clone(), None),
            (json!({"requests.cpu": "7"}), none.clone(), Some("requests.cpu: wanted 8, available 7")),
            (json!({"requests.hugepages-2Mi": "128Mi"}), none.clone(), Some("wanted 256Mi, available 128Mi")),
            (
                json!({"count/leases.coordination.k8s.io": "2"}),
                json!({"count/leases.coordination.k8s.io": "2"}),
                Some("count/leases"),
            ),
            (json!({"secrets": "1"}), json!({"secrets": "1"}), Some("secrets: wanted 1, available 0")),
            (json!({"requests.storage": "3Gi"}), none.clone(), Some("requests.storage")),
            (
                json!({"fast.storageclass.storage.k8s.io/persistentvolumeclaims": "3"}),
                none.clone(),
                Some("wanted 4, available 3"),
            ),
            (json!({"slow.storageclass.storage.k8s.io/persistentvolumeclaims": "3"}), none.clone(), None),
            (json!({"count/configmaps": "0"}), none.clone(), None),
        ] {
            let told = refusal(quota(&none, &hard, &used), &none);
            assert_eq!(told.is_some(), part.is_some(), "{hard}: {told:?}");
            assert!(told.unwrap_or_default().contains(part.unwrap_or_default()), "{hard}");
        }
    }

    #[test]
    fn a_scope_counts_only_the_pods_it_is_about() {
        let scope = |name: &str, operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": name, "operator": operator, "values": values}]}});
        let selector = |operator: &str, values: Value| scope("PriorityClass", operator, values);
        let (none, high) = (json!({}), json!({"priorityClassName": "high"}));
        for (spec, pod, counts) in [
            (json!({"scopes": ["BestEffort"]}), &none, false),
            (json!({"scopes": ["NotBestEffort"]}), &none, true),
            (json!({"scopes": ["Terminating"]}), &none, false),
            (json!({"scopes": ["NotTerminating"]}), &none, true),
            (json!({"scopes": ["NotBestEffort", "Terminating"]}), &none, false),
            (json!({"scopes": ["PriorityClass"]}), &none, false),
            (json!({"scopes": ["CrossNamespacePodAffinity"]}), &none, false),
            (json!({"scopes": ["OfTheFuture"]}), &none, false),
            (selector("In", json!(["high"])), &none, false),
            (selector("In", json!(["high"])), &high, true),
            (selector("NotIn", json!(["high"])), &high, false),
            (selector("DoesNotExist", json!([])), &none, true),
        ] {
            let told = refusal(quota(&spec, &json!({"pods": "1"}), &json!({})), pod);
            assert_eq!(told.is_some(), counts, "{spec} {pod}: {told:?}");
        }
        for (operator, values, counts) in [
            ("Exists", json!([]), false),
            ("In", json!(["gold"]), false),
            ("NotIn", json!(["gold"]), true),
            ("DoesNotExist", json!([]), true),
        ] {
            let spec = scope("VolumeAttributesClass", operator, values);
            let told = refusal(quota(&spec, &json!({"persistentvolumeclaims": "1"}), &json!({})), &none);
            assert_eq!(told.is_some(), counts, "{spec}: {told:?}");
        }
    }
}
