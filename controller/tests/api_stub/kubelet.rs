//! Lifecycle of pods: a scheduler and a kubelet in one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::agent::Agent;
use super::api::delete_pod;
use super::state::{NAMESPACE, State, pod_key};

/// Lifecycle of a pod.
#[derive(Debug, Clone)]
pub enum Fate {
    Ready,
    NeverScheduled(&'static str),
    ImageError(&'static str),
    /// Its init container exits with status 1 and this last output.
    PreflightFails(&'static str),
}

/// Starts the lifecycle of a new pod.
pub fn take(state: Arc<State>, name: String) {
    let fate = state.fates.lock().unwrap().get_mut(&name).and_then(std::collections::VecDeque::pop_front);
    let fate = fate.unwrap_or(Fate::Ready);
    tokio::spawn(async move { run(&state, &name, fate).await });
}

fn set(state: &State, name: &str, status: &Value) -> bool {
    let change = |pod: &mut Value| pod["status"] = status.clone();
    state.alter(|objects| objects.change(&pod_key(name), change)).is_some()
}

fn container(name: &str, state: &Value) -> Value {
    json!({"name": name, "image": "i", "imageID": "sha256:5eed", "ready": false, "restartCount": 0, "state": state})
}

async fn run(state: &Arc<State>, name: &str, fate: Fate) {
    let step = *state.ready_after.lock().unwrap() / 3;
    tokio::time::sleep(step).await;
    if let Fate::NeverScheduled(message) = fate {
        let condition =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
        set(state, name, &json!({"phase": "Pending", "conditions": [condition]}));
        warn(state, name, message);
        return;
    }
    let Some(node) = schedule(state, name) else { return };
    tokio::time::sleep(step).await;
    match fate {
        Fate::ImageError(message) => {
            let waits = json!({"waiting": {"reason": "ErrImagePull", "message": message}});
            set(
                state,
                name,
                &json!({"phase": "Pending", "initContainerStatuses": [container("preflight", &waits)]}),
            );
            return;
        }
        Fate::PreflightFails(words) => {
            let ended = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": words}});
            set(
                state,
                name,
                &json!({"phase": "Failed", "initContainerStatuses": [container("preflight", &ended)]}),
            );
            return;
        }
        _ => {}
    }
    tokio::time::sleep(step).await;
    let Some(pod) = state.pod(name).filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) else {
        return;
    };
    let agent = Agent::start(name, &node, token(state, &pod, name), state.wire.clone());
    state.agents.lock().unwrap().insert(pod["metadata"]["uid"].as_str().unwrap().to_owned(), agent);
    *state.last_ready.lock().unwrap() = Some(Instant::now());
    set(
        state,
        name,
        &json!({
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "initContainerStatuses": [container("preflight", &json!({"terminated": {"exitCode": 0}}))],
            "containerStatuses": [container("agent", &json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}))],
        }),
    );
}

fn schedule(state: &State, name: &str) -> Option<String> {
    let mut node = String::new();
    state.alter(|objects| {
        let pod = objects.get(&pod_key(name))?;
        let nodes = objects.find(|key, node| key.0 == "nodes" && admits(&pod, &key.2, node));
        node.clone_from(&nodes.first()?.0.2);
        objects.change(&pod_key(name), |pod| pod["spec"]["nodeName"] = json!(node))
    })?;
    Some(node)
}

/// True when a pod's affinity allows this node, by labels and names.
fn admits(pod: &Value, name: &str, node: &Value) -> bool {
    let labels = pod["spec"]["nodeSelector"].as_object().into_iter().flatten();
    let mut labels = labels.map(|(label, value)| node["metadata"]["labels"][label] == *value);
    let rules = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let fields = rules["nodeSelectorTerms"][0]["matchFields"].as_array().into_iter().flatten();
    let mut names = fields
        .map(|field| field["values"].as_array().unwrap().iter().any(|value| value.as_str() == Some(name)));
    labels.all(|fits| fits) && names.all(|fits| fits)
}

/// The token in the pod's volume.
fn token(state: &State, pod: &Value, name: &str) -> String {
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let secret = volumes.iter().find_map(|volume| volume["secret"]["secretName"].as_str()).unwrap();
    let key = ("secrets".to_owned(), NAMESPACE.to_owned(), secret.to_owned());
    let secret = state.objects().get(&key).expect("the secret is there before its pods");
    let token: k8s_openapi::ByteString = serde_json::from_value(secret["data"][name].clone()).unwrap();
    String::from_utf8(token.0).unwrap()
}

/// Adds a warning event about a pod.
fn warn(state: &State, name: &str, message: &str) {
    let Some(pod) = state.pod(name) else { return };
    let event = json!({
        "metadata": {"name": format!("{name}.1")}, "type": "Warning", "message": message,
        "involvedObject": {"kind": "Pod", "name": name, "uid": pod["metadata"]["uid"]},
    });
    let key = ("events".to_owned(), NAMESPACE.to_owned(), format!("{name}.1"));
    state.alter(|objects| objects.put(&key, event));
}

/// Loses a node: its pods report that, and are deleted after a while without being removed.
pub fn lose_node(state: &Arc<State>, node: &str, evicted_after: Duration) {
    state.lost_nodes.lock().unwrap().insert(node.to_owned());
    let pods = state.objects().find(|key, pod| key.0 == "pods" && pod["spec"]["nodeName"] == node);
    let agents = state.agents.lock().unwrap();
    for (key, pod) in &pods {
        if let Some(agent) = agents.get(pod["metadata"]["uid"].as_str().unwrap()) {
            agent.freeze();
        }
        let unready = |pod: &mut Value| {
            pod["status"]["reason"] = json!("NodeLost");
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
        };
        state.alter(|objects| objects.change(key, unready));
    }
    drop(agents);
    let state = state.clone();
    tokio::spawn(async move {
        tokio::time::sleep(evicted_after).await;
        pods.iter().for_each(|(key, _)| drop(delete_pod(&state, key)));
    });
}
