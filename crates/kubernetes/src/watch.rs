//! States of pods: running, waiting, or failed with a reason. The judgement is pure.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use serde::Deserialize;

use super::pods::{AGENT, PREFLIGHT};

/// State of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Its agent runs.
    Running {
        /// The node.
        node: String,
        /// Digest of the agent's image, as the container runtime reports it.
        image_digest: Option<String>,
        /// The pod's first address; in its node's own network, the node's.
        address: Option<IpAddr>,
    },
    /// It does not run yet, for this reason.
    Waiting(String),
    /// It will not run, or has ended.
    Failed(String),
}

/// Beginning of the reason of a pod that no node has room for.
pub const NOT_SCHEDULED: &str = "not scheduled";

/// Reasons of a waiting container that are permanent.
const HOPELESS: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
];

/// Judges a pod.
pub fn judge(pod: &Pod) -> Standing {
    if pod.metadata.deletion_timestamp.is_some() {
        return Standing::Failed("the pod is being deleted by another client".to_owned());
    }
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or("Pending");
    let before_agent = status.init_container_statuses.iter().flatten();
    let containers: Vec<_> = before_agent.clone().chain(status.container_statuses.iter().flatten()).collect();
    let agent = status.container_statuses.iter().flatten().find(|container| container.name == AGENT);
    let mut needed = before_agent.filter(|container| !is_sidecar(pod, container)).chain(agent);
    if let Some(reason) = needed.find_map(failure) {
        return Standing::Failed(reason);
    }
    if phase == "Failed" || phase == "Succeeded" {
        let words = [status.reason, status.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
        return Standing::Failed(if words.is_empty() { "the pod has ended".to_owned() } else { words });
    }
    let is_running =
        agent.and_then(|agent| agent.state.as_ref()).is_some_and(|state| state.running.is_some());
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    if let (true, Some(node)) = (is_running, &node) {
        let image = agent.map(|agent| agent.image_id.clone()).filter(|image| !image.is_empty());
        let address = status.pod_ip.as_deref().and_then(|address| address.parse().ok());
        return Standing::Running { node: node.clone(), image_digest: image, address };
    }
    let scheduling = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    if let Some(condition) = scheduling.filter(|condition| condition.status == "False") {
        let message = condition.message.clone().unwrap_or_default();
        return Standing::Waiting(format!("{NOT_SCHEDULED}: {message}"));
    }
    let doing = containers.iter().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone().filter(|reason| reason != "PodInitializing")?;
        Some(if is_own(container) { reason } else { format!("{}: {reason}", container.name) })
    });
    Standing::Waiting(match (doing, node) {
        (Some(reason), _) => reason,
        (None, Some(node)) => format!("starting on {node}"),
        (None, None) => "waiting for the scheduler".to_owned(),
    })
}

/// True for the containers of Linerate's manifests. A cluster may add others (a service mesh, an agent of secrets).
fn is_own(container: &ContainerStatus) -> bool {
    [AGENT, PREFLIGHT].contains(&container.name.as_str())
}

/// True for an init container that runs beside the agent: it is started again whenever it ends.
fn is_sidecar(pod: &Pod, container: &ContainerStatus) -> bool {
    let init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    init.filter(|init| init.name == container.name)
        .any(|init| init.restart_policy.as_deref() == Some("Always"))
}

/// Why the agent, or a container that must end before it starts, prevents the pod from running.
fn failure(container: &ContainerStatus) -> Option<String> {
    let ContainerState { waiting, terminated, .. } = container.state.clone()?;
    if let Some(waiting) = waiting {
        let reason = waiting.reason.filter(|reason| HOPELESS.contains(&reason.as_str()))?;
        let message = waiting.message.unwrap_or_else(|| "no message".to_owned());
        return Some(match is_own(container) {
            true => format!("{reason}: {message}"),
            false => format!("the init container {}: {reason}: {message}", container.name),
        });
    }
    let terminated = terminated?;
    if container.name != AGENT && terminated.exit_code == 0 {
        return None;
    }
    let how = how_it_ended(&terminated, is_own(container));
    let said = terminated.message.as_deref().map(last_words).unwrap_or_default();
    let what = match container.name.as_str() {
        AGENT => "the agent".to_owned(),
        PREFLIGHT => "the preflight check".to_owned(),
        other => format!("the init container {other}"),
    };
    Some(if said.is_empty() { format!("{what} {how}") } else { format!("{what} {how}: {said}") })
}

fn how_it_ended(terminated: &ContainerStateTerminated, is_own: bool) -> String {
    match (terminated.signal, terminated.exit_code, terminated.reason.as_deref()) {
        (_, _, Some("OOMKilled")) if is_own => {
            "was killed: it used more memory than spec.kubernetes.memory allows".to_owned()
        }
        (_, _, Some("OOMKilled")) => "was killed: it used more memory than its limit".to_owned(),
        (Some(signal), _, _) => format!("was killed by signal {signal}"),
        (None, code @ 129.., _) => format!("was killed by signal {}", code - 128),
        (None, code, _) => format!("ended with exit status {code}"),
    }
}

/// The last line of a failed agent on standard output.
#[derive(Deserialize)]
struct Failure {
    error: Message,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

/// The relevant end of a container's log: an agent's error message, or the failed check of hugepage-check.
pub fn last_words(log: &str) -> String {
    if let Some(failure) =
        log.lines().rev().find_map(|line| serde_json::from_str::<Failure>(line.trim()).ok())
    {
        return failure.error.message;
    }
    let failed = log.find("FAIL ").map_or(log, |at| &log[at..]);
    failed.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "tx0"}, "spec": {"nodeName": "node1", "containers": []}, "status": status}))
            .unwrap()
    }

    fn container(name: &str, state: &Value) -> Value {
        json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state})
    }

    #[test]
    fn pods_are_judged_by_what_they_say() {
        let agent =
            |state: Value| json!({"phase": "Pending", "containerStatuses": [container("agent", &state)]});
        let check = |state: Value| json!({"phase": "Pending", "initContainerStatuses": [container("preflight", &state)]});
        for (status, expected) in [
            (
                agent(json!({"running": {}})),
                Standing::Running { node: "node1".into(), image_digest: None, address: None },
            ),
            (
                json!({"podIP": "192.0.2.7", "containerStatuses": [container("agent", &json!({"running": {}}))]}),
                Standing::Running {
                    node: "node1".into(),
                    image_digest: None,
                    address: Some([192, 0, 2, 7].into()),
                },
            ),
            (json!({"phase": "Pending"}), Standing::Waiting("starting on node1".into())),
            (
                agent(json!({"waiting": {"reason": "ContainerCreating"}})),
                Standing::Waiting("ContainerCreating".into()),
            ),
            (
                agent(json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}})),
                Standing::Failed("ErrImagePull: no such image".into()),
            ),
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes"}]}),
                Standing::Waiting("not scheduled: 0/2 nodes".into()),
            ),
            (
                check(
                    json!({"terminated": {"exitCode": 1, "message": "PASS x\nFAIL Free hugepages  none\n  remedy"}}),
                ),
                Standing::Failed(
                    "the preflight check ended with exit status 1: FAIL Free hugepages  none\n  remedy"
                        .into(),
                ),
            ),
            (check(json!({"terminated": {"exitCode": 0}})), Standing::Waiting("starting on node1".into())),
            (
                agent(
                    json!({"terminated": {"exitCode": 1, "message": "noise\n{\"error\":{\"message\":\"no port\"}}\n"}}),
                ),
                Standing::Failed("the agent ended with exit status 1: no port".into()),
            ),
            (
                agent(json!({"terminated": {"exitCode": 137}})),
                Standing::Failed("the agent was killed by signal 9".into()),
            ),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "disk pressure"}),
                Standing::Failed("Evicted: disk pressure".into()),
            ),
        ] {
            assert_eq!(judge(&pod(&status)), expected, "{status}");
        }
    }

    /// Admission webhooks add them: `istio-init` sets rules and ends, `vault-agent` runs on beside the agent.
    #[test]
    fn containers_that_the_cluster_adds_fail_a_pod_only_if_the_agent_waits_for_them_in_vain() {
        let judged = |name: &str, init: Option<&Value>, agent: &Value, beside: Option<&Value>| {
            let init: Vec<Value> = init.map(|state| container(name, state)).into_iter().collect();
            let mut others = vec![container("agent", agent)];
            others.extend(beside.map(|state| container("proxy", state)));
            let mut pod = pod(&json!({"initContainerStatuses": init, "containerStatuses": others}));
            let spec = json!({"nodeName": "node1", "containers": [], "initContainers": [
                {"name": "istio-init"}, {"name": "vault-agent", "restartPolicy": "Always"}]});
            pod.spec = serde_json::from_value(spec).unwrap();
            judge(&pod)
        };
        let running = || Standing::Running { node: "node1".into(), image_digest: None, address: None };
        let (runs, waits) = (json!({"running": {}}), json!({"waiting": {"reason": "PodInitializing"}}));
        let ended = |code: i32| json!({"terminated": {"exitCode": code}});
        let no_image = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
        for (name, init, agent, beside, expected) in [
            ("istio-init", Some(&ended(0)), &runs, None, running()),
            ("istio-init", Some(&ended(0)), &waits, None, Standing::Waiting("starting on node1".into())),
            (
                "istio-init",
                Some(&ended(3)),
                &waits,
                None,
                Standing::Failed("the init container istio-init ended with exit status 3".into()),
            ),
            (
                "istio-init",
                Some(&no_image),
                &waits,
                None,
                Standing::Failed("the init container istio-init: ErrImagePull: no such image".into()),
            ),
            ("vault-agent", Some(&ended(1)), &runs, None, running()),
            (
                "vault-agent",
                Some(&no_image),
                &waits,
                None,
                Standing::Waiting("vault-agent: ErrImagePull".into()),
            ),
            ("istio-init", None, &runs, Some(&ended(1)), running()),
            ("istio-init", None, &runs, Some(&no_image), running()),
        ] {
            assert_eq!(judged(name, init, agent, beside), expected, "{name} {init:?} {agent} {beside:?}");
        }
    }
}
