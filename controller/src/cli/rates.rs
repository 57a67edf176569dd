//! Live rates, from the samples of all agents.

use std::collections::BTreeMap;

use linerate_protocol::counters::Sample;
use linerate_protocol::trial::Role;

/// The last two samples of every agent.
#[derive(Debug, Default)]
pub(super) struct Rates {
    agents: BTreeMap<String, (Role, Option<Sample>, Sample)>,
}

impl Rates {
    /// Takes a sample in.
    pub(super) fn add(&mut self, agent: &str, role: Role, sample: &Sample) {
        let before =
            self.agents.remove(agent).map(|(_, _, last)| last).filter(|last| last.trial == sample.trial);
        self.agents.insert(agent.to_owned(), (role, before, sample.clone()));
    }

    /// Packets per second of all agents in a role; `None` before two samples of each are known.
    pub(super) fn pps(&self, role: Role) -> Option<f64> {
        let mut agents = self.agents.values().filter(|(theirs, ..)| *theirs == role).peekable();
        agents.peek()?;
        agents.map(|(_, before, last)| Self::rate(before.as_ref()?, last)).sum()
    }

    fn rate(before: &Sample, last: &Sample) -> Option<f64> {
        let seconds = last.at_ns.checked_sub(before.at_ns).filter(|ns| *ns > 0)? as f64 / 1e9;
        Some(packets(last).checked_sub(packets(before))? as f64 / seconds)
    }

    /// Both rates in one phrase.
    pub(super) fn phrase(&self) -> String {
        let shown = |role| self.pps(role).map_or("  -  ".to_owned(), |pps| format!("{:.3}", pps / 1e6));
        format!("tx {} rx {} Mpps", shown(Role::Tx), shown(Role::Rx))
    }
}

fn packets(sample: &Sample) -> u64 {
    sample.transmit.map(|tx| tx.packets).or(sample.receive.map(|rx| rx.packets)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use linerate_protocol::counters::TransmitCounters;

    use super::*;

    #[test]
    fn rates_come_from_two_samples_of_one_trial() {
        let sample = |trial, at_ms: u64, packets| Sample {
            trial,
            at_ns: at_ms * 1_000_000,
            transmit: Some(TransmitCounters { packets, ..TransmitCounters::default() }),
            receive: None,
            port: None,
        };
        let mut rates = Rates::default();
        assert_eq!(rates.pps(Role::Tx), None);
        rates.add("tx0", Role::Tx, &sample(1, 500, 1000));
        assert_eq!(rates.pps(Role::Tx), None);
        rates.add("tx0", Role::Tx, &sample(1, 1000, 3000));
        assert_eq!(rates.pps(Role::Tx), Some(4000.0));
        rates.add("tx1", Role::Tx, &sample(1, 1000, 10));
        rates.add("tx1", Role::Tx, &sample(1, 2000, 20));
        assert_eq!(rates.pps(Role::Tx), Some(4010.0));
        rates.add("tx0", Role::Tx, &sample(2, 2000, 0));
        assert_eq!(rates.pps(Role::Tx), None, "a new trial begins anew");
        assert_eq!(rates.phrase(), "tx   -   rx   -   Mpps");
    }
}
