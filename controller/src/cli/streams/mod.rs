//! `run` for experiments of streams.

mod table;

use linerate_experiment::Experiment;
use linerate_experiment::document::PlatformKind;
use linerate_experiment::plan::Plan;
use linerate_experiment::streams::StreamsPlan;
use linerate_metrics::Listener;
use linerate_results::summary::Summary;
use linerate_runner::platform::Platform;
use linerate_runner::platform::local_kernel::LocalKernelPlan;
use linerate_runner::run::streams::{StreamsJob, end_streams, run_streams};

use super::planned::{self, Begun, Shown};
use super::run::{Place, hand_over, remove_rest_of, runtime};
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
    let planned = |_: &Summary| plan.trials.len();
    let earlier = match planned::earlier(args, experiment, &Plan { trials: Vec::new() }, planned, kept)? {
        Begun::Complete(ending) => return Ok(ending),
        Begun::Measured(earlier) => {
            remove_rest_of(args, experiment, &earlier).await?;
            let summary = end_streams(experiment, plan, args.filter.as_deref(), &earlier)?;
            return hand_over(args, &summary, &earlier.store);
        }
        Begun::Partly(earlier) => Some(*earlier),
        Begun::Not => None,
    };
    match experiment.platform() {
        PlatformKind::Local => {
            let local = LocalKernelPlan::new(experiment)?;
            let (place, platform) = planned::on_this_machine(args, local, earlier)?;
            measure(args, experiment, plan, &place, platform, listener).await
        }
        PlatformKind::Kubernetes if args.pods.is_some() => {
            anyhow::bail!("--pods: pods of streams are not kept between runs; leave it out")
        }
        PlatformKind::Kubernetes => {
            let (place, platform) = planned::on_cluster(args, experiment, earlier).await?;
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
        let shown = Shown { view: &plan.view(experiment, &[]), table: table::plan };
        return runtime()?.block_on(planned::dry_run_of_pods(args, experiment, &shown));
    }
    let local = LocalKernelPlan::new(experiment)?;
    // All agents are on this machine.
    let view = plan.view(experiment, &vec![String::new(); local.agents.len()]);
    planned::dry_run_of_processes(args, &local, &Shown { view: &view, table: table::plan })
}

/// True when a summary is of streams.
pub(super) fn is_of_streams(summary: &Summary) -> bool {
    !summary.streams.is_empty() || !summary.experiment.streams_agents.is_empty()
}
