//! What a run would do to the cluster, decided before anything is touched.

use std::collections::BTreeSet;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use linerate_protocol::profile::Profile;
use linerate_protocol::trial::Role;

use super::client::client;
use super::error::ClusterError;
use super::lease::{self, LeaseState};
use super::placement::{Placed, place};
use super::pods::{PodPlan, wanted};
use super::remove::remove;
use super::{access, descriptors, manifests, names, observe};
use crate::experiment::Experiment;
use crate::experiment::kubernetes::{LinkKind, PlacementRule};
use crate::platform::buffers;

/// A run as planned on a cluster that has room for it.
#[derive(Clone)]
pub struct KubernetesPlan {
    /// The way to the cluster.
    pub client: Client,
    /// The cluster's address, for people.
    pub server: String,
    /// Where the pods go.
    pub namespace: String,
    /// All pods: transmitter and receiver of pair 0, of pair 1, …
    pub pods: Vec<PodPlan>,
    /// Runs whose controller is gone; their objects are removed first.
    pub leftovers: Vec<String>,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl std::fmt::Debug for KubernetesPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubernetesPlan").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// The cluster and the namespace that `experiment` names.
///
/// # Errors
/// When there is no configuration, or it is wrong.
pub async fn connect(experiment: &Experiment) -> Result<(Client, String, String), ClusterError> {
    let settings = experiment.kubernetes();
    let config = match &settings.context {
        Some(context) => {
            let options =
                KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
            let file = Kubeconfig::read().map_err(|error| ClusterError::Config(error.to_string()))?;
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(|error| ClusterError::Config(error.to_string()))?
        }
        None => Config::infer().await.map_err(|error| ClusterError::Config(error.to_string()))?,
    };
    let server = config.cluster_url.to_string();
    let namespace = settings
        .namespace
        .as_ref()
        .map_or_else(|| config.default_namespace.clone(), |name| name.as_str().to_owned());
    let client = client(config).map_err(|error| ClusterError::Config(error.to_string()))?;
    Ok((client, namespace, server))
}

/// True of a run whose controller is gone: its lease has run out, or it is the one that is `resumed`, which holds its directory's lock.
fn is_over(found: &lease::Found, resumed: Option<&str>) -> bool {
    match found.state {
        LeaseState::Dead => true,
        LeaseState::Alive => resumed == Some(found.id.as_str()) && found.is_of_this_host(),
        LeaseState::Kept => false,
    }
}

/// Removes what is left of the run `id` of `experiment`, whose controller is known to be gone where it ran on this host. What it was to keep stays.
///
/// # Errors
/// When the server refuses, or pods do not go.
pub async fn remove_rest(experiment: &Experiment, id: &str) -> Result<(), ClusterError> {
    let (client, namespace, _) = connect(experiment).await?;
    let leases = lease::list(&client, &namespace).await?;
    match leases.iter().find(|found| found.id == id) {
        Some(found) if is_over(found, Some(id)) => remove(&client, &namespace, id).await,
        _ => Ok(()),
    }
}

impl KubernetesPlan {
    /// Looks at the cluster and decides. Sends no request that writes. `resumed` is the run that is taken up again, whose controller is known to be
    /// gone where it ran on this host: what is left of it goes first.
    ///
    /// # Errors
    /// Whatever would keep the run from succeeding: no access, no room, names that are taken.
    pub async fn new(experiment: &Experiment, resumed: Option<&str>) -> Result<Self, ClusterError> {
        let settings = experiment.kubernetes();
        buffers::fit(experiment)?;
        descriptors::allow(2 * experiment.pairs())?;
        let (client, namespace, server) = connect(experiment).await?;
        let missing = access::missing(&client, &namespace, settings).await?;
        if !missing.is_empty() {
            return Err(ClusterError::Forbidden { namespace, missing });
        }
        let leases = lease::list(&client, &namespace).await?;
        let over = leases.iter().filter(|found| is_over(found, resumed));
        let leftovers: Vec<String> = over.map(|found| found.id.clone()).collect();
        let gone: BTreeSet<String> = leftovers.iter().cloned().collect();
        names_are_free(&client, &namespace, experiment.pairs(), &leases, &gone).await?;
        observe::networks(&client, &namespace, &settings.networks).await?;
        let wanted = wanted(settings);
        observe::quotas(&client, &namespace, &wanted, 2 * experiment.pairs()).await?;
        let (nodes, mut notes) = observe::nodes(&client, &namespace, &gone).await?;
        // Pods that meet in a node's directory are on that node.
        let rule =
            if settings.link.kind == LinkKind::Memif { PlacementRule::SameNode } else { settings.placement };
        let named = settings.nodes.as_ref().map(|nodes| nodes.value.clone()).unwrap_or_default();
        let placed = match &nodes {
            Some(nodes) => place(experiment.pairs(), rule, &named, &wanted, nodes)
                .map_err(ClusterError::NoRoom)?
                .into_iter()
                .map(Some)
                .collect(),
            None => vec![None; experiment.pairs()],
        };
        if !leftovers.is_empty() {
            notes.push(format!(
                "removes first what runs left whose controller is gone: {}",
                leftovers.join(", ")
            ));
        }
        let unnamed = |profile: &Profile| profile.raw().destination.written_ip().is_none();
        if settings.link.kind == LinkKind::AfPacket && experiment.profiles.iter().any(unnamed) {
            notes.push("frames of profiles without addresses carry the pods' own".to_owned());
        }
        let pods = placed.into_iter().enumerate().flat_map(|(pair, placed): (usize, Option<Placed>)| {
            let named = named.get(pair).cloned().unwrap_or_default();
            let (tx, rx) = placed.map_or((named.tx, named.rx), |placed| (Some(placed.tx), Some(placed.rx)));
            [PodPlan { pair, end: Role::Tx, node: tx }, PodPlan { pair, end: Role::Rx, node: rx }]
        });
        Ok(Self { client, server, namespace, pods: pods.collect(), leftovers, notes })
    }

    /// Has the API server check the objects of the first `pods` pods without storing them: names, admission, policies.
    ///
    /// # Errors
    /// What the server does not accept.
    pub async fn validate(&self, experiment: &Experiment, pods: usize) -> Result<(), ClusterError> {
        let first = Self { pods: self.pods.iter().take(pods).cloned().collect(), ..self.clone() };
        manifests::validate(self, &manifests::of(&first, experiment)).await
    }
}

/// Makes sure that no pod of others, or of a run that lives, has one of our names.
async fn names_are_free(
    client: &Client,
    namespace: &str,
    pairs: usize,
    leases: &[lease::Found],
    gone: &BTreeSet<String>,
) -> Result<(), ClusterError> {
    let wanted: BTreeSet<String> =
        (0..pairs).flat_map(|pair| [names::pod(Role::Tx, pair), names::pod(Role::Rx, pair)]).collect();
    for pod in observe::pods_named(client, namespace, &wanted).await? {
        let labels = pod.labels();
        let ours = labels.get(names::MANAGED_BY).is_some_and(|value| value == names::LINERATE);
        let Some(id) = labels.get(names::EXPERIMENT).filter(|_| ours) else {
            return Err(ClusterError::Conflict(format!(
                "pod {} in namespace {namespace} is not Linerate's and has a name that this run needs\n  remedy: use a namespace of \
                 its own (--namespace); nothing was touched",
                pod.name_any()
            )));
        };
        if gone.contains(id) {
            continue;
        }
        let lease = leases.iter().find(|found| found.id == *id);
        return Err(ClusterError::Conflict(match lease.map(|found| (found.state, &found.holder)) {
            Some((LeaseState::Alive, holder)) => format!(
                "run {id} ({holder}) uses the pods of namespace {namespace} now\n  remedy: wait for its end, or use another namespace"
            ),
            _ => format!(
                "pod {} belongs to run {id}, whose pods were kept\n  remedy: `linerate pods delete {id}`, or use another namespace",
                pod.name_any()
            ),
        }));
    }
    Ok(())
}
