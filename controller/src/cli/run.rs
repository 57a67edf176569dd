//! `run`: an experiment from its document to its table.

use anyhow::Context;
use tokio::sync::watch;

use super::interrupt::Signals;
use super::output::{print, say};
use super::{Ending, RunArgs, metrics, progress, table};
use crate::experiment::document::PlatformKind;
use crate::experiment::{Experiment, Overrides};
use crate::export::export;
use crate::plan::{Plan, plan};
use crate::platform::PlatformError;
use crate::platform::binary::Places;
use crate::platform::local::{LocalPlan, LocalPlatform};
use crate::run::observer::Watchers;
use crate::run::{self, Job};
use crate::store::Store;
use crate::summary::{Status, Summary};

const NO_SIGNALS: &str = "cannot listen for signals";

/// The experiment and its trials: the same for a run and a dry run.
pub(super) fn planned(args: &RunArgs) -> anyhow::Result<(Experiment, Plan)> {
    let overrides = Overrides { platform: args.platform, duration: args.duration };
    let experiment = Experiment::load(args.file.as_deref(), overrides)?;
    let plan = plan(&experiment, args.filter.as_deref())?;
    Ok((experiment, plan))
}

/// What would be started.
pub(super) fn local_plan(experiment: &Experiment, plan: &Plan) -> Result<LocalPlan, PlatformError> {
    match experiment.platform() {
        PlatformKind::Local => LocalPlan::new(experiment, plan),
        PlatformKind::Kubernetes => Err(PlatformError::NotBuilt),
    }
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Ending> {
    let (experiment, plan) = planned(args)?;
    let local = local_plan(&experiment, &plan)?;
    let program = Places::of_process(args.dataplane.clone()).find().map_err(PlatformError::from)?;
    // Files are written and synced on this thread; sessions must go on meanwhile, or the agents take us for gone.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let listener = runtime.block_on(args.metrics.listen())?;
    let store = Store::create(&args.results)?;
    if !args.quiet {
        local.notes.iter().for_each(|note| say(&format!("note: {note}")));
    }
    let served = listener.is_some();
    let mut watchers = Watchers(vec![progress::observer(args.quiet, args.json)]);
    let summary = runtime.block_on(async {
        let (flag, interrupted) = watch::channel(false);
        let signals = Signals::listen().context(NO_SIGNALS)?;
        watchers.0.extend(listener.map(|listener| metrics::serve(listener, store.id(), experiment.name())));
        let mut platform = LocalPlatform::new(local, program, store.directory().to_owned());
        let job = Job {
            experiment: &experiment,
            plan: &plan,
            filter: args.filter.as_deref(),
            store: &store,
            interrupted,
        };
        tokio::select! {
            summary = run::run(job, &mut platform, &watchers) => Ok(Some(summary?)),
            // Dropping the run marks its summary, dropping the platform kills its agents.
            () = signals.twice(flag) => anyhow::Ok(None),
        }
    })?;
    let Some(summary) = summary else {
        say(&format!("left at once; what is complete is in {}", store.summary_path().display()));
        return Ok(Ending::Interrupted);
    };
    show(&summary, &store, args.json)?;
    if !args.format.is_empty() {
        let written = export(&args.results, &[store.id().to_owned()], &args.format, None)
            .context("the results are recorded, but not exported")?;
        if !args.quiet {
            say(&format!("exported {} files", written.len()));
        }
    }
    if served && summary.status != Status::Interrupted {
        runtime.block_on(async {
            let signals = Signals::listen().context(NO_SIGNALS)?;
            args.metrics.linger(signals).await;
            anyhow::Ok(())
        })?;
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
