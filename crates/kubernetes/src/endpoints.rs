//! The agents in pods that run, and where they came to be.

use super::KubernetesPlatform;
use super::error::ClusterError;
use super::forward::PortForward;
use super::pods::{AGENT_PORT, PodPlan, Run};
use super::tracker::Tracker;
use linerate_experiment::kubernetes::PlacementRule;
use linerate_results::store::environment::PodPlace;
use linerate_runner::platform::{AgentEndpoint, PairEndpoints};
use linerate_runner::session::Dialer;

impl KubernetesPlatform {
    /// The endpoints, after a look at whether the pods are where they were to be.
    ///
    /// # Errors
    /// When a pod is gone, or where it was not to be.
    pub(super) fn endpoints(&self) -> Result<Vec<PairEndpoints>, ClusterError> {
        let Some(tracker) = &self.tracker else { return Ok(Vec::new()) };
        self.plan.pods.chunks(2).map(|ends| self.pair(tracker, ends)).collect()
    }

    pub(super) fn pair(&self, tracker: &Tracker, ends: &[PodPlan]) -> Result<PairEndpoints, ClusterError> {
        let [tx, rx] = ends else { return Err(ClusterError::NotReady("a pair has two pods".to_owned())) };
        let (tx, rx) = (self.endpoint(tracker, tx)?, self.endpoint(tracker, rx)?);
        let together = tx.node == rx.node;
        let wrong = match self.experiment.kubernetes().placement {
            PlacementRule::SameNode => !together,
            PlacementRule::DifferentNodes => together,
            PlacementRule::Any => false,
        };
        // Nodes that were named for both are as asked, whatever the rule.
        let named = self.experiment.kubernetes().nodes.is_some();
        if wrong && !named {
            return Err(ClusterError::NotReady(format!(
                "{} is on {} and {} on {}, which is not what spec.kubernetes.placement asks for",
                tx.name, tx.node, rx.name, rx.node
            )));
        }
        Ok(PairEndpoints { tx, rx })
    }

    fn endpoint(&self, tracker: &Tracker, plan: &PodPlan) -> Result<AgentEndpoint, ClusterError> {
        let name = plan.name();
        let run = Run { experiment: &self.experiment, id: &self.id, owner: None };
        let container = run.pod(plan).spec.and_then(|spec| spec.containers.into_iter().next());
        let gone = || ClusterError::NotReady(format!("pod {name} is gone"));
        let (node, image_digest) = tracker.place(&name).ok_or_else(gone)?;
        let image = container.as_ref().and_then(|container| container.image.clone());
        Ok(AgentEndpoint {
            node,
            pod: Some(PodPlace { name: name.clone(), image, image_digest }),
            dialer: Dialer::new(PortForward { pods: self.pods(), pod: name.clone(), port: AGENT_PORT }),
            token: self.tokens.get(&name).ok_or_else(gone)?.clone(),
            command_line: container.and_then(|container| container.command).unwrap_or_default(),
            exit: tracker.exit(&name),
            name,
        })
    }
}
