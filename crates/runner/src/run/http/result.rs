//! From the agents' parts in a trial of HTTP to its record. Pure.

use linerate_experiment::http::HttpTrial;
use linerate_results::http::{
    AgentStarts, BackendPart, BalancerPart, ClientPart, HTTP_TRIAL_SCHEMA, HttpTrialRecord,
};
use linerate_results::streams::AgentPart;
use linerate_results::summary::StartSpread;
use linerate_wire::http::HttpPart;

use super::trial::{HttpAgentPart, Ran};
use crate::run::part::{KernelAgent, Part};

/// The record of a trial, without its result. `agents` are the clients, then the backends.
pub(super) fn record(
    trial: &HttpTrial,
    interval_s: f64,
    agents: &[KernelAgent],
    ran: &Ran,
) -> (HttpTrialRecord, Option<StartSpread>) {
    let clients = trial.profile.clients as usize;
    let named = || agents.iter().map(|agent| agent.name().to_owned()).zip(&ran.parts);
    let parts = named().map(|(agent, part)| match part {
        Part::Reported(report) => {
            let report = (**report).clone().map(|http| http.cpu);
            AgentPart { agent, report: Some(report), lost: None }
        }
        Part::Lost(reason) | Part::Failed(reason) => {
            AgentPart { agent, report: None, lost: Some(reason.clone()) }
        }
    });
    let record = HttpTrialRecord {
        schema: HTTP_TRIAL_SCHEMA.to_owned(),
        profile: trial.profile.name.clone(),
        repeat: trial.repeat,
        result: None,
        started_at: Some(humantime::format_rfc3339_millis(ran.started_at).to_string()),
        spec: trial.profile.clone(),
        addresses: ran.balanced.addresses.iter().map(ToString::to_string).collect(),
        sample_interval_s: interval_s,
        gate: ran.gate.clone(),
        agents: parts.collect(),
        nodes: Vec::new(),
        clients: named()
            .take(clients)
            .map(|(agent, part)| ClientPart { agent, report: load(part) })
            .collect(),
        backends: named()
            .skip(clients)
            .map(|(agent, part)| BackendPart { agent, report: served(part) })
            .collect(),
        balancer: ran.balanced.program.clone().map(|program| BalancerPart {
            program,
            cpu_s: ran.balancer_cpu_s,
            elapsed_s: ran.elapsed_s,
        }),
        starts: starts(agents, ran),
    };
    let started = ran.parts[..clients].iter().enumerate().map(|(place, part)| match part {
        Part::Reported(report) => Some((place, report.started_ns)),
        Part::Lost(_) | Part::Failed(_) => None,
    });
    let started: Option<Vec<(usize, u64)>> = started.collect();
    let spread =
        started.filter(|started| started.len() > 1).and_then(|started| ran.clocks.spread_of(&started));
    (record, spread)
}

fn starts(agents: &[KernelAgent], ran: &Ran) -> Option<AgentStarts> {
    let started: Vec<(usize, u64)> = ran
        .parts
        .iter()
        .enumerate()
        .filter_map(|(place, part)| match part {
            Part::Reported(report) => Some((place, report.started_ns)),
            Part::Lost(_) | Part::Failed(_) => None,
        })
        .collect();
    let (after_ns, uncertainty_ns) = ran.clocks.starts_of(&started)?;
    let names = started.iter().filter_map(|(place, _)| Some(agents.get(*place)?.name().to_owned()));
    Some(AgentStarts { after_ns: names.zip(after_ns).collect(), uncertainty_ns })
}

fn load(part: &HttpAgentPart) -> Option<linerate_wire::http::LoadReport> {
    match part {
        Part::Reported(report) => match &report.detail.part {
            HttpPart::Load(load) => Some((**load).clone()),
            HttpPart::Serve(_) | HttpPart::Gate(_) => None,
        },
        Part::Lost(_) | Part::Failed(_) => None,
    }
}

fn served(part: &HttpAgentPart) -> Option<linerate_wire::http::ServeReport> {
    match part {
        Part::Reported(report) => match &report.detail.part {
            HttpPart::Serve(served) => Some(served.clone()),
            HttpPart::Load(_) | HttpPart::Gate(_) => None,
        },
        Part::Lost(_) | Part::Failed(_) => None,
    }
}
