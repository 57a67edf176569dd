//! The port's own counters during a trial, and the reason when they are missing.

use linerate_wire::counters::PortCounters;

/// The port's counters since a trial was armed.
#[derive(Debug)]
pub(super) struct PortWatch {
    before: Option<PortCounters>,
    /// The last counters read; a smaller number later shows a reset.
    seen: Option<PortCounters>,
    was_reset: bool,
}

impl PortWatch {
    /// Starts with the present counters; `None` when the port has none.
    pub(super) fn new(before: Option<PortCounters>) -> Self {
        Self { before, seen: before, was_reset: false }
    }

    /// Takes the present counters and returns those of the trial; `None` when the port has none or was
    /// reset.
    pub(super) fn look(&mut self, now: Option<PortCounters>) -> Option<PortCounters> {
        let (now, before, seen) = (now?, self.before?, self.seen?);
        self.was_reset |= now.since(&seen).is_none();
        self.seen = Some(now);
        if self.was_reset { None } else { now.since(&before) }
    }

    /// The reason for missing counters, in one sentence.
    pub(super) fn trouble(&self) -> Option<String> {
        match self.before {
            None => Some("the port gives no statistics; only Linerate's own counters are known".into()),
            Some(_) if self.was_reset => {
                Some("the port's counters went backwards: it was reset during the trial (memif does so when its peer leaves)".into())
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(rx_packets: u64) -> Option<PortCounters> {
        Some(PortCounters { rx_packets, ..PortCounters::default() })
    }

    #[test]
    fn a_port_that_was_reset_stays_so() {
        let mut watch = PortWatch::new(counters(10));
        assert_eq!(watch.look(counters(15)), counters(5));
        assert_eq!(watch.trouble(), None);
        assert_eq!(watch.look(counters(14)), None);
        assert_eq!(watch.look(counters(100)), None);
        assert!(watch.trouble().unwrap().contains("reset"));
    }

    #[test]
    fn a_port_without_statistics_is_reported_as_such() {
        let mut watch = PortWatch::new(None);
        assert_eq!(watch.look(counters(5)), None);
        assert!(watch.trouble().unwrap().contains("no statistics"));
    }
}
