//! Who watches a run: the terminal, or nobody.

use linerate_protocol::counters::Sample;
use linerate_protocol::trial::Role;

use crate::plan::Trial;
use crate::summary::{TrialFailure, TrialSummary};

/// Is told what happens, as it happens.
pub trait Observer {
    /// Something begins that is no trial.
    fn phase(&self, _text: &str) {}

    /// The trial `number` of `of` begins to send.
    fn trial_began(&self, _number: usize, _of: usize, _trial: &Trial) {}

    /// An agent's counters.
    fn sample(&self, _agent: &str, _role: Role, _sample: &Sample) {}

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
