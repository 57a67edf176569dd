//! `run` for experiments of streams.

mod table;

use linerate_experiment::Experiment;
use linerate_experiment::document::PlatformKind;
use linerate_experiment::plan::Plan;
use linerate_experiment::streams::StreamsPlan;
use linerate_kubernetes::{KubernetesPlan, KubernetesPlatform, manifests};
use linerate_metrics::Listener;
use linerate_results::summary::Summary;
use linerate_runner::platform::binary::HOSTPLANE;
use linerate_runner::platform::local_kernel::{LocalKernel, LocalKernelPlan};
use linerate_runner::platform::{Platform, PlatformError};
use linerate_runner::run::streams::{StreamsJob, end_streams, run_streams};
use serde_json::json;

use super::output::{print, say, width};
use super::planned::{self, Begun};
use super::run::{Place, hand_over, runtime};
use super::{Ending, RunArgs, metrics};

pub(super) use table::trials;

/// Runs an experiment of streams.
pub(super) async fn run(
    args: &RunArgs,
    experiment: &Experiment,
    plan: &StreamsPlan,
    listener: Option<Listener>,
) -> anyhow::Result<Ending> {
    let kept = |summary: &Summary| summary.streams.len();
    let earlier =
        match planned::earlier(args, experiment, &Plan { trials: Vec::new() }, plan.trials.len(), kept)? {
            Begun::Complete(ending) => return Ok(ending),
            Begun::Measured(earlier) => {
                let summary = end_streams(experiment, plan, args.filter.as_deref(), &earlier)?;
                return hand_over(args, &summary, &earlier.store);
            }
            Begun::Partly(earlier) => Some(*earlier),
            Begun::Not => None,
        };
    match experiment.platform() {
        PlatformKind::Local => {
            let local = LocalKernelPlan::new(experiment)?;
            let program = HOSTPLANE.find(args.hostplane.clone()).map_err(PlatformError::from)?;
            local.notes.iter().for_each(|note| args.note(note));
            let place = Place::of(earlier, args)?;
            let platform = LocalKernel::new(local, program, place.store.directory().to_owned());
            measure(args, experiment, plan, &place, platform, listener).await
        }
        PlatformKind::Kubernetes if args.pods.is_some() => {
            anyhow::bail!("--pods: pods of streams are not kept between runs; leave it out")
        }
        PlatformKind::Kubernetes => {
            let id = earlier.as_ref().map(|earlier| earlier.store.id());
            let say = |text: &str| args.note(text);
            let mut cluster =
                KubernetesPlan::new(experiment, &[], id, &say).await.map_err(PlatformError::from)?;
            cluster.remove_leftovers(&say).await.map_err(PlatformError::from)?;
            cluster.validate(experiment).await.map_err(PlatformError::from)?;
            cluster.notes.iter().for_each(|note| args.note(note));
            let place = Place::of(earlier, args)?;
            let (id, directory) = (place.store.id(), place.store.directory());
            let platform = KubernetesPlatform::new(cluster, experiment.clone(), id, directory);
            measure(args, experiment, plan, &place, platform, listener).await
        }
    }
}

async fn measure(
    args: &RunArgs,
    experiment: &Experiment,
    plan: &StreamsPlan,
    place: &Place,
    mut platform: impl Platform,
    listener: Option<Listener>,
) -> anyhow::Result<Ending> {
    let Place { store, recorded } = place;
    let metrics = |listener| metrics::serve_streams(listener, store.id(), experiment.name());
    planned::measure(args, store, listener, metrics, async |interrupted, watchers| {
        let (filter, earlier) = (args.filter.as_deref(), recorded.as_ref());
        let job = StreamsJob { experiment, plan, filter, earlier, store, interrupted };
        run_streams(job, &mut platform, watchers).await
    })
    .await
}

/// Prints the plan of a run and the agents that it would start.
pub(super) fn dry_run(args: &RunArgs, experiment: &Experiment, plan: &StreamsPlan) -> anyhow::Result<()> {
    if experiment.platform() == PlatformKind::Kubernetes {
        return runtime()?.block_on(dry_run_of_pods(args, experiment, plan));
    }
    let local = LocalKernelPlan::new(experiment)?;
    let program = match HOSTPLANE.find(args.hostplane.clone()) {
        Ok(path) => path.display().to_string(),
        Err(problem) => {
            say(&format!("warning: {problem}"));
            HOSTPLANE.name.to_owned()
        }
    };
    // All agents are on this machine.
    let view = plan.view(experiment, &vec![String::new(); local.agents.len()]);
    if args.json {
        let agents = local.agents.iter().map(|agent| {
            let command_line: Vec<&String> = std::iter::once(&program).chain(&agent.arguments).collect();
            json!({ "name": agent.name, "command_line": command_line })
        });
        let agents: Vec<_> = agents.collect();
        print(&serde_json::to_string(&json!({ "plan": view, "agents": agents, "notes": local.notes }))?)?;
        return Ok(());
    }
    print(&table::plan(&view, width()))?;
    for agent in &local.agents {
        print(&format!("{}: {program} {}", agent.name, agent.arguments.join(" ")))?;
    }
    for note in &local.notes {
        print(&format!("note: {note}"))?;
    }
    Ok(())
}

/// Prints plan and manifests. The API server validates the manifests without storing them.
async fn dry_run_of_pods(args: &RunArgs, experiment: &Experiment, plan: &StreamsPlan) -> anyhow::Result<()> {
    let mut cluster = KubernetesPlan::new(experiment, &[], None, &say).await.map_err(PlatformError::from)?;
    let objects = manifests::of(&cluster, experiment);
    cluster.validate(experiment).await.map_err(PlatformError::from)?;
    let view = plan.view(experiment, &[]);
    if args.json {
        let plan = json!({ "plan": view, "namespace": cluster.namespace, "server": cluster.server, "manifests": objects, "notes": cluster.notes });
        return Ok(print(&serde_json::to_string(&plan)?)?);
    }
    // As comments, so that `kubectl apply` accepts the whole output.
    for line in table::plan(&view, None).lines() {
        print(format!("# {line}").trim_end())?;
    }
    print(&format!("# namespace {} of {}", cluster.namespace, cluster.server))?;
    for note in &cluster.notes {
        print(&format!("# note: {note}"))?;
    }
    for object in &objects {
        print(&format!("---\n{}", serde_saphyr::to_string(object)?.trim_end()))?;
    }
    Ok(())
}

/// True when a summary is of streams.
pub(super) fn is_of_streams(summary: &Summary) -> bool {
    !summary.streams.is_empty() || !summary.experiment.streams_agents.is_empty()
}
