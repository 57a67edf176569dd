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
        .map(|connection| ConnectionEnds {
            number: connection.number,
            connection: connection.name.clone(),
            from: agents[connection.from].name().to_owned(),
            to: agents[connection.to].name().to_owned(),
            interface: connection.interface.as_ref().map(|name| name.as_str().to_owned()),
            delay_note: delay_note(agents, connection, ran),
            delay_bound_ns: delay_bound_ns(agents, connection, ran),
            sender: reported.remove(&(connection.number, true)),
            receiver: reported.remove(&(connection.number, false)),
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
        connections: Vec::new(),
        ends,
    };
    record.connections = record.figures();
    (record, start)
}

/// Why the delays of a connection are not known exactly.
fn delay_note(agents: &[KernelAgent], connection: &Connection, ran: &Ran) -> Option<String> {
    if reads_one_clock(agents, connection) {
        return None;
    }
    Some(match delay_bound_ns(agents, connection, ran) {
        Some(bound_ns) => format!(
            "the ends read different clocks, which were compared before and after the trial, to ±{:.1} µs with their drift; see the delay variation",
            bound_ns as f64 / 1e3
        ),
        None => format!(
            "the ends read different clocks, which were compared to ±{:.1} µs only; see the delay variation",
            ran.clocks.uncertainty_ns(connection.to, connection.from) as f64 / 1e3
        ),
    })
}

fn reads_one_clock(agents: &[KernelAgent], connection: &Connection) -> bool {
    let kernel = |place: usize| agents[place].session.welcome().clock.boot_id.as_str();
    let (from, to) = (kernel(connection.from), kernel(connection.to));
    from == to && !from.is_empty()
}

/// Bound of the error of a connection's delays; `None` where its ends read one clock, or the clocks were not compared again.
fn delay_bound_ns(agents: &[KernelAgent], connection: &Connection, ran: &Ran) -> Option<u64> {
    let again = ran.clocks_again.as_ref().filter(|_| !reads_one_clock(agents, connection))?;
    Some(ran.clocks.bound_ns(again, connection.to, connection.from))
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
