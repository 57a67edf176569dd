//! What reports and exports of trials of streams have in common: the record read once, CPU time per gigabit of each
//! agent, and rates over time.

pub(crate) mod number;
pub(crate) mod timeline;

use std::collections::BTreeMap;

use linerate_results::store::{Recorded, StoreError};
use linerate_results::streams::{ConnectionSummary, SampleLine, StreamsTrialRecord, StreamsTrialSummary};

use self::timeline::Timeline;

/// Bits of a gigabit.
const GBIT: f64 = 1e9;

/// What a report shows of a trial of streams beside its summary.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamsDetail {
    /// Figures of all connections, in the order of their numbers.
    pub connections: Vec<ConnectionSummary>,
    /// CPU seconds of each agent per gigabit that it sent and received together; absent where it is not known.
    pub cpu_s_per_gbit: BTreeMap<String, f64>,
    /// Rates over time; `None` without samples.
    pub(crate) timeline: Option<Timeline>,
}

impl StreamsDetail {
    /// The detail of a trial.
    ///
    /// # Errors
    /// When its record cannot be read. Samples that cannot be read are `None`, with the reason.
    pub fn load(
        recorded: &Recorded,
        trial: &StreamsTrialSummary,
    ) -> Result<(Self, Option<StoreError>), StoreError> {
        let record = recorded.streams_trial(&trial.trial)?;
        let cpu_s_per_gbit = cpu_s_per_gbit(&record);
        let mut timeline = Timeline::new(&record, trial.duration_s);
        let read = recorded.samples(&trial.samples_file, |line: SampleLine| timeline.add(&line));
        let detail = |timeline| Self { connections: record.connections, cpu_s_per_gbit, timeline };
        Ok(match read {
            Ok(()) => (detail(Some(timeline).filter(|timeline| !timeline.is_empty())), None),
            Err(error) => (detail(None), Some(error)),
        })
    }
}

/// CPU seconds of each agent per gigabit of payload that it sent and received. An agent whose process had other trials at the same
/// time has none, because its CPU time is not this trial's alone.
pub(crate) fn cpu_s_per_gbit(record: &StreamsTrialRecord) -> BTreeMap<String, f64> {
    let mut moved: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    for one in &record.connections {
        for (agent, bytes) in [(&one.from, one.written_bytes), (&one.to, one.received_bytes)] {
            let sum = moved.entry(agent).or_insert(Some(0));
            *sum = sum.zip(bytes).and_then(|(sum, bytes)| sum.checked_add(bytes));
        }
    }
    let of = |agent: &linerate_results::streams::AgentPart| {
        let cpu = agent.report.as_ref().map(|report| report.detail).filter(|cpu| !cpu.shared)?;
        let bytes = moved.get(agent.agent.as_str()).copied().flatten().filter(|bytes| *bytes > 0)?;
        Some((agent.agent.clone(), cpu.process_s * GBIT / (bytes as f64 * 8.0)))
    };
    record.agents.iter().filter_map(of).collect()
}

/// True when a profile was run more than once.
pub(crate) fn has_repeats(trials: &[StreamsTrialSummary]) -> bool {
    trials.iter().any(|one| one.repeat > 1)
}

/// The trial's name: profile, and repeat if there are several.
pub(crate) fn name(trial: &StreamsTrialSummary, has_repeats: bool) -> String {
    match has_repeats {
        true => format!("{}, repeat {}", trial.profile, trial.repeat),
        false => trial.profile.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_results::fixtures::streams::{mesh, pair, recorded_streams};
    use linerate_wire::streams::Protocol;

    #[test]
    fn cpu_time_is_shared_by_what_an_agent_moved() {
        let record = pair(Protocol::Tcp, 4, 1).record;
        // Half a second for 4 Gbit.
        let cpu = cpu_s_per_gbit(&record);
        assert!((cpu["tx0"] - 0.125).abs() < 1e-9 && (cpu["rx0"] - 0.125).abs() < 1e-9, "{cpu:?}");
        let mut shared = record.clone();
        shared.agents[0].report.as_mut().unwrap().detail.shared = true;
        assert!(!cpu_s_per_gbit(&shared).contains_key("tx0"));
        let mut unknown = record;
        unknown.connections[0].received_bytes = None;
        assert!(!cpu_s_per_gbit(&unknown).contains_key("rx0"));
    }

    #[test]
    fn a_trial_without_samples_still_has_its_connections() {
        let (results, id) = recorded_streams(&[mesh(Protocol::Udp, 3, &["net0"])]);
        let recorded = Recorded::open(results.path(), &id).unwrap();
        let trial = &recorded.summary.streams[0];
        let (detail, unread) = StreamsDetail::load(&recorded, trial).unwrap();
        assert!(unread.is_none() && detail.timeline.is_some());
        std::fs::remove_file(recorded.directory.join(&trial.samples_file)).unwrap();
        let (detail, unread) = StreamsDetail::load(&recorded, trial).unwrap();
        assert!(unread.unwrap().to_string().contains("samples.jsonl"));
        assert_eq!((detail.connections.len(), detail.timeline), (6, None));
    }
}
