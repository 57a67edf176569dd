//! List of Linerate's pods.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde::Serialize;

use super::error::ClusterError;
use super::names;
use super::retry::steadily;
use super::watch::{Standing, judge};

/// A pod of a run.
#[derive(Debug, Serialize)]
pub struct FoundPod {
    /// The run's id.
    pub run: String,
    /// The pod's name.
    pub name: String,
    /// Its node, if it has one.
    pub node: Option<String>,
    /// Description of its state.
    pub standing: String,
}

/// All pods of Linerate in `namespace`, by run and name.
///
/// # Errors
/// When the server does not answer.
pub async fn pods(client: &Client, namespace: &str) -> Result<Vec<FoundPod>, ClusterError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&names::all());
    let listed = steadily(|| pods.list(&params)).await.map_err(ClusterError::while_("list the pods"))?;
    let mut found: Vec<_> = listed
        .items
        .iter()
        .map(|pod| FoundPod {
            run: pod.labels().get(names::EXPERIMENT).cloned().unwrap_or_default(),
            name: pod.name_any(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            standing: match judge(pod) {
                Standing::Running { .. } => "running".to_owned(),
                Standing::Waiting(reason) | Standing::Failed(reason) => reason,
            },
        })
        .collect();
    found.sort_by(|a, b| (&a.run, &a.name).cmp(&(&b.run, &b.name)));
    Ok(found)
}
