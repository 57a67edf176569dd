//! `linerate search`, and the search itself beside the reference implementation, PyPI `MLRsearch`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use linerate_search::model::Model;
use linerate_search::simulate::{Simulation, simulate};
use linerate_search::{Goal, Limiter, SearchSpec};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{linerate, python, stderr, stdout};

const MIN_PPS: u64 = 9_001;
const MAX_PPS: u64 = 14_880_952;
const WIDTH: f64 = 0.005;
/// Share of the reference's sending time that a search may take.
const LONGEST_SHARE: f64 = 1.2;
/// Searches of a noisy model.
const SEEDS: u64 = 40;
const GOAL_SETS: [&[&str]; 3] = [&["ndr", "pdr"], &["rfc2544"], &["tst009"]];

/// A model, whether it is noisy, and the highest load without loss, where the goal does not matter.
fn models() -> Vec<(Value, bool)> {
    let capacity = 1e6;
    vec![
        (json!({"kind": "cliff", "capacity_pps": capacity}), false),
        (json!({"kind": "cliff", "capacity_pps": 20e6}), false),
        (json!({"kind": "cliff", "capacity_pps": 5e3}), false),
        (json!({"kind": "cliff", "capacity_pps": 14_880_000.0}), false),
        (json!({"kind": "linear", "knee_pps": 9e5, "lost_share": 0.5}), false),
        (json!({"kind": "buffer", "capacity_pps": capacity, "buffer_packets": 20_000}), false),
        (json!({"kind": "floor", "capacity_pps": capacity, "loss_floor": 1e-6}), false),
        (
            json!({"kind": "hole", "capacity_pps": capacity, "hole_from_pps": 6e5, "hole_to_pps": 6.5e5, "hole_loss": 0.01}),
            false,
        ),
        (json!({"kind": "generator-limited", "capacity_pps": capacity, "generator_pps": 8e5}), false),
        (json!({"kind": "warm-up", "capacity_pps": capacity, "cold_trials": 3, "cold_share": 0.5}), false),
        (
            json!({"kind": "stalls", "capacity_pps": capacity, "stall_probability_per_s": 0.1, "stall_s": 0.002}),
            true,
        ),
        (
            json!({"kind": "stalls", "capacity_pps": capacity, "stall_probability_per_s": 0.45, "stall_s": 0.002}),
            true,
        ),
        (json!({"kind": "jitter", "capacity_pps": capacity, "spread": 0.02}), true),
    ]
}

#[derive(Debug, Deserialize)]
struct Reference {
    goals: BTreeMap<String, ReferenceGoal>,
    sending_s: f64,
}

#[derive(Debug, Deserialize)]
struct ReferenceGoal {
    lower: Option<f64>,
    upper: Option<f64>,
    throughput: Option<f64>,
    regular: bool,
}

fn searched(model: &Value, goals: &[&str], seed: u64) -> Simulation {
    let model: Model = serde_json::from_value(model.clone()).unwrap();
    let goals = goals.iter().map(|name| Goal::named(name).unwrap()).collect();
    simulate(SearchSpec { goals, min_pps: MIN_PPS, max_pps: MAX_PPS, warm_up_ns: 0 }, &model, seed).unwrap()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        even if even.is_multiple_of(2) => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

#[test]
fn searches_agree_with_the_reference() {
    let name = "searches_agree_with_the_reference";
    let Some(python) = python(name, "MLRsearch") else { return };
    let cases: Vec<(Value, bool, &[&str])> = models()
        .into_iter()
        .flat_map(|(model, noisy)| GOAL_SETS.map(|goals| (model.clone(), noisy, goals)))
        .collect();
    let seeds = |noisy: bool| 0..if noisy { SEEDS } else { 1 };
    let jobs: Vec<Value> = cases
        .iter()
        .flat_map(|(model, noisy, goals)| {
            seeds(*noisy).map(move |seed| {
                json!({"model": model, "goals": goals, "min_pps": MIN_PPS, "max_pps": MAX_PPS, "seed": seed})
            })
        })
        .collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/offline/reference_search.py");
    let mut reference =
        Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = serde_json::to_vec(&jobs).unwrap();
    reference.stdin.take().unwrap().write_all(&input).unwrap();
    let output = reference.wait_with_output().unwrap();
    assert!(output.status.success());
    let mut answers = serde_json::from_slice::<Vec<Reference>>(&output.stdout).unwrap().into_iter();
    for (model, noisy, goals) in cases {
        let pairs: Vec<(Simulation, Reference)> =
            seeds(noisy).map(|seed| (searched(&model, goals, seed), answers.next().unwrap())).collect();
        let about = format!("{model} {goals:?}");
        let times = |of: fn(&(Simulation, Reference)) -> f64| median(pairs.iter().map(of).collect()).unwrap();
        let (ours, theirs) = (times(|pair| pair.0.sending_s), times(|pair| pair.1.sending_s));
        println!("{about}: {ours} s of sending, reference {theirs} s");
        assert!(ours <= LONGEST_SHARE * theirs, "{about}: {ours} s of sending, reference {theirs} s");
        for goal in goals {
            let about = format!("{about} {goal}");
            compare(&about, goal, model["kind"] == "generator-limited", &pairs);
        }
    }
}

/// Compares the results for a goal: over all seeds, and interval by interval where there is one seed.
fn compare(about: &str, goal: &str, is_trap: bool, pairs: &[(Simulation, Reference)]) {
    if is_trap {
        // The reference reports the generator's limit as the system's.
        for (ours, theirs) in pairs {
            let found = &ours.goals[goal];
            assert!(theirs.goals[goal].regular && !found.regular, "{about}: {found:?}");
            assert_eq!(found.limited_by, Some(Limiter::Generator), "{about}");
            assert!(found.effective_lower_bound_pps.unwrap() <= 800_000, "{about}: {found:?}");
        }
        return;
    }
    let ours = pairs.iter().filter(|(ours, _)| ours.goals[goal].regular).count();
    let theirs = pairs.iter().filter(|(_, theirs)| theirs.goals[goal].regular).count();
    assert_eq!(ours, theirs, "{about}: regular results");
    let ours = pairs.iter().filter_map(|(ours, _)| ours.goals[goal].conditional_throughput_pps).collect();
    let theirs = pairs.iter().filter_map(|(_, theirs)| theirs.goals[goal].throughput).collect();
    match (median(ours), median(theirs)) {
        (Some(ours), Some(theirs)) => {
            assert!((ours / theirs - 1.0).abs() <= WIDTH, "{about}: {ours}, reference {theirs}");
        }
        (ours, theirs) => assert_eq!(ours, theirs, "{about}"),
    }
    if let [(ours, theirs)] = pairs {
        let (found, expected) = (&ours.goals[goal], &theirs.goals[goal]);
        if let (Some(lower), Some(upper)) = (expected.lower, expected.upper) {
            assert!((found.relevant_lower_bound_pps.unwrap() as f64) < upper, "{about}: {found:?}");
            assert!(found.relevant_upper_bound_pps.unwrap() as f64 > lower, "{about}: {found:?}");
        }
    }
}

#[test]
fn a_model_is_searched_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.json");
    fs::write(&model, r#"{"name": "one", "kind": "cliff", "capacity_pps": 1000000}"#).unwrap();
    let path = model.to_str().unwrap();
    let simulate = |options: &[&str]| linerate(&[&["search", "simulate", path], options].concat());
    let output = simulate(&["--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["trials"], &found["sending_s"]), (&json!(35), &json!(35.0)));
    let ndr = &found["goals"]["ndr"];
    assert!(
        ndr["relevant_lower_bound_pps"].as_u64().unwrap() <= 1_000_000 && ndr["regular"] == true,
        "{found}"
    );
    assert!(ndr["relevant_upper_bound_pps"].as_u64().unwrap() > 1_000_000, "{found}");
    assert!(found["goals"]["pdr"]["conditional_throughput_pps"].is_f64(), "{found}");
    let output = simulate(&["--goals", "rfc2544", "--max-load", "500kpps", "--trials"]);
    let text = stdout(&output);
    assert!(text.contains("irregular: at least this") && text.contains("1 trials, 60.000 s"), "{text}");

    for (content, options, part) in [
        ("{", &[][..], "model.json: "),
        (r#"{"kind": "cliff"}"#, &[], "capacity_pps"),
        (r#"{"kind": "clif", "capacity_pps": 1}"#, &[], "clif"),
        (r#"{"kind": "cliff", "capacity_pps": -1}"#, &[], "capacity_pps: -1 is outside 0"),
        (r#"{"kind": "cliff", "capacity_pps": 1}"#, &["--goals", "nrd"], "there is no goal 'nrd'"),
        (r#"{"kind": "cliff", "capacity_pps": 1}"#, &["--min-load", "0"], "'0' is not a load"),
        (r#"{"kind": "cliff", "capacity_pps": 1}"#, &["--min-load", "1e8"], "must be below the highest"),
    ] {
        fs::write(&model, content).unwrap();
        let output = simulate(options);
        assert_eq!(output.status.code(), Some(2), "{content} {options:?}");
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    fs::remove_file(&model).unwrap();
    assert_eq!(simulate(&[]).status.code(), Some(1));
}
