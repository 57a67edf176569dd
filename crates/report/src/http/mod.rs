//! What reports and exports of trials of HTTP have in common: requests over time, all clients together. Pure.

use std::collections::BTreeMap;

use linerate_results::http::{HttpSampleLine, HttpTrialSummary};
use linerate_results::store::{Recorded, StoreError};
use linerate_wire::http::LoadSample;

/// Counts of all clients at the instants of their samples.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Timeline {
    /// Sums over the clients, by the number of the sample.
    points: Vec<(f64, LoadSample)>,
}

impl Timeline {
    /// The samples of a trial.
    ///
    /// # Errors
    /// When their file cannot be read.
    pub fn load(recorded: &Recorded, trial: &HttpTrialSummary) -> Result<Self, StoreError> {
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        let mut sums: Vec<(f64, usize, LoadSample)> = Vec::new();
        recorded.samples(&trial.samples_file, |line: HttpSampleLine| {
            let Some(load) = line.load else { return };
            let number = numbers.entry(line.agent).or_default();
            if sums.len() == *number {
                sums.push((0.0, 0, LoadSample::default()));
            }
            let (at_s, clients, sum) = &mut sums[*number];
            *at_s += line.at_ns as f64 / 1e9;
            *clients += 1;
            for (sum, count) in [
                (&mut sum.intended, load.intended),
                (&mut sum.sent, load.sent),
                (&mut sum.skipped, load.skipped),
                (&mut sum.answered, load.answered),
                (&mut sum.failed, load.failed),
            ] {
                *sum = sum.saturating_add(count);
            }
            *number += 1;
        })?;
        // The last samples of clients that ended earlier are missing in later sums.
        let most = sums.first().map_or(0, |(_, clients, _)| *clients);
        let whole = sums.into_iter().take_while(|(_, clients, _)| *clients == most);
        Ok(Self { points: whole.map(|(at_s, clients, sum)| (at_s / clients as f64, sum)).collect() })
    }

    /// Differences of a count per second, at the ends of the intervals.
    pub(crate) fn per_second(&self, of: fn(&LoadSample) -> u64) -> Vec<(f64, f64)> {
        let mut before = (0.0, 0);
        let rate = |(at_s, sum): &(f64, LoadSample)| {
            let (then_s, then) = std::mem::replace(&mut before, (*at_s, of(sum)));
            let seconds = at_s - then_s;
            (seconds > 0.0).then(|| (*at_s, of(sum).saturating_sub(then) as f64 / seconds))
        };
        self.points.iter().filter_map(rate).collect()
    }

    /// Instant of the last sample, in seconds.
    pub(crate) fn end_s(&self) -> f64 {
        self.points.last().map_or(0.0, |(at_s, _)| *at_s)
    }
}
