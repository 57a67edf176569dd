//! `run` for experiments of HTTP.

mod table;

use linerate_experiment::Experiment;
use linerate_experiment::document::PlatformKind;
use linerate_experiment::http::HttpPlan;
use linerate_experiment::plan::Plan;
use linerate_results::summary::Summary;
use linerate_runner::platform::Platform;
use linerate_runner::platform::balancer::Balancers;
use linerate_runner::platform::local_kernel::LocalKernelPlan;
use linerate_runner::run::http::{HttpJob, end_http, planned_number, run_http};
use linerate_runner::run::observer::NoObserver;

use super::planned::{self, Begun, Shown};
use super::run::{Place, hand_over, remove_rest_of, runtime};
use super::{Ending, RunArgs};

pub(super) use table::trials;

/// Runs an experiment of HTTP.
pub(super) async fn run(args: &RunArgs, experiment: &Experiment, plan: &HttpPlan) -> anyhow::Result<Ending> {
    if args.pods.is_some() {
        anyhow::bail!("--pods: pods of HTTP are not kept between runs; leave it out");
    }
    let kept = |summary: &Summary| summary.http.len();
    let planned = |summary: &Summary| planned_number(plan, summary);
    let earlier = match planned::earlier(args, experiment, &Plan { trials: Vec::new() }, planned, kept)? {
        Begun::Complete(ending) => return Ok(ending),
        Begun::Measured(earlier) => {
            remove_rest_of(args, experiment, &earlier).await?;
            let summary = end_http(experiment, plan, args.filter.as_deref(), &earlier)?;
            return hand_over(args, &summary, &earlier.store);
        }
        Begun::Partly(earlier) => Some(*earlier),
        Begun::Not => None,
    };
    match experiment.platform() {
        PlatformKind::Local => {
            let local = LocalKernelPlan::of_http(experiment)?;
            let (place, platform) = planned::on_this_machine(args, local, earlier)?;
            measure(args, experiment, plan, &place, platform).await
        }
        PlatformKind::Kubernetes => {
            let (place, platform) = planned::on_cluster(args, experiment, earlier).await?;
            measure(args, experiment, plan, &place, platform).await
        }
    }
}

async fn measure(
    args: &RunArgs,
    experiment: &Experiment,
    plan: &HttpPlan,
    place: &Place,
    mut platform: impl Platform + Balancers,
) -> anyhow::Result<Ending> {
    let Place { store, recorded } = place;
    let no_metrics = |_| Box::new(NoObserver) as _;
    planned::measure(args, store, None, no_metrics, async |interrupted, watchers| {
        let (filter, earlier) = (args.filter.as_deref(), recorded.as_ref());
        let job = HttpJob { experiment, plan, filter, earlier, store, interrupted };
        run_http(job, &mut platform, watchers).await
    })
    .await
}

/// Prints the plan of a run and the agents that it would start.
pub(super) fn dry_run(args: &RunArgs, experiment: &Experiment, plan: &HttpPlan) -> anyhow::Result<()> {
    let shown = Shown { view: &plan.view(experiment), table: table::plan };
    match experiment.platform() {
        PlatformKind::Local => {
            planned::dry_run_of_processes(args, &LocalKernelPlan::of_http(experiment)?, &shown)
        }
        PlatformKind::Kubernetes => runtime()?.block_on(planned::dry_run_of_pods(args, experiment, &shown)),
    }
}

/// True when a summary is of HTTP.
pub(super) fn is_of_http(summary: &Summary) -> bool {
    !summary.http.is_empty()
}
