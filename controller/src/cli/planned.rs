//! `run` for experiments whose trials are all known in advance: what it resumes, and how it is watched and ended.

use anyhow::Context;
use linerate_experiment::Experiment;
use linerate_experiment::plan::Plan;
use linerate_metrics::Listener;
use linerate_results::store::{Earlier, Store, StoreError};
use linerate_results::summary::{Status, Summary};
use linerate_runner::run::observer::{Observer, Watchers};
use tokio::sync::watch;

use super::interrupt::Signals;
use super::output::say;
use super::run::{NO_SIGNALS, hand_over};
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

/// The run to resume, of so many `planned` trials, of which `frames` are those of frames; `kept` counts those that a summary has. If it has no trial left, its
/// results are printed.
pub(super) fn earlier(
    args: &RunArgs,
    experiment: &Experiment,
    frames: &Plan,
    planned: usize,
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
    let kept = kept(summary);
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
