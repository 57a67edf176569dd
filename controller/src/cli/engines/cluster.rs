//! Experiments of engines on a cluster: a plan of pods for each part, all of them checked before the first pod starts.

use std::collections::BTreeMap;

use anyhow::bail;
use linerate_experiment::Experiment;
use linerate_experiment::engines::{EngineName, EnginesPlan, PartTrials, PlannedPart};
use linerate_experiment::kubernetes::NodePair;
use linerate_experiment::strategy::Strategy;
use linerate_kubernetes::{KubernetesPlan, KubernetesPlatform, manifests};
use linerate_results::store::Earlier;
use linerate_results::summary::Summary;
use linerate_runner::platform::PlatformError;
use linerate_runner::run::engines::{PartPlatform, is_begun, is_measured};
use linerate_traffic::profile::Profile;
use linerate_wire::trial::Role;
use serde_json::json;

use super::{engine_notes, table, views};
use crate::cli::RunArgs;
use crate::cli::output::{print, say};

/// The pods of a part.
pub(super) struct PartPods {
    experiment: Experiment,
    plan: KubernetesPlan,
    is_of_frames: bool,
}

impl PartPods {
    /// The platform that runs the part in run `id`.
    pub(super) fn platform(
        self,
        id: &str,
        directory: &std::path::Path,
    ) -> PartPlatform<KubernetesPlatform, KubernetesPlatform> {
        // The plan may be hours old when the part begins.
        let platform = KubernetesPlatform::new(self.plan, self.experiment, id, directory).that_starts_later();
        match self.is_of_frames {
            true => PartPlatform::Frames(platform),
            false => PartPlatform::Datagrams(platform),
        }
    }
}

/// The plans of the parts, all on the same two nodes: engines are compared on one path. A run that goes on stays on the nodes of its `earlier`
/// part; there is no plan for what is measured already.
///
/// # Errors
/// What the cluster refuses, and when the nodes of several parts would be the scheduler's choice.
async fn planned(
    plan: &EnginesPlan,
    earlier: Option<&Earlier>,
    removes: bool,
    say: &dyn Fn(&str),
) -> anyhow::Result<Vec<Option<PartPods>>> {
    let summary = earlier.map(|earlier| &earlier.summary);
    let mut nodes = summary.and_then(|summary| nodes_of_run(plan, summary));
    let mut planned: Vec<Option<PartPods>> = plan.parts.iter().map(|_| None).collect();
    let is_open = |place: &usize| summary.is_none_or(|summary| !is_measured(&plan.parts[*place], summary));
    let mut open: Vec<usize> = (0..plan.parts.len()).filter(is_open).collect();
    // Nodes that have devices have all that other engines need.
    open.sort_by_key(|place| plan.parts[*place].experiment.engine() != Some(EngineName::Devices));
    for place in open {
        let part = &plan.parts[place];
        let mut experiment = part.experiment.clone();
        if let Some(nodes) = nodes.clone() {
            experiment.document.spec.kubernetes.put_on(nodes);
        }
        let (profiles, is_of_frames): (Vec<Profile>, bool) = match &part.trials {
            PartTrials::Frames(trials) => (trials.profiles(), true),
            PartTrials::Datagrams(_) => (Vec::new(), false),
        };
        let resumed = earlier.map(|earlier| earlier.store.id());
        let mut pods =
            KubernetesPlan::new(&experiment, &profiles, resumed, say).await.map_err(PlatformError::from)?;
        nodes = nodes.or_else(|| nodes_of(&pods));
        if nodes.is_none() && plan.parts.len() > 1 {
            bail!(
                "spec.kubernetes.nodes: missing, and this account may not list the nodes, so each engine might run on others\n  remedy: name the nodes of the pair (--node), or have the account allowed to list nodes (linerate rbac --cluster)"
            );
        }
        if removes {
            pods.remove_leftovers(say).await.map_err(PlatformError::from)?;
        }
        pods.validate(&experiment).await.map_err(PlatformError::from)?;
        planned[place] = Some(PartPods { experiment, plan: pods, is_of_frames });
    }
    Ok(planned)
}

/// Nodes of the pair on which the trials of a summary were run; `None` when it has none.
fn nodes_of_run(plan: &EnginesPlan, summary: &Summary) -> Option<NodePair> {
    if summary.trials.is_empty() && summary.streams.is_empty() {
        return None;
    }
    let of_frames = summary.experiment.agents.iter().map(|agent| (&agent.name, &agent.node));
    let of_sockets = summary.experiment.streams_agents.iter().map(|agent| (&agent.name, &agent.node));
    let agents: BTreeMap<&String, &String> = of_frames.chain(of_sockets).collect();
    let nodes_of_part = |part: &PlannedPart| {
        let topology = part.experiment.topology();
        let node = |role: Role| {
            let agent = topology.agents().find(|agent| agent.role == role)?;
            agents.get(&agent.name).map(|node| (*node).clone())
        };
        Some(NodePair { tx: Some(node(Role::Tx)?), rx: Some(node(Role::Rx)?) })
    };
    plan.parts.iter().filter(|part| is_begun(part, summary)).find_map(nodes_of_part)
}

/// Nodes of the pair; `None` where the scheduler chooses one of them.
fn nodes_of(plan: &KubernetesPlan) -> Option<NodePair> {
    let node = |role: Role| plan.pods.iter().find(|pod| pod.agent.role == role)?.node.clone();
    Some(NodePair { tx: Some(node(Role::Tx)?), rx: Some(node(Role::Rx)?) })
}

fn notes_of(part: &Option<PartPods>) -> &[String] {
    part.as_ref().map_or(&[], |part| part.plan.notes.as_slice())
}

/// The plans of a run; what runs of dead controllers left is removed. `earlier` is the run that goes on.
pub(super) async fn of_run(
    args: &RunArgs,
    plan: &EnginesPlan,
    earlier: Option<&Earlier>,
) -> anyhow::Result<Vec<Option<PartPods>>> {
    let planned = planned(plan, earlier, true, &|text| args.note(text)).await?;
    engine_notes(plan, planned.iter().map(notes_of)).iter().for_each(|note| args.note(note));
    Ok(planned)
}

/// Prints plan and manifests. The API server validates the manifests without storing them.
pub(super) async fn dry_run(
    args: &RunArgs,
    experiment: &Experiment,
    plan: &EnginesPlan,
) -> anyhow::Result<()> {
    let parts = planned(plan, None, false, &say).await?;
    let notes = engine_notes(plan, parts.iter().map(notes_of));
    let parts: Vec<PartPods> = parts.into_iter().flatten().collect();
    let objects = parts.iter().flat_map(|part| manifests::of(&part.plan, &part.experiment));
    let Some(KubernetesPlan { namespace, server, .. }) = parts.first().map(|part| &part.plan) else {
        return Ok(());
    };
    if args.json {
        let objects: Vec<_> = objects.collect();
        let shown = json!({ "parts": views(plan), "namespace": namespace, "server": server, "manifests": objects, "notes": notes });
        return Ok(print(&serde_json::to_string(&shown)?)?);
    }
    // As comments, so that `kubectl apply` accepts the whole output.
    for line in table::plan(experiment, plan, None).lines() {
        print(format!("# {line}").trim_end())?;
    }
    print(&format!(
        "# namespace {namespace} of {server}; the pods of an engine start when those of the one before are gone"
    ))?;
    for pod in parts.iter().flat_map(|part| &part.plan.pods) {
        let node = pod.node.as_deref().unwrap_or("a node of the scheduler's choice");
        print(&format!("# {}: {node}", pod.name()))?;
    }
    for note in notes {
        print(&format!("# note: {note}"))?;
    }
    for object in objects {
        print(&format!("---\n{}", serde_saphyr::to_string(&object)?.trim_end()))?;
    }
    Ok(())
}
