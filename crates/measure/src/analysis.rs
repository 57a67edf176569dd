//! Analysis of received frames: recognition, counters, and order within each flow.

use linerate_traffic::probe::{MAX_FLOW_IDS, Probe};
use linerate_traffic::profile::MAX_FLOWS;
use linerate_wire::counters::ReceiveCounters;
use linerate_wire::report::{FlowReport, ForeignFrames, Reordering};

use super::arrival::Arrival;
use super::flow_table::{FlowTable, before_first, flow_report, lost};
use super::gap_log::GapLog;
use super::histogram::TickHistogram;
use super::loss_timeline::AllLosses;
use super::losses::SendTime;
use super::mailbox::Mailbox;
use super::order::FlowState;
use super::recognise::{Foreign, Frame, PortVerdict, UdpChecksum, recognise};

/// Frames that count as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Frames of exactly this trial, with flow ids below `flows`. Memory is allocated at once: 64 bytes per
    /// flow and lcore.
    Trial {
        /// Tag of the trial's probes.
        tag: u16,
        /// Number of flows.
        flows: u32,
    },
    /// Frames of any trial, for a receiver without a specification: it learns the tag from the first probe,
    /// starts anew with each new tag, and extends the flow table as needed.
    Anything,
}

/// Results of one RX lcore.
#[derive(Debug)]
pub struct Analysis {
    tag: Option<u16>,
    previous_tag: Option<u16>,
    learning: bool,
    flows: Vec<FlowState>,
    /// While learning: the sequence number at which each flow was joined.
    joined: Vec<u32>,
    log: GapLog,
    counters: ReceiveCounters,
    foreign: ForeignFrames,
    beyond_memory: u64,
    extents: Extents,
    /// While learning: gaps of earlier tags and of other lcores.
    closed_gaps: u64,
    /// The same of packets before the first that arrived.
    closed_before: u64,
    /// While learning: packets of more than one tag were counted.
    several_trials: bool,
    /// Losses of merged lcores.
    others: AllLosses,
    delays: TickHistogram,
    mailbox: Option<Mailbox>,
}

/// Sum and count of the extents of reordered frames.
#[derive(Debug, Clone, Copy, Default)]
struct Extents {
    known: u64,
    sum: u64,
    max: u32,
}

/// Flows that a receiver without a specification has memory for at once: 1 MiB.
const FIRST_FLOWS: u32 = if cfg!(miri) { 16 } else { 1 << 14 };
/// Flows by which it extends its table: 64 KiB.
const MORE_FLOWS: u32 = 1024;

/// A table of `flows` rows. A receiver that extends it reserves addresses, not memory, for all flows that there
/// can be, so that no row moves. If the reservation fails, rows move when the table grows.
fn table<T: Clone>(row: T, flows: u32, extends: bool) -> Vec<T> {
    let mut rows = Vec::new();
    if extends && !cfg!(miri) {
        let _ = rows.try_reserve_exact(MAX_FLOWS as usize);
    }
    rows.resize(flows as usize, row);
    rows
}

impl Analysis {
    /// An empty analysis.
    pub fn new(expect: Expect) -> Self {
        let learning = expect == Expect::Anything;
        let (tag, flows) = match expect {
            Expect::Trial { tag, flows } => (Some(tag), flows.min(MAX_FLOW_IDS)),
            Expect::Anything => (None, FIRST_FLOWS),
        };
        Self {
            tag,
            previous_tag: None,
            learning,
            flows: table(FlowState::default(), flows, learning),
            joined: table(0, if learning { flows } else { 0 }, learning),
            log: GapLog::default(),
            counters: ReceiveCounters::default(),
            foreign: ForeignFrames::default(),
            beyond_memory: 0,
            extents: Extents::default(),
            closed_gaps: 0,
            closed_before: 0,
            several_trials: false,
            others: AllLosses::default(),
            delays: TickHistogram::default(),
            mailbox: None,
        }
    }

    /// Counts one frame, given its first segment, its whole length in bytes, the port's checksum verdict, and
    /// the instant at which it was taken from the port.
    #[inline(always)]
    pub fn observe(&mut self, frame: &[u8], length: u32, verdict: PortVerdict, ticks: u64) {
        self.counters.frames += 1;
        self.counters.bytes += u64::from(length);
        match recognise(frame, length, verdict) {
            Frame::Ours(probe, udp) => self.observe_probe(probe, udp, ticks),
            Frame::Damaged => self.counters.bad_checksums += 1,
            Frame::Foreign(kind) => self.observe_foreign(kind, frame),
        }
    }

    #[cold]
    fn observe_foreign(&mut self, kind: Foreign, frame: &[u8]) {
        self.counters.foreign += 1;
        kind.count(&mut self.foreign);
        if let Some(mailbox) = &self.mailbox {
            mailbox.put(frame);
        }
    }

    /// Forwards every foreign frame to the mailbox, where the port's resolver answers it.
    pub fn forward_foreign(&mut self, mailbox: Mailbox) {
        self.mailbox = Some(mailbox);
    }

    #[inline(always)]
    fn observe_probe(&mut self, probe: Probe, udp: UdpChecksum, ticks: u64) {
        if self.tag != Some(probe.tag) && !self.adopt(probe.tag) {
            self.counters.stale += 1;
            return;
        }
        if probe.flow as usize >= self.flows.len() && !self.grow(probe.flow) {
            self.counters.bad_probes += 1;
            return;
        }
        let flow = &mut self.flows[probe.flow as usize];
        if self.learning && flow.is_new() {
            flow.join(probe.sequence, probe.flow, &mut self.log);
            self.joined[probe.flow as usize] = probe.sequence;
        }
        let delay = probe.ticks_until(ticks);
        match flow.arrive(probe.sequence, probe.flow, SendTime::new(ticks, delay), &mut self.log) {
            Arrival::InOrder => {}
            Arrival::Duplicate => {
                self.counters.duplicates += 1;
                return;
            }
            late => self.observe_late(late),
        }
        self.flows[probe.flow as usize].record_delay(delay.max(0) as u64);
        self.counters.packets += 1;
        self.counters.without_checksum += u64::from(udp == UdpChecksum::Absent);
        self.delays.record(delay);
    }

    /// Ticks at which the sender's clock must be [followed](Self::follow_clock) again.
    #[inline(always)]
    pub fn clock_due(&self) -> u64 {
        self.log.losses.clock_due()
    }

    /// Follows the sender's clock by a frame taken at `ticks`, so that the times of losses are known however
    /// far the clocks drift apart.
    #[cold]
    #[inline(never)]
    pub fn follow_clock(&mut self, frame: &[u8], length: u32, verdict: PortVerdict, ticks: u64) {
        if let Frame::Ours(probe, _) = recognise(frame, length, verdict)
            && self.tag == Some(probe.tag)
        {
            self.log.losses.follow(SendTime::new(ticks, probe.ticks_until(ticks)));
        }
    }

    #[cold]
    fn observe_late(&mut self, late: Arrival) {
        self.counters.out_of_order += 1;
        if let Arrival::Reordered { extent } = late {
            self.extents.known += 1;
            self.extents.sum += u64::from(extent);
            self.extents.max = self.extents.max.max(extent);
        } else {
            self.beyond_memory += 1;
        }
    }

    /// While learning: starts anew with another tag. The analysis remembers the previous tag and counts its
    /// late frames as stale.
    #[cold]
    fn adopt(&mut self, tag: u16) -> bool {
        if !self.learning || self.previous_tag == Some(tag) {
            return false;
        }
        // Frames wait meanwhile: nothing is allocated, the table is passed through once, and not for the first tag.
        if self.tag.is_some() {
            for (state, joined) in
                self.flows.iter_mut().zip(&self.joined).filter(|(state, _)| !state.is_new())
            {
                self.closed_gaps += lost(state, Some(*joined));
                self.closed_before += before_first(state, *joined);
                *state = FlowState::default();
            }
            self.several_trials |= self.counters.packets > 0;
            self.log.reset();
        }
        self.previous_tag = self.tag.replace(tag);
        true
    }

    /// While learning: extends the flow table, which has room for it, by as little as frames can wait for.
    #[cold]
    fn grow(&mut self, flow: u32) -> bool {
        let possible = self.learning && flow < MAX_FLOWS;
        if possible {
            let flows = (flow + 1).next_multiple_of(MORE_FLOWS) as usize;
            self.flows.resize(flows, FlowState::default());
            self.joined.resize(flows, 0);
        }
        possible
    }

    /// The counters so far, on a clock whose tick takes `ns_per_tick` nanoseconds.
    #[inline(always)]
    pub fn counters(&self, ns_per_tick: f64) -> ReceiveCounters {
        ReceiveCounters { delay_sum_ns: (self.delays.sum() as f64 * ns_per_tick) as u64, ..self.counters }
    }

    /// Adds the results of another RX lcore.
    pub fn merge(&mut self, other: &Analysis) {
        self.several_trials |= other.several_trials;
        self.closed_before += other.closed_before;
        // An lcore without a packet has learned no sender.
        self.tag = self.tag.or(other.tag);
        if self.learning && other.tag.is_some() && self.tag != other.tag {
            // The lcores learned different senders, and flows can be reported for one sender only.
            self.closed_gaps += other.sequence_gaps();
            self.closed_before += other.before_join();
            self.several_trials |= self.counters.packets > 0 && other.counters.packets > 0;
        } else {
            self.closed_gaps += other.closed_gaps;
            self.merge_flows(other);
            self.others.add(&other.log.losses);
            self.others.merge(&other.others);
        }
        self.counters += other.counters;
        self.foreign += other.foreign;
        self.beyond_memory += other.beyond_memory;
        self.extents.known += other.extents.known;
        self.extents.sum += other.extents.sum;
        self.extents.max = self.extents.max.max(other.extents.max);
        self.delays.merge(&other.delays);
    }

    fn merge_flows(&mut self, other: &Analysis) {
        if self.flows.len() < other.flows.len() {
            self.flows.resize(other.flows.len(), FlowState::default());
        }
        if self.joined.len() < other.joined.len() {
            self.joined.resize(other.joined.len(), 0);
        }
        for (flow, joined) in other.joined.iter().enumerate().filter(|(flow, _)| !other.flows[*flow].is_new())
        {
            let earlier = if self.flows[flow].is_new() { *joined } else { self.joined[flow].min(*joined) };
            self.joined[flow] = earlier;
        }
        for (mine, theirs) in self.flows.iter_mut().zip(&other.flows) {
            self.others.flows_are_shared |= !mine.is_new() && !theirs.is_new();
            mine.merge(theirs);
        }
    }

    /// Packets missing before the last one received of each flow.
    pub fn sequence_gaps(&self) -> u64 {
        self.closed_gaps + self.missing()
    }

    /// While learning: packets of the received flows that were sent before the first that arrived of their flow,
    /// and did not arrive later, at most: see `before_first`. `None` for a receiver that is present from the
    /// beginning, or received nothing.
    pub fn before_first(&self) -> Option<u64> {
        (self.learning && self.counters.packets > 0).then(|| self.closed_before + self.before_join())
    }

    fn before_join(&self) -> u64 {
        self.flows.iter().zip(&self.joined).map(|(state, joined)| before_first(state, *joined)).sum()
    }

    /// While learning: true when packets of more than one trial were counted.
    pub fn several_trials(&self) -> bool {
        self.several_trials
    }

    fn missing(&self) -> u64 {
        let flows = self.flows.iter().enumerate();
        flows.map(|(flow, state)| lost(state, self.joined.get(flow).copied())).sum()
    }

    /// Frames too late to distinguish a first copy from a duplicate.
    pub fn beyond_memory(&self) -> u64 {
        self.beyond_memory
    }

    /// Foreign frames, by kind.
    pub fn foreign(&self) -> ForeignFrames {
        self.foreign
    }

    /// Reordering over all flows; `None` when there was none.
    pub fn reordering(&self) -> Option<Reordering> {
        let Extents { known, sum, max } = self.extents;
        (self.counters.out_of_order > 0).then(|| Reordering {
            packets: self.counters.out_of_order,
            extents: known,
            extent_mean: sum as f64 / known.max(1) as f64,
            extent_max: max,
        })
    }

    /// The delays.
    pub fn delays(&self) -> &TickHistogram {
        &self.delays
    }

    /// Every flow of which a frame arrived, in order; `tick_hz` is the clock's frequency in Hz.
    pub fn flows(&self, tick_hz: u64) -> impl Iterator<Item = FlowReport> {
        self.flows.iter().enumerate().filter(|(_, state)| !state.is_new()).map(move |(flow, state)| {
            flow_report(state, self.joined.get(flow).copied(), flow as u32, tick_hz)
        })
    }

    /// The flow table, once all other results have been read.
    pub fn into_flows(self, tick_hz: u64) -> FlowTable {
        let Self { flows, joined, learning, log, others: mut losses, .. } = self;
        losses.add(&log.losses);
        FlowTable { flows, joined, expected: !learning, tick_hz, losses }
    }
}

#[cfg(test)]
mod tests;
