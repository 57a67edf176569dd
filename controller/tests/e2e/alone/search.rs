//! Rate searches on real paths with a known limit, and of a tester that is slower than its path.

use std::process::{Output, Stdio};

use linerate_results::summary::{Status, Summary};
use linerate_search::{Irregular, Limiter};

use crate::bridge::BridgedPath;
use crate::searches::{kill_after, trial_files};
use crate::support::{Bench, linerate, stderr, stdout};

/// Goals whose searches take seconds: trials of 400 ms, two good or bad ones of three decide.
const QUICK: &str = "duration: 400ms, initialDuration: 400ms, sum: 1200ms, precedingTargets: 1";
/// Relative widths of results: of the test that is about precision, and of the others.
const NARROW: &str = "width: 2%";
const WIDE: &str = "width: 5%";
const TRIAL_S: f64 = 0.4;
/// Packets per second that the path lets pass.
const LIMIT_PPS: f64 = 20_000.0;
/// Packets beyond, which a path lets pass at once: so long a pause of a CPU, 30 ms, is made good without loss.
const BUCKET: f64 = 600.0;

fn summary(output: &Output) -> Summary {
    let text = stdout(output);
    serde_json::from_str(text.trim_end().lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", stderr(output)))
}

/// Checks what holds for every search, and that `results validate` finds nothing to object to.
fn assert_sound(bench: &Bench, summary: &Summary) {
    for trial in &summary.trials {
        assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets, "{}", trial.trial);
    }
    let results = bench.path("results");
    let id = summary.experiment.id.as_str();
    let output = linerate(&["results", "validate", id, "--results", results.to_str().unwrap()]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
}

/// Checks that each regular result encloses the limit, which lies between `least` and `most` packets per second,
/// and that the others claim no more. A tester whose CPUs are shared may not offer a load; of several searches, one
/// must be regular.
fn assert_encloses(summary: &Summary, least: f64, most: f64) {
    let goals: Vec<_> = summary.searches.iter().flat_map(|search| &search.goals).collect();
    assert!(goals.iter().any(|goal| goal.conclusion.regular), "{:?}", summary.searches);
    for goal in goals {
        let found = &goal.conclusion;
        let lower = found.effective_lower_bound_pps.unwrap() as f64;
        assert!(lower <= most, "at least {lower} of {most}: {goal:?}");
        if !found.regular {
            assert_eq!(found.irregular, Some(Irregular::TesterLimited), "{goal:?}");
            continue;
        }
        let upper = found.relevant_upper_bound_pps.unwrap() as f64;
        assert_eq!(found.limited_by, Some(Limiter::Path));
        assert!(upper >= least, "below {upper} of {least}: {goal:?}");
        assert!(upper - lower <= goal.goal.relative_width * upper);
    }
}

#[test]
fn a_path_that_drops_above_a_rate_is_found_three_times_in_a_row() {
    let Some(path) = BridgedPath::new("a_path_that_drops_above_a_rate_is_found_three_times_in_a_row") else {
        return;
    };
    path.filter("near1", "limit rate over 20000/second burst 600 packets drop");
    let bench = Bench::with_cpus(&format!(
        "  traffic: {{frameSizes: [128]}}
  search: {{goals: [{{name: ndr, {QUICK}, {NARROW}}}], load: {{max: 60kpps}}, repeats: 3, warmUp: 200ms}}\n"
    ));
    let output = path.run(&bench);
    let summary = summary(&output);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}{:?}", stderr(&output), summary.searches);
    assert_eq!((summary.status, summary.searches.len()), (Status::Complete, 3));
    // The bucket adds to what passes in a trial.
    assert_encloses(&summary, LIMIT_PPS, LIMIT_PPS + BUCKET / TRIAL_S);
    assert_sound(&bench, &summary);
    // What the filter let pass is what the receiver counted.
    let last = summary.trials.iter().rfind(|trial| trial.lost_packets > 0).unwrap();
    assert!(last.received_packets as f64 <= LIMIT_PPS * last.duration_s * 1.01 + BUCKET, "{last:?}");
}

#[test]
fn a_shaped_link_is_found() {
    let Some(path) = BridgedPath::new("a_shaped_link_is_found") else { return };
    // A frame of 512 bytes counts 508 here, without its check sequence: 20,000 a second.
    let rate = (20_000 * 508 * 8).to_string() + "bit";
    let shape =
        ["qdisc", "add", "dev", "far1", "root", "tbf", "rate", &rate, "burst", "100kb", "limit", "200kb"];
    path.succeed("tc", &shape);
    let bench = Bench::with_cpus(&format!(
        "  traffic: {{frameSizes: [512]}}
  search: {{goals: [{{name: ndr, {QUICK}, {WIDE}}}, {{name: pdr, loss: 0.5%, {QUICK}, {WIDE}}}], load: {{max: 60kpps}}, warmUp: 0s, repeats: 2}}\n"
    ));
    let output = path.run(&bench);
    let summary = summary(&output);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}{:?}", stderr(&output), summary.searches);
    // The bucket holds 100 kB and the queue 200 kB, which pass in a trial besides.
    assert_encloses(&summary, LIMIT_PPS, LIMIT_PPS * 1.005 + 300.0 * 1024.0 / 508.0 / TRIAL_S);
    assert_sound(&bench, &summary);
}

#[test]
fn a_tester_that_limits_the_result_is_named() {
    let bench = Bench::with_cpus(&format!(
        "  search: {{goals: [{{name: ndr, {QUICK}, {WIDE}}}], load: {{max: 100mpps}}, warmUp: 0s}}\n"
    ));
    let output = bench.run(&["--json", "--quiet"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let summary = summary(&output);
    let found = &summary.searches[0].goals[0].conclusion;
    assert_eq!((found.regular, found.irregular), (false, Some(Irregular::TesterLimited)), "{found:?}");
    assert!(matches!(found.limited_by, Some(Limiter::Generator | Limiter::Port)), "{found:?}");
    assert_sound(&bench, &summary);
    // A complete run that is asked for again says the same.
    assert_eq!(bench.run(&["--json", "--quiet", "--resume"]).status.code(), Some(3));
}

#[test]
fn a_search_that_was_killed_goes_on_where_it_was() {
    let Some(path) = BridgedPath::new("a_search_that_was_killed_goes_on_where_it_was") else { return };
    path.filter("near1", "limit rate over 20000/second burst 600 packets drop");
    let bench = Bench::with_cpus(&format!(
        "  traffic: {{frameSizes: [128]}}
  search: {{goals: [{{name: ndr, {QUICK}, {WIDE}}}], load: {{max: 60kpps}}, warmUp: 200ms, repeats: 2}}\n"
    ));
    for trials in [3, 6] {
        let mut command = path.command_of(&bench, &["--resume"]);
        let mut controller = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        kill_after(&bench, &mut controller, trials);
    }
    let before = trial_files(&bench.experiment().unwrap());
    let output = path.command_of(&bench, &["--resume"]).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", stderr(&output));
    let summary = summary(&output);
    assert_eq!((summary.status, summary.experiment.resumed_at.len()), (Status::Complete, 2));
    assert_encloses(&summary, LIMIT_PPS, LIMIT_PPS + BUCKET / TRIAL_S);
    assert_sound(&bench, &summary);
    let numbers: Vec<u32> = summary.trials.iter().map(|trial| trial.repeat).collect();
    assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
    // Trials that were recorded are not run again. The last one may have been cut off between its file and its
    // line.
    let after = trial_files(&bench.experiment().unwrap());
    let again = before.iter().filter(|(path, file)| after.get(*path) != Some(*file)).count();
    assert!(again <= 1, "{again} of {} recorded trials were run again", before.len());
    // A run that is complete is not run again either.
    let output = path.command_of(&bench, &["--resume"]).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", stderr(&output));
    assert_eq!(trial_files(&bench.experiment().unwrap()), after);
}
