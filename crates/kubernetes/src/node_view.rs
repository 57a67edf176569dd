//! Node view: a pod in the network of each node on which agents run, which watches what pods do not see.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use linerate_results::store::environment::PodPlace;
use linerate_runner::platform::{AgentEndpoint, NodeWatcher};
use linerate_runner::session::Dialer;
use serde::Deserialize;

use super::error::{ClusterError, is_pod_security, is_refusal};
use super::forward::PortForward;
use super::pods::{AGENT, Run, watcher};
use super::tracker::Tracker;
use super::{AT_ONCE, KubernetesPlatform, create};

/// Time from when the container of a watcher runs until its log has the address at which it listens.
const LISTEN_TIME: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);
/// Most bytes read of a log: the address is in one of its first lines.
const LOG_BYTES: i64 = 64 * 1024;

/// A pod that watches a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watcher {
    pub(super) name: String,
    node: String,
}

/// The line with which an agent says where it listens.
#[derive(Deserialize)]
struct Listening {
    listening: SocketAddr,
}

impl KubernetesPlatform {
    /// Starts a watcher for each node on which pods run. A run goes on without one that does not get to run: nodes may have
    /// no room besides the agents.
    pub(super) async fn launch_watchers(&mut self, say: &dyn Fn(&str)) -> Vec<NodeWatcher> {
        if !self.experiment.kubernetes().node_view || self.adopted.is_some() {
            return Vec::new();
        }
        self.watchers = self.watchers_of_nodes();
        self.start_watchers(say).await
    }

    async fn start_watchers(&self, say: &dyn Fn(&str)) -> Vec<NodeWatcher> {
        let Some(tracker) = &self.tracker else { return Vec::new() };
        say(&format!("starting {} pods that watch nodes", self.watchers.len()));
        let run = Run { experiment: &self.experiment, id: &self.id, owner: self.owner.as_ref() };
        let (id, pods) = (&self.id, &self.pods());
        let creating = self
            .watchers
            .iter()
            .map(|Watcher { name, node }| async move { create(pods, &run.watcher(name, node), id).await });
        let created: Vec<_> = stream::iter(creating).buffered(AT_ONCE).collect().await;
        let there = self.watchers.iter().zip(&created).filter(|(_, created)| created.is_ok());
        let names: Vec<String> = there.map(|(watcher, _)| watcher.name.clone()).collect();
        let limit = self.experiment.kubernetes().ready_timeout.get();
        let not_running = &tracker.until_settled(&names, limit).await;
        let reached = self.watchers.iter().zip(created).map(|(watcher, created)| async move {
            let agent = match (created, not_running.get(&watcher.name)) {
                (Ok(()), None) => self.endpoint_of(watcher, pods).await,
                (Ok(()), Some(reason)) => {
                    Err(ClusterError::NotReady(format!("pod {} did not start: {reason}", watcher.name)))
                }
                (Err(error), _) => Err(error),
            };
            NodeWatcher { node: watcher.node.clone(), agent: agent.map_err(|error| error.to_string()) }
        });
        stream::iter(reached).buffered(AT_ONCE).collect().await
    }

    /// A watcher for each node on which pods of agents run, in the order of the pods.
    fn watchers_of_nodes(&self) -> Vec<Watcher> {
        let Some(tracker) = &self.tracker else { return Vec::new() };
        let places = self.plan.pods.iter().filter_map(|pod| tracker.place(&pod.name()));
        let mut seen = BTreeSet::new();
        let nodes = places.map(|(node, ..)| node).filter(|node| seen.insert(node.clone()));
        nodes.enumerate().map(|(number, node)| Watcher { name: watcher::name(number), node }).collect()
    }

    async fn endpoint_of(&self, watcher: &Watcher, pods: &Api<Pod>) -> Result<AgentEndpoint, ClusterError> {
        let Watcher { name, node } = watcher;
        let gone = || ClusterError::NotReady(format!("pod {name} is gone"));
        let tracker = self.tracker.as_ref().ok_or_else(gone)?;
        let port = port(name, pods, tracker).await?;
        let run = Run { experiment: &self.experiment, id: &self.id, owner: None };
        let container = run.watcher(name, node).spec.and_then(|spec| spec.containers.into_iter().next());
        let (node, image_digest, address) = tracker.place(name).ok_or_else(gone)?;
        let image = container.as_ref().and_then(|container| container.image.clone());
        Ok(AgentEndpoint {
            node,
            address,
            pod: Some(PodPlace { name: name.clone(), image, image_digest }),
            dialer: Dialer::new(PortForward { pods: pods.clone(), pod: name.clone(), port }),
            token: self.tokens.get(name).ok_or_else(gone)?.clone(),
            command_line: container.and_then(|container| container.command).unwrap_or_default(),
            exit: tracker.exit(name),
            name: name.clone(),
        })
    }
}

/// The port on the node's loopback address that the kernel gave to a watcher, from its log.
async fn port(name: &str, pods: &Api<Pod>, tracker: &Tracker) -> Result<u16, ClusterError> {
    let params =
        LogParams { container: Some(AGENT.to_owned()), limit_bytes: Some(LOG_BYTES), ..LogParams::default() };
    let begun = Instant::now();
    loop {
        let log = pods.logs(name, &params).await;
        if let Some(port) = log.as_ref().ok().and_then(|log| listening(log)) {
            return Ok(port);
        }
        let is_over = begun.elapsed() > LISTEN_TIME || tracker.place(name).is_none();
        match log {
            Err(error) if is_over => {
                return Err(ClusterError::while_(format!("read the log of pod {name}"))(error));
            }
            Ok(log) if is_over => {
                let last = log.lines().last().unwrap_or("nothing");
                return Err(ClusterError::NotReady(format!(
                    "{name} runs and has not said within {} s where it listens; its log ends with: {last}",
                    LISTEN_TIME.as_secs()
                )));
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The port in the line of a log that says where the agent listens.
fn listening(log: &str) -> Option<u16> {
    let said = log.lines().find_map(|line| serde_json::from_str::<Listening>(line).ok())?;
    Some(said.listening.port())
}

/// Adds the remedy to the server's refusal of a watcher.
pub(super) fn explained(error: ClusterError, namespace: &str) -> ClusterError {
    match error {
        ClusterError::Request { action, reason } if is_refusal(&reason) => {
            let unlabelled = is_pod_security(&reason).then(|| namespace.to_owned());
            let server = ClusterError::Request { action, reason }.to_string();
            ClusterError::NodeView { server, unlabelled }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_among_other_lines() {
        let log = "2026-01-01T00:00:00Z  WARN some note\n{\"error\":{\"message\":\"no\"}}\n\
                   {\"listening\":\"127.0.0.1:40123\",\"streams\":[\"127.0.0.1:40124\"]}\nmore";
        assert_eq!(listening(log), Some(40123));
        assert_eq!(listening("{\"listening\":\"127.0.0.1:401"), None);
        assert_eq!(listening(""), None);
    }
}
