//! Removal of a run's objects. They are found by their labels, and the lease is removed last, so that
//! leftovers stay recognisable. Every deletion names the uid of the object that was found, so a newer object
//! of the same name is not deleted.

use std::borrow::Borrow;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, PersistentVolumeClaim, Pod, Secret};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::error::{ClusterError, is_forbidden, is_not_found};
use super::retry::steadily;
use super::{names, service};

/// Concurrent requests.
const AT_ONCE: usize = 16;
/// Time limit for the removal of pods, grace period included.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// Time limit after which a pod is deleted without its node's confirmation.
const STRUCK_OFF_AFTER: Duration = Duration::from_secs(20);
/// First interval between two lists; it grows, because a list of many pods is work for the server.
const LOOK: Duration = Duration::from_millis(200);
const LATER_LOOK: Duration = Duration::from_secs(2);

/// Removes every object of the run `id`, and returns when its pods are gone.
///
/// # Errors
/// When the server refuses, or pods are not removed in time.
pub async fn remove(client: &Client, namespace: &str, id: &str) -> Result<(), ClusterError> {
    let selector = names::of_experiment(id);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    delete_unstarted(&pods, &selector).await?;
    delete_selected(&pods, &selector, "pods").await?;
    wait_until_gone(&pods, &selector).await?;
    service::remove(client, namespace, id).await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = steadily(|| secrets.get_metadata_opt(names::SECRET))
        .await
        .map_err(ClusterError::while_(format!("look at secret {}", names::SECRET)))?;
    if let Some(secret) = secret.filter(|secret| names::is_of(secret, id)) {
        delete(&secrets, &secret, DeleteParams::default()).await?;
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    match delete_selected(&claims, &selector, "volume claims").await {
        // A Role without rights on claims means that none were created.
        Err(ClusterError::Request { reason, .. }) if is_forbidden(&reason) => {}
        other => other?,
    }
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    delete_selected(&leases, &selector, "leases").await
}

/// Removes pods of the run `id` by name, and returns when they are gone. A pod on a lost node is deleted
/// without its confirmation.
///
/// # Errors
/// When the server refuses, a pod now belongs to another run, or one is not removed in time.
pub async fn pods(pods: &Api<Pod>, id: &str, names: &[String]) -> Result<(), ClusterError> {
    let look = async |name: &String| {
        let found = steadily(|| pods.get_opt(name)).await;
        found.map_err(ClusterError::while_(format!("look at pod {name}")))
    };
    let mut going = Vec::new();
    for name in names {
        match look(name).await? {
            None => {}
            Some(pod) if names::is_of(&pod, id) => {
                delete(pods, &pod, DeleteParams::default()).await?;
                going.push((name, pod.uid()));
            }
            Some(_) => {
                return Err(ClusterError::Conflict(format!(
                    "pod {name} belongs to another owner by now\n  remedy: use a namespace of its own (--namespace); it was not touched"
                )));
            }
        }
    }
    let begun = Instant::now();
    for (name, uid) in going {
        let mut pause = LOOK;
        while let Some(pod) = look(name).await?.filter(|pod| pod.uid() == uid) {
            if begun.elapsed() > GONE_WITHIN {
                return Err(still_there(std::slice::from_ref(name)));
            }
            if begun.elapsed() > STRUCK_OFF_AFTER || has_ended(&pod) {
                delete(pods, &pod, DeleteParams::default().grace_period(0)).await?;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LATER_LOOK);
        }
    }
    Ok(())
}

fn still_there(pods: &[String]) -> ClusterError {
    ClusterError::NotReady(format!(
        "pods {} were deleted and are still there after {} s; is their node gone, or has something put a finalizer on them?",
        pods.join(", "),
        GONE_WITHIN.as_secs()
    ))
}

/// Deletes exactly the object that was `found`: not a newer one of the same name, and, if `params` state its
/// version, not a changed one.
pub(super) async fn delete<K>(
    api: &Api<K>,
    found: &impl ResourceExt,
    params: DeleteParams,
) -> Result<(), ClusterError>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let name = found.name_any();
    let preconditions =
        Preconditions { uid: found.uid(), ..params.preconditions.clone().unwrap_or_default() };
    let params = params.preconditions(preconditions);
    match steadily(|| api.delete(&name, &params)).await {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            tracing::debug!(name, message = status.message, "not deleted: it is not what was found");
            Ok(())
        }
        Err(error) => Err(ClusterError::while_(format!("delete {name}"))(error)),
    }
}

async fn delete_selected<K>(api: &Api<K>, selector: &str, what: &str) -> Result<(), ClusterError>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let params = ListParams::default().labels(selector);
    let found = steadily(|| api.list(&params)).await.map_err(ClusterError::while_(format!("list {what}")))?;
    delete_all(api, &found.items, &DeleteParams::default()).await
}

/// Deletes the objects and returns the first failure. If the server is away, the remaining objects are
/// skipped.
async fn delete_all<K>(
    api: &Api<K>,
    found: &[impl Borrow<K>],
    params: &DeleteParams,
) -> Result<(), ClusterError>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let mut deletions = stream::iter(found)
        .map(|object| async move { delete(api, object.borrow(), params.clone()).await })
        .buffer_unordered(AT_ONCE);
    let mut first = Ok(());
    while let Some(deleted) = deletions.next().await {
        let Err(error) = deleted else { continue };
        let is_gone = error.is_transient();
        first = first.and(Err(error));
        if is_gone {
            break;
        }
    }
    first
}

/// Deletes pods without running containers at once: a kubelet that keeps failing to start a pod is slow to
/// release it. All other pods are deleted only after their kubelet has ended them, so that the next pod of
/// the same name does not meet their processes.
async fn delete_unstarted(pods: &Api<Pod>, selector: &str) -> Result<(), ClusterError> {
    let params = ListParams::default().labels(selector).fields("status.phase=Pending");
    let mut found = steadily(|| pods.list(&params)).await.map_err(ClusterError::while_("list the pods"))?;
    found.items.retain(cannot_run);
    let mut deletions = stream::iter(&found.items)
        .map(|pod| async move {
            // A pod that has started since has another version, and is left to its kubelet.
            let version = Preconditions { resource_version: pod.resource_version(), uid: None };
            let at_once = DeleteParams::default().grace_period(0).preconditions(version);
            delete(pods, pod, at_once).await
        })
        .buffer_unordered(AT_ONCE);
    while let Some(deleted) = deletions.next().await {
        deleted?;
    }
    Ok(())
}

/// True for a pod without a node, or with a kubelet that cannot start its first container.
fn cannot_run(pod: &Pod) -> bool {
    if pod.spec.as_ref().is_none_or(|spec| spec.node_name.is_none()) {
        return true;
    }
    let Some(status) = &pod.status else { return false };
    let mut states = [&status.init_container_statuses, &status.container_statuses]
        .into_iter()
        .flatten()
        .flatten()
        .map(|container| container.state.as_ref());
    let is_held_up = |state: &ContainerState| {
        let reason = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
        reason.is_some_and(|reason| !["ContainerCreating", "PodInitializing"].contains(&reason))
    };
    let has_begun = |state: &ContainerState| state.running.is_some() || state.terminated.is_some();
    states.clone().flatten().any(is_held_up) && !states.any(|state| state.is_some_and(has_begun))
}

/// True for a deleted pod whose containers have all ended. Its kubelet has nothing left to end, but may confirm
/// the deletion up to 10 s later.
fn has_ended(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let is_over = |container: &ContainerStatus| {
        container.state.as_ref().is_some_and(|state| state.terminated.is_some())
    };
    pod.metadata.deletion_timestamp.is_some() && !containers.is_empty() && containers.iter().all(is_over)
}

async fn wait_until_gone(pods: &Api<Pod>, selector: &str) -> Result<(), ClusterError> {
    let begun = Instant::now();
    let params = ListParams::default().labels(selector);
    let mut look = LOOK;
    loop {
        let left = steadily(|| pods.list(&params)).await.map_err(ClusterError::while_("list the pods"))?;
        if left.items.is_empty() {
            return Ok(());
        }
        let is_late = begun.elapsed() > STRUCK_OFF_AFTER;
        let over: Vec<_> = left.items.iter().filter(|pod| is_late || has_ended(pod)).collect();
        delete_all(pods, &over, &DeleteParams::default().grace_period(0)).await?;
        if begun.elapsed() > GONE_WITHIN {
            return Err(still_there(&left.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>()));
        }
        tokio::time::sleep(look).await;
        look = (look * 3 / 2).min(LATER_LOOK);
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_deleted_pod_has_ended_when_all_of_its_containers_have() {
        let running = json!({"running": {}});
        let ended = json!({"terminated": {"exitCode": 0}});
        let pod = |deleted: bool, states: &[&Value]| {
            let containers: Vec<_> = states
                .iter()
                .map(|state| json!({"name": "a", "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0}))
                .collect();
            let deletion = deleted.then_some("2026-01-01T00:00:00Z");
            let pod = json!({
                "metadata": {"deletionTimestamp": deletion}, "spec": {"containers": []}, "status": {"containerStatuses": containers},
            });
            serde_json::from_value::<Pod>(pod).unwrap()
        };
        assert!(has_ended(&pod(true, &[&ended, &ended])));
        assert!(!has_ended(&pod(true, &[&ended, &running])));
        assert!(!has_ended(&pod(true, &[])), "a status without containers says nothing of them");
        assert!(!has_ended(&pod(false, &[&ended])));
    }

    #[test]
    fn only_a_pod_that_cannot_run_is_deleted_without_its_kubelet() {
        let waiting = |reason: &str| json!({"state": {"waiting": {"reason": reason}}});
        let running = json!({"state": {"running": {}}});
        let ended = json!({"state": {"terminated": {"exitCode": 0}}});
        let pod = |node: Option<&str>, init: &[Value], agent: &[Value]| {
            let pod = json!({
                "spec": {"nodeName": node, "containers": []},
                "status": {"initContainerStatuses": named(init), "containerStatuses": named(agent)},
            });
            serde_json::from_value::<Pod>(pod).unwrap()
        };
        let later = [waiting("PodInitializing")];
        for (expected, pod) in [
            (true, pod(None, &[], &[])),
            (true, pod(Some("n1"), &[waiting("ImagePullBackOff")], &later)),
            (true, pod(Some("n1"), &[waiting("CreateContainerConfigError")], &later)),
            (false, pod(Some("n1"), &[], &[])),
            (false, pod(Some("n1"), &[waiting("ContainerCreating")], &later)),
            (false, pod(Some("n1"), from_ref(&running), &later)),
            (false, pod(Some("n1"), from_ref(&ended), &[waiting("ErrImagePull")])),
            (false, pod(Some("n1"), &[ended], &[running])),
        ] {
            assert_eq!(cannot_run(&pod), expected, "{pod:?}");
        }
    }

    fn named(states: &[Value]) -> Value {
        let status = |state: &Value| {
            let mut status =
                json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0});
            status["state"] = state["state"].clone();
            status
        };
        states.iter().map(status).collect()
    }
}
