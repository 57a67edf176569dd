//! From what the loops leave behind to a report. Pure.

use std::cmp::Reverse;

use linerate_protocol::counters::TransmitCounters;
use linerate_protocol::report::{
    FlowReport, ForeignFrames, ReceiveReport, TransmitReport, TrialReport, missed_intended,
};

use super::active::ReceiveOutcome;
use crate::core::flow_table::FlowTable;
use crate::core::histogram::TickHistogram;
use crate::dpdk::port::Spread;
use crate::loops::reflect::ReflectOutcome;
use crate::loops::transmit::TransmitOutcome;

/// Flows that a report names.
const WORST_FLOWS: usize = 10;

pub(super) fn transmit_report(
    outcomes: &[TransmitOutcome],
    intended_pps: Option<f64>,
    tick_hz: u64,
) -> TransmitReport {
    let counters: TransmitCounters = outcomes.iter().map(|outcome| outcome.counters).sum();
    let began = outcomes.iter().map(|outcome| outcome.began).min().unwrap_or(0);
    let ended = outcomes.iter().map(|outcome| outcome.ended).max().unwrap_or(0);
    let hz = tick_hz.max(1) as f64;
    let duration_s = ended.saturating_sub(began) as f64 / hz;
    let mut departures = TickHistogram::default();
    outcomes.iter().for_each(|outcome| departures.merge(&outcome.departures));
    TransmitReport {
        counters,
        intended_pps,
        offered_pps: if duration_s > 0.0 { counters.packets as f64 / duration_s } else { 0.0 },
        duration_s,
        forgone_packets: outcomes.iter().map(|outcome| outcome.forgone).sum(),
        blocked_s: outcomes.iter().map(|outcome| outcome.blocked).sum::<u64>() as f64
            / (hz * outcomes.len().max(1) as f64),
        unsent_packets: outcomes.iter().map(|outcome| outcome.unsent).sum(),
        packets_per_lcore: outcomes.iter().map(|outcome| outcome.counters.packets).collect(),
        headroom: outcomes
            .iter()
            .map(|outcome| outcome.idle as f64 / outcome.ended.saturating_sub(outcome.began).max(1) as f64)
            .collect(),
        inter_departure: departures.read(tick_hz),
    }
}

/// A receiver's account, and what became of every flow. `None` without receivers.
pub(super) fn receive_report(
    outcomes: Vec<ReceiveOutcome>,
    frames_per_queue: Vec<u64>,
    tick_hz: u64,
) -> Option<(ReceiveReport, FlowTable)> {
    let ns_per_tick = 1e9 / tick_hz.max(1) as f64;
    let packets_per_lcore =
        outcomes.iter().map(|outcome| outcome.analysis.counters(ns_per_tick).packets).collect();
    let headroom = outcomes.iter().map(|outcome| outcome.headroom).collect();
    let merged = outcomes.into_iter().map(|outcome| outcome.analysis).reduce(|mut merged, analysis| {
        merged.merge(&analysis);
        merged
    })?;
    let seen = merged.flows(tick_hz).count() as u32;
    let report = ReceiveReport {
        counters: merged.counters(ns_per_tick),
        sequence_gaps: merged.sequence_gaps(),
        beyond_window: merged.beyond_memory(),
        latency: merged.delays().read_delays(tick_hz),
        packets_per_lcore,
        frames_per_queue,
        headroom,
        foreign: merged.foreign(),
        reordering: merged.reordering(),
        silent_flows: merged.expected_flows().map_or(0, |flows| flows.saturating_sub(seen)),
        worst_flows: worst(merged.flows(tick_hz)),
    };
    Some((report, merged.into_flows(tick_hz)))
}

/// A load that was not offered as intended, in one sentence.
pub(super) fn missed_load(transmit: &TransmitReport) -> Option<String> {
    let (intended, offered) = (transmit.intended_pps?, transmit.offered_pps);
    let off = offered / intended - 1.0;
    missed_intended(Some(intended), offered, transmit.duration_s).then(|| {
        format!("the offered load missed the intended one: {offered:.0} of {intended:.0} packets per second ({:+.2} %)", 100.0 * off)
    })
}

/// A reflector's account: what arrived, and what went back. Frames that the port did not take back are `unsent`.
pub(super) fn reflect_report(
    reflected: &[ReflectOutcome],
    frames_per_queue: Vec<u64>,
    tick_hz: u64,
) -> (TransmitReport, ReceiveReport) {
    let outcomes = || reflected.iter();
    let began = outcomes().map(|outcome| outcome.began).min().unwrap_or(0);
    let ended = outcomes().map(|outcome| outcome.ended).max().unwrap_or(0);
    let duration_s = ended.saturating_sub(began) as f64 / tick_hz.max(1) as f64;
    let sent: TransmitCounters = outcomes().map(|outcome| outcome.sent).sum();
    let transmit = TransmitReport {
        counters: sent,
        offered_pps: if duration_s > 0.0 { sent.packets as f64 / duration_s } else { 0.0 },
        duration_s,
        unsent_packets: outcomes().map(|outcome| outcome.dropped).sum(),
        packets_per_lcore: outcomes().map(|outcome| outcome.sent.packets).collect(),
        ..TransmitReport::default()
    };
    let mut foreign = ForeignFrames::default();
    outcomes().for_each(|outcome| foreign += outcome.foreign);
    let receive = ReceiveReport {
        counters: outcomes().map(|outcome| outcome.received).sum(),
        packets_per_lcore: outcomes().map(|outcome| outcome.received.packets).collect(),
        frames_per_queue,
        foreign,
        ..ReceiveReport::default()
    };
    (transmit, receive)
}

/// The flows with the most losses, then the most reordered or duplicate packets, then the longest delay.
fn worst(flows: impl Iterator<Item = FlowReport>) -> Vec<FlowReport> {
    let badness = |flow: &FlowReport| {
        let delay = flow.delay_ns.map_or(0, |delay| delay.max);
        Reverse((flow.lost, flow.reordered + flow.duplicates, delay, Reverse(flow.flow)))
    };
    let mut worst: Vec<FlowReport> = Vec::with_capacity(WORST_FLOWS + 1);
    for flow in flows {
        let at = worst.partition_point(|other| badness(other) <= badness(&flow));
        if at < WORST_FLOWS {
            worst.truncate(WORST_FLOWS - 1);
            worst.insert(at, flow);
        }
    }
    worst
}

/// How frames were spread over several receive queues, when that is worth saying.
pub(super) fn spread_note(queues: usize, spread: Spread) -> Option<String> {
    if queues < 2 {
        return None;
    }
    match spread {
        Spread { ip: false, udp: false, tcp: false } => Some(format!(
            "{queues} RX queues, and the port has no RSS: how frames spread over them is up to its driver"
        )),
        Spread { udp: false, .. } => Some(format!(
            "{queues} RX queues, and the port's RSS looks at addresses only: flows that differ in ports alone share a queue"
        )),
        _ => None,
    }
}

/// Where the port's counters differ from ours, each difference in one sentence. `own` are frames that were sent beside test traffic, and their
/// bytes.
pub(super) fn disagreements(report: &TrialReport, own: (u64, u64)) -> Vec<String> {
    let Some(port) = &report.port else { return Vec::new() };
    let sent = report.transmit.as_ref().map(|transmit| {
        let ours = &transmit.counters;
        [
            ("packets sent", ours.packets + own.0, port.tx_packets),
            ("bytes sent", ours.bytes + own.1, port.tx_bytes),
        ]
    });
    let received = report.receive.as_ref().map(|receive| {
        let ours = &receive.counters;
        [("packets received", ours.frames, port.rx_packets), ("bytes received", ours.bytes, port.rx_bytes)]
    });
    sent.into_iter().chain(received).flat_map(differences).collect()
}

fn differences([packets, bytes]: [(&str, u64, u64); 2]) -> Vec<String> {
    let (_, ours, theirs) = bytes;
    // Some ports count the check sequence, some do not, and some count no bytes at all; none of them is wrong.
    let bytes_differ_by_habit = theirs == ours + 4 * packets.1 || theirs == 0;
    [(packets, false), (bytes, bytes_differ_by_habit)]
        .into_iter()
        .filter(|((_, ours, theirs), by_habit)| ours != theirs && !by_habit)
        .map(|((what, ours, theirs), _)| format!("{what}: counted {ours}, the port says {theirs}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use linerate_protocol::counters::PortCounters;
    use linerate_protocol::report::Ended;
    use linerate_protocol::report::Part;

    use super::*;

    fn report(port: Option<PortCounters>) -> TrialReport {
        let counters = TransmitCounters { packets: 10, bytes: 600, ..TransmitCounters::default() };
        let outcome = TransmitOutcome { counters, began: 1_000, ended: 3_000, ..TransmitOutcome::default() };
        TrialReport {
            trial: 1,
            role: Part::Tx,
            ended: Ended::Duration,
            started_ns: 0,
            ended_ns: 0,
            transmit: Some(transmit_report(&[outcome.clone(), outcome], Some(20.0), 1_000)),
            receive: None,
            port,
            disagreements: Vec::new(),
            notes: Vec::new(),
            lcores: Vec::new(),
        }
    }

    #[test]
    fn workers_add_up() {
        let transmit = report(None).transmit.unwrap();
        assert_eq!((transmit.counters.packets, transmit.duration_s, transmit.offered_pps), (20, 2.0, 10.0));
    }

    #[test]
    fn a_disagreement_is_named_with_both_numbers() {
        let port =
            |tx_packets, tx_bytes| Some(PortCounters { tx_packets, tx_bytes, ..PortCounters::default() });
        assert!(disagreements(&report(port(20, 1200)), (0, 0)).is_empty());
        assert!(disagreements(&report(port(20, 1280)), (0, 0)).is_empty(), "with check sequence");
        assert!(disagreements(&report(port(20, 0)), (0, 0)).is_empty(), "a port that counts packets only");
        assert!(disagreements(&report(port(22, 1320)), (2, 120)).is_empty(), "with frames of its own");
        assert_eq!(
            disagreements(&report(port(19, 1200)), (0, 0)),
            ["packets sent: counted 20, the port says 19"]
        );
    }
}
