//! `run --dry-run`: prints the plan of a run and the agents that it would start. Creates nothing.

use serde_json::json;

use super::output::{print, say, width};
use super::{RunArgs, engines, http, run, streams, table};
use linerate_experiment::Experiment;
use linerate_experiment::document::PlatformKind;
use linerate_experiment::engines::EnginesPlan;
use linerate_experiment::http::HttpPlan;
use linerate_experiment::plan::view;
use linerate_experiment::strategy::Strategy;
use linerate_experiment::streams::StreamsPlan;
use linerate_kubernetes::{KubernetesPlan, manifests};
use linerate_runner::platform::PlatformError;
use linerate_runner::platform::binary::DATAPLANE;
use linerate_runner::platform::local::LocalPlan;

pub(super) fn dry_run(args: &RunArgs) -> anyhow::Result<()> {
    let (experiment, strategy) = run::planned(args)?;
    let strategy = strategy.as_ref();
    if let Some(plan) = EnginesPlan::of(&experiment, args.filter.as_deref())? {
        return engines::dry_run(args, &experiment, &plan);
    }
    if let Some(plan) = StreamsPlan::of(&experiment, args.filter.as_deref())? {
        return streams::dry_run(args, &experiment, &plan);
    }
    if let Some(plan) = HttpPlan::of(&experiment, args.filter.as_deref())? {
        return http::dry_run(args, &experiment, &plan);
    }
    match experiment.platform() {
        PlatformKind::Local => local(args, &experiment, strategy),
        PlatformKind::Kubernetes => run::runtime()?.block_on(kubernetes(args, &experiment, strategy)),
    }
}

fn local(args: &RunArgs, experiment: &Experiment, strategy: &dyn Strategy) -> anyhow::Result<()> {
    let local = LocalPlan::new(experiment, strategy)?;
    let program = match DATAPLANE.find(args.dataplane.clone()) {
        Ok(path) => path.display().to_string(),
        Err(problem) => {
            say(&format!("warning: {problem}"));
            DATAPLANE.name.to_owned()
        }
    };
    let agents = local.pairs.iter().flat_map(|pair| [&pair.rx, &pair.tx]);
    let view = view(experiment, strategy);
    if args.json {
        let agents: Vec<_> = agents
            .map(|agent| {
                let command_line: Vec<&String> = std::iter::once(&program).chain(&agent.arguments).collect();
                json!({ "name": agent.name, "command_line": command_line })
            })
            .collect();
        print(&serde_json::to_string(&json!({ "plan": view, "agents": agents, "notes": local.notes }))?)?;
        return Ok(());
    }
    print(&table::plan(&view, width()))?;
    for agent in agents {
        print(&format!("{}: {program} {}", agent.name, agent.arguments.join(" ")))?;
    }
    for note in &local.notes {
        print(&format!("note: {note}"))?;
    }
    Ok(())
}

/// Prints plan and manifests. The API server validates the manifests without storing them.
async fn kubernetes(args: &RunArgs, experiment: &Experiment, strategy: &dyn Strategy) -> anyhow::Result<()> {
    let mut cluster = KubernetesPlan::new(experiment, &strategy.profiles(), None, &say)
        .await
        .map_err(PlatformError::from)?;
    let objects = manifests::of(&cluster, experiment);
    cluster.validate(experiment).await.map_err(PlatformError::from)?;
    let view = view(experiment, strategy);
    if args.json {
        let plan = json!({ "plan": view, "namespace": cluster.namespace, "server": cluster.server, "manifests": objects, "notes": cluster.notes });
        print(&serde_json::to_string(&plan)?)?;
        return Ok(());
    }
    // As comments, so that `kubectl apply` accepts the whole output.
    for line in table::plan(&view, None).lines() {
        print(format!("# {line}").trim_end())?;
    }
    print(&format!("# namespace {} of {}", cluster.namespace, cluster.server))?;
    for pod in &cluster.pods {
        let node = pod.node.as_deref().unwrap_or("a node of the scheduler's choice");
        print(&format!("# {}: {node}", pod.name()))?;
    }
    for note in &cluster.notes {
        print(&format!("# note: {note}"))?;
    }
    for object in &objects {
        print(&format!("---\n{}", serde_saphyr::to_string(object)?.trim_end()))?;
    }
    Ok(())
}
