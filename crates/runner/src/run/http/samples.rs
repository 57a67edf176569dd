//! Samples of a trial of HTTP: each is written to the trial's file as it arrives; in memory there are only totals.

use std::path::Path;

use linerate_results::http::HttpSampleLine;
use linerate_results::store::StoreError;
use linerate_wire::http::LoadSample;
use linerate_wire::sample::Sample;
use tempfile::NamedTempFile;

use crate::events::HttpReading;
use crate::run::sample_file::SampleFile;

/// The samples of a trial.
#[derive(Debug)]
pub(super) struct Samples {
    file: SampleFile,
    /// Latest counts of each agent.
    totals: Vec<LoadSample>,
    /// When the last reading was taken, in seconds since the start, and the answers then.
    last: (f64, u64),
}

impl Samples {
    /// No samples yet, of so many agents; the file is in `directory`.
    pub(super) fn new(directory: &Path, agents: usize) -> Result<Self, StoreError> {
        let file = SampleFile::new(directory)?;
        Ok(Self { file, totals: vec![LoadSample::default(); agents], last: (0.0, 0) })
    }

    /// Writes a sample of the agent at this place, which began at `started_ns` on its clock.
    pub(super) fn add(&mut self, place: usize, name: &str, sample: &Sample, started_ns: u64) {
        let Some(line) = HttpSampleLine::of(name, sample, started_ns) else { return };
        self.totals[place] = line.load.unwrap_or_default();
        self.file.add(&line);
    }

    /// How the trial goes `at_s` seconds after its start.
    pub(super) fn reading(&mut self, at_s: f64) -> HttpReading {
        let sum = |of: fn(&LoadSample) -> u64| self.totals.iter().map(of).fold(0, u64::saturating_add);
        let answered = sum(|all| all.answered);
        let (before_s, before) = self.last;
        let seconds = at_s - before_s;
        self.last = (at_s, answered);
        HttpReading {
            number: 0,
            planned_trials: 0,
            profile: String::new(),
            repeat: 0,
            at_s,
            requests_per_s: (seconds > 0.0).then(|| answered.saturating_sub(before) as f64 / seconds),
            intended_requests: sum(|all| all.intended),
            sent_requests: sum(|all| all.sent),
            skipped_requests: sum(|all| all.skipped),
            answered_requests: answered,
            failed_requests: sum(|all| all.failed),
        }
    }

    /// The whole file.
    ///
    /// # Errors
    /// When a sample could not be written.
    pub(super) fn finish(self, directory: &Path) -> Result<NamedTempFile, StoreError> {
        self.file.finish(directory)
    }
}
