//! A search on a modelled system: how long it takes, and what it finds.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::conclusion::GoalConclusion;
use crate::measurement::Measurement;
use crate::model::{Model, Simulated};
use crate::search::{Next, Request, Search, SearchSpec, SpecError};

/// Outcome of a simulated search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Simulation {
    /// The result for each goal, by its name.
    pub goals: BTreeMap<String, GoalConclusion>,
    /// Counted trials.
    pub trials: usize,
    /// Seconds of sending in the counted trials.
    pub sending_s: f64,
    /// The trials, in order.
    #[serde(skip)]
    pub log: Vec<(Request, Measurement)>,
}

/// Runs a search on a model.
///
/// # Errors
/// When the search cannot be.
pub fn simulate(spec: SearchSpec, model: &Model, seed: u64) -> Result<Simulation, SpecError> {
    let mut system = Simulated::new(model, seed);
    run(spec, |request| system.measure(request))
}

/// Runs a search on any system.
///
/// # Errors
/// When the search cannot be.
pub fn run(
    spec: SearchSpec,
    mut measure: impl FnMut(&Request) -> Measurement,
) -> Result<Simulation, SpecError> {
    let mut search = Search::new(spec)?;
    let mut log = Vec::new();
    while let Next::Measure(request) = search.next() {
        let outcome = measure(&request);
        search.record(outcome);
        log.push((request, outcome));
    }
    let counted = || log.iter().filter(|(request, _)| request.counted);
    let sending_ns: u64 = counted().map(|(request, _)| request.duration_ns).sum();
    Ok(Simulation {
        goals: search.conclusions().map(|(goal, conclusion)| (goal.name.clone(), conclusion)).collect(),
        trials: counted().count(),
        sending_s: sending_ns as f64 / 1e9,
        log,
    })
}
