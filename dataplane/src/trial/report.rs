//! From what the loops leave behind to a report. Pure.

use linerate_protocol::counters::TransmitCounters;
use linerate_protocol::report::{ReceiveReport, TransmitReport, TrialReport};

use crate::core::analysis::Analysis;
use crate::loops::transmit::TransmitOutcome;

pub(super) fn transmit_report(
    outcomes: &[TransmitOutcome],
    intended_pps: Option<f64>,
    tick_hz: u64,
) -> TransmitReport {
    let counters: TransmitCounters = outcomes.iter().map(|outcome| outcome.counters).sum();
    let began = outcomes.iter().map(|outcome| outcome.began).min().unwrap_or(0);
    let ended = outcomes.iter().map(|outcome| outcome.ended).max().unwrap_or(0);
    let duration_s = ended.saturating_sub(began) as f64 / tick_hz.max(1) as f64;
    TransmitReport {
        counters,
        intended_pps,
        offered_pps: if duration_s > 0.0 { counters.packets as f64 / duration_s } else { 0.0 },
        duration_s,
        forgone_packets: outcomes.iter().map(|outcome| outcome.forgone).sum(),
        blocked_s: outcomes.iter().map(|outcome| outcome.blocked).sum::<u64>() as f64
            / (tick_hz.max(1) as f64 * outcomes.len().max(1) as f64),
        unsent_packets: outcomes.iter().map(|outcome| outcome.unsent).sum(),
    }
}

pub(super) fn receive_report(analyses: Vec<Analysis>, tick_hz: u64) -> Option<ReceiveReport> {
    let packets_per_lcore = analyses.iter().map(|analysis| analysis.counters().packets).collect();
    let merged = analyses.into_iter().reduce(|mut merged, analysis| {
        merged.merge(&analysis);
        merged
    })?;
    Some(ReceiveReport {
        counters: *merged.counters(),
        sequence_gaps: merged.sequence_gaps(),
        beyond_window: merged.beyond_window(),
        latency: merged.delays().read(tick_hz),
        packets_per_lcore,
    })
}

/// Where the port's counters differ from ours, each difference in one sentence.
pub(super) fn disagreements(report: &TrialReport) -> Vec<String> {
    let Some(port) = &report.port else { return Vec::new() };
    let (what, pairs) = match (&report.transmit, &report.receive) {
        (Some(transmit), _) => {
            let ours = &transmit.counters;
            ("sent", [("packets", ours.packets, port.tx_packets), ("bytes", ours.bytes, port.tx_bytes)])
        }
        (None, Some(receive)) => {
            let ours = &receive.counters;
            ("received", [("packets", ours.frames, port.rx_packets), ("bytes", ours.bytes, port.rx_bytes)])
        }
        (None, None) => return Vec::new(),
    };
    let [(_, packets, _), _] = pairs;
    pairs
        .into_iter()
        .filter(|(unit, ours, theirs)| {
            // Some ports count the check sequence, some do not, and some count no bytes at all; none of them is wrong.
            let bytes_differ_by_habit = *unit == "bytes" && (*theirs == ours + 4 * packets || *theirs == 0);
            ours != theirs && !bytes_differ_by_habit
        })
        .map(|(unit, ours, theirs)| format!("{unit} {what}: counted {ours}, the port says {theirs}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use linerate_protocol::counters::PortCounters;
    use linerate_protocol::report::Ended;
    use linerate_protocol::trial::Role;

    use super::*;

    fn report(port: Option<PortCounters>) -> TrialReport {
        let counters = TransmitCounters { packets: 10, bytes: 600, ..TransmitCounters::default() };
        let outcome = TransmitOutcome { counters, began: 1_000, ended: 3_000, ..TransmitOutcome::default() };
        TrialReport {
            trial: 1,
            role: Role::Tx,
            ended: Ended::Duration,
            started_ns: 0,
            ended_ns: 0,
            transmit: Some(transmit_report(&[outcome, outcome], Some(20.0), 1_000)),
            receive: None,
            port,
            disagreements: Vec::new(),
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
        assert!(disagreements(&report(port(20, 1200))).is_empty());
        assert!(disagreements(&report(port(20, 1280))).is_empty(), "with check sequence");
        assert!(disagreements(&report(port(20, 0))).is_empty(), "a port that counts packets only");
        assert_eq!(disagreements(&report(port(19, 1200))), ["packets sent: counted 20, the port says 19"]);
    }
}
