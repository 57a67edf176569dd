//! Validation of trials of HTTP: everything in the summary is computed again from the accounts of clients and backends, and
//! samples are checked against them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use super::experiment::Checker;
use super::{Reason, fewest_samples};
use crate::http::{HttpSampleLine, HttpTrialRecord, HttpTrialSummary};
use crate::store::enclosed::Enclosed;
use crate::store::inner_path::InnerPath;

pub(super) fn check(
    checker: &mut Checker<'_>,
    trial: &HttpTrialSummary,
    interval_s: Option<f64>,
    samples: Option<u64>,
) {
    let path = trial.trial.as_str();
    if !checker.there.contains(path) {
        return checker.add(path, Reason::MissingFile, "the summary names it");
    }
    let Some(record) = checker.read::<HttpTrialRecord>(path) else { return };
    if record.result.as_ref() != Some(trial) {
        checker.add(path, Reason::Contradiction, "its result is not the one in the summary");
    }
    if HttpTrialSummary::of(&record, trial.context()) != *trial {
        checker.add(path, Reason::Contradiction, "its figures do not follow from the accounts of its agents");
    }
    for (agent, load) in record.loads() {
        if let Some(gap) = load.requests.gap() {
            checker.add(path, Reason::Miscounted, format!("{agent}: {gap}"));
        }
        let by_backend = [load.unnamed, load.others].into_iter().chain(load.by_backend.values().copied());
        let by_backend: u128 = by_backend.map(u128::from).sum();
        if by_backend != u128::from(load.requests.answered) {
            let answered = load.requests.answered;
            let detail = format!("{agent}: {by_backend} answers by backend, {answered} in all");
            checker.add(path, Reason::Miscounted, detail);
        }
    }
    let due = interval_s.map(|interval_s| fewest_samples(trial.duration_s, interval_s));
    let due = samples.or(due).unwrap_or(1);
    if let Err(error) = check_samples(checker, trial, &record, due) {
        checker.add(&trial.samples_file, Reason::Unreadable, error.to_string());
    }
}

/// Checks that each agent has its samples, that times and counts only grow, and that the last counts are not above the
/// totals.
fn check_samples(
    checker: &mut Checker<'_>,
    trial: &HttpTrialSummary,
    record: &HttpTrialRecord,
    due: u64,
) -> std::io::Result<()> {
    let path = trial.samples_file.as_str();
    if !checker.there.contains(path) {
        checker.add(path, Reason::MissingFile, "the summary names it");
        return Ok(());
    }
    let mut last: BTreeMap<String, (u64, HttpSampleLine)> = BTreeMap::new();
    let inner = InnerPath::parse(path).map_err(std::io::Error::other)?;
    let opened = Enclosed::open(checker.directory).and_then(|enclosed| enclosed.open_file(&inner, u64::MAX));
    let Some(file) = opened.map_err(|error| error.reason)? else { return Ok(()) };
    for line in BufReader::new(file).lines() {
        let sample: HttpSampleLine = serde_json::from_str(&line?)?;
        let agent = sample.agent.clone();
        let count = last.get(&agent).map_or(0, |(count, _)| *count);
        if let Some((_, before)) = last.get(&agent) {
            if sample.at_ns <= before.at_ns {
                let detail = format!(
                    "sample {count} of {agent} is at {} ns, the one before at {} ns",
                    sample.at_ns, before.at_ns
                );
                checker.add(path, Reason::NonMonotonicTime, detail);
            }
            if went_back(before, &sample) {
                checker.add(path, Reason::CounterWentBack, format!("in sample {count} of {agent}"));
            }
        }
        last.insert(agent, (count + 1, sample));
    }
    for part in record.agents.iter().filter(|part| part.lost.is_none()) {
        let seen = last.get(&part.agent).map_or(0, |(count, _)| *count);
        if seen < due {
            checker.add(path, Reason::TooFewSamples, format!("{seen} of {due} of {}", part.agent));
        }
    }
    for (agent, load) in record.loads() {
        let sampled = last.get(agent).and_then(|(_, line)| line.load);
        if let Some(sampled) = sampled.filter(|sampled| sampled.answered > load.requests.answered) {
            let detail = format!(
                "{agent}: {} answers in a sample, {} in all",
                sampled.answered, load.requests.answered
            );
            checker.add(path, Reason::Contradiction, detail);
        }
    }
    Ok(())
}

fn went_back(before: &HttpSampleLine, after: &HttpSampleLine) -> bool {
    let counts = |line: &HttpSampleLine| match (line.load, line.served) {
        (Some(load), _) => [load.intended, load.sent, load.skipped, load.answered, load.failed],
        (None, served) => [served.unwrap_or(0), 0, 0, 0, 0],
    };
    counts(before).into_iter().zip(counts(after)).any(|(then, now)| now < then)
}
