//! `run` for experiments of HTTP.

mod table;

use linerate_experiment::Experiment;
use linerate_experiment::http::HttpPlan;
use linerate_experiment::plan::Plan;
use linerate_metrics::Listener;
use linerate_results::summary::Summary;
use linerate_runner::platform::PlatformError;
use linerate_runner::platform::binary::HOSTPLANE;
use linerate_runner::platform::local_kernel::{LocalKernel, LocalKernelPlan};
use linerate_runner::run::http::{HttpJob, end_http, run_http};
use linerate_runner::run::observer::NoObserver;
use serde_json::json;

use super::output::{print, say, width};
use super::planned::{self, Begun};
use super::run::{Place, hand_over};
use super::{Ending, RunArgs};

pub(super) use table::trials;

/// Runs an experiment of HTTP.
pub(super) async fn run(
    args: &RunArgs,
    experiment: &Experiment,
    plan: &HttpPlan,
    listener: Option<Listener>,
) -> anyhow::Result<Ending> {
    if args.pods.is_some() {
        anyhow::bail!("--pods: experiments of HTTP run on this machine; leave it out");
    }
    if listener.is_some() {
        anyhow::bail!("--metrics: experiments of HTTP serve no metrics; leave it out, and follow --json");
    }
    let kept = |summary: &Summary| summary.http.len();
    let earlier =
        match planned::earlier(args, experiment, &Plan { trials: Vec::new() }, plan.trials.len(), kept)? {
            Begun::Complete(ending) => return Ok(ending),
            Begun::Measured(earlier) => {
                let summary = end_http(experiment, plan, args.filter.as_deref(), &earlier)?;
                return hand_over(args, &summary, &earlier.store);
            }
            Begun::Partly(earlier) => Some(*earlier),
            Begun::Not => None,
        };
    let local = LocalKernelPlan::of_http(experiment)?;
    let program = HOSTPLANE.find(args.hostplane.clone()).map_err(PlatformError::from)?;
    local.notes.iter().for_each(|note| args.note(note));
    let Place { store, recorded } = Place::of(earlier, args)?;
    let mut platform = LocalKernel::new(local, program, store.directory().to_owned());
    let no_metrics = |_| Box::new(NoObserver) as _;
    planned::measure(args, &store, None, no_metrics, async |interrupted, watchers| {
        let (filter, earlier) = (args.filter.as_deref(), recorded.as_ref());
        let job = HttpJob { experiment, plan, filter, earlier, store: &store, interrupted };
        run_http(job, &mut platform, watchers).await
    })
    .await
}

/// Prints the plan of a run and the agents that it would start.
pub(super) fn dry_run(args: &RunArgs, experiment: &Experiment, plan: &HttpPlan) -> anyhow::Result<()> {
    let local = LocalKernelPlan::of_http(experiment)?;
    let program = match HOSTPLANE.find(args.hostplane.clone()) {
        Ok(path) => path.display().to_string(),
        Err(problem) => {
            say(&format!("warning: {problem}"));
            HOSTPLANE.name.to_owned()
        }
    };
    let view = plan.view(experiment);
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

/// True when a summary is of HTTP.
pub(super) fn is_of_http(summary: &Summary) -> bool {
    !summary.http.is_empty()
}
