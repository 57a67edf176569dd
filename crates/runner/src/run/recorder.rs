//! Recorder of a run. Each ended trial is a line of the log, and the summary is derived from the log. Storing
//! a trial costs the same however many there are.

mod engines;
mod equipment;
mod host_settings;
mod opening;
mod planned;
mod searches;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime};

use tempfile::NamedTempFile;

use super::group::Group;
use super::stopwatch::Stopwatch;
use linerate_experiment::determinants::TrialKey;
use linerate_experiment::plan::Trial;
use linerate_experiment::strategy::{Outcomes, PathOutcome, RecordedOutcome};
use linerate_results::store::checksum::FileSum;
use linerate_results::store::environment::{Changes, Environment};
use linerate_results::store::inner_path::bounded_name;
use linerate_results::store::manifest::Manifest;
use linerate_results::store::record::TrialRecord;
use linerate_results::store::trial_log::{
    FailureRecord, Head, LogRecord, ResultRecord, TrialEnd, TrialLog, derive,
};
use linerate_results::store::{Store, StoreError, missing_log};
use linerate_results::summary::{
    Aggregate, OverheadPart, SearchSummary, Status, Summary, TrialFailure, TrialSummary, WarmUp,
};

/// During a run, rewriting the summary's file takes at most this fraction of the time (one in so many parts).
const REWRITE_SHARE: u32 = 100;

/// Records of a run in progress. A recorder that is dropped before the end marks the run as interrupted.
#[derive(Debug)]
pub(super) struct Recorder<'s> {
    store: &'s Store,
    log: TrialLog,
    head: Head,
    environment: Environment,
    begun: Instant,
    watch: Stopwatch,
    /// When all agents were ready.
    ready: Option<Instant>,
    /// Numbers of the trials in the order of their requests, from 1.
    numbers: HashMap<TrialKey, u32>,
    /// Results and failures of the trials.
    outcomes: Outcomes,
    /// Planned trials with a result.
    planned: planned::Recorded,
    /// The rate searches as the log has them.
    searches: Vec<SearchSummary>,
    /// True when this run has put a setting of hosts in force.
    has_tuned: bool,
    /// Profile of the first trial that was recorded before the experiment was resumed.
    first_recorded: Option<String>,
    /// Failures of this run: profile, repeat and path of each.
    failed: BTreeSet<(String, u32, String)>,
    /// Checksums of the files of the trial that is being stored, by the trial's file.
    filed: HashMap<String, BTreeMap<String, FileSum>>,
    /// Time spent on storing them, in seconds.
    filing_s: f64,
    rewriting: Rewriting,
}

/// Time and cost of the latest rewrite of the summary's file.
#[derive(Debug)]
struct Rewriting {
    last: Instant,
    cost: Duration,
}

impl Rewriting {
    fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.last) >= self.cost * REWRITE_SHARE
    }
}

impl Recorder<'_> {
    /// Time since the experiment began, in seconds.
    pub(super) fn elapsed_s(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Records that the start of agents begins.
    pub(super) fn start_up_begins(&mut self) {
        self.watch.turn(OverheadPart::StartUp);
    }

    /// Records that all agents are ready.
    pub(super) fn agents_run(&mut self) {
        self.ready = Some(Instant::now());
    }

    /// Leaves time that is no part of the way to trials out of the time from all agents being ready to the first packets.
    pub(super) fn set_aside(&mut self, time: Duration) {
        self.ready = self.ready.map(|ready| ready + time);
    }

    /// Records that the first packets are about to be sent.
    pub(super) fn traffic_begins(&mut self) {
        self.watch.turn(OverheadPart::WarmUp);
        self.watch.overhead.ready_to_first_packet_s = self.ready.map(|ready| ready.elapsed().as_secs_f64());
    }

    /// Records the connected agents, and stores their environment.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn connected(&mut self, groups: &[Group]) -> Result<(), StoreError> {
        self.watch.turn(OverheadPart::Writing);
        let experiment = &mut self.head.experiment;
        // An experiment of engines has other agents in each of its parts.
        for agent in groups.iter().flat_map(Group::info) {
            match experiment.agents.iter_mut().find(|known| known.name == agent.name) {
                Some(known) => *known = agent,
                None => experiment.agents.push(agent),
            }
        }
        if let Some(agent) = groups.first().and_then(|group| group.agents.first()) {
            experiment.versions.agent = Some(agent.session.welcome().agent.clone());
            experiment.versions.dpdk = Some(agent.engine().dpdk.clone());
        }
        self.outcomes.set_equipment(experiment.equipment());
        self.environment.versions = self.head.experiment.versions.clone();
        self.environment.clear_agents();
        add(&mut self.environment, groups);
        self.begin_period();
        let environment = &self.environment;
        for node in &environment.nodes {
            if let Some(line) = node.host.as_ref().and_then(|host| host.kernel_command_line.as_ref()) {
                self.store.write_text(&bounded_name(&node.node, "_cmdline.txt"), &format!("{line}\n"))?;
            }
        }
        self.store.write_environment(environment)?;
        self.log_head()?;
        self.watch.turn(OverheadPart::StartUp);
        Ok(())
    }

    /// Stores the report of hugepage-check on an agent's host.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn preflight(&self, agent: &str, report: &serde_json::Value) -> Result<(), StoreError> {
        self.store.write_text(&format!("{agent}_preflight.json"), &format!("{report:#}\n"))
    }

    /// Records the warm-up.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn warmed_up(&mut self, warm_ups: Vec<WarmUp>) -> Result<(), StoreError> {
        self.watch.turn(OverheadPart::Writing);
        self.head.warm_up.retain(|known| warm_ups.iter().all(|warm| warm.pair != known.pair));
        self.head.warm_up.extend(warm_ups);
        // Packets went both ways, so links that were down at the hello are up now.
        let last = self.environment.periods.last_mut().into_iter().flat_map(|period| &mut period.agents);
        self.environment.agents.iter_mut().chain(last).for_each(|agent| agent.port.link_up = true);
        self.store.write_environment(&self.environment)?;
        self.log_head()?;
        self.rewrite_summary()?;
        self.watch.turn(OverheadPart::Trials);
        Ok(())
    }

    /// Stores a trial's record and the file of its flows; returns the record's path relative to the summary.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn file(
        &mut self,
        place: &str,
        record: &TrialRecord,
        flows: Option<NamedTempFile>,
    ) -> Result<String, StoreError> {
        let begun = Instant::now();
        let filed = self.store.add_trial(place, record, flows);
        self.filing_s += begun.elapsed().as_secs_f64();
        let filed = filed?;
        self.filed.insert(filed.path.clone(), filed.files);
        Ok(filed.path)
    }

    /// Records the outcome of `trial` on all pairs, and syncs it to disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn round(
        &mut self,
        trial: &Trial,
        results: &[TrialSummary],
        failures: &[TrialFailure],
        aggregate: Option<Aggregate>,
        last_packet: Option<Instant>,
    ) -> Result<(), StoreError> {
        // If a pair has no result, the load differed from the requested one, so the time does not count as a
        // trial's.
        let sending_s = results.iter().map(|result| result.duration_s).fold(0.0, f64::max);
        let part = if results.is_empty() { OverheadPart::Failed } else { OverheadPart::Trials };
        self.watch.attempt_ended(part, sending_s, std::mem::take(&mut self.filing_s));
        let (number, key) = (self.number(trial), Some(trial.key.to_string()));
        let mut records = Vec::with_capacity(results.len() + failures.len() + 1);
        for result in results {
            let files = self.filed.remove(&result.trial).unwrap_or_default();
            let record = ResultRecord { number, key: key.clone(), files, result: result.clone() };
            records.push(LogRecord::Result(Box::new(record)));
        }
        for failure in failures {
            let files = failure.trial.as_ref().and_then(|trial| self.filed.remove(trial)).unwrap_or_default();
            let record = FailureRecord { number, key: key.clone(), files, failure: failure.clone() };
            records.push(LogRecord::Failure(Box::new(record)));
        }
        self.filed.clear();
        let overhead = self.watch.overhead;
        records.push(LogRecord::TrialEnd(Box::new(TrialEnd { number, aggregate, overhead })));
        self.log.append(&records)?;
        failures.iter().for_each(|failure| self.note_failure(failure));
        let measured = results.iter().map(PathOutcome::from).collect();
        let outcome =
            if results.is_empty() { RecordedOutcome::Failed } else { RecordedOutcome::Measured(measured) };
        self.outcomes.add(trial, outcome);
        // Measured too late for this trial's line; the next line carries it.
        self.watch.overhead.last_packet_to_results_s = last_packet.map(|at| at.elapsed().as_secs_f64());
        if self.rewriting.is_due(Instant::now()) {
            self.rewrite_summary()?;
        }
        self.watch.turn(OverheadPart::Trials);
        Ok(())
    }

    /// Records that the recovery of lost pairs begins. The time since the end of the last trial does not
    /// count as that of a trial with a result.
    pub(super) fn recovery_begins(&mut self) {
        self.watch.spent_on(OverheadPart::Failed);
    }

    /// Records that trials continue.
    pub(super) fn recovery_ended(&mut self) {
        self.watch.turn(OverheadPart::Trials);
    }

    /// Records that a lost pair has been recovered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn recovered(&mut self, what: String) -> Result<(), StoreError> {
        self.log.append(&[LogRecord::Recovery(what)])
    }

    /// Records that a group takes no part in the trials `left`: each of its paths is recorded as missing in
    /// each of them.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn given_up(&mut self, group: &Group, why: &str, left: &[Trial]) -> Result<(), StoreError> {
        let mut records = Vec::new();
        for trial in left {
            if self.is_recorded(trial) {
                continue;
            }
            for path in group.paths().iter().filter(|path| trial.loads(&path.name)) {
                let failure = TrialFailure {
                    profile: trial.name.clone(),
                    pair: path.name.clone(),
                    repeat: trial.repeat,
                    reason: why.to_owned(),
                    transmit: None,
                    receive: None,
                    trial: None,
                };
                self.note_failure(&failure);
                let (number, key) = (self.number(trial), Some(trial.key.to_string()));
                let record = FailureRecord { number, key, files: BTreeMap::new(), failure };
                records.push(LogRecord::Failure(Box::new(record)));
            }
        }
        self.log.append(&records)
    }

    fn note_failure(&mut self, failure: &TrialFailure) {
        self.failed.insert((failure.profile.clone(), failure.repeat, failure.pair.clone()));
    }

    /// True when the failure of a trial on this path is recorded.
    fn has_failed(&self, profile: &str, repeat: u32, path: &str) -> bool {
        self.failed.contains(&(profile.to_owned(), repeat, path.to_owned()))
    }

    /// Results and failures of the trials so far.
    pub(super) fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// True when the trial has a result.
    pub(super) fn is_recorded(&self, trial: &Trial) -> bool {
        self.outcomes.is_measured(trial)
    }

    /// Number of trials, of which `number` is the latest.
    pub(super) fn trials_with(&self, number: usize) -> usize {
        self.head.experiment.planned_trials.max(number)
    }

    /// The trial's number, from 1: in the order of the plan; trials outside of the plan follow.
    pub(super) fn number(&mut self, trial: &Trial) -> u32 {
        let next = self.numbers.len() as u32 + 1;
        *self.numbers.entry(trial.key.clone()).or_insert(next)
    }

    /// Records that a group was reconnected, possibly elsewhere.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn connected_again(&mut self, group: &Group) -> Result<(), StoreError> {
        let before = self.environment.clone();
        self.environment.clear_agents();
        for agent in before.agents {
            match group.agents.iter().position(|again| again.name() == agent.name) {
                Some(index) => {
                    let again = &group.agents[index];
                    let host = again.session.welcome().host.as_ref();
                    self.environment.add(again.environment(group.next_hops(index)), host);
                }
                None => {
                    let host = before.nodes.iter().find(|node| node.node == agent.node);
                    self.environment.add(agent, host.and_then(|node| node.host.clone()).as_ref());
                }
            }
        }
        let last = self.environment.periods.last();
        let changed =
            last.is_none_or(|last| Changes::between(last, &self.environment.period(0)) != Changes::default());
        if changed {
            self.begin_period();
            self.store.write_environment(&self.environment)?;
            self.log_head()?;
        }
        Ok(())
    }

    /// Number of the current environment period.
    pub(super) fn environment_period(&self) -> u32 {
        self.environment.periods.last().map_or(0, |period| period.number)
    }

    /// Begins a period with the agents' current environment; the summary records the differences.
    fn begin_period(&mut self) {
        let number = self.environment.periods.last().map_or(0, |last| last.number + 1);
        let mut period = self.environment.period(number);
        period.began_at = Some(now());
        if let Some(last) = self.environment.periods.last() {
            period.changes = Changes::between(last, &period).all();
        }
        let said = period.changes.iter().map(|change| format!("period {number}: {change}"));
        self.head.experiment.environment_changes.extend(said);
        self.environment.periods.push(period);
    }

    /// Trials that could not be finished.
    pub(super) fn failures(&self) -> usize {
        self.failed.len()
    }

    /// Records that the end of the agents begins.
    pub(super) fn tear_down_begins(&mut self) {
        self.watch.turn(OverheadPart::TearDown);
    }

    /// Records how the experiment ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn close(mut self, status: Status, reason: Option<String>) -> Result<Summary, StoreError> {
        let (summary, sums) = self.end(status, reason)?;
        // The agents have ended, so the files are final.
        Manifest::seal(self.store.id(), self.store.directory(), sums)?;
        Ok(summary)
    }

    fn end(
        &mut self,
        status: Status,
        reason: Option<String>,
    ) -> Result<(Summary, BTreeMap<String, FileSum>), StoreError> {
        self.watch.turn(OverheadPart::Writing);
        self.head.status = status;
        self.head.reason = reason;
        self.head.experiment.ended_at = Some(now());
        self.log_head()?;
        self.rewrite_summary()
    }

    fn log_head(&mut self) -> Result<(), StoreError> {
        self.head.overhead = self.watch.overhead;
        self.log.append(&[LogRecord::Head(Box::new(self.head.clone()))])
    }

    /// Derives the summary from the log, and writes its file.
    fn rewrite_summary(&mut self) -> Result<(Summary, BTreeMap<String, FileSum>), StoreError> {
        let begun = Instant::now();
        let directory = self.store.directory();
        let derived = derive(directory)?.ok_or_else(|| missing_log(directory))?;
        self.store.write_summary(&derived.summary)?;
        let last = Instant::now();
        self.rewriting = Rewriting { last, cost: last - begun };
        Ok((derived.summary, derived.sums))
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        if self.head.status == Status::Running
            && let Err(error) = self.end(Status::Interrupted, Some("left before the end".to_owned()))
        {
            tracing::error!(%error, "the results still say that the experiment runs");
        }
    }
}

fn add(environment: &mut Environment, groups: &[Group]) {
    for group in groups {
        for (index, agent) in group.agents.iter().enumerate() {
            environment.add(agent.environment(group.next_hops(index)), agent.session.welcome().host.as_ref());
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewriting_the_summary_takes_a_bounded_share_of_the_time() {
        let last = Instant::now();
        let rewriting = Rewriting { last, cost: Duration::from_millis(30) };
        assert!(!rewriting.is_due(last + Duration::from_millis(2_999)));
        assert!(rewriting.is_due(last + Duration::from_secs(3)));
    }
}
