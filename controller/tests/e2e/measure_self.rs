//! What the tester measures of itself.

use serde_json::Value;

use crate::support::{Bench, linerate, stderr, stdout};

#[test]
fn generator_and_pair_are_measured_and_kept() {
    let bench = Bench::with_cpus("");
    let (results, dataplane) = (bench.path("results"), bench.path("linerate-dataplane"));
    let own = ["--results", results.to_str().unwrap(), "--dataplane", dataplane.to_str().unwrap()];
    let measure =
        |options: &[&str]| linerate(&[&["measure-self", "--duration", "300ms"], options, &own[..]].concat());
    let output = measure(&["--size", "64,1518", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let kept = std::fs::read_to_string(results.join("self-measurement.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), shown);
    let ceilings = shown["ceilings"].as_array().unwrap();
    assert_eq!(ceilings.len(), 2);
    for ceiling in ceilings {
        assert!(ceiling["generator_pps"].as_f64().unwrap() > 0.0, "{shown}");
        assert!(ceiling["pair_pps"].as_f64().unwrap() > 0.0, "{shown}");
        assert!((0.0..=1.0).contains(&ceiling["generator_off_cpu"].as_f64().unwrap()), "{shown}");
    }
    // The file is no experiment.
    let output = linerate(&["results", "list", "--results", results.to_str().unwrap(), "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let output = measure(&["--size", "9000"]);
    assert!(stderr(&output).contains("frames of up to 1518 bytes"), "{}", stderr(&output));
}
