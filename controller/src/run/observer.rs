//! Who watches a run: the terminal, a program that reads events, or nobody.

use linerate_protocol::counters::Sample;
use linerate_protocol::profile::StageRates;
use linerate_protocol::trial::Role;

use super::way::Way;
use crate::plan::Trial;
use crate::summary::{TrialFailure, TrialSummary};

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
