//! From two agents' reports to the figures of a trial. Pure.

use linerate_protocol::report::{Ended, TrialReport};

use crate::clock::ClockVerdict;
use crate::plan::Trial;
use crate::summary::TrialSummary;
use crate::verdict::{Observed, judge};

/// Which trial on which pair the figures are of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The trial.
    pub trial: &'a Trial,
    /// The pair, such as `tx0-rx0`.
    pub pair: &'a str,
    /// The transmitter's name.
    pub tx: &'a str,
    /// The receiver's name.
    pub rx: &'a str,
    /// Whether their times can be compared.
    pub clock: &'a ClockVerdict,
}

/// Reports that make no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoResult {
    /// A side's report lacks its part.
    #[error("the report of {agent} is not that of a {role}")]
    WrongRole {
        /// Whose report.
        agent: String,
        /// What it should be.
        role: &'static str,
    },
    /// Loss cannot be told while packets are still on their way.
    #[error(
        "packets still arrived at {agent} when the drain's time was over; give it more with trial.drain.limit"
    )]
    StillArriving {
        /// The receiver.
        agent: String,
    },
    /// An agent ended before its time.
    #[error("{agent} ended before its time: {}", match ended {
        Ended::Orphaned => "it had heard nothing from the controller for longer than the orphan time",
        _ => "it was stopped",
    })]
    EndedEarly {
        /// Which agent.
        agent: String,
        /// How it ended.
        ended: Ended,
    },
    /// The counts contradict each other.
    #[error(
        "{rx} counted {received} packets received, more than the {sent} that {tx} sent; one of the counts is wrong, so there is no result"
    )]
    MoreThanSent {
        /// The transmitter.
        tx: String,
        /// The receiver.
        rx: String,
        /// Packets sent.
        sent: u64,
        /// Packets received.
        received: u64,
    },
}

/// The figures of a trial, without its overhead and file.
///
/// # Errors
/// When the reports make no honest result.
pub fn figures(of: Subject<'_>, tx: &TrialReport, rx: &TrialReport) -> Result<TrialSummary, NoResult> {
    let wrong = |agent: &str, role| NoResult::WrongRole { agent: agent.to_owned(), role };
    let transmit = tx.transmit.as_ref().ok_or_else(|| wrong(of.tx, "transmitter"))?;
    let receive = rx.receive.as_ref().ok_or_else(|| wrong(of.rx, "receiver"))?;
    if !matches!(tx.ended, Ended::Duration | Ended::Packets) {
        return Err(NoResult::EndedEarly { agent: of.tx.to_owned(), ended: tx.ended });
    }
    match rx.ended {
        Ended::Packets | Ended::Settled => {}
        Ended::Expired => return Err(NoResult::StillArriving { agent: of.rx.to_owned() }),
        ended => return Err(NoResult::EndedEarly { agent: of.rx.to_owned(), ended }),
    }
    let (sent, received) = (transmit.counters.packets, receive.counters.packets);
    let lost = sent.checked_sub(received).ok_or_else(|| NoResult::MoreThanSent {
        tx: of.tx.to_owned(),
        rx: of.rx.to_owned(),
        sent,
        received,
    })?;
    let verdict = judge(&Observed {
        intended_pps: transmit.intended_pps,
        offered_pps: transmit.offered_pps,
        sent,
        lost,
        blocked_s: transmit.blocked_s,
        beyond_window: receive.beyond_window,
        forgone: transmit.forgone_packets,
        duration_s: transmit.duration_s,
        rx_missed: rx.port.map(|port| port.rx_missed),
        rx_nombuf: rx.port.map(|port| port.rx_nombuf),
    });
    let mut disagreements: Vec<String> = [(of.tx, tx), (of.rx, rx)]
        .into_iter()
        .flat_map(|(agent, report)| report.disagreements.iter().map(move |text| format!("{agent}: {text}")))
        .collect();
    if receive.sequence_gaps > lost {
        let gaps = receive.sequence_gaps;
        disagreements
            .push(format!("{}: {gaps} sequence numbers are missing, but only {lost} packets", of.rx));
    }
    let mut clock = of.clock.clone();
    if let Some(negative @ 1..) = receive.latency.as_ref().map(|latency| latency.negative) {
        clock.one_way_valid = false;
        clock.reason =
            format!("{negative} packets arrived before they were sent: the CPUs' counters are not in step");
    }
    let latency = receive.latency.as_ref().filter(|_| clock.one_way_valid);
    let profile = &of.trial.profile;
    Ok(TrialSummary {
        profile: profile.name(),
        pair: of.pair.to_owned(),
        repeat: of.trial.repeat,
        frame_size: profile.frame_sizes().clone(),
        flows: profile.flows(),
        intended_pps: transmit.intended_pps,
        offered_pps: transmit.offered_pps,
        received_pps: if transmit.duration_s > 0.0 { received as f64 / transmit.duration_s } else { 0.0 },
        sent_packets: sent,
        received_packets: received,
        lost_packets: lost,
        out_of_order_packets: receive.counters.out_of_order,
        duplicate_packets: receive.counters.duplicates,
        stale_packets: receive.counters.stale,
        foreign_packets: receive.counters.foreign,
        forgone_packets: transmit.forgone_packets,
        unsent_packets: transmit.unsent_packets,
        queue_full: transmit.counters.queue_full,
        blocked_s: transmit.blocked_s,
        beyond_window_packets: receive.beyond_window,
        tx_port: tx.port,
        rx_port: rx.port,
        disagreements,
        duration_s: transmit.duration_s,
        latency_ns: latency.map(|latency| latency.summary),
        clock,
        verdict,
        overhead_s: 0.0,
        trial: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use linerate_protocol::counters::{PortCounters, ReceiveCounters, TransmitCounters};
    use linerate_protocol::profile::RawProfile;
    use linerate_protocol::report::Part;
    use linerate_protocol::report::{Latency, ReceiveReport, TransmitReport};

    use super::*;
    use crate::verdict::VerdictKind;

    fn report(role: Part) -> TrialReport {
        TrialReport {
            trial: 1,
            role,
            ended: Ended::Duration,
            started_ns: 0,
            ended_ns: 1,
            transmit: None,
            receive: None,
            port: Some(PortCounters::default()),
            disagreements: vec!["packets differ".into()],
            notes: Vec::new(),
            lcores: vec![1],
        }
    }

    fn tx(packets: u64) -> TrialReport {
        let counters = TransmitCounters { packets, ..TransmitCounters::default() };
        let transmit = TransmitReport {
            counters,
            intended_pps: Some(500.0),
            offered_pps: packets as f64 / 2.0,
            duration_s: 2.0,
            ..TransmitReport::default()
        };
        TrialReport { transmit: Some(transmit), ..report(Part::Tx) }
    }

    fn rx(packets: u64) -> TrialReport {
        let receive = ReceiveReport {
            counters: ReceiveCounters { packets, ..ReceiveCounters::default() },
            latency: Some(Latency::default()),
            packets_per_lcore: vec![packets],
            ..ReceiveReport::default()
        };
        TrialReport { ended: Ended::Packets, receive: Some(receive), ..report(Part::Rx) }
    }

    fn with_clock(valid: bool, tx: &TrialReport, rx: &TrialReport) -> Result<TrialSummary, NoResult> {
        let profile = RawProfile::default().try_into().unwrap();
        let trial = Trial { profile, repeat: 1, repeats: 1, expected_duration: None };
        let clock = ClockVerdict { one_way_valid: valid, reason: String::new(), source: "tsc".into() };
        figures(Subject { trial: &trial, pair: "tx0-rx0", tx: "tx0", rx: "rx0", clock: &clock }, tx, rx)
    }

    #[test]
    fn what_is_sent_is_received_or_lost() {
        let result = with_clock(true, &tx(1000), &rx(990)).unwrap();
        assert_eq!((result.sent_packets, result.received_packets, result.lost_packets), (1000, 990, 10));
        assert_eq!((result.offered_pps, result.received_pps), (500.0, 495.0));
        assert_eq!(result.verdict.kind, VerdictKind::PathLimited);
        assert_eq!(result.disagreements, ["tx0: packets differ", "rx0: packets differ"]);
    }

    #[test]
    fn a_delay_needs_a_common_clock() {
        assert!(with_clock(true, &tx(10), &rx(10)).unwrap().latency_ns.is_some());
        assert!(with_clock(false, &tx(10), &rx(10)).unwrap().latency_ns.is_none());
    }

    #[test]
    fn clocks_out_of_step_and_wrong_counts_are_told() {
        let mut report = rx(10);
        let receive = report.receive.as_mut().unwrap();
        receive.sequence_gaps = 3;
        receive.latency.as_mut().unwrap().negative = 2;
        let result = with_clock(true, &tx(10), &report).unwrap();
        assert!(
            result.latency_ns.is_none() && result.clock.reason.contains("2 packets"),
            "{:?}",
            result.clock
        );
        assert!(result.disagreements.iter().any(|text| text.contains("3 sequence numbers")));
    }

    #[test]
    fn contradictions_are_no_result() {
        let message = with_clock(true, &tx(10), &rx(11)).unwrap_err().to_string();
        assert!(message.contains("rx0 counted 11") && message.contains("the 10 that tx0 sent"), "{message}");
        let expired = TrialReport { ended: Ended::Expired, ..rx(9) };
        assert!(with_clock(true, &tx(10), &expired).unwrap_err().to_string().contains("drain.limit"));
        let orphaned = TrialReport { ended: Ended::Orphaned, ..tx(10) };
        assert!(with_clock(true, &orphaned, &rx(10)).unwrap_err().to_string().contains("orphan time"));
        assert!(matches!(with_clock(true, &rx(10), &rx(10)), Err(NoResult::WrongRole { .. })));
        assert!(matches!(with_clock(true, &tx(10), &tx(10)), Err(NoResult::WrongRole { .. })));
    }
}
