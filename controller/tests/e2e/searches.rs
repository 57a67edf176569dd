//! Benchmarks behind a rate search that need no CPU to themselves, and what they share with those that do.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use linerate_results::summary::{FollowUpSummary, Status, Summary};
use linerate_search::methods::{Conclusion, ServiceConclusion, StepVerdict};

use crate::support::{Bench, linerate, stderr, stdout};

/// A search of seconds.
pub(crate) const QUICK: &str =
    "{name: ndr, duration: 400ms, initialDuration: 400ms, sum: 1200ms, width: 5%, precedingTargets: 1}";

/// The summary that a run printed, which must be complete, exact and valid.
pub(crate) fn summary_of(bench: &Bench, output: &Output) -> Summary {
    // 3: the search may be irregular; what follows runs all the same.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}{}", stdout(output), stderr(output));
    let summary: Summary = serde_json::from_str(stdout(output).trim_end().lines().last().unwrap()).unwrap();
    assert_eq!(summary.status, Status::Complete);
    for trial in &summary.trials {
        assert_eq!(trial.sent_packets, trial.received_packets + trial.lost_packets, "{}", trial.trial);
    }
    let results = bench.path("results");
    let validated =
        linerate(&["results", "validate", &summary.experiment.id, "--results", results.to_str().unwrap()]);
    assert!(validated.status.success(), "{}{}", stdout(&validated), stderr(&validated));
    summary
}

/// The follow-up of a name behind the first search, which must be complete.
pub(crate) fn found<'s>(summary: &'s Summary, name: &str) -> &'s FollowUpSummary {
    let follow = summary.searches[0].then.iter().find(|follow| follow.name == name).unwrap();
    assert!(follow.complete, "{follow:?}");
    follow
}

pub(crate) fn service(follow: &FollowUpSummary) -> &ServiceConclusion {
    let Some(Conclusion::Service(service)) = &follow.conclusion else { panic!("{follow:?}") };
    service
}

/// Contents and times of the files of trials below `directory`.
pub(crate) fn trial_files(directory: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut files = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.file_name().is_some_and(|name| name == "trial.json")
                // A run that goes on may have renamed it meanwhile.
                && let (Ok(metadata), Ok(text)) = (entry.metadata(), fs::read(&path))
            {
                files.insert(path.display().to_string(), (text, metadata.modified().unwrap()));
            }
        }
    }
    files
}

/// Waits until the search has `trials` trials on disk, and kills the controller.
pub(crate) fn kill_after(bench: &Bench, controller: &mut Child, trials: usize) {
    let begun = Instant::now();
    while bench.experiment().is_none_or(|directory| trial_files(&directory).len() < trials) {
        assert!(begun.elapsed() < Duration::from_secs(60), "no {trials} trials after a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
    for (pid, line) in bench.processes().into_iter().filter(|(_, line)| line.contains(" run ")) {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)
            .unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    controller.wait().unwrap();
}

#[test]
fn a_run_that_was_killed_in_a_benchmark_goes_on_in_it() {
    let bench = Bench::new(&format!(
        "  search:
    goals: [{QUICK}]
    load: {{min: 1kpps, max: 10kpps}}
    warmUp: 0s
    then:
      - latency: {{of: 5kpps, at: [100%, 10%], duration: 300ms, repeats: 4}}
      - service: {{cir: 5kpps, stepDuration: 200ms, performance: 300ms, loss: 50%}}
      - soak: {{of: 2kpps, duration: 1s}}\n"
    ));
    for trials in [6, 9] {
        let mut command = bench.command(&["--json", "--quiet", "--resume"]);
        let mut controller = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        kill_after(&bench, &mut controller, trials);
    }
    let before = trial_files(&bench.experiment().unwrap());
    let summary = summary_of(&bench, &bench.run(&["--json", "--quiet", "--resume"]));
    assert_eq!(summary.experiment.resumed_at.len(), 2);
    for (name, trials) in [("latency", 8), ("soak", 1)] {
        assert_eq!(found(&summary, name).trials, trials);
    }
    let steps = &service(found(&summary, "service")).steps;
    assert!(steps.iter().all(|step| step.verdict != StepVerdict::Fail), "nothing is lost: {steps:?}");
    let after = trial_files(&bench.experiment().unwrap());
    let again = before.iter().filter(|(path, file)| after.get(*path) != Some(*file)).count();
    assert!(again <= 1, "{again} of {} recorded trials were run again", before.len());
    // A run that is complete is not run again.
    summary_of(&bench, &bench.run(&["--json", "--quiet", "--resume"]));
    assert_eq!(trial_files(&bench.experiment().unwrap()), after);
}
