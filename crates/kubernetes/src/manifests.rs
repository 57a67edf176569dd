//! Manifests of the objects that a run creates, for a dry run: the API server checks each without storing it.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::error::{ClusterError, is_not_found, is_pod_security};
use super::plan::KubernetesPlan;
use super::pods::{Run, watcher};
use super::requests::AnyPod;
use super::retry::steadily;
use super::{names, node_view, security};
use linerate_experiment::Experiment;
use linerate_experiment::http::HttpTarget;
use linerate_runner::platform::Token;

/// Placeholder for the run's id, which each run creates.
const NO_ID: &str = "00000000";
/// Placeholder for the name of a node that the scheduler will choose.
const SOME_NODE: &str = "node";
/// Concurrent requests.
const AT_ONCE: usize = 16;

/// The manifests, in the order of creation. The secret has no tokens, because each run creates its own.
pub fn of(plan: &KubernetesPlan, experiment: &Experiment) -> Vec<Value> {
    let run = Run { experiment, id: NO_ID, owner: None };
    let tokens: BTreeMap<String, Token> =
        plan.names(experiment).into_iter().map(|name| (name, Token::none())).collect();
    let lease = super::lease::manifest(NO_ID, experiment.kubernetes().keep);
    let mut objects = vec![json!(lease), json!(run.secret(&tokens))];
    objects.extend(plan.pods.iter().filter_map(|pod| run.claim(pod)).map(|claim| json!(claim)));
    objects.extend(plan.pods.iter().map(|pod| json!(run.pod(pod))));
    // Nodes are known once the agents run; of the pods that watch them, which are alike, one.
    let node = plan.pods.iter().find_map(|pod| pod.node.as_deref()).unwrap_or(SOME_NODE);
    objects.extend(watcher::names_of(experiment).first().map(|name| json!(run.watcher(name, node))));
    // Of the trials' Services, which have one name after the other, one: of a node port if there is any, for quotas and policies
    // may exclude those alone.
    let any = |of: fn(&HttpTarget) -> bool| experiment.http.iter().find(move |profile| of(&profile.target));
    let service = any(|target| *target == HttpTarget::NodePort).or_else(|| any(HttpTarget::is_service));
    objects.extend(service.map(|profile| json!(run.service(&profile.target, profile.backends, None))));
    objects
}

/// Manifests as the server would store them.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    /// The first pod; `None` when a pod of its name exists.
    pub(super) pod: Option<AnyPod>,
    /// Storage class of the first claim: the cluster's default if the experiment names none.
    pub(super) class: Option<String>,
}

/// Has the API server check the manifests without storing them.
///
/// # Errors
/// The refusal of the first object, in the order of the manifests, that the server does not accept.
pub(super) async fn validate(plan: &KubernetesPlan, objects: &[Value]) -> Result<Admitted, ClusterError> {
    let checks = stream::iter(objects).map(|object| async move {
        match object["kind"].as_str() {
            Some("Pod") => {
                check::<Pod>(plan, object).await.map_err(|error| explain_security(error, plan, object))
            }
            Some("Secret") => check::<Secret>(plan, object).await,
            Some("Lease") => check::<Lease>(plan, object).await,
            Some("Service") => check::<Service>(plan, object).await,
            _ => check::<PersistentVolumeClaim>(plan, object).await,
        }
    });
    let mut answers = checks.buffered(AT_ONCE);
    let mut admitted = Admitted::default();
    while let Some(answer) = answers.next().await {
        let Some(object) = answer? else { continue };
        match object["kind"].as_str() {
            Some("Pod") if admitted.pod.is_none() => admitted.pod = serde_json::from_value(object).ok(),
            Some("PersistentVolumeClaim") if admitted.class.is_none() => {
                admitted.class = object["spec"]["storageClassName"].as_str().map(str::to_owned);
            }
            _ => {}
        }
    }
    Ok(admitted)
}

/// Adds the namespace label that would admit the pod, if Pod Security refused it.
fn explain_security(error: ClusterError, plan: &KubernetesPlan, object: &Value) -> ClusterError {
    if object["metadata"]["labels"][names::ROLE] == names::WATCHER {
        return node_view::explained(error, &plan.namespace);
    }
    match (error, serde_json::from_value::<Pod>(object.clone())) {
        (ClusterError::Request { action, reason }, Ok(pod)) if is_pod_security(&reason) => {
            let (level, because) = security::needed(&pod);
            let server = ClusterError::Request { action, reason }.to_string();
            ClusterError::PodSecurity { server, namespace: plan.namespace.clone(), level, because }
        }
        (error, _) => error,
    }
}

/// The object as the server would store it; `None` when an object of its name exists.
async fn check<K>(plan: &KubernetesPlan, object: &Value) -> Result<Option<Value>, ClusterError>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let what = || format!("validate {} {name}", K::kind(&()));
    let typed: K = serde_json::from_value(object.clone())
        .map_err(|error| ClusterError::while_(what())(kube::Error::SerdeError(error)))?;
    let api: Api<K> = Api::namespaced(plan.client.clone(), &plan.namespace);
    let params = PostParams { dry_run: true, ..PostParams::default() };
    // Leftovers are removed before a run begins, so they only affect a dry run.
    let has_leftovers = !plan.leftovers.is_empty();
    match steadily(|| api.create(&params, &typed)).await {
        Ok(admitted) => Ok(serde_json::to_value(&admitted).ok()),
        Err(error) if is_not_found(&error) => Err(ClusterError::NoNamespace(plan.namespace.clone())),
        Err(kube::Error::Api(status)) if has_leftovers && is_in_the_way(&status) => Ok(None),
        Err(error) => Err(ClusterError::while_(what())(error)),
    }
}

/// True for a refusal that leftovers may cause: a name that is taken, or a quota that is used up.
fn is_in_the_way(status: &kube::core::Status) -> bool {
    status.code == 409 || status.code == 403 && status.message.contains("exceeded quota")
}
