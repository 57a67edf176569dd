//! Results of every flow after a trial, at most 68 bytes per flow.

use linerate_wire::loss::LossTimeline;
use linerate_wire::report::{FlowDelay, FlowReport, sent_of_flow};
use linerate_wire::worst_flows::{Badness, WorstFlows};

use super::loss_timeline::{AllLosses, SenderTimes, Tails};
use super::order::FlowState;

/// All flows of a receiver.
#[derive(Debug)]
pub struct FlowTable {
    pub(super) flows: Vec<FlowState>,
    /// Sequence number at which each flow was joined; empty when the receiver was present from the beginning.
    pub(super) joined: Vec<u32>,
    /// True when the receiver knows the number of flows: flows without arrivals then count as flows.
    pub(super) expected: bool,
    pub(super) tick_hz: u64,
    pub(super) losses: AllLosses,
}

impl FlowTable {
    /// The report of flow `flow`; `None` when there is no such flow.
    pub fn report(&self, flow: u32) -> Option<FlowReport> {
        let state = self.flows.get(flow as usize).filter(|state| self.expected || !state.is_new())?;
        Some(flow_report(state, self.joined.get(flow as usize).copied(), flow, self.tick_hz))
    }

    /// The flows with the worst results, worst first. `sent_per_lcore` are the packets of each sender lcore;
    /// empty when unknown. Flows without any packet sent or received are left out.
    pub fn worst(&self, sent_per_lcore: &[u64]) -> Vec<FlowReport> {
        let mut worst = WorstFlows::default();
        for (flow, state) in (0..).zip(&self.flows) {
            let joined = self.joined.get(flow as usize).copied();
            let sent = self.sent_of(flow, sent_per_lcore);
            let lost = sent.map_or_else(|| lost(state, joined), |sent| sent.saturating_sub(state.received()));
            if state.is_new() && lost == 0 {
                continue;
            }
            let longest = state.delays().map_or(0, |(_, _, longest)| longest);
            let badness = Badness::new(flow, lost, state.reordered(), state.duplicates(), longest);
            worst.offer(badness, || flow_report(state, joined, flow, self.tick_hz).of_sent(sent));
        }
        worst.into_reports()
    }

    /// Number of flows with packets sent but none received; 0 where the receiver does not know the number of
    /// flows.
    pub fn silent(&self, sent_per_lcore: &[u64]) -> u32 {
        let silent = (0..).zip(&self.flows).filter(|(flow, state)| {
            state.is_new() && self.sent_of(*flow, sent_per_lcore).is_none_or(|sent| sent > 0)
        });
        if self.expected { silent.count() as u32 } else { 0 }
    }

    /// When `lost_packets`, all that the receiver lost, were lost; `None` when none was.
    pub fn loss_timeline(
        &self,
        lost_packets: u64,
        sent_per_lcore: &[u64],
        times: &SenderTimes,
    ) -> Option<LossTimeline> {
        let mut tails = Tails::new();
        for (flow, state) in (0..).zip(&self.flows) {
            let sent = self.sent_of(flow, sent_per_lcore).unwrap_or(0);
            let behind = sent.saturating_sub(state.next());
            if behind > 0 && !state.is_new() {
                *tails.entry((state.last_sent(), behind)).or_default() += 1;
            }
        }
        (lost_packets > 0).then(|| self.losses.timeline(lost_packets, &tails, times))
    }

    fn sent_of(&self, flow: u32, sent_per_lcore: &[u64]) -> Option<u64> {
        sent_of_flow(sent_per_lcore, flow, self.flows.len() as u32).filter(|_| self.expected)
    }

    /// All flows, in order.
    pub fn reports(&self) -> impl Iterator<Item = FlowReport> {
        (0..self.flows.len() as u32).filter_map(|flow| self.report(flow))
    }
}

/// Packets missing before the last one received of a flow that was joined at `joined`, or at its beginning.
/// A lower bound for a joined flow with late packets: see [`before_first`].
pub(super) fn lost(state: &FlowState, joined: Option<u32>) -> u64 {
    let first = u64::from(joined.unwrap_or(0));
    if state.is_new() { 0 } else { (state.next() - first).saturating_sub(state.received()) }
}

/// Packets missing before number `joined`, that of the first frame to arrive. An upper bound: a late packet from
/// before `joined` is first subtracted from [`lost`]. The sum of both and those received is exact: all that were
/// sent up to the last one received.
pub(super) fn before_first(state: &FlowState, joined: u32) -> u64 {
    u64::from(joined).min(state.next().saturating_sub(state.received()))
}

/// The report of one flow, on a clock of `tick_hz`.
pub(super) fn flow_report(state: &FlowState, joined: Option<u32>, flow: u32, tick_hz: u64) -> FlowReport {
    let ns = |ticks: u64| (u128::from(ticks) * 1_000_000_000 / u128::from(tick_hz.max(1))) as u64;
    FlowReport {
        flow,
        sent: None,
        received: state.received(),
        lost: lost(state, joined),
        duplicates: state.duplicates(),
        reordered: state.reordered(),
        largest_extent: state.largest_extent(),
        delay_ns: state.delays().map(|(min, mean, max)| FlowDelay {
            min: ns(min),
            mean: ns(mean),
            max: ns(max),
        }),
    }
}
