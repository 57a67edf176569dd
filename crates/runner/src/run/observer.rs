//! Observers of a run: the terminal, or the JSON event stream.

use linerate_traffic::schedule::Schedule;
use linerate_wire::sample::Sample;
use linerate_wire::trial::Role;

use linerate_experiment::http::HttpTrial;
use linerate_experiment::plan::Trial;
use linerate_experiment::search::SearchState;
use linerate_experiment::streams::{Connection, StreamsTrial};
use linerate_experiment::topology::Path;
use linerate_results::http::HttpTrialSummary;
use linerate_results::streams::StreamsTrialSummary;
use linerate_results::summary::{TrialFailure, TrialSummary};

use crate::events::{HttpReading, StreamsReading};

/// Properties of a path that an observer needs before a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchedPath {
    /// Its name, such as `tx0-rx0`.
    pub name: String,
    /// Intended load over time; `None`: as fast as possible.
    pub load: Option<Schedule>,
    /// True when its delays are valid.
    pub delays_valid: bool,
    /// True when its delays are round-trip delays.
    pub round_trip: bool,
}

impl WatchedPath {
    /// Intended packets per second `at_s` seconds after the start of sending; the load of the last stage
    /// stays after its end. `None`: as fast as possible.
    pub fn load_at(&self, at_s: f64) -> Option<f64> {
        self.load.as_ref().map(|load| load.rate_at(at_s.max(0.0)))
    }
}

/// Receives the events of a run as they happen.
pub trait Observer {
    /// A phase other than a trial begins.
    fn phase(&self, _text: &str) {}

    /// Trial `number` of `of` begins on `paths`; preparation comes first.
    fn trial_began(&self, _number: usize, _of: usize, _trial: &Trial, _paths: &[WatchedPath]) {}

    /// Its transmitters have begun to send.
    fn sending_began(&self) {}

    /// Counters of a path's sender or receiver.
    fn sample(&self, _path: &str, _role: Role, _sample: &Sample) {}

    /// A path's transmitter has finished sending; packets may still be in flight.
    fn sending_ended(&self, _path: &str) {}

    /// A trial of streams, one of `of`, begins on these connections.
    fn streams_trial_began(&self, _trial: &StreamsTrial, _of: usize, _connections: &[Connection]) {}

    /// How a trial of streams goes, once in each interval of samples.
    fn streams_reading(&self, _reading: &StreamsReading) {}

    /// A trial of streams has ended with a result.
    fn streams_trial_ended(&self, _result: &StreamsTrialSummary) {}

    /// A trial of HTTP, one of `of`, begins.
    fn http_trial_began(&self, _trial: &HttpTrial, _of: usize) {}

    /// How a trial of HTTP goes, once in each interval of samples.
    fn http_reading(&self, _reading: &HttpReading) {}

    /// A trial of HTTP has ended with a result.
    fn http_trial_ended(&self, _result: &HttpTrialSummary) {}

    /// The trial has ended on one path with a result.
    fn trial_ended(&self, _result: &TrialSummary) {}

    /// The trial could not be finished on one path.
    fn trial_failed(&self, _failure: &TrialFailure) {}

    /// A trial of a rate search has ended: the state of the search.
    fn search_advanced(&self, _state: &SearchState) {}

    /// The run has ended; no event follows.
    fn end(&self) {}
}

/// An observer that ignores every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// Several observers as one.
pub struct Watchers(pub Vec<Box<dyn Observer>>);

impl Observer for Watchers {
    fn phase(&self, text: &str) {
        self.0.iter().for_each(|one| one.phase(text));
    }

    fn trial_began(&self, number: usize, of: usize, trial: &Trial, paths: &[WatchedPath]) {
        self.0.iter().for_each(|one| one.trial_began(number, of, trial, paths));
    }

    fn sending_began(&self) {
        self.0.iter().for_each(|one| one.sending_began());
    }

    fn sample(&self, path: &str, role: Role, sample: &Sample) {
        self.0.iter().for_each(|one| one.sample(path, role, sample));
    }

    fn sending_ended(&self, path: &str) {
        self.0.iter().for_each(|one| one.sending_ended(path));
    }

    fn streams_trial_began(&self, trial: &StreamsTrial, of: usize, connections: &[Connection]) {
        self.0.iter().for_each(|one| one.streams_trial_began(trial, of, connections));
    }

    fn streams_reading(&self, reading: &StreamsReading) {
        self.0.iter().for_each(|one| one.streams_reading(reading));
    }

    fn streams_trial_ended(&self, result: &StreamsTrialSummary) {
        self.0.iter().for_each(|one| one.streams_trial_ended(result));
    }

    fn http_trial_began(&self, trial: &HttpTrial, of: usize) {
        self.0.iter().for_each(|one| one.http_trial_began(trial, of));
    }

    fn http_reading(&self, reading: &HttpReading) {
        self.0.iter().for_each(|one| one.http_reading(reading));
    }

    fn http_trial_ended(&self, result: &HttpTrialSummary) {
        self.0.iter().for_each(|one| one.http_trial_ended(result));
    }

    fn trial_ended(&self, result: &TrialSummary) {
        self.0.iter().for_each(|one| one.trial_ended(result));
    }

    fn trial_failed(&self, failure: &TrialFailure) {
        self.0.iter().for_each(|one| one.trial_failed(failure));
    }

    fn search_advanced(&self, state: &SearchState) {
        self.0.iter().for_each(|one| one.search_advanced(state));
    }

    fn end(&self) {
        self.0.iter().for_each(|one| one.end());
    }
}

/// Passes the events of one group to the observer.
#[derive(Clone, Copy)]
pub(super) struct GroupObserver<'a> {
    /// The run's observer.
    pub(super) observer: &'a dyn Observer,
    /// The group's paths.
    pub(super) paths: &'a [Path],
}

impl GroupObserver<'_> {
    /// Ignores every event.
    pub(super) const NO_OBSERVER: GroupObserver<'static> =
        GroupObserver { observer: &NoObserver, paths: &[] };

    /// Passes on an agent's counters: those of the path that it sends on, and those of the path that it
    /// receives on. They may be the same path.
    pub(super) fn sample(self, agent: usize, sample: &Sample) {
        for path in self.paths {
            if path.from == agent {
                self.observer.sample(&path.name, Role::Tx, sample);
            }
            if path.to == agent {
                self.observer.sample(&path.name, Role::Rx, sample);
            }
        }
    }

    /// An agent of the group has finished sending.
    pub(super) fn sending_ended(self, agent: usize) {
        let sent = self.paths.iter().filter(|path| path.from == agent);
        sent.for_each(|path| self.observer.sending_ended(&path.name));
    }
}

#[cfg(test)]
mod tests {
    use linerate_traffic::profile::StageRates;

    use super::*;

    #[test]
    fn the_load_follows_its_stages() {
        let stage = |from_per_s, to_per_s, seconds| StageRates { from_per_s, to_per_s, seconds };
        let pair = |stages: Option<&[StageRates]>| WatchedPath {
            name: "tx0-rx0".into(),
            load: stages.map(|stages| Schedule::new(stages, 1.0)),
            delays_valid: true,
            round_trip: false,
        };
        let staged = pair(Some(&[stage(100.0, 200.0, 2.0), stage(50.0, 50.0, 1.0)]));
        for (at_s, pps) in [(-1.0, 100.0), (0.0, 100.0), (1.0, 150.0), (2.0, 50.0), (9.0, 50.0)] {
            assert_eq!(staged.load_at(at_s), Some(pps), "{at_s}");
        }
        assert_eq!(pair(Some(&[StageRates::steady(7.0)])).load_at(3.0), Some(7.0));
        assert_eq!(pair(None).load_at(3.0), None);
    }
}
