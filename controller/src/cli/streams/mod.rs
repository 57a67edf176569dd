//! `run` for experiments of streams.

mod table;

use anyhow::Context;
use linerate_experiment::Experiment;
use linerate_experiment::document::PlatformKind;
use linerate_experiment::plan::Plan;
use linerate_experiment::streams::StreamsPlan;
use linerate_kubernetes::{KubernetesPlan, KubernetesPlatform, manifests};
use linerate_metrics::Listener;
use linerate_results::store::Earlier;
use linerate_results::summary::{Status, Summary};
use linerate_runner::platform::binary::HOSTPLANE;
use linerate_runner::platform::local_streams::{LocalStreams, LocalStreamsPlan};
use linerate_runner::platform::{Platform, PlatformError};
use linerate_runner::run::EarlierRun;
use linerate_runner::run::observer::Watchers;
use linerate_runner::run::streams::{StreamsJob, end_streams, run_streams};
use serde_json::json;
use tokio::sync::watch;

use super::interrupt::Signals;
use super::output::{print, say, width};
use super::run::{NO_SIGNALS, Place, hand_over, runtime};
use super::{Ending, RunArgs, metrics, progress};

pub(super) use table::trials;

/// Runs an experiment of streams.
pub(super) async fn run(
    args: &RunArgs,
    experiment: &Experiment,
    plan: &StreamsPlan,
    listener: Option<Listener>,
) -> anyhow::Result<Ending> {
    let earlier = match earlier(args, experiment, plan)? {
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
            let local = LocalStreamsPlan::new(experiment)?;
            let program = HOSTPLANE.find(args.hostplane.clone()).map_err(PlatformError::from)?;
            local.notes.iter().for_each(|note| args.note(note));
            let place = Place::of(earlier, args)?;
            let platform = LocalStreams::new(local, program, place.store.directory().to_owned());
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

/// Progress of an earlier run of the experiment.
enum Begun {
    Not,
    Partly(Box<Earlier>),
    /// The run was killed after its last trial.
    Measured(Box<Earlier>),
    /// The run had ended; its results are printed.
    Complete(Ending),
}

/// The run to resume. If it has no trial left, its results are printed.
fn earlier(args: &RunArgs, experiment: &Experiment, plan: &StreamsPlan) -> anyhow::Result<Begun> {
    if !args.resume {
        return Ok(Begun::Not);
    }
    let determinants = experiment.determinants(args.filter.as_deref())?;
    let no_frames = Plan { trials: Vec::new() };
    let found = Earlier::find(&args.results, &determinants, &no_frames, 0)?;
    found.notes.iter().for_each(|note| args.note(note));
    let Some(earlier) = found.earlier else {
        args.note("no earlier run here has this document, these trials and this version; a new one begins");
        return Ok(Begun::Not);
    };
    let Earlier { store, summary, .. } = &earlier;
    let kept = summary.streams.len();
    if kept == plan.trials.len() {
        if summary.status == Status::Complete {
            args.note(&format!("{} is complete; nothing is left to run", store.id()));
            return Ok(Begun::Complete(hand_over(args, summary, store)?));
        }
        return Ok(Begun::Measured(Box::new(earlier)));
    }
    args.note(&format!("resuming {}: {kept} of {} trials are complete", store.id(), plan.trials.len()));
    Ok(Begun::Partly(Box::new(earlier)))
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
    let served = listener.is_some();
    let metrics = listener.map(|listener| metrics::serve_streams(listener, store.id(), experiment.name()));
    let watchers = Watchers(metrics.into_iter().chain([progress::observer(args.quiet, args.json)]).collect());
    let (flag, interrupted) = watch::channel(false);
    let signals = Signals::listen().context(NO_SIGNALS)?;
    // Listens from here on, so that a signal just after the run's end is not lost.
    let later_signals = Signals::listen().context(NO_SIGNALS)?;
    let earlier: Option<&EarlierRun> = recorded.as_ref();
    let job = StreamsJob { experiment, plan, filter: args.filter.as_deref(), earlier, store, interrupted };
    let summary = tokio::select! {
        summary = run_streams(job, &mut platform, &watchers) => summary?,
        // Dropping the run marks its summary as interrupted, dropping the platform kills its agents.
        () = signals.twice(flag) => {
            say(&format!("left at once; what is complete is in {}", store.summary_path().display()));
            return Ok(Ending::Interrupted);
        }
    };
    let ending = hand_over(args, &summary, store)?;
    if served && summary.status != Status::Interrupted {
        args.metrics.linger(later_signals).await;
    }
    Ok(ending)
}

/// Prints the plan of a run and the agents that it would start.
pub(super) fn dry_run(args: &RunArgs, experiment: &Experiment, plan: &StreamsPlan) -> anyhow::Result<()> {
    if experiment.platform() == PlatformKind::Kubernetes {
        return runtime()?.block_on(dry_run_of_pods(args, experiment, plan));
    }
    let local = LocalStreamsPlan::new(experiment)?;
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
