//! Opening of a run's records: new ones, or those of an earlier run of the experiment.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use linerate_wire::message::PROTOCOL_VERSION;

use super::planned::KeptTrials;
use super::{Recorder, Rewriting, now};
use crate::platform::local::node_name;
use crate::run::EarlierRun;
use crate::run::stopwatch::Stopwatch;
use linerate_experiment::Experiment;
use linerate_experiment::plan::Trial;
use linerate_experiment::secrets::text_without_secrets;
use linerate_experiment::strategy::{Outcomes, Strategy};
use linerate_results::store::environment::{Environment, without_secrets};
use linerate_results::store::error::at;
use linerate_results::store::inner_path::bounded_name;
use linerate_results::store::manifest::Manifest;
use linerate_results::store::trial_log::{Head, LogRecord, ResultRecord, TRIAL_LOG_SCHEMA, TrialEnd};
use linerate_results::store::{DOCUMENT_FILE, Store, StoreError};
use linerate_results::summary::{
    Aggregate, ExperimentInfo, Overhead, OverheadPart, Status, TrialSummary, Versions, WarmUp,
};

impl<'s> Recorder<'s> {
    /// Stores the document in force, and creates a log and a summary with the status running.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(in crate::run) fn open(
        store: &'s Store,
        experiment: &Experiment,
        strategy: &dyn Strategy,
        filter: Option<&str>,
        earlier: Option<&EarlierRun>,
    ) -> Result<Self, StoreError> {
        Self::open_with(store, experiment, strategy, filter, earlier, KeptTrials::default())
    }

    /// The same of a run that has planned trials beside those of the strategy. One rename puts everything that is kept into the new
    /// log: whenever the run is killed, the log has the earlier results.
    pub(super) fn open_with(
        store: &'s Store,
        experiment: &Experiment,
        strategy: &dyn Strategy,
        filter: Option<&str>,
        earlier: Option<&EarlierRun>,
        planned: KeptTrials,
    ) -> Result<Self, StoreError> {
        let (begun, before) = (Instant::now(), earlier.map(|earlier| earlier.summary.overhead.completed()));
        let watch = Stopwatch::start(OverheadPart::Writing, before.unwrap_or_default());
        let document = store.directory().join(DOCUMENT_FILE);
        let yaml = experiment
            .to_yaml()
            .map_err(|error| at("write", &document)(std::io::Error::other(error.to_string())))?;
        // A run is resumed with the document that has the secrets.
        let yaml = text_without_secrets(&yaml);
        store.write_text(DOCUMENT_FILE, &yaml)?;
        // A run does not need the kernel's command line.
        if let Ok(command_line) = std::fs::read_to_string("/proc/cmdline") {
            store.write_text(&bounded_name(&node_name(), "_cmdline.txt"), &without_secrets(&command_line))?;
        }
        let mut head = head(store.id(), experiment, strategy, filter);
        head.experiment.planned_trials += planned.planned;
        let mut records = Vec::new();
        let (mut trials, mut outcomes) = (strategy.foreseen().to_vec(), Outcomes::default());
        if let Some(earlier) = earlier {
            (trials, outcomes) = earlier.summary.replay(strategy);
            resume(&mut head, earlier);
            head.overhead = watch.overhead;
            records = kept(earlier, &trials, &head.overhead);
        }
        records.extend(planned.records);
        records.insert(0, LogRecord::Head(Box::new(head.clone())));
        let log = store.begin_log(&records)?;
        Manifest::new(store.id()).write(store.directory())?;
        // The text was written by this program; if it cannot be read back, the document's file still has
        // every option.
        let options = serde_saphyr::from_str(&yaml).unwrap_or_default();
        let mut environment = Environment::new(store.id(), head.experiment.versions.clone(), options);
        if let Some(before) = earlier.and(Environment::read(store.directory())?) {
            environment.periods = if before.periods.is_empty() && !before.agents.is_empty() {
                vec![before.period(0)]
            } else {
                before.periods
            };
            (environment.nodes, environment.agents) = (before.nodes, before.agents);
        }
        let mut recorder = Self {
            store,
            log,
            head,
            environment,
            begun,
            watch,
            ready: None,
            numbers: trials.into_iter().map(|trial| trial.key).zip(1..).collect(),
            outcomes,
            planned: planned.recorded,
            searches: Vec::new(),
            has_tuned: false,
            first_recorded: earlier
                .and_then(|earlier| earlier.summary.trials.first())
                .map(|result| result.profile.clone())
                .or(planned.first),
            failed: BTreeSet::new(),
            filed: HashMap::new(),
            filing_s: 0.0,
            rewriting: Rewriting { last: begun, cost: Duration::ZERO },
        };
        recorder.rewrite_summary()?;
        Ok(recorder)
    }
}

/// Log head of a new experiment.
fn head(id: &str, experiment: &Experiment, strategy: &dyn Strategy, filter: Option<&str>) -> Head {
    Head {
        schema: TRIAL_LOG_SCHEMA.to_owned(),
        experiment: ExperimentInfo {
            id: id.to_owned(),
            name: experiment.name().to_owned(),
            started_at: now(),
            ended_at: None,
            platform: experiment.platform().name().to_owned(),
            pairs: experiment.pairs(),
            planned_trials: strategy.foreseen().len(),
            document: DOCUMENT_FILE.to_owned(),
            versions: Versions {
                linerate: env!("CARGO_PKG_VERSION").to_owned(),
                protocol: PROTOCOL_VERSION,
                ..Versions::default()
            },
            // Always present: a document that was parsed can be written again.
            determinants: experiment.determinants(filter).ok(),
            resumed_at: Vec::new(),
            environment_changes: Vec::new(),
            filter: filter.map(str::to_owned),
            agents: Vec::new(),
            streams_agents: Vec::new(),
            http_search: None,
            host_settings: Vec::new(),
        },
        status: Status::Running,
        reason: None,
        warm_up: Vec::<WarmUp>::new(),
        overhead: Overhead::default(),
    }
}

/// Takes over the head's fields from an earlier run.
fn resume(head: &mut Head, EarlierRun { summary, .. }: &EarlierRun) {
    let earlier = &summary.experiment;
    let experiment = &mut head.experiment;
    experiment.started_at.clone_from(&earlier.started_at);
    experiment.resumed_at.clone_from(&earlier.resumed_at);
    experiment.resumed_at.push(now());
    experiment.environment_changes.clone_from(&earlier.environment_changes);
    experiment.versions = earlier.versions.clone();
    experiment.agents.clone_from(&earlier.agents);
    experiment.streams_agents.clone_from(&earlier.streams_agents);
    experiment.host_settings.clone_from(&earlier.host_settings);
    head.warm_up.clone_from(&summary.warm_up);
}

/// Log lines of the trials that are kept.
fn kept(EarlierRun { summary, sums }: &EarlierRun, trials: &[Trial], overhead: &Overhead) -> Vec<LogRecord> {
    let labels: HashMap<_, _> =
        trials.iter().zip(1..).map(|(trial, number)| (trial.label(), (number, &trial.key))).collect();
    let place = |profile: &str, repeat| labels.get(&(profile.to_owned(), repeat)).copied();
    let number = |profile: &str, repeat| place(profile, repeat).map_or(u32::MAX, |(number, _)| number);
    let result = |result: &TrialSummary| {
        let paths = [Some(&result.trial), result.flows_file.as_ref()].into_iter().flatten();
        LogRecord::Result(Box::new(ResultRecord {
            number: number(&result.profile, result.repeat),
            key: place(&result.profile, result.repeat).map(|(_, key)| key.to_string()),
            files: paths.filter_map(|path| Some((path.clone(), sums.get(path)?.clone()))).collect(),
            result: result.clone(),
        }))
    };
    let end = |all: &Aggregate| {
        LogRecord::TrialEnd(Box::new(TrialEnd {
            number: number(&all.profile, all.repeat),
            aggregate: Some(all.clone()),
            overhead: *overhead,
        }))
    };
    let recoveries = summary.recoveries.iter().cloned().map(LogRecord::Recovery);
    summary.trials.iter().map(result).chain(summary.aggregates.iter().map(end)).chain(recoveries).collect()
}
