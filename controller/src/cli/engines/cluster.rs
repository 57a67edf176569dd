//! Experiments of engines on a cluster: a plan of pods for each part, all of them checked before the first pod starts.

use linerate_experiment::Experiment;
use linerate_experiment::engines::{EnginesPlan, PartTrials};
use linerate_experiment::kubernetes::NodePair;
use linerate_experiment::strategy::Strategy;
use linerate_kubernetes::{KubernetesPlan, KubernetesPlatform, manifests};
use linerate_runner::platform::PlatformError;
use linerate_runner::run::engines::PartPlatform;
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
        let platform = KubernetesPlatform::new(self.plan, self.experiment, id, directory);
        match self.is_of_frames {
            true => PartPlatform::Frames(platform),
            false => PartPlatform::Datagrams(platform),
        }
    }
}

/// The plans of all parts, on the nodes of the first: engines are compared on one path.
async fn planned(
    plan: &EnginesPlan,
    resumed: Option<&str>,
    removes: bool,
    say: &dyn Fn(&str),
) -> anyhow::Result<Vec<PartPods>> {
    let mut planned: Vec<PartPods> = Vec::new();
    for part in &plan.parts {
        let mut experiment = part.experiment.clone();
        if let Some(nodes) = planned.first().and_then(|first| nodes_of(&first.plan)) {
            experiment.document.spec.kubernetes.put_on(nodes);
        }
        let (profiles, is_of_frames): (Vec<Profile>, bool) = match &part.trials {
            PartTrials::Frames(trials) => (trials.profiles(), true),
            PartTrials::Datagrams(_) => (Vec::new(), false),
        };
        let mut pods =
            KubernetesPlan::new(&experiment, &profiles, resumed, say).await.map_err(PlatformError::from)?;
        if removes {
            pods.remove_leftovers(say).await.map_err(PlatformError::from)?;
        }
        pods.validate(&experiment).await.map_err(PlatformError::from)?;
        planned.push(PartPods { experiment, plan: pods, is_of_frames });
    }
    Ok(planned)
}

/// Nodes of the pair; `None` where the scheduler chooses one of them.
fn nodes_of(plan: &KubernetesPlan) -> Option<NodePair> {
    let node = |role: Role| plan.pods.iter().find(|pod| pod.agent.role == role)?.node.clone();
    Some(NodePair { tx: Some(node(Role::Tx)?), rx: Some(node(Role::Rx)?) })
}

/// The plans of a run; what runs of dead controllers left is removed. `resumed` is the id of the run that goes on.
pub(super) async fn of_run(
    args: &RunArgs,
    plan: &EnginesPlan,
    resumed: Option<&str>,
) -> anyhow::Result<Vec<PartPods>> {
    let planned = planned(plan, resumed, true, &|text| args.note(text)).await?;
    let notes = planned.iter().map(|part| part.plan.notes.as_slice());
    engine_notes(plan, notes).iter().for_each(|note| args.note(note));
    Ok(planned)
}

/// Prints plan and manifests. The API server validates the manifests without storing them.
pub(super) async fn dry_run(
    args: &RunArgs,
    experiment: &Experiment,
    plan: &EnginesPlan,
) -> anyhow::Result<()> {
    let parts = planned(plan, None, false, &say).await?;
    let notes = engine_notes(plan, parts.iter().map(|part| part.plan.notes.as_slice()));
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
