//! The other benchmarks, on modelled systems and against vectors.

mod back_to_back;
mod loads;
mod service;

use linerate_search::methods::{Conclusion, Method, MethodTrial, TrialOutcome};
use linerate_search::model::{Model, Simulated};

pub(super) const S: u64 = 1_000_000_000;
pub(super) const LINK_PPS: f64 = 14_880_952.380_952;

pub(super) fn cliff(capacity_pps: f64) -> Model {
    Model::Cliff { name: String::new(), capacity_pps }
}

/// Runs a method on a model to its end.
pub(super) fn run(method: Method, model: &Model) -> (Method, Vec<MethodTrial>) {
    let mut system = Simulated::new(model, 0);
    run_with(method, |trial| system.send(&trial.load, LINK_PPS))
}

/// Runs a method to its end; checks that each prefix of the outcomes gives the same trials again.
pub(super) fn run_with(
    begun: Method,
    mut send: impl FnMut(&MethodTrial) -> TrialOutcome,
) -> (Method, Vec<MethodTrial>) {
    let mut method = begun.clone();
    let (mut trials, mut outcomes) = (Vec::new(), Vec::new());
    while let Some(trial) = method.next() {
        let outcome = send(&trial);
        method.record(outcome);
        trials.push(trial);
        outcomes.push(outcome);
        assert_eq!(trial.number as usize, trials.len());
        assert!(trials.len() < 5_000, "{trial:?}");
    }
    let mut again = begun;
    for (trial, outcome) in trials.iter().zip(&outcomes) {
        assert_eq!(again.next(), Some(*trial));
        again.record(*outcome);
    }
    assert_eq!(again.next(), None);
    // What is stored is read back.
    let conclusion = method.conclusion();
    let text = serde_json::to_string(&conclusion).unwrap();
    assert_eq!(serde_json::from_str::<Conclusion>(&text).unwrap(), conclusion);
    // A finished method takes nothing more.
    again.record(TrialOutcome::default());
    assert_eq!(again.conclusion(), conclusion);
    (method, trials)
}
