//! From the agents' parts in a trial of streams to its record. Pure.

use std::collections::HashMap;

use linerate_experiment::streams::{Connection, StreamsTrial};
use linerate_results::streams::{AgentPart, ConnectionEnds, STREAMS_TRIAL_SCHEMA, StreamsTrialRecord};
use linerate_results::summary::StartSpread;
use linerate_wire::report::Report;
use linerate_wire::streams::{CpuUse, PathReport};

use super::trial::Ran;
use crate::run::part::{KernelAgent, Part};

/// The record of a trial, without its result.
pub(super) fn record(
    trial: &StreamsTrial,
    interval_s: f64,
    agents: &[KernelAgent],
    connections: &[Connection],
    ran: &mut Ran,
) -> (StreamsTrialRecord, Option<StartSpread>) {
    let start = spread(agents, connections, ran);
    let mut reported: HashMap<(u32, bool), PathReport> = HashMap::new();
    let mut parts = Vec::with_capacity(agents.len());
    for (agent, part) in agents.iter().zip(&mut ran.parts) {
        let agent = agent.name().to_owned();
        parts.push(match part {
            Part::Reported(report) => {
                for path in std::mem::take(&mut report.detail.paths) {
                    reported.insert((path.path, path.sending.is_some()), path);
                }
                let report: Report<CpuUse> = (**report).clone().map(|streams| streams.cpu);
                AgentPart { agent, report: Some(report), lost: None }
            }
            Part::Lost(reason) | Part::Failed(reason) => {
                AgentPart { agent, report: None, lost: Some(reason.clone()) }
            }
        });
    }
    let ends = connections
        .iter()
        .map(|connection| {
            let receiver = reported.remove(&(connection.number, false));
            let receiving = receiver.as_ref().and_then(|path| path.receiving.as_ref());
            let latency = receiving.and_then(|receiving| receiving.latency.as_ref());
            ConnectionEnds {
                number: connection.number,
                connection: connection.name.clone(),
                from: agents[connection.from].name().to_owned(),
                to: agents[connection.to].name().to_owned(),
                interface: connection.interface.as_ref().map(|name| name.as_str().to_owned()),
                delay_note: delay_note(connection, ran, latency.map_or(0, |latency| latency.negative)),
                delay_bound_ns: delay_bound_ns(connection, ran),
                sender: reported.remove(&(connection.number, true)),
                receiver,
            }
        })
        .collect();
    let mut record = StreamsTrialRecord {
        schema: STREAMS_TRIAL_SCHEMA.to_owned(),
        profile: trial.profile.name.clone(),
        repeat: trial.repeat,
        reason: None,
        result: None,
        started_at: Some(humantime::format_rfc3339_millis(ran.started_at).to_string()),
        spec: trial.profile.spec.clone(),
        sample_interval_s: interval_s,
        agents: parts,
        nodes: Vec::new(),
        connections: Vec::new(),
        ends,
    };
    record.connections = record.figures();
    (record, start)
}

/// Why the delays of a connection are not known exactly; `negative` of them were, as measured.
fn delay_note(connection: &Connection, ran: &Ran, negative: u64) -> Option<String> {
    if ran.clocks.is_one(connection.to, connection.from) {
        return None;
    }
    let compared = match delay_bound_ns(connection, ran) {
        Some(bound_ns) => {
            format!("before and after the trial, to ±{:.1} µs with their drift", bound_ns as f64 / 1e3)
        }
        None => {
            let uncertainty_ns = ran.clocks.uncertainty_ns(connection.to, connection.from);
            format!("before the trial only, to ±{:.1} µs", uncertainty_ns as f64 / 1e3)
        }
    };
    let instead = match negative {
        0 => "see the delay variation".to_owned(),
        _ => format!(
            "nor is the delay variation known: {negative} delays were negative, because the clocks are further apart than the delays are long"
        ),
    };
    Some(format!("the ends read different clocks, which were compared {compared}; {instead}"))
}

/// Bound of the error of a connection's delays; `None` where its ends read one clock, or the clocks were not compared again.
fn delay_bound_ns(connection: &Connection, ran: &Ran) -> Option<u64> {
    ran.clocks.bound_ns(ran.clocks_again.as_ref()?, connection.to, connection.from)
}

/// Spread of the starts of the agents that send.
fn spread(agents: &[KernelAgent], connections: &[Connection], ran: &Ran) -> Option<StartSpread> {
    let senders: Vec<usize> = (0..agents.len())
        .filter(|place| connections.iter().any(|connection| connection.from == *place))
        .collect();
    let started = senders.iter().map(|place| match &ran.parts[*place] {
        Part::Reported(report) => Some((*place, report.started_ns)),
        Part::Lost(_) | Part::Failed(_) => None,
    });
    let started: Vec<(usize, u64)> = started.collect::<Option<_>>()?;
    if started.len() > 1 { ran.clocks.spread_of(&started) } else { None }
}
