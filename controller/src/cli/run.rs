//! `run`: an experiment from its document to its table.

use anyhow::Context;
use linerate_metrics::Listener;
use tokio::sync::watch;

use super::interrupt::Signals;
use super::output::{print, say};
use super::{Ending, RunArgs, metrics, progress, table};
use crate::experiment::Experiment;
use crate::experiment::document::PlatformKind;
use crate::export::export;
use crate::plan::{Plan, plan};
use crate::platform::binary::Places;
use crate::platform::kubernetes::{KubernetesPlan, KubernetesPlatform};
use crate::platform::local::{LocalPlan, LocalPlatform};
use crate::platform::{Platform, PlatformError};
use crate::run::observer::Watchers;
use crate::run::{self, Job};
use crate::store::Store;
use crate::summary::{Status, Summary};

const NO_SIGNALS: &str = "cannot listen for signals";

/// The experiment and its trials: the same for a run and a dry run.
pub(super) fn planned(args: &RunArgs) -> anyhow::Result<(Experiment, Plan)> {
    let experiment = Experiment::load(args.file.as_deref(), &args.spec.overrides())?;
    let plan = plan(&experiment, args.filter.as_deref())?;
    Ok((experiment, plan))
}

/// Where things are awaited. Files are written and synced on the calling thread; sessions must go on meanwhile, or the agents take us for gone.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the async runtime")
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Ending> {
    let (experiment, plan) = planned(args)?;
    let tell = |notes: &[String]| {
        if !args.quiet {
            notes.iter().for_each(|note| say(&format!("note: {note}")));
        }
    };
    runtime()?.block_on(async {
        let listener = args.metrics.listen().await?;
        match experiment.platform() {
            PlatformKind::Local => {
                let local = LocalPlan::new(&experiment, &plan)?;
                let program =
                    Places::of_process(args.dataplane.clone()).find().map_err(PlatformError::from)?;
                tell(&local.notes);
                let store = Store::create(&args.results)?;
                let platform = LocalPlatform::new(local, program, store.directory().to_owned());
                measure(args, &experiment, &plan, &store, platform, listener).await
            }
            PlatformKind::Kubernetes => {
                let cluster = KubernetesPlan::new(&experiment).await.map_err(PlatformError::from)?;
                // All pods are alike: when those of one pair are accepted, all are.
                cluster.validate(&experiment, 2).await.map_err(PlatformError::from)?;
                tell(&cluster.notes);
                let store = Store::create(&args.results)?;
                let platform =
                    KubernetesPlatform::new(cluster, experiment.clone(), store.id(), store.directory());
                measure(args, &experiment, &plan, &store, platform, listener).await
            }
        }
    })
}

async fn measure(
    args: &RunArgs,
    experiment: &Experiment,
    plan: &Plan,
    store: &Store,
    mut platform: impl Platform,
    listener: Option<Listener>,
) -> anyhow::Result<Ending> {
    let served = listener.is_some();
    let metrics = listener.map(|listener| metrics::serve(listener, store.id(), experiment.name()));
    let watchers = Watchers(metrics.into_iter().chain([progress::observer(args.quiet, args.json)]).collect());
    let (flag, interrupted) = watch::channel(false);
    let signals = Signals::listen().context(NO_SIGNALS)?;
    // From now on: a signal that comes when the run has just ended must not be lost.
    let later_signals = Signals::listen().context(NO_SIGNALS)?;
    let job = Job { experiment, plan, filter: args.filter.as_deref(), store, interrupted };
    let summary = tokio::select! {
        summary = run::run(job, &mut platform, &watchers) => summary?,
        // Dropping the run marks its summary, dropping the platform kills its agents.
        () = signals.twice(flag) => {
            say(&format!("left at once; what is complete is in {}", store.summary_path().display()));
            return Ok(Ending::Interrupted);
        }
    };
    show(&summary, store, args.json)?;
    if !args.format.is_empty() {
        let written = export(&args.results, &[store.id().to_owned()], &args.format, None)
            .context("the results are recorded, but not exported")?;
        if !args.quiet {
            say(&format!("exported {} files", written.len()));
        }
    }
    if served && summary.status != Status::Interrupted {
        args.metrics.linger(later_signals).await;
    }
    Ok(match summary.status {
        Status::Complete => Ending::Done,
        Status::Interrupted => Ending::Interrupted,
        Status::Running | Status::Failed => Ending::Failed,
    })
}

fn show(summary: &Summary, store: &Store, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        print(&serde_json::to_string(summary)?)?;
    } else {
        print(&table::trials(summary))?;
        print(&store.summary_path().display().to_string())?;
    }
    if let Some(reason) = &summary.reason {
        say(&format!("error: {reason}"));
    }
    Ok(())
}
