//! HTTP: the answer first, then all trials, rates against the number of backends, the spread, and latencies.

mod backends;
mod over_time;
#[cfg(test)]
mod tests;
mod trials;

use std::collections::HashSet;

use linerate_experiment::http::HttpProtocol;
use linerate_results::http::{HTTP_FIGURES, HttpLimit, HttpSearchSummary, HttpTrialSummary, LatencyBasis};
use linerate_results::summary::{SearchEnd, Summary};

use super::super::model::{Block, Finding, Section, Tone};
use super::super::number::{count, percent, short, things};
use super::super::source::Source;
use super::figure_repeats;
use crate::compare::http_group;

/// True when the experiment is one of HTTP.
pub(super) fn is_of(summary: &Summary) -> bool {
    !summary.http.is_empty()
}

pub(super) fn section(source: &Source) -> Option<Section> {
    let trials = &source.summary.http;
    if !is_of(&source.summary) {
        return None;
    }
    let names = Names::of(trials);
    let mut blocks = vec![Block::Text(headline(&source.summary))];
    blocks.extend(searches(&source.summary));
    blocks.push(Block::Findings(trials.iter().flat_map(|trial| findings(&names, trial)).collect()));
    blocks.push(Block::Text(believe(trials)));
    blocks.extend(trials::blocks(trials));
    blocks.extend(figure_repeats::blocks(trials, HTTP_FIGURES, |trial| &trial.profile, http_group));
    blocks.extend(backends::blocks(trials, &names));
    blocks.extend(over_time::blocks(source, &names));
    blocks.extend(super::streams::agents::blocks(source));
    Some(Section { id: "http", title: "HTTP", blocks })
}

/// What was searched for, and found.
fn searches(summary: &Summary) -> Option<Block> {
    let finding = |search: &HttpSearchSummary, evidence: String| Finding {
        tone: match search.ended {
            SearchEnd::Finished if search.goals.iter().all(|goal| goal.irregular.is_none()) => Tone::Good,
            SearchEnd::Finished | SearchEnd::Budget => Tone::Warning,
            SearchEnd::Failed | SearchEnd::Interrupted => Tone::Bad,
        },
        badge: "highest rate".to_owned(),
        subject: search.search.clone(),
        evidence,
    };
    let of = |search: &HttpSearchSummary| -> Vec<Finding> {
        search.goals_in_words().into_iter().map(|goal| finding(search, goal)).collect()
    };
    let findings: Vec<Finding> = summary.http_searches.iter().flat_map(of).collect();
    (!findings.is_empty()).then_some(Block::Findings(findings))
}

fn headline(summary: &Summary) -> String {
    let trials = &summary.http;
    let incomplete = trials.iter().filter(|trial| !trial.complete).count();
    let mut text = format!(
        "{} of {} planned. Requests per second are whole answers within the time of sending. Intended requests are sent \
         or skipped; sent ones are answered, failed or unfinished.",
        things(trials.len(), "result"),
        things(summary.experiment.planned_trials, "trial"),
    );
    if incomplete > 0 {
        text.push_str(&format!(" {} had an account that is not complete.", things(incomplete, "trial")));
    }
    text
}

/// Which latency to believe.
fn believe(trials: &[HttpTrialSummary]) -> String {
    let has = |basis| trials.iter().any(|trial| trial.latency_basis == basis);
    let open = "Open loop: believe the corrected latency, which counts from the instant at which a request was due; the \
                service time leaves out what requests waited because servers were slow.";
    let closed = "Closed loop: there is only the service time. While a server stalls, its connections send nothing, so \
                  stalls are counted once each and percentiles look too good; give spec.http.rates for latencies.";
    match (has(LatencyBasis::Corrected), has(LatencyBasis::Service)) {
        (true, true) => format!("{open} {closed}"),
        (true, false) => open.to_owned(),
        (false, _) => closed.to_owned(),
    }
}

/// Names of trials among all: those of profiles with several trials have their repeat.
struct Names<'s> {
    repeated: HashSet<&'s str>,
}

impl<'s> Names<'s> {
    fn of(trials: &'s [HttpTrialSummary]) -> Self {
        let mut known = HashSet::new();
        let profiles = trials.iter().map(|trial| trial.profile.as_str());
        Self { repeated: profiles.filter(|profile| !known.insert(*profile)).collect() }
    }

    fn name(&self, trial: &HttpTrialSummary) -> String {
        match self.repeated.contains(trial.profile.as_str()) {
            true => format!("{} repeat {}", trial.profile, trial.repeat),
            false => trial.profile.clone(),
        }
    }
}

fn findings(names: &Names<'_>, trial: &HttpTrialSummary) -> Vec<Finding> {
    let name = names.name(trial);
    let finding = |tone, badge: &str, evidence| Finding {
        tone,
        badge: badge.to_owned(),
        subject: name.clone(),
        evidence,
    };
    let kind = trial.verdict.kind;
    let mut findings = vec![finding(tone(kind), &kind.to_string(), answer(trial))];
    for lost in &trial.lost_agents {
        let evidence = format!("{} took no part to the end: {}", lost.agent, lost.reason);
        findings.push(finding(Tone::Bad, "agent lost", evidence));
    }
    if !trial.complete {
        findings.push(finding(Tone::Bad, "incomplete", trial.reasons.join("; ")));
    }
    if let Some(left_out) = trial.left_out() {
        findings.push(finding(Tone::Warning, "latency", left_out));
    }
    if let Some(churn) = &trial.churn {
        findings.push(finding(Tone::Neutral, "churn", churn.in_words()));
    }
    if trial.gate.failed > 0 {
        let evidence = format!(
            "waited {} s until {} answered; {} of {} failed and were sent again{}",
            short(trial.gate.waited_s),
            trial.gate.last_backend.as_deref().unwrap_or("the target"),
            count(trial.gate.failed),
            things(trial.gate.probes as usize, "probe"),
            trial
                .gate
                .last_failure
                .as_ref()
                .map_or(String::new(), |why| format!(", the latest because {why}"))
        );
        findings.push(finding(Tone::Neutral, "gate", evidence));
    }
    findings
}

/// Judgement of a limit.
fn tone(limit: HttpLimit) -> Tone {
    match limit {
        HttpLimit::Clean => Tone::Good,
        HttpLimit::Unknown => Tone::Bad,
        HttpLimit::ClientLimited
        | HttpLimit::BackendLimited
        | HttpLimit::BalancerLimited
        | HttpLimit::ConnectionLimited => Tone::Warning,
    }
}

/// The answer in a sentence.
fn answer(trial: &HttpTrialSummary) -> String {
    let rate = trial.requests_per_s.map_or("an unknown number of".to_owned(), |rate| short(rate.round()));
    let aim = match trial.intended_per_s {
        Some(intended) => format!("of {} intended", short(intended)),
        None => "in a closed loop".to_owned(),
    };
    let errors = trial.error_share.map_or(String::new(), |share| format!("; errors {} %", percent(share)));
    let p99 =
        trial.latency_ns().map_or(String::new(), |one| format!("; p99 {} µs", short(one.p99 as f64 / 1e3)));
    let spread =
        trial.evenness.and_then(|one| Some((one, one.p_value?))).map_or(String::new(), |(one, p)| {
            format!("; {} spread over {} backends with p = {p:.3}", one.unit, trial.by_backend.len())
        });
    let by = match (trial.protocol, trial.streams, &trial.tls) {
        (HttpProtocol::Http, ..) => String::new(),
        (protocol, streams, tls) => {
            let streams = streams.map_or(String::new(), |streams| format!(" with {streams} streams"));
            let version = tls.as_ref().and_then(|tls| tls.version.as_ref());
            let version = version.map_or(String::new(), |version| format!(" ({version})"));
            format!(" by {protocol}{streams}{version}")
        }
    };
    format!(
        "{rate} requests/s {aim} to {}{by}{errors}{p99}{spread}; {}",
        trial.target, trial.verdict.evidence
    )
}
