//! Streams: the answer first, then all trials, then each trial closely, then the agents.

pub(super) mod agents;
mod connections;
mod maps;
mod over_time;
#[cfg(test)]
mod tests;
mod trials;

use linerate_results::streams::{STREAMS_FIGURES, StreamsTrialSummary};
use linerate_results::summary::Summary;
use linerate_wire::streams::{Protocol, bit_rate};

use super::super::model::{Block, Finding, Group, Section, Tone};
use super::super::number::{count, percent, short, things};
use super::super::source::{Source, limit_tone, streams_tone};
use super::figure_repeats;
use crate::compare::streams_group;
use crate::streams::{StreamsDetail, has_repeats, name};

/// Trials whose details are shown open; of more, only those with silent or incomplete connections are.
const OPEN: usize = 8;

/// True when the experiment is one of streams.
pub(super) fn is_of(summary: &Summary) -> bool {
    summary.http.is_empty() && (!summary.streams.is_empty() || !summary.experiment.streams_agents.is_empty())
}

pub(super) fn section(source: &Source) -> Option<Section> {
    let trials = &source.summary.streams;
    if !is_of(&source.summary) {
        return None;
    }
    let has_repeats = has_repeats(trials);
    let mut blocks = vec![Block::Text(headline(&source.summary))];
    blocks.push(Block::Findings(trials.iter().flat_map(|trial| findings(trial, has_repeats)).collect()));
    blocks.extend(trials::blocks(trials));
    blocks.extend(figure_repeats::blocks(trials, STREAMS_FIGURES, |trial| &trial.profile, streams_group));
    if source.streams.len() < trials.len() && !source.streams.is_empty() {
        blocks.push(Block::Text(format!(
            "{} of {} are shown closely, those with silent connections and losses before the others.",
            source.streams.len(),
            things(trials.len(), "trial")
        )));
    }
    for (index, detail) in &source.streams {
        blocks.push(closely(&trials[*index], detail, trials));
    }
    if !source.unread.is_empty() {
        blocks.push(Block::Text(format!("Files that could not be read: {}.", source.unread.join("; "))));
    }
    blocks.extend(agents::blocks(source));
    Some(Section { id: "streams", title: "Streams", blocks })
}

fn headline(summary: &Summary) -> String {
    let trials = &summary.streams;
    // Of an experiment of engines, others of the planned trials are of frames.
    let results = match summary.trials.is_empty() {
        true => format!(
            "{} of {} planned",
            things(trials.len(), "result"),
            things(summary.experiment.planned_trials, "trial")
        ),
        false => things(trials.len(), "result"),
    };
    let silent = trials.iter().filter(|trial| trial.connections_alive < trial.connections).count();
    let incomplete = trials.iter().filter(|trial| !trial.complete).count();
    let mut text = format!(
        "{results} over {}. Rates are of payload; received is what the receiving programs read, from the \
         start to the last arrival.",
        things(summary.experiment.pairs, "connection")
    );
    for (number, what) in [(silent, "silent connections"), (incomplete, "an account that is not complete")] {
        if number > 0 {
            text.push_str(&format!(" {} had {what}.", things(number, "trial")));
        }
    }
    text
}

/// What a trial found: the rate and what limited it, then what a reader must know of it.
fn findings(trial: &StreamsTrialSummary, has_repeats: bool) -> Vec<Finding> {
    let name = name(trial, has_repeats);
    let finding = |tone, badge: &str, evidence| Finding {
        tone,
        badge: badge.to_owned(),
        subject: name.clone(),
        evidence,
    };
    let kind = trial.verdict.kind;
    let mut findings = vec![finding(limit_tone(kind), &kind.to_string(), answer(trial))];
    let silent = trial.connections.saturating_sub(trial.connections_alive);
    if silent > 0 {
        let named = trial.silent_connections.join(", ");
        let more = (silent as usize).saturating_sub(trial.silent_connections.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let evidence = format!(
            "no byte of {} of {} arrived at the end of sending: {named}{more}",
            count(silent.into()),
            things(trial.connections as usize, "connection")
        );
        findings.push(finding(Tone::Bad, "silent", evidence));
    }
    for lost in &trial.lost_agents {
        let evidence = format!("{} took no part to the end: {}", lost.agent, lost.reason);
        findings.push(finding(Tone::Bad, "agent lost", evidence));
    }
    if !trial.complete && !trial.reasons.is_empty() {
        let evidence = format!(
            "{} of {} streams have a complete account; {}",
            count(trial.streams_complete),
            count(u64::from(trial.connections) * u64::from(trial.parallel)),
            trial.reasons.join("; ")
        );
        findings.push(finding(Tone::Bad, "incomplete", evidence));
    }
    findings
}

/// The answer in a sentence.
fn answer(trial: &StreamsTrialSummary) -> String {
    let rate = |bps: Option<f64>| bps.map_or("an unknown rate".to_owned(), bit_rate);
    let aim = match trial.intended_bps {
        Some(bps) => format!("of {} intended", bit_rate(bps)),
        None => "as fast as possible".to_owned(),
    };
    let harm = match trial.transport {
        Protocol::Tcp => match trial.retransmits {
            Some(resent) => format!("{} sent again", things(resent as usize, "segment")),
            None => "the number of segments sent again is not known".to_owned(),
        },
        Protocol::Udp => match (trial.lost_datagrams, trial.loss_share()) {
            (Some(lost), Some(share)) => {
                format!("{} ({} %) lost", things(lost as usize, "datagram"), percent(share))
            }
            (Some(lost), None) => format!("{} lost", things(lost as usize, "datagram")),
            (None, _) => "the loss is not known".to_owned(),
        },
    };
    let cpu = trial
        .cpu_s_per_gbit
        .map_or(String::new(), |seconds| format!(", {} CPU s per Gbit of all agents", short(seconds)));
    let streams = match trial.parallel {
        1 => String::new(),
        several => format!(" of {several} streams"),
    };
    format!(
        "received {} {aim} ({}) over {}{streams}; {harm}{cpu}; {}",
        rate(trial.received_bps),
        trial.transport,
        things(trial.connections as usize, "connection"),
        trial.verdict.evidence
    )
}

fn closely(trial: &StreamsTrialSummary, detail: &StreamsDetail, trials: &[StreamsTrialSummary]) -> Block {
    let tone = streams_tone(trial);
    let mut blocks = over_time::blocks(trial, detail);
    blocks.extend(maps::blocks(trial, detail));
    blocks.extend(connections::blocks(detail));
    blocks.extend(agents::cpu(trial, detail));
    Block::Group(Group {
        title: name(trial, has_repeats(trials)),
        badge: trial.verdict.kind.to_string(),
        tone,
        open: trials.len() <= OPEN || tone == Tone::Bad,
        blocks,
    })
}
