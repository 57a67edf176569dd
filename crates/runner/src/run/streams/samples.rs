//! Samples of a trial of streams: each is written to the trial's file as it arrives. In memory there are only totals of
//! each agent and a flag for each connection.

use std::path::Path;

use linerate_results::store::StoreError;
use linerate_results::streams::SampleLine;
use linerate_wire::sample::Sample;
use tempfile::NamedTempFile;

use crate::events::StreamsReading;
use crate::run::sample_file::SampleFile;

/// Totals of an agent in its latest sample.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    sent_bytes: u64,
    received_bytes: u64,
    retransmits: u64,
    missing_datagrams: u64,
}

/// The samples of a trial.
#[derive(Debug)]
pub(super) struct Samples {
    file: SampleFile,
    totals: Vec<Totals>,
    /// True for connections whose bytes moved in the receiver's latest interval.
    alive: Vec<bool>,
    /// When the last reading was taken, in seconds since the start, and the totals then.
    last: (f64, u64, u64),
}

impl Samples {
    /// No samples yet, of so many agents and connections; the file is in `directory`.
    pub(super) fn new(directory: &Path, agents: usize, connections: usize) -> Result<Self, StoreError> {
        Ok(Self {
            file: SampleFile::new(directory)?,
            totals: vec![Totals::default(); agents],
            alive: vec![false; connections],
            last: (0.0, 0, 0),
        })
    }

    /// Writes a sample of the agent at this place, which began at `started_ns` on its clock.
    pub(super) fn add(&mut self, place: usize, name: &str, sample: &Sample, started_ns: u64) {
        let Some(line) = SampleLine::of(name, sample, started_ns) else { return };
        let mut totals = Totals::default();
        // Only shown: what an agent says here is in no result.
        let add = |sum: &mut u64, count: u64| *sum = sum.saturating_add(count);
        for (bytes, _, retransmits) in line.sent.values() {
            add(&mut totals.sent_bytes, *bytes);
            add(&mut totals.retransmits, retransmits.unwrap_or(0));
        }
        for (number, (bytes, _, _, _, missing, alive)) in &line.received {
            add(&mut totals.received_bytes, *bytes);
            add(&mut totals.missing_datagrams, *missing);
            if let Some(flag) = self.alive.get_mut(*number as usize) {
                *flag = *alive > 0;
            }
        }
        self.totals[place] = totals;
        self.file.add(&line);
    }

    /// How the trial goes `at_s` seconds after its start.
    pub(super) fn reading(&mut self, at_s: f64) -> StreamsReading {
        let sum = |of: fn(&Totals) -> u64| self.totals.iter().map(of).fold(0, u64::saturating_add);
        let (sent, received) = (sum(|all| all.sent_bytes), sum(|all| all.received_bytes));
        let (before_s, sent_before, received_before) = self.last;
        let seconds = at_s - before_s;
        let rate = |now: u64, before: u64| {
            (seconds > 0.0).then(|| now.saturating_sub(before) as f64 * 8.0 / seconds)
        };
        let reading = StreamsReading {
            number: 0,
            planned_trials: 0,
            profile: String::new(),
            repeat: 0,
            at_s,
            connections: self.alive.len() as u32,
            connections_alive: self.alive.iter().filter(|alive| **alive).count() as u32,
            offered_bps: rate(sent, sent_before),
            received_bps: rate(received, received_before),
            sent_bytes: sent,
            received_bytes: received,
            retransmits: Some(sum(|all| all.retransmits)),
            missing_datagrams: Some(sum(|all| all.missing_datagrams)),
        };
        self.last = (at_s, sent, received);
        reading
    }

    /// The whole file.
    ///
    /// # Errors
    /// When a sample could not be written.
    pub(super) fn finish(self, directory: &Path) -> Result<NamedTempFile, StoreError> {
        self.file.finish(directory)
    }
}
