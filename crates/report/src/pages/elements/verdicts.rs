//! Verdicts: how the experiment ended, and what limited its trials.

use std::collections::BTreeMap;

use super::super::model::{Block, Finding, Section, Tone};
use super::super::number::things;
use super::super::source::{Source, tone};
use crate::search::{searches, tally};
use linerate_results::summary::Status;

/// Most findings that are shown; the table of trials has all.
const MOST_FINDINGS: usize = 24;

pub(super) fn section(source: &Source) -> Option<Section> {
    let mut findings = ending(source);
    let is_of_streams = source.summary.trials.is_empty()
        && (super::streams::is_of(&source.summary) || super::http::is_of(&source.summary));
    findings.extend(source.summary.failures.iter().map(|failure| Finding {
        tone: Tone::Bad,
        badge: "not finished".to_owned(),
        subject: match is_of_streams {
            true => format!("{}, repeat {}", failure.profile, failure.repeat),
            false => format!("{}, repeat {}, {}", failure.profile, failure.repeat, failure.pair),
        },
        evidence: failure.reason.clone(),
    }));
    let mut judged: Vec<_> = source.trials().collect();
    // Trials with losses first, clean ones last, each group in the order of its runs.
    judged.sort_by_key(|trial| match tone(trial.figures.verdict.kind) {
        Tone::Bad => 0,
        Tone::Warning => 1,
        _ => 2,
    });
    let left_out = (findings.len() + judged.len()).saturating_sub(MOST_FINDINGS);
    findings.truncate(MOST_FINDINGS);
    let names = source.names();
    findings.extend(judged.into_iter().take(MOST_FINDINGS - findings.len()).map(|trial| Finding {
        tone: tone(trial.figures.verdict.kind),
        badge: trial.figures.verdict.kind.to_string(),
        subject: format!("{}: {}", trial.number, names.name(trial.figures)),
        evidence: trial.figures.verdict.evidence.clone(),
    }));
    // What trials of streams found stands in their own section.
    if is_of_streams && findings.is_empty() {
        return None;
    }
    let headline = if is_of_streams { unfinished(source) } else { headline(source) };
    let mut blocks = vec![Block::Text(headline), Block::Findings(findings)];
    if left_out > 0 {
        blocks.push(Block::Text(format!(
            "{} more, none worse than the last one here; the table of trials has all.",
            things(left_out, "finding")
        )));
    }
    Some(Section { id: "verdicts", title: "Verdicts", blocks })
}

/// What became of an experiment of streams.
fn unfinished(source: &Source) -> String {
    let failed = source.summary.failures.len();
    let status = source.summary.status;
    match failed {
        0 => format!("The experiment is {status}."),
        _ => format!("The experiment is {status}; {} could not be finished.", things(failed, "trial")),
    }
}

/// All verdicts in one sentence.
fn headline(source: &Source) -> String {
    let summary = &source.summary;
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for trial in summary.matrix_trials() {
        *kinds.entry(trial.verdict.kind.to_string()).or_default() += 1;
    }
    let verdicts: Vec<String> = kinds.iter().map(|(kind, number)| format!("{number} {kind}")).collect();
    let results = things(summary.trials.len() + summary.streams.len(), "result");
    let pairs = things(summary.experiment.pairs, "pair");
    // How many trials a search takes is not known beforehand.
    let mut text = if summary.trials.iter().any(|trial| trial.search.is_some()) {
        let found = tally(&summary.searches);
        let found = if found.is_empty() { found } else { format!(": {found}") };
        format!("{results} of trials in {} on {pairs}{found}", searches(summary.searches.len()))
    } else {
        format!("{results} of {} planned on {pairs}", things(summary.experiment.planned_trials, "trial"))
    };
    if !verdicts.is_empty() {
        text.push_str(&format!(": {}", verdicts.join(", ")));
    }
    if !summary.failures.is_empty() {
        text.push_str(&format!("; {} could not be finished", things(summary.failures.len(), "trial")));
    }
    text.push('.');
    text
}

fn ending(source: &Source) -> Vec<Finding> {
    let status = source.summary.status;
    let (tone, says) = match status {
        Status::Complete => return Vec::new(),
        Status::Running => (Tone::Warning, "it still ran when this report was made, or was killed"),
        Status::Interrupted => (Tone::Warning, "a signal ended it"),
        Status::Failed => (Tone::Bad, "something went wrong"),
    };
    vec![Finding {
        tone,
        badge: status.to_string(),
        subject: "the experiment".to_owned(),
        evidence: source.summary.reason.clone().unwrap_or_else(|| says.to_owned()),
    }]
}
