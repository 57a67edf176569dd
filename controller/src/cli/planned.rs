//! `run` for experiments whose trials are all known in advance: what it resumes, and how it is watched and ended.

use anyhow::Context;
use linerate_command::signals::Signals;
use linerate_experiment::Experiment;
use linerate_experiment::plan::Plan;
use linerate_kubernetes::{KubernetesPlan, KubernetesPlatform, manifests};
use linerate_metrics::Listener;
use linerate_results::store::{Earlier, Store, StoreError};
use linerate_results::summary::{Status, Summary};
use linerate_runner::platform::PlatformError;
use linerate_runner::platform::binary::HOSTPLANE;
use linerate_runner::platform::local_kernel::{LocalKernel, LocalKernelPlan};
use linerate_runner::run::observer::{Observer, Watchers};
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::interrupt::twice;
use super::output::{print, say, width};
use super::run::{NO_SIGNALS, Place, hand_over};
use super::{Ending, RunArgs, progress};

/// Progress of an earlier run of the experiment.
pub(super) enum Begun {
    Not,
    Partly(Box<Earlier>),
    /// The run was killed after its last trial.
    Measured(Box<Earlier>),
    /// The run had ended; its results are printed.
    Complete(Ending),
}

/// The run to resume; `planned` counts the trials of the plan as far as they are known with the results of a summary, of which `frames` are
/// those of frames, `kept` those with a result. If it has no trial left, its results are printed.
pub(super) fn earlier(
    args: &RunArgs,
    experiment: &Experiment,
    frames: &Plan,
    planned: impl Fn(&Summary) -> usize,
    kept: impl Fn(&Summary) -> usize,
) -> anyhow::Result<Begun> {
    if !args.resume {
        return Ok(Begun::Not);
    }
    let determinants = experiment.determinants(args.filter.as_deref())?;
    let found = Earlier::find(&args.results, &determinants, frames, 1)?;
    found.notes.iter().for_each(|note| args.note(note));
    let Some(earlier) = found.earlier else {
        args.note("no earlier run here has this document, these trials and this version; a new one begins");
        return Ok(Begun::Not);
    };
    let Earlier { store, summary, .. } = &earlier;
    let (planned, kept) = (planned(summary), kept(summary));
    if kept == planned {
        if summary.status == Status::Complete {
            args.note(&format!("{} is complete; nothing is left to run", store.id()));
            return Ok(Begun::Complete(hand_over(args, summary, store)?));
        }
        return Ok(Begun::Measured(Box::new(earlier)));
    }
    args.note(&format!("resuming {}: {kept} of {planned} trials are complete", store.id()));
    Ok(Begun::Partly(Box::new(earlier)))
}

/// Carries out a run until it has ended or a second signal comes. `metrics` serves its figures on the listener.
pub(super) async fn measure(
    args: &RunArgs,
    store: &Store,
    listener: Option<Listener>,
    metrics: impl FnOnce(Listener) -> Box<dyn Observer>,
    run: impl AsyncFnOnce(watch::Receiver<bool>, &Watchers) -> Result<Summary, StoreError>,
) -> anyhow::Result<Ending> {
    let served = listener.is_some();
    let metrics = listener.map(metrics);
    let watchers = Watchers(metrics.into_iter().chain([progress::observer(args.quiet, args.json)]).collect());
    let (flag, interrupted) = watch::channel(false);
    let signals = Signals::listen().context(NO_SIGNALS)?;
    // Listens from here on, so that a signal just after the run's end is not lost.
    let later_signals = Signals::listen().context(NO_SIGNALS)?;
    let summary = tokio::select! {
        summary = run(interrupted, &watchers) => summary?,
        // Dropping the run marks its summary as interrupted, dropping the platform kills its agents.
        () = twice(signals, flag) => {
            say(&format!("left at once; what is complete is in {}", store.summary_path().display()));
            return Ok(Ending::Interrupted);
        }
    };
    let ending = hand_over(args, &summary, store);
    if served && summary.status != Status::Interrupted {
        if let Err(error) = &ending {
            say(&format!("the results could not be handed over: {error:#}"));
        }
        args.metrics.linger(later_signals).await;
    }
    ending
}

/// Where a run of the kernel engine on this machine stores its results, and its agents.
pub(super) fn on_this_machine(
    args: &RunArgs,
    local: LocalKernelPlan,
    earlier: Option<Earlier>,
) -> anyhow::Result<(Place, LocalKernel)> {
    let program = HOSTPLANE.find(args.hostplane.clone()).map_err(PlatformError::from)?;
    local.notes.iter().for_each(|note| args.note(note));
    let place = Place::of(earlier, args)?;
    let platform = LocalKernel::new(local, program, place.store.directory().to_owned());
    Ok((place, platform))
}

/// The same of a run on a cluster.
pub(super) async fn on_cluster(
    args: &RunArgs,
    experiment: &Experiment,
    earlier: Option<Earlier>,
) -> anyhow::Result<(Place, KubernetesPlatform)> {
    let id = earlier.as_ref().map(|earlier| earlier.store.id());
    let cluster = cluster(args, experiment, id).await?;
    let place = Place::of(earlier, args)?;
    let (id, directory) = (place.store.id(), place.store.directory());
    let platform = KubernetesPlatform::new(cluster, experiment.clone(), id, directory);
    Ok((place, platform))
}

/// The plan of a run on a cluster, which has room for it; what runs of dead controllers left is removed. `resumed` is the id of the run that
/// goes on.
async fn cluster(
    args: &RunArgs,
    experiment: &Experiment,
    resumed: Option<&str>,
) -> anyhow::Result<KubernetesPlan> {
    let say = |text: &str| args.note(text);
    let mut cluster =
        KubernetesPlan::new(experiment, &[], resumed, &say).await.map_err(PlatformError::from)?;
    cluster.remove_leftovers(&say).await.map_err(PlatformError::from)?;
    cluster.validate(experiment).await.map_err(PlatformError::from)?;
    cluster.notes.iter().for_each(|note| args.note(note));
    Ok(cluster)
}

/// A plan as a dry run shows it: as JSON, and as a table of that width.
pub(super) struct Shown<'a, V> {
    pub(super) view: &'a V,
    pub(super) table: fn(&V, Option<usize>) -> String,
}

/// Prints a plan and the processes that it would start.
pub(super) fn dry_run_of_processes<V: Serialize>(
    args: &RunArgs,
    local: &LocalKernelPlan,
    shown: &Shown<'_, V>,
) -> anyhow::Result<()> {
    let program = match HOSTPLANE.find(args.hostplane.clone()) {
        Ok(path) => path.display().to_string(),
        Err(problem) => {
            say(&format!("warning: {problem}"));
            HOSTPLANE.name.to_owned()
        }
    };
    if args.json {
        let agents = local.agents.iter().map(|agent| {
            let command_line: Vec<&String> = std::iter::once(&program).chain(&agent.arguments).collect();
            json!({ "name": agent.name, "command_line": command_line })
        });
        let agents: Vec<_> = agents.collect();
        let plan = json!({ "plan": shown.view, "agents": agents, "notes": local.notes });
        return Ok(print(&serde_json::to_string(&plan)?)?);
    }
    print(&(shown.table)(shown.view, width()))?;
    for agent in &local.agents {
        print(&format!("{}: {program} {}", agent.name, agent.arguments.join(" ")))?;
    }
    for note in &local.notes {
        print(&format!("note: {note}"))?;
    }
    Ok(())
}

/// Prints a plan and its manifests. The API server validates the manifests without storing them.
pub(super) async fn dry_run_of_pods<V: Serialize>(
    args: &RunArgs,
    experiment: &Experiment,
    shown: &Shown<'_, V>,
) -> anyhow::Result<()> {
    let mut cluster = KubernetesPlan::new(experiment, &[], None, &say).await.map_err(PlatformError::from)?;
    let objects = manifests::of(&cluster, experiment);
    cluster.validate(experiment).await.map_err(PlatformError::from)?;
    if args.json {
        let plan = json!({ "plan": shown.view, "namespace": cluster.namespace, "server": cluster.server, "manifests": objects, "notes": cluster.notes });
        return Ok(print(&serde_json::to_string(&plan)?)?);
    }
    // As comments, so that `kubectl apply` accepts the whole output.
    for line in (shown.table)(shown.view, None).lines() {
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
