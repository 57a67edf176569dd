//! Source data of a report: the summary, and the records of the trials that it details.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use linerate_experiment::search::SearchPurpose;
use linerate_results::store::environment::Environment;
use linerate_results::store::record::TrialRecord;
use linerate_results::store::{self, Recorded, StoreError};
use linerate_results::summary::{AgentInfo, Summary, TrialSummary};

use linerate_results::store::report::TrialReport;
use linerate_wire::report::LatencySummary;

use super::model::Tone;
use crate::http::Timeline;
use crate::streams::StreamsDetail;
use linerate_results::streams::StreamsTrialSummary;
use linerate_results::verdict::VerdictKind;
use linerate_wire::streams::StreamsLimit;

/// Most trials that a report details; those with losses come first.
pub const CLOSE_TRIALS: usize = 40;
/// Most trials of HTTP whose requests are drawn over time.
const MOST_TIMELINES: usize = 64;
/// Most connections of all detailed trials of streams together; at least one trial is detailed.
const CLOSE_CONNECTIONS: u64 = 20_000;

/// An experiment's summary and the records of its trials.
#[derive(Debug, Clone)]
pub struct Source {
    /// The summary.
    pub summary: Summary,
    /// Records of the detailed trials, by index in the summary's `trials`.
    pub records: BTreeMap<usize, TrialRecord>,
    /// The environment; `None` when it was not recorded or could not be read.
    pub environment: Option<Environment>,
    /// Details of trials of streams, by index in the summary's `streams`.
    pub streams: BTreeMap<usize, StreamsDetail>,
    /// Requests over time of trials of HTTP, by index in the summary's `http`.
    pub http: BTreeMap<usize, Timeline>,
    /// Why records and files could not be read.
    pub unread: Vec<String>,
}

/// A trial of the summary, and its record.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// Its number in the report, from 1.
    pub number: usize,
    /// Its figures.
    pub figures: &'a TrialSummary,
    /// Its record; `None` when the trial is not detailed or its record could not be read.
    pub record: Option<&'a TrialRecord>,
}

/// What names of trials contain besides the profile. It is the same for all trials of a report.
#[derive(Debug, Clone, Copy)]
pub struct TrialNames {
    /// True when profiles were run more than once.
    pub has_repeats: bool,
    /// True when there are several pairs.
    pub has_pairs: bool,
}

impl TrialNames {
    /// The trial's name: profile, repeat if there are several, and pair if there are several.
    pub fn name(self, trial: &TrialSummary) -> String {
        let mut name = trial.profile.clone();
        if self.has_repeats {
            name.push_str(&format!(", repeat {}", trial.repeat));
        }
        if self.has_pairs {
            name.push_str(&format!(", {}", trial.pair));
        }
        name
    }
}

impl Source {
    /// Reads the experiment `id` below `results`. A record that cannot be read is omitted, and listed in
    /// `unread`.
    ///
    /// # Errors
    /// When the summary cannot be read.
    pub fn load(results: &Path, id: &str) -> Result<Self, StoreError> {
        let summary = store::load(results, id)?;
        let mut records = BTreeMap::new();
        let mut unread = Vec::new();
        for index in close(&summary) {
            match store::load_trial(results, id, &summary.trials[index].trial) {
                Ok(record) => {
                    records.insert(index, record);
                }
                Err(error) => unread.push(error.to_string()),
            }
        }
        let environment = Environment::read(&results.join(id)).unwrap_or_else(|error| {
            unread.push(error.to_string());
            None
        });
        let recorded = Recorded { directory: results.join(id), summary };
        let mut streams = BTreeMap::new();
        for index in close_streams(&recorded.summary) {
            match StreamsDetail::load(&recorded, &recorded.summary.streams[index]) {
                Ok((detail, problem)) => {
                    streams.insert(index, detail);
                    unread.extend(problem.map(|error| error.to_string()));
                }
                Err(error) => unread.push(error.to_string()),
            }
        }
        let mut http = BTreeMap::new();
        for (index, trial) in recorded.summary.http.iter().enumerate().take(MOST_TIMELINES) {
            match Timeline::load(&recorded, trial) {
                Ok(timeline) => drop(http.insert(index, timeline)),
                Err(error) => unread.push(error.to_string()),
            }
        }
        Ok(Self { summary: recorded.summary, records, environment, streams, http, unread })
    }

    /// A recorded experiment without the records of its trials.
    ///
    /// # Errors
    /// When its environment exists and cannot be read.
    pub fn without_records(recorded: &Recorded) -> Result<Self, StoreError> {
        Ok(Self {
            summary: recorded.summary.clone(),
            records: BTreeMap::new(),
            streams: BTreeMap::new(),
            http: BTreeMap::new(),
            environment: Environment::read(&recorded.directory)?,
            unread: Vec::new(),
        })
    }

    /// The trials of the matrix, in the order of their runs. Trials of searches stand in a section of their own.
    pub fn trials(&self) -> impl Iterator<Item = Trial<'_>> {
        let of_matrix =
            self.summary.trials.iter().enumerate().filter(|(_, figures)| figures.search.is_none());
        of_matrix.zip(1..).map(|((index, figures), number)| Trial {
            number,
            figures,
            record: self.records.get(&index),
        })
    }

    /// How the trials are named. It looks at all trials: ask once for all names.
    pub fn names(&self) -> TrialNames {
        TrialNames {
            has_repeats: self.summary.matrix_trials().any(|trial| trial.repeat > 1),
            has_pairs: self.pairs().len() > 1,
        }
    }

    /// Name of the experiment's delays; all its trials have the same direction.
    pub fn delay_name(&self) -> &'static str {
        let is_round_trip = self.summary.trials.iter().any(|trial| trial.direction.is_round_trip());
        if is_round_trip { "round-trip time" } else { "one-way delay" }
    }

    /// Names of the pairs, in order of appearance.
    pub fn pairs(&self) -> Vec<&str> {
        let Summary { warm_up, trials, failures, .. } = &self.summary;
        let mentions = warm_up
            .iter()
            .map(|entry| &entry.pair)
            .chain(trials.iter().map(|entry| &entry.pair))
            .chain(failures.iter().map(|entry| &entry.pair));
        let mut known: HashSet<&str> = HashSet::new();
        mentions.map(String::as_str).filter(|pair| known.insert(pair)).collect()
    }

    /// Transmitter and receiver of a pair, as far as known.
    pub fn ends<'a>(&'a self, pair: &str) -> [Option<&'a AgentInfo>; 2] {
        let (from, to) = pair.split_once('-').unwrap_or((pair, ""));
        let agent = |name: &str| self.summary.experiment.agents.iter().find(|agent| agent.name == name);
        [agent(from), agent(to)]
    }

    /// Speed of a pair's link: the slower end's. `None` when neither end reports it.
    pub fn link_bps(&self, pair: &str) -> Option<u64> {
        self.ends(pair).into_iter().flatten().filter_map(|agent| agent.link_bps).min()
    }
}

impl Trial<'_> {
    /// Its delays: one-way or round-trip.
    pub fn delay(&self) -> Option<&LatencySummary> {
        self.figures.latency_ns.as_ref().or(self.figures.round_trip_ns.as_ref())
    }

    /// Report of the end that received the packets: in a round trip, the transmitter.
    pub fn received(&self) -> Option<&TrialReport> {
        let record = self.record?;
        if self.figures.direction.is_round_trip() { record.tx.as_ref() } else { record.rx.as_ref() }
    }
}

/// Indices of the trials to detail, in order. Of the matrix, those with losses are preferred, then those that missed their
/// load, then the others; of benchmarks, those are detailed whose losses have times that matter.
fn close(summary: &Summary) -> Vec<usize> {
    let mut indices: Vec<usize> =
        (0..summary.trials.len()).filter(|index| summary.trials[*index].search.is_none()).collect();
    indices.sort_by_key(|index| match tone(summary.trials[*index].verdict.kind) {
        Tone::Bad => 0,
        Tone::Warning => 1,
        _ => 2,
    });
    indices.truncate(CLOSE_TRIALS);
    let is_timed = |trial: &TrialSummary| {
        let purpose = trial.search.as_ref().map(|place| place.purpose);
        trial.lost_packets > 0 && matches!(purpose, Some(SearchPurpose::Soak | SearchPurpose::Recovery))
    };
    let timed = (0..summary.trials.len()).filter(|index| is_timed(&summary.trials[*index]));
    indices.extend(timed.take(CLOSE_TRIALS));
    indices.sort_unstable();
    indices
}

/// Indices of the trials of streams to detail, in order: those with silent connections or losses first.
fn close_streams(summary: &Summary) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..summary.streams.len()).collect();
    indices.sort_by_key(|index| match streams_tone(&summary.streams[*index]) {
        Tone::Bad => 0,
        Tone::Warning => 1,
        _ => 2,
    });
    indices.truncate(CLOSE_TRIALS);
    let mut connections = 0;
    let few = indices.iter().take_while(|index| {
        let before = connections;
        connections += u64::from(summary.streams[**index].connections);
        before == 0 || connections <= CLOSE_CONNECTIONS
    });
    let mut indices: Vec<usize> = few.copied().collect();
    indices.sort_unstable();
    indices
}

/// Judgement of a trial of streams.
pub(crate) fn streams_tone(trial: &StreamsTrialSummary) -> Tone {
    if trial.connections_alive < trial.connections || !trial.complete {
        return Tone::Bad;
    }
    limit_tone(trial.verdict.kind)
}

/// Judgement of what limited streams.
pub(crate) fn limit_tone(limit: StreamsLimit) -> Tone {
    match limit {
        StreamsLimit::Clean => Tone::Good,
        StreamsLimit::ReceiverLimited | StreamsLimit::Unknown => Tone::Bad,
        StreamsLimit::NetworkLimited
        | StreamsLimit::ReceiverWindowLimited
        | StreamsLimit::SendBufferLimited
        | StreamsLimit::CpuLimited
        | StreamsLimit::QuotaLimited
        | StreamsLimit::ApplicationLimited => Tone::Warning,
    }
}

/// Judgement of a verdict.
pub(crate) fn tone(kind: VerdictKind) -> Tone {
    match kind {
        VerdictKind::Clean => Tone::Good,
        VerdictKind::PortLimited | VerdictKind::GeneratorLimited => Tone::Warning,
        VerdictKind::ReceiverLimited | VerdictKind::PathLimited => Tone::Bad,
    }
}
