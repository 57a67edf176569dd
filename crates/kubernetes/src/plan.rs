//! Plan of a run on a cluster, decided before anything is changed.

use std::collections::BTreeSet;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use linerate_traffic::profile::Profile;
use linerate_wire::trial::Role;

use super::client::client;
use super::error::ClusterError;
use super::lease::{self, LeaseState};
use super::placement::{Node, Placed, place};
use super::pods::{PodPlan, wanted, watcher};
use super::quota::{self, Demand};
use super::remove::remove;
use super::{access, descriptors, manifests, names, observe, service};
use linerate_experiment::Experiment;
use linerate_experiment::kubernetes::{LinkKind, OutputVolume, PlacementRule};
use linerate_experiment::topology::Group;
use linerate_runner::platform::buffers;

/// A planned run on a cluster with room for it.
#[derive(Clone)]
pub struct KubernetesPlan {
    /// Client of the cluster.
    pub client: Client,
    /// The cluster's address, for display.
    pub server: String,
    /// Namespace of the pods.
    pub namespace: String,
    /// All pods: transmitter and receiver of pair 0, of pair 1, …
    pub pods: Vec<PodPlan>,
    /// Runs whose controller is gone; their objects are removed first.
    pub leftovers: Vec<lease::Found>,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// The cluster's nodes; `None` when this account may not list them.
    pub(crate) nodes: Option<Vec<Node>>,
}

/// Where a pod is to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeChoice {
    /// Its node; `None`: the scheduler chooses.
    pub node: Option<String>,
    /// True when it is in its node's own network.
    pub in_host_network: bool,
}

impl std::fmt::Debug for KubernetesPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubernetesPlan").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Client, address and namespace that `experiment` names.
///
/// # Errors
/// When the configuration is missing or invalid.
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

/// True for the `resumed` run if its controller ran on this host and is gone. The lock of the run's directory does not tell: the directory
/// may be a copy.
fn is_over(found: &lease::Found, resumed: Option<&str>) -> bool {
    resumed == Some(found.id.as_str()) && found.is_gone_from_this_host()
}

/// Removes the objects of the run `id` of `experiment`, if its lease has expired or its controller's process on
/// this host is gone. Kept objects stay.
///
/// # Errors
/// When the server refuses, or pods are not removed in time.
pub async fn remove_rest(experiment: &Experiment, id: &str, say: &dyn Fn(&str)) -> Result<(), ClusterError> {
    let (client, namespace, _) = connect(experiment).await?;
    let leases = lease::settled(&client, &namespace, |found| is_over(found, Some(id)), say).await?;
    match leases.iter().find(|found| found.id == id && found.state == LeaseState::Dead) {
        Some(found) => {
            lease::claim(&client, &namespace, found).await?;
            remove(&client, &namespace, id).await
        }
        None => Ok(()),
    }
}

impl KubernetesPlan {
    /// Reads the cluster and decides; sends no request that writes. `profiles` are those that run. Leases of other runs are watched until
    /// their state is known, and `say` receives the reason for the wait. `resumed` is the run to be resumed,
    /// whose controller is known to be gone if it ran on this host; its objects are removed first.
    ///
    /// # Errors
    /// Whatever prevents the run: no access, no room, names that are taken.
    pub async fn new(
        experiment: &Experiment,
        profiles: &[Profile],
        resumed: Option<&str>,
        say: &dyn Fn(&str),
    ) -> Result<Self, ClusterError> {
        let settings = experiment.kubernetes();
        if experiment.is_of_frames() {
            buffers::fit(experiment)?;
        }
        let topology = experiment.topology();
        descriptors::allow(topology.agents().count() + watcher::names_of(experiment).len())?;
        let (client, namespace, server) = connect(experiment).await?;
        let missing = access::missing(&client, &namespace, experiment).await?;
        if !missing.is_empty() {
            return Err(ClusterError::Forbidden { namespace, missing });
        }
        let leases = lease::settled(&client, &namespace, |found| is_over(found, resumed), say).await?;
        let over = leases.iter().filter(|found| found.state == LeaseState::Dead);
        let leftovers: Vec<lease::Found> = over.cloned().collect();
        let gone: BTreeSet<String> = leftovers.iter().map(|found| found.id.clone()).collect();
        names_are_free(&client, &namespace, experiment, &leases, &gone).await?;
        if experiment.needs_service() {
            service::name_is_free(&client, &namespace, &gone).await?;
        }
        observe::networks(&client, &namespace, &settings.networks).await?;
        let wanted = wanted(experiment);
        let (nodes, mut notes) = observe::nodes(&client, &namespace, &gone, &settings.tolerations).await?;
        // Pods that share a directory of a node must run on that node.
        let rule =
            if settings.link.kind == LinkKind::Memif { PlacementRule::SameNode } else { settings.placement };
        let named = settings.nodes.as_ref().map(|nodes| nodes.value.clone()).unwrap_or_default();
        let placed: Vec<Placed> = match &nodes {
            // The scheduler places pods of streams and HTTP, by the rules in their manifests. Those of an engine are a pair.
            Some(nodes) if experiment.is_of_frames() || experiment.engine().is_some() => {
                place(experiment.pairs(), rule, &named, &wanted, nodes).map_err(ClusterError::NoRoom)?
            }
            _ => Vec::new(),
        };
        if !leftovers.is_empty() {
            notes.push(format!(
                "first removes the objects of runs whose controller is gone: {}",
                gone.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            ));
        }
        let unnamed = |profile: &Profile| profile.raw().destination.written_ip().is_none();
        let on_interface = matches!(settings.link.kind, LinkKind::AfPacket | LinkKind::AfXdp);
        if experiment.is_of_frames() && on_interface && profiles.iter().any(unnamed) {
            notes.push("frames of profiles without addresses carry the pods' own".to_owned());
        }
        let pods = topology.groups.into_iter().enumerate().flat_map(|(number, group): (usize, Group)| {
            // Agents of sockets are groups of their own.
            let pair = if experiment.is_of_frames() { number } else { 0 };
            let named = named.get(pair).cloned().unwrap_or_default();
            let placed = placed.get(pair).cloned();
            let (tx, rx) = placed.map_or((named.tx, named.rx), |placed| (Some(placed.tx), Some(placed.rx)));
            group.agents.into_iter().map(move |agent| {
                let node = if agent.role == Role::Tx { tx.clone() } else { rx.clone() };
                PodPlan { group: number, agent, node, in_host_network: false }
            })
        });
        Ok(Self { client, server, namespace, pods: pods.collect(), leftovers, notes, nodes })
    }

    /// Puts the pods of a diagnosis in these places, one after the other; pods beyond the last place are left out.
    ///
    /// # Errors
    /// When a node does not exist or takes no pods.
    pub fn place_pods(&mut self, places: &[NodeChoice]) -> Result<(), ClusterError> {
        self.pods.truncate(places.len());
        for (pod, place) in self.pods.iter_mut().zip(places) {
            if let (Some(name), Some(nodes)) = (&place.node, &self.nodes) {
                let found = nodes.iter().find(|node| node.name == *name);
                let lack = match found {
                    None => Some("there is no node of this name".to_owned()),
                    Some(node) => node.closed.as_ref().map(|why| format!("it takes no pods: {why}")),
                };
                if let Some(reason) = lack {
                    let known: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
                    let known = known.join(", ");
                    return Err(ClusterError::Node { node: name.clone(), reason, known });
                }
            }
            pod.node.clone_from(&place.node);
            pod.in_host_network = place.in_host_network;
        }
        Ok(())
    }

    /// Checks again that the names of the pods are free.
    ///
    /// # Errors
    /// Says whose they are.
    pub(crate) async fn find_names_free(
        &self,
        experiment: &Experiment,
        say: &dyn Fn(&str),
    ) -> Result<(), ClusterError> {
        let Self { client, namespace, .. } = self;
        let leases = lease::settled(client, namespace, |_| false, say).await?;
        names_are_free(client, namespace, experiment, &leases, &BTreeSet::new()).await
    }

    /// Names of all pods that the run has or may have.
    pub(crate) fn names(&self, experiment: &Experiment) -> Vec<String> {
        self.pods.iter().map(PodPlan::name).chain(watcher::names_of(experiment)).collect()
    }

    /// Removes the objects of runs whose controller is gone, which frees their names and their part of the
    /// quotas.
    ///
    /// # Errors
    /// When one of the controllers turns out to be live, the server refuses, or pods are not removed in time.
    pub async fn remove_leftovers(&mut self, say: &dyn Fn(&str)) -> Result<(), ClusterError> {
        for found in std::mem::take(&mut self.leftovers) {
            say(&format!("removing what run {} left", found.id));
            lease::claim(&self.client, &self.namespace, &found).await?;
            remove(&self.client, &self.namespace, &found.id).await?;
        }
        Ok(())
    }

    /// Has the API server check every object of the run without storing it (names, admission, policies), and
    /// checks that the namespace's quotas suffice for all of them together.
    ///
    /// # Errors
    /// The object that the server refuses, or the quota that is too small.
    pub async fn validate(&mut self, experiment: &Experiment) -> Result<(), ClusterError> {
        let objects = manifests::of(self, experiment);
        let admitted = manifests::validate(self, &objects).await?;
        if !self.leftovers.is_empty() {
            self.notes.push("quotas are not added up: what is to be removed first counts in them".to_owned());
            return Ok(());
        }
        let Some(pod) = admitted.pod else { return Ok(()) };
        let (claims, claim) = match &experiment.kubernetes().output {
            OutputVolume::PersistentVolumeClaim { size, .. } => {
                (self.pods.len(), Some((u128::from(size.0) * 1000, admitted.class.as_deref())))
            }
            OutputVolume::None | OutputVolume::EmptyDir { .. } => (0, None),
        };
        let quotas = observe::quotas(&self.client, &self.namespace).await?;
        let demand = Demand { pod: &pod, pods: self.pods.len(), claims, claim };
        quota::check(&quotas, &self.namespace, &demand)
    }
}

/// Checks that no foreign pod or secret, and none of a live run, has a name that this run uses.
async fn names_are_free(
    client: &Client,
    namespace: &str,
    experiment: &Experiment,
    leases: &[lease::Found],
    gone: &BTreeSet<String>,
) -> Result<(), ClusterError> {
    let at_work = |id: &str| {
        let lease = leases.iter().find(|found| found.id == id && found.state == LeaseState::Alive)?;
        Some(ClusterError::Conflict(format!(
            "run {id} ({}) uses the pods of namespace {namespace} now\n  remedy: wait for its end, or use another namespace",
            lease.holder
        )))
    };
    let agents = experiment.topology();
    let agents = agents.agents().map(|agent| agent.name.clone());
    let wanted: BTreeSet<String> = agents.chain(watcher::names_of(experiment)).collect();
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
        return Err(at_work(id).unwrap_or_else(|| {
            ClusterError::Conflict(format!(
                "pod {} belongs to run {id}, whose pods were kept\n  remedy: `linerate pods delete {id}`, or use another namespace",
                pod.name_any()
            ))
        }));
    }
    if let Some(secret) = observe::secret(client, namespace).await?
        && !gone.iter().any(|id| names::is_of(&secret, id))
    {
        let owner = secret.labels().get(names::EXPERIMENT).and_then(|id| at_work(id));
        return Err(owner.unwrap_or_else(|| ClusterError::Conflict(format!(
            "secret {} in namespace {namespace} is another's, and this run needs the name\n  remedy: use a namespace of its own \
             (--namespace); nothing was touched",
            names::SECRET
        ))));
    }
    Ok(())
}
