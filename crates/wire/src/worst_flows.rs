//! Selection of the flows with the worst results, in one pass over all flows and in constant memory.

use std::cmp::Reverse;

use crate::report::FlowReport;

/// Number of flows that a report lists.
pub const WORST_FLOWS: usize = 10;

/// Order of flows by result: lost packets first, then reordered and duplicate packets, then the longest
/// delay. Of two equal flows, the one with the lower number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Badness {
    lost: u64,
    disturbed: u64,
    longest_delay: u64,
    flow: Reverse<u32>,
}

impl Badness {
    /// The badness of flow `flow`; `longest_delay` in any unit common to all flows.
    pub fn new(flow: u32, lost: u64, reordered: u64, duplicates: u64, longest_delay: u64) -> Self {
        Self { lost, disturbed: reordered.saturating_add(duplicates), longest_delay, flow: Reverse(flow) }
    }

    /// The badness of a reported flow.
    pub fn of(flow: &FlowReport) -> Self {
        let longest = flow.delay_ns.map_or(0, |delay| delay.max);
        Self::new(flow.flow, flow.lost, flow.reordered, flow.duplicates, longest)
    }

    /// Lost packets, and reordered plus duplicate ones: the comparison when delays are not valid.
    pub fn packets(&self) -> (u64, u64) {
        (self.lost, self.disturbed)
    }
}

/// The worst [`WORST_FLOWS`] of all flows offered to it.
#[derive(Debug, Clone, Default)]
pub struct WorstFlows {
    /// Kept flows, worst first.
    kept: Vec<(Badness, FlowReport)>,
}

impl WorstFlows {
    /// Offers a flow; `report` is called only when the flow is among the worst so far.
    pub fn offer(&mut self, badness: Badness, report: impl FnOnce() -> FlowReport) {
        let full = self.kept.len() == WORST_FLOWS;
        if full && self.kept.last().is_some_and(|(least, _)| badness <= *least) {
            return;
        }
        let at = self.kept.partition_point(|(other, _)| *other > badness);
        if full {
            self.kept.pop();
        }
        self.kept.insert(at, (badness, report()));
    }

    /// The kept flows, worst first.
    pub fn into_reports(self) -> Vec<FlowReport> {
        self.kept.into_iter().map(|(_, report)| report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::FlowDelay;

    fn flow(flow: u32, lost: u64, reordered: u64, duplicates: u64, max: u64) -> FlowReport {
        let delay_ns = Some(FlowDelay { min: 0, mean: 0, max });
        FlowReport { flow, lost, reordered, duplicates, delay_ns, ..FlowReport::default() }
    }

    fn worst(flows: &[FlowReport]) -> Vec<u32> {
        let mut worst = WorstFlows::default();
        flows.iter().for_each(|flow| worst.offer(Badness::of(flow), || *flow));
        worst.into_reports().iter().map(|flow| flow.flow).collect()
    }

    #[test]
    fn losses_come_before_disorder_before_delay_before_the_number() {
        let flows = [
            flow(0, 0, 0, 0, 5),
            flow(1, 1, 0, 0, 0),
            flow(2, 0, 0, 0, 9),
            flow(3, 0, 1, 1, 0),
            flow(4, 2, 0, 0, 0),
            flow(5, 0, 0, 0, 5),
            flow(6, 0, 0, 1, 99),
        ];
        assert_eq!(worst(&flows), [4, 1, 3, 6, 2, 0, 5]);
        let reversed: Vec<FlowReport> = flows.iter().rev().copied().collect();
        assert_eq!(worst(&reversed), [4, 1, 3, 6, 2, 0, 5], "whatever the order in which they come");
    }

    #[test]
    fn of_many_flows_the_worst_are_those_that_sorting_finds() {
        let lost = |flow: u32| u64::from(flow.wrapping_mul(2_654_435_761) >> 20);
        let count = if cfg!(miri) { 200 } else { 5000 };
        let mut flows: Vec<FlowReport> = (0..count).map(|id| flow(id, lost(id), 0, 0, 0)).collect();
        let found = worst(&flows);
        flows.sort_by_key(|flow| Reverse(Badness::of(flow)));
        assert_eq!(found, flows.iter().take(WORST_FLOWS).map(|flow| flow.flow).collect::<Vec<_>>());
    }

    #[test]
    fn few_reports_are_made_of_many_equal_flows() {
        let mut made = 0;
        let mut worst = WorstFlows::default();
        for id in 0..if cfg!(miri) { 1000 } else { 1_000_000 } {
            worst.offer(Badness::new(id, 0, 0, 0, 0), || {
                made += 1;
                flow(id, 0, 0, 0, 0)
            });
        }
        assert_eq!(made, WORST_FLOWS);
    }
}
