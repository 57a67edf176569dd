//! Adoption: a run on the pods that `linerate pods create` made. The pods must equal those that the
//! experiment would create.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::error::ClusterError;
use super::lease::{self, LeaseState};
use super::pods::{AGENT, PodPlan, Run};
use super::retry::steadily;
use super::watch::{Standing, judge};
use super::{KubernetesPlan, names, plan};
use linerate_experiment::Experiment;
use linerate_runner::platform::Token;

impl KubernetesPlan {
    /// Plan for the kept pods of run `id`; it creates nothing. `experiment` must keep its pods as well.
    ///
    /// # Errors
    /// When there are too few such pods, they do not run, or they were created for another experiment.
    pub async fn of_kept(experiment: &Experiment, id: &str) -> Result<Self, ClusterError> {
        let (client, namespace, server) = plan::connect(experiment).await?;
        let leases = lease::list(&client, &namespace).await?;
        if !leases.iter().any(|found| found.id == id && found.state == LeaseState::Kept) {
            return Err(ClusterError::Conflict(format!(
                "namespace {namespace} has no kept pods of run {id}\n  remedy: `linerate pods status` lists what there is; `linerate pods create` makes some"
            )));
        }
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let params = ListParams::default().labels(&names::of_experiment(id));
        let listed =
            steadily(|| api.list(&params)).await.map_err(ClusterError::while_("list the kept pods"))?;
        let there: BTreeMap<String, Pod> =
            listed.items.into_iter().map(|pod| (pod.name_any(), pod)).collect();
        let run = Run { experiment, id, owner: None };
        let mut pods = Vec::new();
        for (number, group) in experiment.topology().groups.into_iter().enumerate() {
            for agent in group.agents {
                let pod = there.get(&agent.name).ok_or_else(|| {
                    ClusterError::Conflict(format!(
                        "run {id} has no pod {}, and the experiment has {} agents\n  remedy: fewer of them, or other pods",
                        agent.name,
                        experiment.topology().agents().count()
                    ))
                })?;
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
                let wanted = PodPlan { group: number, agent, node, in_host_network: false };
                is_what_is_wanted(pod, &run.pod(&wanted))?;
                pods.push(wanted);
            }
        }
        let notes = vec![format!("uses the pods of run {id}, which stay")];
        Ok(Self { client, server, namespace, pods, leftovers: Vec::new(), notes, nodes: None })
    }
}

/// Checks that a pod runs, and that its agent was started as this experiment would start it.
fn is_what_is_wanted(pod: &Pod, wanted: &Pod) -> Result<(), ClusterError> {
    let name = pod.name_any();
    if let Standing::Waiting(reason) | Standing::Failed(reason) = judge(pod) {
        return Err(ClusterError::NotReady(format!("{name} does not run: {reason}")));
    }
    for (what, theirs, ours) in
        agent(pod).into_iter().zip(agent(wanted)).map(|((what, a), (_, b))| (what, a, b))
    {
        if theirs != ours {
            return Err(ClusterError::Conflict(format!(
                "pod {name} was made for another experiment: its {what} is {theirs}, and this one needs {ours}\n  remedy: `linerate pods create` with the \
                 same document and options"
            )));
        }
    }
    Ok(())
}

/// Properties that identify a pod's agent.
fn agent(pod: &Pod) -> [(&'static str, String); 2] {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let agent = containers.into_iter().find(|container| container.name == AGENT);
    let command = agent.and_then(|agent| agent.command.as_ref()).map(|words| words.join(" "));
    [
        ("image", agent.and_then(|agent| agent.image.clone()).unwrap_or_default()),
        // Pods of earlier versions listen at all addresses of IPv4 alone.
        ("command", command.unwrap_or_default().replace(" 0.0.0.0:", " [::]:")),
    ]
}

/// Tokens of a run's agents, by pod name.
///
/// # Errors
/// When they cannot be read or are not tokens.
pub(super) async fn tokens(
    client: &Client,
    namespace: &str,
    id: &str,
) -> Result<BTreeMap<String, Token>, ClusterError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let name = secret_name(client, namespace, id).await?;
    let secret = steadily(|| secrets.get(&name))
        .await
        .map_err(ClusterError::while_(format!("read the tokens of run {id} (secret {name})")))?;
    let token = |(pod, bytes): (String, k8s_openapi::ByteString)| {
        let text = String::from_utf8(bytes.0).ok()?;
        Some((pod, Token::known(text)))
    };
    Ok(secret.data.unwrap_or_default().into_iter().filter_map(token).collect())
}

/// Name of the secret that the pods of run `id` mount: pods of earlier releases use another name.
async fn secret_name(client: &Client, namespace: &str, id: &str) -> Result<String, ClusterError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&names::of_experiment(id)).limit(1);
    let listed = steadily(|| pods.list(&params)).await.map_err(ClusterError::while_("list the kept pods"))?;
    let mut volumes =
        listed.items.into_iter().flat_map(|pod| pod.spec).flat_map(|spec| spec.volumes).flatten();
    let mounted = volumes.find_map(|volume| volume.secret?.secret_name);
    Ok(mounted.unwrap_or_else(|| names::SECRET.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_pods_that_run_and_were_made_alike_are_used() {
        let pod_at = |image: &str, phase: &str, all: &str| -> Pod {
            let command = ["linerate-hostplane", "--streams", all];
            let spec = json!({"nodeName": "node1", "containers": [{"name": AGENT, "image": image, "command": command}]});
            let ready = phase == "Running";
            serde_json::from_value(json!({
                "metadata": {"name": "tx0"}, "spec": spec,
                "status": {"phase": phase, "containerStatuses": [{
                    "name": AGENT, "image": image, "imageID": "", "ready": ready, "restartCount": 0,
                    "state": if ready { json!({"running": {}}) } else { json!({"waiting": {"reason": "ImagePullBackOff"}}) },
                }]},
            }))
            .unwrap()
        };
        let pod = |image: &str, phase: &str| pod_at(image, phase, "[::]:22023");
        is_what_is_wanted(&pod("i:1", "Running"), &pod("i:1", "Pending")).unwrap();
        is_what_is_wanted(&pod_at("i:1", "Running", "0.0.0.0:22023"), &pod("i:1", "Pending")).unwrap();
        let message = |pod: &Pod, wanted: &Pod| is_what_is_wanted(pod, wanted).unwrap_err().to_string();
        assert!(
            message(&pod("i:1", "Running"), &pod("i:2", ""))
                .contains("its image is i:1, and this one needs i:2")
        );
        let elsewhere = pod_at("i:1", "Running", "127.0.0.1:22023");
        assert!(message(&elsewhere, &pod("i:1", "")).contains("made for another experiment"));
        assert!(message(&pod("i:1", "Pending"), &pod("i:1", "")).contains("tx0 does not run"));
    }
}
