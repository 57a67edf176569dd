//! The objects that a run would create, for a dry run.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::error::{ClusterError, is_not_found};
use super::plan::KubernetesPlan;
use super::pods::Run;
use super::retry::steadily;
use crate::experiment::Experiment;
use crate::platform::Token;

/// Stands for the run's id, which a run makes anew.
const NO_ID: &str = "00000000";
/// Requests at the same time.
const AT_ONCE: usize = 16;

/// The manifests, in the order of creation. The secret's tokens are made for each run; here they are not.
pub fn of(plan: &KubernetesPlan, experiment: &Experiment) -> Vec<Value> {
    let run = Run { experiment, id: NO_ID, owner: None };
    let tokens: BTreeMap<String, Token> = plan.pods.iter().map(|pod| (pod.name(), Token::none())).collect();
    let mut objects = vec![json!(run.secret(&tokens))];
    objects.extend(plan.pods.iter().filter_map(|pod| run.claim(pod)).map(|claim| json!(claim)));
    objects.extend(plan.pods.iter().map(|pod| json!(run.pod(pod))));
    objects
}

/// Has the API server check the manifests without storing them.
///
/// # Errors
/// What the server does not accept.
pub async fn validate(plan: &KubernetesPlan, objects: &[Value]) -> Result<(), ClusterError> {
    stream::iter(objects)
        .map(Ok)
        .try_for_each_concurrent(AT_ONCE, |object| async move {
            match object["kind"].as_str() {
                Some("Pod") => check::<Pod>(plan, object).await,
                Some("Secret") => check::<Secret>(plan, object).await,
                _ => check::<PersistentVolumeClaim>(plan, object).await,
            }
        })
        .await
}

async fn check<K>(plan: &KubernetesPlan, object: &Value) -> Result<(), ClusterError>
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
    match steadily(|| api.create(&params, &typed)).await {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Err(ClusterError::NoNamespace(plan.namespace.clone())),
        // What a run that is gone has left is removed before.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(ClusterError::while_(what())(error)),
    }
}
