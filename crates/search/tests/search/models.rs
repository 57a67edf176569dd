//! Searches on modelled systems, compared with what the reference, PyPI `MLRsearch`, finds on the same models.

use std::collections::BTreeMap;

use linerate_search::model::Model;
use linerate_search::simulate::{Simulation, simulate};
use linerate_search::{Goal, Limiter, SearchSpec};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Runs {
    deterministic: Vec<Run>,
    noisy: Vec<Noisy>,
}

#[derive(Deserialize)]
struct Run {
    model: Value,
    min_pps: u64,
    max_pps: u64,
    results: BTreeMap<String, Found>,
}

#[derive(Deserialize)]
struct Found {
    goals: BTreeMap<String, FoundGoal>,
    sending_s: f64,
}

#[derive(Deserialize)]
struct FoundGoal {
    relevant_lower_bound_pps: Option<f64>,
    relevant_upper_bound_pps: Option<f64>,
    conditional_throughput_pps: Option<f64>,
    regular: bool,
}

#[derive(Deserialize)]
struct Noisy {
    model: Value,
    min_pps: u64,
    max_pps: u64,
    seeds: u64,
    results: BTreeMap<String, Value>,
}

/// The share of its reference's sending time that a search may take.
const LONGEST_SHARE: f64 = 1.2;
const WIDTH: f64 = 0.005;

fn runs() -> Runs {
    serde_json::from_str(include_str!("vectors/reference-runs.json")).unwrap()
}

fn goals(set: &str) -> Vec<Goal> {
    match set {
        "csit-ndr-pdr" => vec![Goal::ndr(), Goal::pdr()],
        "rfc2544" => vec![Goal::rfc2544()],
        "tst009" => vec![Goal::tst009()],
        other => panic!("no set of goals {other}"),
    }
}

fn searched(model: &Value, set: &str, min_pps: u64, max_pps: u64, seed: u64) -> Simulation {
    let model: Model = serde_json::from_value(model.clone()).unwrap();
    simulate(SearchSpec { goals: goals(set), min_pps, max_pps, warm_up_ns: 0 }, &model, seed).unwrap()
}

#[test]
fn deterministic_models_give_what_the_reference_finds() {
    for run in runs().deterministic {
        let is_trap = run.model["kind"] == "generator-limited";
        for (set, reference) in &run.results {
            let ours = searched(&run.model, set, run.min_pps, run.max_pps, 0);
            let about = format!("{} {set}: {:?} in {} s", run.model["name"], ours.goals, ours.sending_s);
            println!("{about} (reference {} s)", reference.sending_s);
            assert!(ours.sending_s <= LONGEST_SHARE * reference.sending_s, "{about}");
            for (name, expected) in &reference.goals {
                let found = &ours.goals[&name.to_lowercase()];
                // The reference sells the generator's limit as the system's.
                assert_eq!(found.regular, expected.regular && !is_trap, "{about}");
                if is_trap {
                    assert_eq!(found.limited_by, Some(Limiter::Generator), "{about}");
                    continue;
                }
                if let Some(throughput) = expected.conditional_throughput_pps {
                    let ours = found.conditional_throughput_pps.unwrap();
                    assert!((ours / throughput - 1.0).abs() <= WIDTH, "{about}: {ours} for {throughput}");
                } else {
                    assert_eq!(found.effective_lower_bound_pps, None, "{about}");
                }
                // Both intervals enclose the same value.
                if let (Some(lower), Some(upper)) =
                    (expected.relevant_lower_bound_pps, expected.relevant_upper_bound_pps)
                {
                    assert!((found.relevant_lower_bound_pps.unwrap() as f64) < upper, "{about}");
                    assert!(found.relevant_upper_bound_pps.unwrap() as f64 > lower, "{about}");
                }
            }
        }
    }
}

#[test]
fn noisy_models_give_what_the_reference_finds() {
    for run in runs().noisy {
        for (set, reference) in &run.results {
            let found: Vec<Simulation> = (0..run.seeds)
                .map(|seed| searched(&run.model, set, run.min_pps, run.max_pps, seed))
                .collect();
            let sending = median(found.iter().map(|simulation| simulation.sending_s).collect());
            let about = format!("{} {set}: {sending} s", run.model["name"]);
            println!("{about} (reference {} s)", reference["sending_s_median"]);
            assert!(sending <= LONGEST_SHARE * reference["sending_s_median"].as_f64().unwrap(), "{about}");
            for goal in goals(set) {
                let expected = &reference[goal.name.to_uppercase()];
                let regular = found.iter().filter(|simulation| simulation.goals[&goal.name].regular).count();
                assert_eq!(regular as u64, expected["regular"], "{about} {}", goal.name);
                if let Some(throughput) = expected["conditional_throughput_pps"]["median"].as_f64() {
                    let all = found
                        .iter()
                        .filter_map(|simulation| simulation.goals[&goal.name].conditional_throughput_pps);
                    let ours = median(all.collect());
                    println!("  {}: {ours} (reference {throughput})", goal.name);
                    assert!((ours / throughput - 1.0).abs() <= WIDTH, "{about} {}: {ours}", goal.name);
                }
            }
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}
