//! Who watches a run: the terminal, a program that reads events, or nobody.

use linerate_traffic::profile::StageRates;
use linerate_wire::counters::Sample;
use linerate_wire::trial::Role;

use super::way::Way;
use linerate_experiment::plan::Trial;
use linerate_results::summary::{TrialFailure, TrialSummary};

/// A pair on one way, as a watcher needs to know it before a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchedPair {
    /// Its name, such as `tx0-rx0`.
    pub name: String,
    /// Intended load over time; `None`: as fast as possible.
    pub load: Option<Vec<StageRates>>,
    /// True when its delays are valid.
    pub delays_valid: bool,
    /// True when its delays are those of the way there and back.
    pub round_trip: bool,
}

impl WatchedPair {
    /// Intended packets per second `at_s` seconds after sending began; after the last stage its load stays. `None`: as fast as possible.
    pub fn load_at(&self, at_s: f64) -> Option<f64> {
        let stages = self.load.as_ref()?;
        let mut left = at_s.max(0.0);
        for stage in stages {
            if left < stage.seconds {
                return Some(stage.from_pps + (stage.to_pps - stage.from_pps) * left / stage.seconds);
            }
            left -= stage.seconds;
        }
        stages.last().map(|stage| stage.to_pps)
    }
}

/// Is told what happens, as it happens.
pub trait Observer {
    /// Something begins that is no trial.
    fn phase(&self, _text: &str) {}

    /// The trial `number` of `of` begins on `pairs`, with getting ready.
    fn trial_began(&self, _number: usize, _of: usize, _trial: &Trial, _pairs: &[WatchedPair]) {}

    /// Its transmitters have begun to send.
    fn sending_began(&self) {}

    /// The counters of a pair's agent.
    fn sample(&self, _pair: &str, _role: Role, _sample: &Sample) {}

    /// A pair's transmitter has sent all it will; packets may still be on their way.
    fn sending_ended(&self, _pair: &str) {}

    /// The trial has ended on one pair with a result.
    fn trial_ended(&self, _result: &TrialSummary) {}

    /// The trial could not be finished on one pair.
    fn trial_failed(&self, _failure: &TrialFailure) {}

    /// Nothing more will come.
    fn end(&self) {}
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Observer for Nobody {}

/// Several watch.
pub struct Watchers(pub Vec<Box<dyn Observer>>);

impl Observer for Watchers {
    fn phase(&self, text: &str) {
        self.0.iter().for_each(|one| one.phase(text));
    }

    fn trial_began(&self, number: usize, of: usize, trial: &Trial, pairs: &[WatchedPair]) {
        self.0.iter().for_each(|one| one.trial_began(number, of, trial, pairs));
    }

    fn sending_began(&self) {
        self.0.iter().for_each(|one| one.sending_began());
    }

    fn sample(&self, pair: &str, role: Role, sample: &Sample) {
        self.0.iter().for_each(|one| one.sample(pair, role, sample));
    }

    fn sending_ended(&self, pair: &str) {
        self.0.iter().for_each(|one| one.sending_ended(pair));
    }

    fn trial_ended(&self, result: &TrialSummary) {
        self.0.iter().for_each(|one| one.trial_ended(result));
    }

    fn trial_failed(&self, failure: &TrialFailure) {
        self.0.iter().for_each(|one| one.trial_failed(failure));
    }

    fn end(&self) {
        self.0.iter().for_each(|one| one.end());
    }
}

/// What happens on one pair, for whoever watches.
#[derive(Clone, Copy)]
pub(super) struct PairObserver<'a> {
    /// Who watches.
    pub(super) observer: &'a dyn Observer,
    /// The pair's ways.
    pub(super) ways: &'a [Way],
}

impl PairObserver<'_> {
    /// Nobody watches.
    pub(super) const NOBODY: PairObserver<'static> = PairObserver { observer: &Nobody, ways: &[] };

    /// The counters of the agent at that end: of what it sends on one way, and of what it receives on one, which may be the same.
    pub(super) fn sample(self, end: Role, sample: &Sample) {
        for way in self.ways {
            if way.from == end {
                self.observer.sample(&way.name, Role::Tx, sample);
            }
            if way.to == end {
                self.observer.sample(&way.name, Role::Rx, sample);
            }
        }
    }

    /// The agent at that end has sent all it will.
    pub(super) fn sending_ended(self, end: Role) {
        self.ways.iter().filter(|way| way.from == end).for_each(|way| self.observer.sending_ended(&way.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_follows_its_stages() {
        let stage = |from_pps, to_pps, seconds| StageRates { from_pps, to_pps, seconds };
        let pair = |load| WatchedPair { name: "tx0-rx0".into(), load, delays_valid: true, round_trip: false };
        let staged = pair(Some(vec![stage(100.0, 200.0, 2.0), stage(50.0, 50.0, 1.0)]));
        for (at_s, pps) in [(-1.0, 100.0), (0.0, 100.0), (1.0, 150.0), (2.0, 50.0), (9.0, 50.0)] {
            assert_eq!(staged.load_at(at_s), Some(pps), "{at_s}");
        }
        assert_eq!(pair(Some(vec![stage(7.0, 7.0, f64::INFINITY)])).load_at(3.0), Some(7.0));
        assert_eq!(pair(None).load_at(3.0), None);
    }
}
