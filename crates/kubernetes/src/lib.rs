//! Agents as pods of a Kubernetes cluster, reached only through the API server.

pub mod access;
mod adopt;
mod client;
mod descriptors;
mod endpoints;
pub mod error;
mod forward;
pub mod lease;
mod logs;
pub mod manifests;
pub mod names;
pub mod need;
mod node_view;
pub mod observe;
pub mod placement;
pub mod plan;
pub mod pods;
mod process;
mod quota;
pub mod remove;
mod requests;
mod retry;
pub mod security;
mod service;
pub mod survey;
mod tracker;
pub mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinHandle;

use self::error::ClusterError;
pub use self::plan::{KubernetesPlan, NodeChoice, remove_rest};
use self::pods::{PodPlan, Run};
use self::retry::steadily;
use self::tracker::Tracker;
use linerate_experiment::Experiment;
use linerate_runner::platform::{AgentEndpoint, NodeWatcher, Platform, PlatformError, Token};

/// Concurrent requests.
const AT_ONCE: usize = 16;

/// Agents as pods. When it is dropped, the agents exit after their orphan time, and the next run removes
/// their objects.
#[derive(Debug)]
pub struct KubernetesPlatform {
    plan: KubernetesPlan,
    experiment: Experiment,
    id: String,
    log_directory: PathBuf,
    /// True when other runs may have begun since the plan was made.
    starts_later: bool,
    /// True when the lease exists or may exist.
    has_begun: bool,
    /// True when the lease says that the pods are kept: all of them run.
    is_kept: bool,
    owner: Option<OwnerReference>,
    tokens: BTreeMap<String, Token>,
    tracker: Option<Tracker>,
    renewal: Option<JoinHandle<()>>,
    lease_loss: lease::Loss,
    /// The Service of the current target, once it exists or may exist.
    service: Option<service::ServicePlan>,
    /// The Service whose endpoints did not get ready.
    unready: Option<service::ServicePlan>,
    /// Pods that watch nodes, once they exist or may exist.
    watchers: Vec<node_view::Watcher>,
    /// Since when adopted pods are used; they are left in place.
    adopted: Option<Instant>,
}

impl KubernetesPlatform {
    /// A platform that runs the agents of run `id` as planned, and stores their logs in `log_directory` at
    /// the end.
    pub fn new(plan: KubernetesPlan, experiment: Experiment, id: &str, log_directory: &Path) -> Self {
        Self {
            plan,
            experiment,
            id: id.to_owned(),
            log_directory: log_directory.to_owned(),
            starts_later: false,
            has_begun: false,
            is_kept: false,
            owner: None,
            tokens: BTreeMap::new(),
            tracker: None,
            renewal: None,
            lease_loss: lease::Loss::default(),
            service: None,
            unready: None,
            watchers: Vec::new(),
            adopted: None,
        }
    }

    /// A platform on the kept pods of run `id`, as [`KubernetesPlan::of_kept`] found them.
    pub fn on_kept(plan: KubernetesPlan, experiment: Experiment, id: &str, log_directory: &Path) -> Self {
        let mut platform = Self::new(plan, experiment, id, log_directory);
        platform.adopted = Some(Instant::now());
        platform
    }

    /// The same, for a start that is not right after the plan: it first looks whether names are still free.
    pub fn that_starts_later(mut self) -> Self {
        self.starts_later = true;
        self
    }

    fn client(&self) -> &Client {
        &self.plan.client
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client().clone(), &self.plan.namespace)
    }

    async fn launch(&mut self, say: &dyn Fn(&str)) -> Result<Vec<Vec<AgentEndpoint>>, ClusterError> {
        if self.adopted.is_some() {
            self.tokens = adopt::tokens(self.client(), &self.plan.namespace, &self.id).await?;
            self.tracker = Some(Tracker::start(self.client(), &self.plan.namespace, &self.id));
            return self.await_all(say).await;
        }
        self.plan.remove_leftovers(say).await?;
        if self.starts_later {
            self.plan.find_names_free(&self.experiment, say).await?;
        }
        let namespace = &self.plan.namespace;
        // The request may be carried out even if its answer is not waited for.
        self.has_begun = true;
        let lease = lease::create(&self.plan.client, namespace, &self.id).await;
        self.has_begun = lease.as_ref().map_or_else(ClusterError::is_transient, |_| true);
        let owner = lease?;
        let (id, uid, loss) = (self.id.clone(), owner.uid.clone(), self.lease_loss.clone());
        self.owner = Some(owner);
        let renewal = lease::renew(self.client().clone(), namespace.clone(), id, uid, loss);
        self.renewal = Some(tokio::spawn(renewal));
        self.tracker = Some(Tracker::start(self.client(), namespace, &self.id));
        for name in self.plan.names(&self.experiment) {
            let token = Token::random().map_err(|error| ClusterError::NotReady(error.to_string()))?;
            self.tokens.insert(name, token);
        }
        self.create_all().await?;
        let endpoints = self.await_all(say).await?;
        if self.experiment.kubernetes().keep {
            // Not before: what an unfinished start leaves must be removed.
            lease::keep(self.client(), &self.plan.namespace, &self.id).await?;
            self.is_kept = true;
        }
        Ok(endpoints)
    }

    async fn await_all(&self, say: &dyn Fn(&str)) -> Result<Vec<Vec<AgentEndpoint>>, ClusterError> {
        let names: Vec<String> = self.plan.pods.iter().map(PodPlan::name).collect();
        self.wait_until_running(&names, say).await?;
        self.endpoints()
    }

    /// Recreates both pods of a pair, with the same names and tokens.
    async fn relaunch(
        &mut self,
        number: usize,
        say: &dyn Fn(&str),
    ) -> Result<Vec<AgentEndpoint>, ClusterError> {
        if self.adopted.is_some() {
            return Err(ClusterError::NotReady(format!(
                "the pods of run {} are not this run's to start anew",
                self.id
            )));
        }
        if let Some(reason) = self.lease_loss.get() {
            return Err(ClusterError::NotReady(format!("run {} starts no pods any more: {reason}", self.id)));
        }
        let plans: Vec<PodPlan> =
            self.plan.pods.iter().filter(|plan| plan.group == number).cloned().collect();
        let pods = self.pods();
        let names: Vec<String> = plans.iter().map(PodPlan::name).collect();
        remove::pods(&pods, &self.id, &names).await?;
        if let Some(tracker) = &self.tracker {
            tracker.forget(&names);
        }
        let run = Run { experiment: &self.experiment, id: &self.id, owner: self.owner.as_ref() };
        for plan in &plans {
            create(&pods, &run.pod(plan), &self.id).await?;
        }
        self.wait_until_running(&names, say).await?;
        let tracker = self
            .tracker
            .as_ref()
            .ok_or_else(|| ClusterError::NotReady("the watch of the pods has ended".to_owned()))?;
        self.group(tracker, &plans)
    }

    async fn create_all(&self) -> Result<(), ClusterError> {
        let run = Run { experiment: &self.experiment, id: &self.id, owner: self.owner.as_ref() };
        let secrets: Api<Secret> = Api::namespaced(self.client().clone(), &self.plan.namespace);
        create(&secrets, &run.secret(&self.tokens), &self.id).await?;
        let (claims, pods) = (
            Api::<PersistentVolumeClaim>::namespaced(self.client().clone(), &self.plan.namespace),
            self.pods(),
        );
        let (claims, pods) = (&claims, &pods);
        stream::iter(&self.plan.pods)
            .map(Ok)
            .try_for_each_concurrent(AT_ONCE, |plan| async move {
                if let Some(claim) = run.claim(plan) {
                    create(claims, &claim, &self.id).await?;
                }
                create(pods, &run.pod(plan), &self.id).await
            })
            .await
    }

    async fn wait_until_running(&self, names: &[String], say: &dyn Fn(&str)) -> Result<(), ClusterError> {
        let Some(tracker) = &self.tracker else { return Ok(()) };
        let limit = self.experiment.kubernetes().ready_timeout.get();
        match tracker.until_running(names, limit, say).await {
            Ok(()) => Ok(()),
            Err(reason) => {
                // The reason has the pod's own messages; events cover the time before.
                let events = tracker.warnings(names).await;
                let news =
                    events.iter().filter(|event| !reason.contains(event.split(": ").nth(1).unwrap_or(event)));
                let lines: String = news.map(|event| format!("\n  {event}")).collect();
                Err(ClusterError::NotReady(format!("{reason}{lines}")))
            }
        }
    }
}

/// Creates an object of the run `id`; an object that an earlier attempt of the request created is accepted.
async fn create<K>(api: &Api<K>, object: &K, id: &str) -> Result<(), ClusterError>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let name = object.name_any();
    let mut attempts = 0;
    let created = steadily(|| {
        attempts += 1;
        async move { api.create(&PostParams::default(), object).await }
    })
    .await;
    match created {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status))
            if status.code == 409 && attempts > 1 && is_ours(api, &name, id).await =>
        {
            Ok(())
        }
        Err(error) => Err(ClusterError::while_(format!("create {} {name}", K::kind(&())))(error)),
    }
}

/// True when the object of this name belongs to the run, by its name or its labels.
async fn is_ours<K>(api: &Api<K>, name: &str, id: &str) -> bool
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let has_labels = async || match steadily(|| api.get_metadata_opt(name)).await {
        Ok(found) => found.is_some_and(|found| names::is_of(&found, id)),
        Err(_) => false,
    };
    name.contains(id) || has_labels().await
}

impl Platform for KubernetesPlatform {
    async fn start(&mut self, say: &dyn Fn(&str)) -> Result<Vec<Vec<AgentEndpoint>>, PlatformError> {
        Ok(self.launch(say).await?)
    }

    async fn restart(
        &mut self,
        number: usize,
        say: &dyn Fn(&str),
    ) -> Result<Vec<AgentEndpoint>, PlatformError> {
        Ok(self.relaunch(number, say).await?)
    }

    async fn watch_nodes(&mut self, say: &dyn Fn(&str)) -> Vec<NodeWatcher> {
        self.launch_watchers(say).await
    }

    fn keeps(&self) -> bool {
        self.experiment.kubernetes().keep
    }

    async fn stop(&mut self, _asked: bool) {
        if self.is_taken_over().await {
            tracing::error!(
                run = self.id,
                "another controller has taken the run over: pods, logs and lease are its own, and stay"
            );
            return;
        }
        if self.owner.is_some() || self.adopted.is_some() {
            let watchers = self.watchers.iter().map(|watcher| watcher.name.clone());
            let names: Vec<String> = self.plan.pods.iter().map(PodPlan::name).chain(watchers).collect();
            logs::keep(&self.pods(), &names, &self.log_directory, self.adopted).await;
        }
        if !self.has_begun {
            return;
        }
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        self.tracker = None;
        if !self.is_kept {
            self.remove_all().await;
        }
    }
}

impl KubernetesPlatform {
    /// Removes the objects of a failed start, even if they were to be kept.
    pub async fn give_up(&mut self) {
        if self.has_begun && !self.is_taken_over().await {
            self.tracker = None;
            self.remove_all().await;
        }
    }

    /// True when another controller took this one for dead and the run over.
    async fn is_taken_over(&self) -> bool {
        let Some(owner) = &self.owner else { return false };
        !lease::is_still_ours(self.client(), &self.plan.namespace, &self.id, &owner.uid).await
    }

    async fn remove_all(&self) {
        if let Err(error) = remove::remove(self.client(), &self.plan.namespace, &self.id).await {
            tracing::error!(%error, run = self.id, "objects are left in the cluster; `linerate pods delete` removes them");
        }
    }
}

impl Drop for KubernetesPlatform {
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
    }
}
