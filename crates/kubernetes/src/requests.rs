//! Resources that other pods hold of their node, by the scheduler's own arithmetic. Pure.
//!
//! Pods are read as JSON, because the API types of this program are those of the oldest supported Kubernetes,
//! without newer fields: init containers that keep running (sidecars, KEP-753), resources of a whole pod
//! (KEP-2837), and resources that change while a pod runs (KEP-1287).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::Object;
use serde::Deserialize;

use linerate_experiment::quantity::milli;

/// Amounts in thousandths of their unit, by resource.
pub(super) type Amounts = BTreeMap<String, u128>;

/// The fields of a pod that concern its resources and quality of service.
pub(super) type AnyPod = Object<Spec, Status>;

type Quantities = Option<BTreeMap<String, Quantity>>;

/// The used part of a pod's `spec`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    /// Its node, once it has one.
    pub(super) node_name: Option<String>,
    pub(super) priority_class_name: Option<String>,
    /// Limit of its run time in seconds.
    pub(super) active_deadline_seconds: Option<i64>,
    /// Affinity rules.
    pub(super) affinity: serde_json::Value,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
    resources: Option<Resources>,
    overhead: Quantities,
}

/// The used part of a pod's `status`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    conditions: Option<Vec<Condition>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    resources: Option<Resources>,
    allocated_resources: Quantities,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: String,
    restart_policy: Option<String>,
    resources: Option<Resources>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    resources: Option<Resources>,
    allocated_resources: Quantities,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    reason: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Resources {
    requests: Quantities,
    limits: Quantities,
}

impl Resources {
    /// A limit without a request also sets the request.
    fn requests(&self) -> Amounts {
        let mut all = amounts(&self.limits);
        all.extend(amounts(&self.requests));
        all
    }
}

fn amounts(quantities: &Quantities) -> Amounts {
    let known = |(name, amount): (&String, &Quantity)| Some((name.clone(), milli(&amount.0)?));
    quantities.iter().flatten().filter_map(known).collect()
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *total.entry(name.clone()).or_default() += amount;
    }
}

fn raise(total: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let held = total.entry(name.clone()).or_default();
        *held = (*held).max(*amount);
    }
}

fn less(mut all: Amounts, part: &Amounts) -> Amounts {
    for (name, amount) in &mut all {
        *amount = amount.saturating_sub(part.get(name).copied().unwrap_or(0));
    }
    all
}

/// True for resources that a whole pod can request.
fn is_of_pods(resource: &str) -> bool {
    resource == "cpu" || resource == "memory" || resource.starts_with("hugepages-")
}

/// Resources that the containers hold together. Init containers run one after the other, each beside the
/// sidecars started before it.
fn of_containers(spec: &Spec, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let mut total = Amounts::new();
    for container in spec.containers.iter().flatten() {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let mut own = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            own.clone_from(&sidecars);
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut starting, &own);
    }
    raise(&mut total, &starting);
    total
}

/// Requested resources of a pod as the scheduler counts them: during a resize, the largest of the requested,
/// granted and actual ones.
pub(super) fn requested(pod: &AnyPod) -> Amounts {
    let (spec, status) = (&pod.spec, pod.status.clone().unwrap_or_default());
    let asked =
        |container: &Container| container.resources.as_ref().map(Resources::requests).unwrap_or_default();
    let pending = status.conditions.iter().flatten().find(|condition| condition.kind == "PodResizePending");
    let is_infeasible = pending.is_some_and(|condition| condition.reason.as_deref() == Some("Infeasible"));
    let unless_infeasible =
        |container: &Container| if is_infeasible { Amounts::new() } else { asked(container) };
    let status_of = |container: &Container| {
        let all =
            [&status.container_statuses, &status.init_container_statuses].into_iter().flatten().flatten();
        let mut of_it = all.filter(|status| status.name == container.name);
        of_it.next()
    };
    let granted = |container: &Container| match status_of(container) {
        Some(status) if status.allocated_resources.is_some() => amounts(&status.allocated_resources),
        _ => unless_infeasible(container),
    };
    let held = |container: &Container| match status_of(container).and_then(|status| status.resources.as_ref())
    {
        Some(resources) if resources.requests.is_some() => amounts(&resources.requests),
        _ => granted(container),
    };
    // Kubernetes 1.33 and 1.34 take the largest amount of each container, later versions the largest sum: the former is never less.
    let mut total = of_containers(spec, |container| {
        let mut most = unless_infeasible(container);
        raise(&mut most, &granted(container));
        raise(&mut most, &held(container));
        most
    });
    let overhead = amounts(&spec.overhead);
    let of_pod = spec.resources.as_ref().map(Resources::requests).unwrap_or_default();
    if of_pod.keys().any(|name| is_of_pods(name)) {
        let mut whole = if is_infeasible { Amounts::new() } else { of_pod };
        raise(&mut whole, &less(amounts(&status.allocated_resources), &overhead));
        let has = status.resources.as_ref().map(|resources| amounts(&resources.requests));
        raise(&mut whole, &less(has.unwrap_or_default(), &overhead));
        total.extend(whole.into_iter().filter(|(name, _)| is_of_pods(name)));
    }
    add(&mut total, &overhead);
    total
}

/// The sum of a pod's limits, as quotas count them.
pub(super) fn limited(pod: &AnyPod) -> Amounts {
    let limits = |resources: &Option<Resources>| {
        resources.as_ref().map(|resources| amounts(&resources.limits)).unwrap_or_default()
    };
    let mut total = of_containers(&pod.spec, |container| limits(&container.resources));
    total.extend(limits(&pod.spec.resources).into_iter().filter(|(name, _)| is_of_pods(name)));
    add(&mut total, &amounts(&pod.spec.overhead));
    total
}

/// True when neither the pod nor a container requests CPUs or memory.
pub(super) fn is_best_effort(pod: &AnyPod) -> bool {
    let spec = &pod.spec;
    let containers = [&spec.containers, &spec.init_containers].into_iter().flatten().flatten();
    let mut all = containers.map(|container| &container.resources).chain([&spec.resources]);
    !all.any(|resources| {
        let asked = resources.as_ref().map(Resources::requests).unwrap_or_default();
        ["cpu", "memory"].iter().any(|name| asked.get(*name).is_some_and(|amount| *amount > 0))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value, status: &Value) -> AnyPod {
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec, "status": status}))
            .unwrap()
    }

    fn cpu(name: &str, cpu: &str) -> Value {
        json!({"name": name, "resources": {"requests": {"cpu": cpu}}})
    }

    fn sidecar(name: &str, amount: &str) -> Value {
        let mut container = cpu(name, amount);
        container["restartPolicy"] = json!("Always");
        container
    }

    /// The examples of KEP-753 and KEP-2837, and a resize.
    #[test]
    fn pods_hold_what_the_scheduler_counts() {
        let none = json!({});
        for (what, spec, status, milli) in [
            (
                "the sum of the containers",
                json!({"containers": [cpu("a", "500m"), cpu("b", "1")]}),
                none.clone(),
                1500,
            ),
            (
                "the largest init container",
                json!({"containers": [cpu("a", "1")], "initContainers": [cpu("i", "3"), cpu("j", "2")]}),
                none.clone(),
                3000,
            ),
            (
                "a sidecar runs beside the containers",
                json!({"containers": [cpu("a", "1")], "initContainers": [sidecar("s", "2")]}),
                none.clone(),
                3000,
            ),
            (
                "an init container runs beside the sidecars that began before it",
                json!({"containers": [cpu("a", "1")], "initContainers": [sidecar("s", "2"), cpu("i", "5"), sidecar("t", "1")]}),
                none.clone(),
                7000,
            ),
            (
                "the pod's own request is all of it",
                json!({"containers": [cpu("a", "1")], "resources": {"requests": {"cpu": "4"}}}),
                none.clone(),
                4000,
            ),
            (
                "with overhead",
                json!({"containers": [cpu("a", "1")], "resources": {"requests": {"cpu": "4"}}, "overhead": {"cpu": "250m"}}),
                none.clone(),
                4250,
            ),
            (
                "what a pod has before it is made smaller",
                json!({"containers": [cpu("a", "1")]}),
                json!({"containerStatuses": [{"name": "a", "allocatedResources": {"cpu": "1"}, "resources": {"requests": {"cpu": "3"}}}]}),
                3000,
            ),
            (
                "not what it cannot get",
                json!({"containers": [cpu("a", "100")]}),
                json!({"conditions": [{"type": "PodResizePending", "reason": "Infeasible"}],
                    "containerStatuses": [{"name": "a", "allocatedResources": {"cpu": "2"}}]}),
                2000,
            ),
        ] {
            assert_eq!(requested(&pod(&spec, &status))["cpu"], milli, "{what}");
        }
    }

    #[test]
    fn other_resources_stay_the_containers_own() {
        let spec = json!({
            "containers": [{"name": "a", "resources": {"limits": {"intel.com/dpdk": "1", "memory": "1Gi"}}}],
            "resources": {"requests": {"memory": "4Gi"}},
        });
        let pod = pod(&spec, &json!({}));
        let requested = requested(&pod);
        assert_eq!((requested["intel.com/dpdk"], requested["memory"]), (1000, (4_u128 << 30) * 1000));
        assert_eq!(limited(&pod)["memory"], (1_u128 << 30) * 1000);
        assert!(!is_best_effort(&pod));
    }
}
