//! The summary as it grows: after every change the file says what is known so far.

use std::time::{Instant, SystemTime};

use linerate_protocol::message::{PROTOCOL_VERSION, Welcome};
use tempfile::NamedTempFile;

use super::agent::Pair;
use crate::experiment::Experiment;
use crate::plan::{Plan, Trial};
use crate::platform::local::node_name;
use crate::store::environment::{Environment, without_secrets};
use crate::store::manifest::Manifest;
use crate::store::record::TrialRecord;
use crate::store::{DOCUMENT_FILE, Store, StoreError};
use crate::summary::{
    Aggregate, ExperimentInfo, Overhead, SchemaName, Status, Summary, TrialFailure, TrialSummary, Versions,
    WarmUp,
};

/// The summary as it grows. Dropped while the run goes on, it says that the run was interrupted.
#[derive(Debug)]
pub(super) struct Ledger<'s> {
    store: &'s Store,
    summary: Summary,
    manifest: Manifest,
    environment: Environment,
    begun: Instant,
    sending_s: f64,
    /// Time that was spent before the experiment was resumed.
    before: Overhead,
    /// When all agents ran.
    ready: Option<Instant>,
    /// The order of the trials.
    order: Vec<(String, u32)>,
}

impl<'s> Ledger<'s> {
    /// Files the document in force and a summary that says the experiment runs.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn open(
        store: &'s Store,
        experiment: &Experiment,
        plan: &Plan,
        filter: Option<&str>,
        earlier: Option<&Summary>,
    ) -> Result<Self, StoreError> {
        let yaml = experiment.to_yaml().map_err(|error| StoreError {
            action: "write",
            path: store.directory().join(DOCUMENT_FILE),
            reason: std::io::Error::other(error.to_string()),
        })?;
        store.write_text(DOCUMENT_FILE, &yaml)?;
        // A kernel that does not tell its command line is no reason not to measure.
        if let Ok(command_line) = std::fs::read_to_string("/proc/cmdline") {
            store.write_text(&format!("{}_cmdline.txt", node_name()), &without_secrets(&command_line))?;
        }
        let fresh = Summary {
            schema: SchemaName::V1Alpha1,
            experiment: ExperimentInfo {
                id: store.id().to_owned(),
                name: experiment.name().to_owned(),
                started_at: now(),
                ended_at: None,
                platform: experiment.platform().name().to_owned(),
                pairs: experiment.pairs(),
                planned_trials: plan.trials.len(),
                document: DOCUMENT_FILE.to_owned(),
                versions: Versions {
                    linerate: env!("CARGO_PKG_VERSION").to_owned(),
                    protocol: PROTOCOL_VERSION,
                    ..Versions::default()
                },
                // It is never missing: what was parsed from a document can be written again.
                determinants: experiment.determinants(filter).ok(),
                resumed_at: Vec::new(),
                filter: filter.map(str::to_owned),
                agents: Vec::new(),
            },
            status: Status::Running,
            reason: None,
            warm_up: Vec::new(),
            trials: Vec::new(),
            aggregates: Vec::new(),
            failures: Vec::new(),
            recoveries: Vec::new(),
            overhead: Overhead::default(),
        };
        let summary = earlier.map_or(fresh.clone(), |earlier| resumed(earlier, fresh));
        store.write_summary(&summary)?;
        let manifest = Manifest::new(store.id());
        // The text is our own; should it not be read back, the document's file still has every option.
        let options = serde_saphyr::from_str(&yaml).unwrap_or_default();
        let versions = summary.experiment.versions.clone();
        let environment = Environment::new(store.id(), versions, options);
        let order = plan.trials.iter().map(|trial| (trial.profile.name(), trial.repeat)).collect();
        let (begun, before) = (Instant::now(), summary.overhead);
        Ok(Self { store, summary, manifest, environment, begun, sending_s: 0.0, before, ready: None, order })
    }

    /// Time since the experiment began, in seconds.
    pub(super) fn elapsed_s(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Notes that all agents run.
    pub(super) fn agents_run(&mut self) {
        self.ready = Some(Instant::now());
    }

    /// Notes that the first packets are about to be sent.
    pub(super) fn traffic_begins(&mut self) {
        self.summary.overhead.ready_to_first_packet_s = self.ready.map(|ready| ready.elapsed().as_secs_f64());
    }

    /// Notes the connected agents and files where they run.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(super) fn connected(&mut self, pairs: &[Pair]) -> Result<(), StoreError> {
        let experiment = &mut self.summary.experiment;
        experiment.agents = pairs.iter().flat_map(Pair::info).collect();
        if let Some(pair) = pairs.first() {
            let welcome = pair.tx.session.welcome();
            experiment.versions.agent = Some(welcome.agent.clone());
            experiment.versions.dpdk = Some(welcome.dpdk.clone());
        }
        self.summary.overhead.start_up_s = self.before.start_up_s + self.elapsed_s();
        let environment = &mut self.environment;
        environment.versions = self.summary.experiment.versions.clone();
        for agent in pairs.iter().flat_map(|pair| [&pair.tx, &pair.rx]) {
            environment.add(agent.environment(), agent.session.welcome().host.as_ref());
        }
        for node in &environment.nodes {
            if let Some(line) = node.host.as_ref().and_then(|host| host.kernel_command_line.as_ref()) {
                self.store.write_text(&format!("{}_cmdline.txt", node.node), &format!("{line}\n"))?;
            }
        }
        self.store.write_environment(environment)
    }

    /// Files what hugepage-check found where an agent runs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn preflight(&self, agent: &str, report: &serde_json::Value) -> Result<(), StoreError> {
        self.store.write_text(&format!("{agent}_preflight.json"), &format!("{report:#}\n"))
    }

    /// Notes the warm-up.
    ///
    /// # Errors
    /// When the summary cannot be written.
    pub(super) fn warmed_up(&mut self, warm_ups: Vec<WarmUp>) -> Result<(), StoreError> {
        self.summary.warm_up = warm_ups;
        let started_s = self.summary.overhead.start_up_s - self.before.start_up_s;
        self.summary.overhead.warm_up_s = self.before.warm_up_s + self.elapsed_s() - started_s;
        // Packets went both ways: links that came up after an agent's greeting are up now.
        self.environment.agents.iter_mut().for_each(|agent| agent.port.link_up = true);
        self.store.write_environment(&self.environment)?;
        self.store.write_summary(&self.summary)
    }

    /// Files a trial's record, and the file of its flows; returns its path relative to the summary.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn file(
        &self,
        place: &str,
        record: &TrialRecord,
        flows: Option<NamedTempFile>,
    ) -> Result<String, StoreError> {
        self.store.add_trial(place, record, flows)
    }

    /// Notes what came of a trial on all pairs; `began_s` is when it began.
    ///
    /// # Errors
    /// When the summary cannot be written.
    pub(super) fn round(
        &mut self,
        trials: Vec<TrialSummary>,
        failures: Vec<TrialFailure>,
        aggregate: Option<Aggregate>,
        began_s: f64,
        last_packet: Option<Instant>,
    ) -> Result<(), StoreError> {
        let took_s = self.elapsed_s() - began_s;
        let sending_s = trials.iter().map(|trial| trial.duration_s).fold(0.0, f64::max);
        self.sending_s += sending_s;
        self.summary.overhead.trials_s += took_s - sending_s;
        let files = trials.iter().map(|trial| &trial.trial);
        for file in files.chain(failures.iter().filter_map(|failure| failure.trial.as_ref())) {
            self.manifest.forget(file.rsplit_once('/').map_or("", |(directory, _)| directory));
        }
        self.summary.trials.extend(trials);
        // Those of an experiment that was resumed come back into the order of the plan.
        let place = |profile: &str, repeat| {
            self.order.iter().position(|(name, time)| name == profile && *time == repeat)
        };
        self.summary.trials.sort_by_key(|trial| place(&trial.profile, trial.repeat));
        self.summary.failures.extend(failures);
        self.summary.aggregates.extend(aggregate);
        self.summary.aggregates.sort_by_key(|all| place(&all.profile, all.repeat));
        self.store.write_summary(&self.summary)?;
        self.manifest.seal(self.store.directory(), false)?;
        // Known only when it is too late for the file; the next writing has it.
        self.summary.overhead.last_packet_to_results_s = last_packet.map(|at| at.elapsed().as_secs_f64());
        Ok(())
    }

    /// Notes that a pair was lost and is back.
    ///
    /// # Errors
    /// When the summary cannot be written.
    pub(super) fn recovered(&mut self, what: String) -> Result<(), StoreError> {
        self.summary.recoveries.push(what);
        self.store.write_summary(&self.summary)
    }

    /// Notes that a pair takes no part in the trials `left`.
    ///
    /// # Errors
    /// When the summary cannot be written.
    pub(super) fn given_up(&mut self, pair: &str, why: &str, left: &[Trial]) -> Result<(), StoreError> {
        let left = left.iter().filter(|trial| !trial.is_among(&self.summary.trials));
        self.summary.failures.extend(left.map(|trial| TrialFailure {
            profile: trial.profile.name(),
            pair: pair.to_owned(),
            repeat: trial.repeat,
            reason: why.to_owned(),
            transmit: None,
            receive: None,
            trial: None,
        }));
        self.store.write_summary(&self.summary)
    }

    /// True when the trial was run before the experiment was resumed.
    pub(super) fn is_recorded(&self, trial: &Trial) -> bool {
        trial.is_among(&self.summary.trials)
    }

    /// Programs that differ from those of the trials recorded earlier; `None` when they are the same, or nothing is recorded.
    pub(super) fn other_programs(&self, pairs: &[Pair]) -> Option<String> {
        let Welcome { agent, dpdk, .. } = pairs.first()?.tx.session.welcome();
        let Versions { agent: before_agent, dpdk: before_dpdk, .. } = &self.summary.experiment.versions;
        let differs = |name: &str, before: &Option<String>, now: &str| {
            let before = before.as_deref().filter(|before| *before != now)?;
            Some(format!("{name} is {now} and was {before}"))
        };
        let first = self.summary.trials.first()?;
        differs("the agents' program", before_agent, agent)
            .or_else(|| differs("DPDK", before_dpdk, dpdk))
            .map(|what| {
                format!(
                    "{what} when {} was run: results would not compare; run without --resume",
                    first.profile
                )
            })
    }

    /// Trials that could not be finished.
    pub(super) fn failures(&self) -> &[TrialFailure] {
        &self.summary.failures
    }

    /// Says how the experiment ended; `tear_down_s` is what ending the agents took.
    ///
    /// # Errors
    /// When the summary cannot be written.
    pub(super) fn close(
        mut self,
        status: Status,
        reason: Option<String>,
        tear_down_s: f64,
    ) -> Result<Summary, StoreError> {
        self.summary.overhead.tear_down_s = self.before.tear_down_s + tear_down_s;
        self.end(status, reason)?;
        // The agents have ended: nothing changes any more.
        self.manifest.seal(self.store.directory(), true)?;
        Ok(self.summary.clone())
    }

    fn end(&mut self, status: Status, reason: Option<String>) -> Result<(), StoreError> {
        self.summary.status = status;
        self.summary.reason = reason;
        self.summary.experiment.ended_at = Some(now());
        self.summary.overhead.total_s = self.before.total_s + self.elapsed_s() - self.sending_s;
        self.store.write_summary(&self.summary)
    }
}

impl Drop for Ledger<'_> {
    fn drop(&mut self) {
        if self.summary.status == Status::Running
            && let Err(error) = self.end(Status::Interrupted, Some("left before the end".to_owned()))
        {
            tracing::error!(%error, "the summary still says that the experiment runs");
        }
    }
}

/// What `earlier` recorded, as it stands when the experiment is taken up again.
fn resumed(earlier: &Summary, fresh: Summary) -> Summary {
    let mut experiment = ExperimentInfo {
        started_at: earlier.experiment.started_at.clone(),
        resumed_at: earlier.experiment.resumed_at.clone(),
        versions: earlier.experiment.versions.clone(),
        agents: earlier.experiment.agents.clone(),
        ..fresh.experiment
    };
    experiment.resumed_at.push(now());
    Summary {
        experiment,
        warm_up: earlier.warm_up.clone(),
        trials: earlier.trials.clone(),
        aggregates: earlier.aggregates.clone(),
        recoveries: earlier.recoveries.clone(),
        overhead: earlier.overhead,
        ..fresh
    }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
