//! Unexpected frames that arrived at an agent during warm-up, as text and as a record.

use linerate_results::store::report::TrialReport;
use linerate_wire::report::ForeignFrames;

/// Frames that arrived over several attempts, by kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrivals {
    damaged: u64,
    stale: u64,
    unknown_flow: u64,
    foreign: ForeignFrames,
    /// Frames that the port dropped.
    missed: u64,
}

impl Arrivals {
    /// Adds an attempt's report.
    pub(super) fn add(&mut self, report: Option<&TrialReport>) {
        let Some(report) = report else { return };
        if let Some(receive) = &report.receive {
            add(&mut self.damaged, receive.counters.bad_checksums);
            add(&mut self.stale, receive.counters.stale);
            add(&mut self.unknown_flow, receive.counters.bad_probes);
            self.foreign += receive.foreign;
        }
        add(&mut self.missed, report.port.map_or(0, |port| port.rx_missed.saturating_add(port.rx_errors)));
    }

    /// A clause on the frames that `agent` received.
    pub(super) fn in_words(&self, agent: &str) -> String {
        let ForeignFrames { arp, icmp, ipv6, vlan, other } = self.foreign;
        let kinds = [
            (self.damaged, "packets of Linerate with a wrong checksum"),
            (self.stale, "packets of Linerate from another trial or an earlier attempt"),
            (self.unknown_flow, "packets of Linerate with an unknown flow"),
            (arp, "ARP frames"),
            (icmp, "ICMP frames"),
            (ipv6, "IPv6 frames that are not Linerate's"),
            (vlan, "frames with a VLAN tag that are not Linerate's"),
            (other, "other frames"),
            (self.missed, "frames that its port dropped"),
        ];
        let seen: Vec<String> = kinds
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{number} {what}"))
            .collect();
        if seen.is_empty() {
            format!("{agent} received nothing at all")
        } else {
            format!("{agent} received instead: {}", seen.join(", "))
        }
    }
}

/// Counters of a driver may have any value.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use linerate_wire::counters::{PortCounters, ReceiveCounters};
    use linerate_wire::report::{Ended, Part, ReceiveReport};

    use super::*;

    #[test]
    fn what_arrived_is_named_by_kind() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.in_words("rx0"), "rx0 received nothing at all");
        let counters = ReceiveCounters { bad_checksums: 64, stale: 2, ..ReceiveCounters::default() };
        let foreign = ForeignFrames { arp: 3, vlan: 1, ..ForeignFrames::default() };
        let report = TrialReport {
            trial: 1,
            role: Part::Rx,
            ended: Ended::Settled,
            started_ns: 0,
            ended_ns: 0,
            last_arrival_ns: None,
            transmit: None,
            receive: Some(ReceiveReport { counters, foreign, ..ReceiveReport::default() }),
            port: Some(PortCounters { rx_missed: u64::MAX, rx_errors: 1, ..PortCounters::default() }),
            disagreements: Vec::new(),
            notes: Vec::new(),
            lcores: Vec::new(),
            clock: None,
            throttling: None,
            host: None,
            workers: Vec::new(),
        };
        arrivals.add(Some(&report));
        arrivals.add(Some(&report));
        assert_eq!(
            arrivals.in_words("rx0"),
            "rx0 received instead: 128 packets of Linerate with a wrong checksum, 4 packets of Linerate from another trial or an earlier \
             attempt, 6 ARP frames, 2 frames with a VLAN tag that are not Linerate's, 18446744073709551615 frames that its port dropped"
        );
    }
}
