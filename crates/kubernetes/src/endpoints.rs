//! Endpoints of agents in running pods, and a check of their nodes.

use super::KubernetesPlatform;
use super::error::ClusterError;
use super::forward::PortForward;
use super::pods::{AGENT_PORT, PodPlan, Run};
use super::tracker::Tracker;
use linerate_experiment::kubernetes::PlacementRule;
use linerate_results::store::environment::PodPlace;
use linerate_runner::platform::AgentEndpoint;
use linerate_runner::session::Dialer;

impl KubernetesPlatform {
    /// The endpoints of all agents, after a check of the pods' nodes.
    ///
    /// # Errors
    /// When a pod has gone, or runs on the wrong node.
    pub(super) fn endpoints(&self) -> Result<Vec<Vec<AgentEndpoint>>, ClusterError> {
        let Some(tracker) = &self.tracker else { return Ok(Vec::new()) };
        self.plan.pods.chunk_by(|a, b| a.group == b.group).map(|pods| self.group(tracker, pods)).collect()
    }

    pub(super) fn group(
        &self,
        tracker: &Tracker,
        pods: &[PodPlan],
    ) -> Result<Vec<AgentEndpoint>, ClusterError> {
        let agents: Vec<_> = pods.iter().map(|pod| self.endpoint(tracker, pod)).collect::<Result<_, _>>()?;
        // Explicitly named nodes override the placement rule.
        if self.experiment.kubernetes().nodes.is_none() {
            self.are_placed(&agents)?;
        }
        Ok(agents)
    }

    /// Checks that agents which exchange packets run on nodes that the placement rule allows.
    fn are_placed(&self, agents: &[AgentEndpoint]) -> Result<(), ClusterError> {
        let rule = self.experiment.kubernetes().placement;
        for (one, other) in agents.iter().zip(agents.iter().skip(1)) {
            let together = one.node == other.node;
            let wrong = match rule {
                PlacementRule::SameNode => !together,
                PlacementRule::DifferentNodes => together,
                PlacementRule::Any => false,
            };
            if wrong {
                return Err(ClusterError::NotReady(format!(
                    "{} is on {} and {} on {}, which contradicts spec.kubernetes.placement",
                    one.name, one.node, other.name, other.node
                )));
            }
        }
        Ok(())
    }

    fn endpoint(&self, tracker: &Tracker, plan: &PodPlan) -> Result<AgentEndpoint, ClusterError> {
        let name = plan.name();
        let run = Run { experiment: &self.experiment, id: &self.id, owner: None };
        let container = run.pod(plan).spec.and_then(|spec| spec.containers.into_iter().next());
        let gone = || ClusterError::NotReady(format!("pod {name} is gone"));
        let (node, image_digest, address) = tracker.place(&name).ok_or_else(gone)?;
        let image = container.as_ref().and_then(|container| container.image.clone());
        Ok(AgentEndpoint {
            node,
            address,
            pod: Some(PodPlace { name: name.clone(), image, image_digest }),
            dialer: Dialer::new(PortForward { pods: self.pods(), pod: name.clone(), port: AGENT_PORT }),
            token: self.tokens.get(&name).ok_or_else(gone)?.clone(),
            command_line: container.and_then(|container| container.command).unwrap_or_default(),
            exit: tracker.exit(&name),
            name,
        })
    }
}
