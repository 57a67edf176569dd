//! `run`: carries out an experiment and prints its table.

use std::path::PathBuf;

use anyhow::Context;
use linerate_command::signals::Signals;
use linerate_metrics::Listener;
use linerate_traffic::safety::Safety;
use tokio::sync::watch;

use super::interrupt::twice;
use super::output::{print, say, shown, width};
use super::results::say_left_out;
use super::{Ending, RunArgs, engines, http, metrics, progress, streams, table};
use linerate_experiment::document::PlatformKind;
use linerate_experiment::engines::EnginesPlan;
use linerate_experiment::http::HttpPlan;
use linerate_experiment::strategy::{Strategy, strategy};
use linerate_experiment::streams::StreamsPlan;
use linerate_experiment::{Experiment, Overrides};
use linerate_kubernetes::{KubernetesPlan, KubernetesPlatform, remove_rest};
use linerate_report::export::export;
use linerate_results::http::HttpSearchSummary;
use linerate_results::store::{Earlier, Store};
use linerate_results::summary::{SearchSummary, Status, Summary};
use linerate_runner::platform::binary::{DATAPLANE, HOSTPLANE};
use linerate_runner::platform::local::{LocalPlan, LocalPlatform};
use linerate_runner::platform::{Platform, PlatformError, may_tune};
use linerate_runner::run::observer::Watchers;
use linerate_runner::run::{self, EarlierRun, Job};

pub(super) const NO_SIGNALS: &str = "cannot listen for signals";

/// The experiment and its trials: the same for a run and a dry run.
pub(super) fn planned(args: &RunArgs) -> anyhow::Result<(Experiment, Box<dyn Strategy>)> {
    let mut overrides = args.spec.overrides();
    overrides.environment = Safety::from_environment(|name| std::env::var_os(name))?;
    if args.pods.is_some() {
        overrides.platform(PlatformKind::Kubernetes);
        overrides.set("--pods", ["spec", "kubernetes", "keep"], true);
    }
    let experiment = Experiment::load(args.file.as_deref(), &overrides)?;
    if let Some(warning) = without_effect(&experiment, &overrides) {
        say(&format!("warning: {warning}"));
    }
    let strategy = strategy(&experiment, args.filter.as_deref())?;
    Ok((experiment, strategy))
}

/// Options of pods where agents are processes of this machine: they were accepted before, and change nothing.
fn without_effect(experiment: &Experiment, overrides: &Overrides) -> Option<String> {
    let options = overrides.options_below(&["spec", "kubernetes"]);
    if options.is_empty() || experiment.platform() == PlatformKind::Kubernetes {
        return None;
    }
    Some(format!(
        "{}: no effect on platform local, whose agents are processes of this machine; add --platform kubernetes to run pods",
        options.join(", ")
    ))
}

/// The asynchronous runtime. Files are written and synced on the calling thread; other threads keep the
/// sessions alive meanwhile, because agents exit after their orphan time.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the async runtime")
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Ending> {
    let (experiment, strategy) = planned(args)?;
    if experiment.changes_hosts() && !args.allow_host_changes {
        anyhow::bail!(
            "spec.hostSettings changes settings of this machine for all who use it: look at the plan with --dry-run, and allow it with --allow-host-changes"
        );
    }
    may_tune(&experiment)?;
    let strategy = strategy.as_ref();
    let tell = |notes: &[String]| notes.iter().for_each(|note| args.note(note));
    if experiment.document.spec.http.is_some() {
        args.metrics.refuse_for_http()?;
    }
    runtime()?.block_on(async {
        let listener = args.metrics.listen().await?;
        if let Some(plan) = EnginesPlan::of(&experiment, args.filter.as_deref())? {
            return engines::run(args, &experiment, &plan, listener).await;
        }
        if let Some(plan) = StreamsPlan::of(&experiment, args.filter.as_deref())? {
            return streams::run(args, &experiment, &plan, listener).await;
        }
        if let Some(plan) = HttpPlan::of(&experiment, args.filter.as_deref())? {
            return http::run(args, &experiment, &plan).await;
        }
        let earlier = match earlier(args, &experiment, strategy)? {
            Begun::Complete(ending) => return Ok(ending),
            Begun::Measured(earlier) => return end(args, &experiment, strategy, &earlier).await,
            Begun::Partly(earlier) => Some(*earlier),
            Begun::Not => None,
        };
        match (experiment.platform(), &args.pods) {
            (PlatformKind::Local, _) => {
                let local = LocalPlan::new(&experiment, strategy)?;
                let program = DATAPLANE.find(args.dataplane.clone()).map_err(PlatformError::from)?;
                tell(&local.notes);
                let place = Place::of(earlier, args)?;
                let hostplane = args.tuner(&experiment)?;
                let directory = place.store.directory().to_owned();
                let platform = LocalPlatform::new(local, program, hostplane, directory);
                measure(args, &experiment, strategy, &place, platform, listener).await
            }
            (PlatformKind::Kubernetes, Some(set)) => {
                let cluster = KubernetesPlan::of_kept(&experiment, set).await.map_err(PlatformError::from)?;
                tell(&cluster.notes);
                let place = Place::of(earlier, args)?;
                let directory = place.store.directory();
                let platform = KubernetesPlatform::on_kept(cluster, experiment.clone(), set, directory);
                measure(args, &experiment, strategy, &place, platform, listener).await
            }
            (PlatformKind::Kubernetes, None) => {
                let id = earlier.as_ref().map(|earlier| earlier.store.id());
                let say = |text: &str| args.note(text);
                let mut cluster = KubernetesPlan::new(&experiment, &strategy.profiles(), id, &say)
                    .await
                    .map_err(PlatformError::from)?;
                cluster.remove_leftovers(&say).await.map_err(PlatformError::from)?;
                cluster.validate(&experiment).await.map_err(PlatformError::from)?;
                tell(&cluster.notes);
                let place = Place::of(earlier, args)?;
                let (id, directory) = (place.store.id(), place.store.directory());
                let platform = KubernetesPlatform::new(cluster, experiment.clone(), id, directory);
                measure(args, &experiment, strategy, &place, platform, listener).await
            }
        }
    })
}

impl RunArgs {
    /// The program that changes settings of hosts; `None` for an experiment that changes none.
    pub(super) fn tuner(&self, experiment: &Experiment) -> Result<Option<PathBuf>, PlatformError> {
        let program = experiment.changes_hosts().then(|| HOSTPLANE.find(self.hostplane.clone()));
        Ok(program.transpose()?)
    }

    /// Prints a note for the user, except with `--quiet`.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            say(&format!("note: {text}"));
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
fn earlier(args: &RunArgs, experiment: &Experiment, strategy: &dyn Strategy) -> anyhow::Result<Begun> {
    if !args.resume {
        return Ok(Begun::Not);
    }
    let determinants = experiment.determinants(args.filter.as_deref())?;
    let results = experiment.topology().paths().count();
    let found = Earlier::find(&args.results, &determinants, strategy, results)?;
    found.notes.iter().for_each(|note| args.note(note));
    let Some(earlier) = found.earlier else {
        args.note("no earlier run here has this document, these trials and this version; a new one begins");
        return Ok(Begun::Not);
    };
    let Earlier { store, summary, .. } = &earlier;
    if earlier.is_complete(strategy) {
        args.note(&format!("{} is complete; nothing is left to run", store.id()));
        return Ok(Begun::Complete(hand_over(args, summary, store)?));
    }
    let (trials, recorded) = summary.replay(strategy);
    let kept = trials.iter().filter(|trial| recorded.is_measured(trial)).count();
    let of = match strategy.foreseen().len() {
        0 => String::new(),
        planned => format!(" of {planned}"),
    };
    args.note(&format!("resuming {}: {kept}{of} trials are complete", store.id()));
    Ok(if earlier.is_measured(strategy) {
        Begun::Measured(Box::new(earlier))
    } else {
        Begun::Partly(Box::new(earlier))
    })
}

/// Closes a run without trials left. On kept pods it has no pods of its own to remove.
async fn end(
    args: &RunArgs,
    experiment: &Experiment,
    strategy: &dyn Strategy,
    earlier: &Earlier,
) -> anyhow::Result<Ending> {
    remove_rest_of(args, experiment, earlier).await?;
    let summary = run::end(experiment, strategy, args.filter.as_deref(), earlier)?;
    hand_over(args, &summary, &earlier.store)
}

/// Removes what is left on the cluster of a run without trials left.
pub(super) async fn remove_rest_of(
    args: &RunArgs,
    experiment: &Experiment,
    earlier: &Earlier,
) -> anyhow::Result<()> {
    if experiment.platform() == PlatformKind::Kubernetes && args.pods.is_none() {
        args.note(&format!("removes first what is left of {}", earlier.store.id()));
        let say = |text: &str| args.note(text);
        remove_rest(experiment, earlier.store.id(), &say).await.map_err(PlatformError::from)?;
    }
    Ok(())
}

/// Directory of the results.
pub(super) struct Place {
    pub(super) store: Store,
    /// The records that it contains already.
    pub(super) recorded: Option<EarlierRun>,
}

impl Place {
    /// The directory of the resumed run, or a new one.
    pub(super) fn of(earlier: Option<Earlier>, args: &RunArgs) -> anyhow::Result<Self> {
        Ok(match earlier {
            Some(Earlier { store, summary, sums }) => {
                Self { store, recorded: Some(EarlierRun { summary, sums }) }
            }
            None => Self { store: Store::create(&args.results)?, recorded: None },
        })
    }
}

async fn measure(
    args: &RunArgs,
    experiment: &Experiment,
    strategy: &dyn Strategy,
    place: &Place,
    mut platform: impl Platform,
    listener: Option<Listener>,
) -> anyhow::Result<Ending> {
    let Place { store, recorded } = place;
    let served = listener.is_some();
    let metrics = listener.map(|listener| metrics::serve(listener, store.id(), experiment.name()));
    let watchers = Watchers(metrics.into_iter().chain([progress::observer(args.quiet, args.json)]).collect());
    let (flag, interrupted) = watch::channel(false);
    let signals = Signals::listen().context(NO_SIGNALS)?;
    // Listens from here on, so that a signal just after the run's end is not lost.
    let later_signals = Signals::listen().context(NO_SIGNALS)?;
    let job = Job {
        experiment,
        strategy,
        filter: args.filter.as_deref(),
        earlier: recorded.as_ref(),
        store,
        interrupted,
    };
    let summary = tokio::select! {
        summary = run::run(job, &mut platform, &watchers) => summary?,
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

/// Prints a run's results, and exports them, also where they cannot be printed.
pub(super) fn hand_over(args: &RunArgs, summary: &Summary, store: &Store) -> anyhow::Result<Ending> {
    let shown = show(summary, store, args.json);
    if !args.format.is_empty() {
        let exported = export(&args.results, &[store.id().to_owned()], &args.format, None)
            .context("the results are recorded, but not exported")?;
        if !args.quiet {
            say(&format!("exported {} files", exported.written.len()));
        }
        say_left_out(&exported);
    }
    shown?;
    Ok(match summary.status {
        Status::Complete if all_searches_are_regular(summary) => Ending::Done,
        Status::Complete => Ending::Irregular,
        Status::Interrupted => Ending::Interrupted,
        Status::Running | Status::Failed => Ending::Failed,
    })
}

/// True when every search, of frames or of HTTP requests, has found what it searched for; true without searches.
fn all_searches_are_regular(summary: &Summary) -> bool {
    summary.searches.iter().all(SearchSummary::is_regular)
        && summary.http_searches.iter().all(HttpSearchSummary::is_regular)
}

fn show(summary: &Summary, store: &Store, as_json: bool) -> anyhow::Result<()> {
    let recorded = || format!("the results are in {}, but not shown", shown(&store.summary_path()));
    if as_json {
        print(&serde_json::to_string(summary)?).with_context(recorded)?;
    } else {
        print(&table::trials(summary, width())).with_context(recorded)?;
        print(&shown(&store.summary_path())).with_context(recorded)?;
    }
    if let Some(reason) = &summary.reason {
        say(&format!("error: {reason}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_pods_are_named_where_they_have_no_effect() {
        let warning = |platform: Option<PlatformKind>| {
            let mut overrides = Overrides::default();
            overrides.set("--cpu", ["spec", "kubernetes", "cpu"], 4);
            overrides.set("--repeats", ["spec", "trial", "repeats"], 2);
            platform.into_iter().for_each(|platform| overrides.platform(platform));
            without_effect(&Experiment::load(None, &overrides).unwrap(), &overrides)
        };
        let text = warning(None).unwrap();
        assert!(text.starts_with("--cpu: no effect") && text.contains("--platform kubernetes"), "{text}");
        assert_eq!(warning(Some(PlatformKind::Kubernetes)), None);
    }
}
