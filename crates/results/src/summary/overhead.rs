//! Overhead: time beyond the trials' own sending, by activity. The parts always add up to the total.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tolerance for the sum of the parts: the rounding of numbers in JSON.
const ROUNDING: f64 = 1e-9;

/// Time beyond the trials' own duration, in seconds. The parts add up to `total_s`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overhead {
    /// From the start to the first packet of the warm-up: agents started and connected, their preflight reports.
    pub start_up_s: f64,
    /// Warm-up of all pairs.
    pub warm_up_s: f64,
    /// Trials that have a result, without their sending: getting ready, draining, reports.
    pub trials_s: f64,
    /// Attempts that gave no result, with their sending, and bringing back lost pairs; null in older records.
    #[serde(default)]
    pub failed_s: Option<f64>,
    /// Storing results on disk; null in older records, whose parts do not add up to the total.
    #[serde(default)]
    pub writing_s: Option<f64>,
    /// Ending the agents.
    pub tear_down_s: f64,
    /// From all agents running to the first packets of the warm-up; null until then, and in older records.
    #[serde(default)]
    pub ready_to_first_packet_s: Option<f64>,
    /// From the last packet of the last trial to its results on disk; null until then, and in older records.
    #[serde(default)]
    pub last_packet_to_results_s: Option<f64>,
    /// The sum of the parts: the experiment's time less the sending of trials that have a result.
    pub total_s: f64,
}

/// Activity that overhead is spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverheadPart {
    /// Agents are started and connected, and their preflight reports requested.
    StartUp,
    /// Pairs are warmed up.
    WarmUp,
    /// A trial with a result, outside of its sending time.
    Trials,
    /// An attempt without a result, or the recovery of a lost pair.
    Failed,
    /// Results are stored.
    Writing,
    /// Agents are ended.
    TearDown,
}

impl Default for Overhead {
    /// Zero in all parts.
    fn default() -> Self {
        Self {
            start_up_s: 0.0,
            warm_up_s: 0.0,
            trials_s: 0.0,
            failed_s: Some(0.0),
            writing_s: Some(0.0),
            tear_down_s: 0.0,
            ready_to_first_packet_s: None,
            last_packet_to_results_s: None,
            total_s: 0.0,
        }
    }
}

impl Overhead {
    /// The parts by their names, in seconds.
    pub fn parts(&self) -> [(&'static str, f64); 6] {
        [
            ("start-up", self.start_up_s),
            ("warm-up", self.warm_up_s),
            ("trials", self.trials_s),
            ("failed", self.failed_s.unwrap_or(0.0)),
            ("writing", self.writing_s.unwrap_or(0.0)),
            ("tear-down", self.tear_down_s),
        ]
    }

    /// Adds `seconds` to a part and to the total.
    pub fn add(&mut self, part: OverheadPart, seconds: f64) {
        match part {
            OverheadPart::StartUp => self.start_up_s += seconds,
            OverheadPart::WarmUp => self.warm_up_s += seconds,
            OverheadPart::Trials => self.trials_s += seconds,
            OverheadPart::Failed => *self.failed_s.get_or_insert(0.0) += seconds,
            OverheadPart::Writing => *self.writing_s.get_or_insert(0.0) += seconds,
            OverheadPart::TearDown => self.tear_down_s += seconds,
        }
        self.total_s = self.sum();
    }

    /// True when the parts add up to the total. True as well for older records without a time of writing,
    /// which cannot be checked.
    pub fn adds_up(&self) -> bool {
        self.writing_s.is_none()
            || (self.sum() - self.total_s).abs() <= ROUNDING * self.total_s.abs().max(1.0)
    }

    /// The overhead with parts that add up: the rest of an older record, which was mostly spent on writing,
    /// is added to writing.
    #[must_use]
    pub fn completed(mut self) -> Self {
        if self.writing_s.is_none() {
            self.writing_s = Some((self.total_s - self.sum()).max(0.0));
            self.failed_s = self.failed_s.or(Some(0.0));
        }
        self.total_s = self.sum();
        self
    }

    fn sum(&self) -> f64 {
        self.parts().iter().map(|(_, seconds)| seconds).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_whatever_is_added() {
        let mut overhead = Overhead::default();
        for (part, seconds) in [
            (OverheadPart::StartUp, 0.1),
            (OverheadPart::WarmUp, 0.2),
            (OverheadPart::Trials, 1e6),
            (OverheadPart::Failed, 1e-9),
            (OverheadPart::Writing, 33.7),
            (OverheadPart::TearDown, 0.3),
        ] {
            overhead.add(part, seconds);
            assert!(overhead.adds_up(), "{overhead:?}");
        }
        assert!((overhead.total_s - 1_000_034.3).abs() < 1e-6);
        overhead.total_s += 1.0;
        assert!(!overhead.adds_up());
    }

    #[test]
    fn an_older_record_has_no_writing_time_and_adds_up_once_it_is_resumed() {
        let text =
            r#"{"start_up_s": 1, "warm_up_s": 2, "trials_s": 13.2, "tear_down_s": 0, "total_s": 49.9}"#;
        let older: Overhead = serde_json::from_str(text).unwrap();
        assert!(older.adds_up());
        let completed = older.completed();
        assert!(completed.adds_up() && (completed.writing_s.unwrap() - 33.7).abs() < 1e-9);
        assert!((completed.total_s - 49.9).abs() < 1e-9);
    }
}
