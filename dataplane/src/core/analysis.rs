//! What becomes of each received frame: counted, told foreign from ours, and put in the order of its flow.

use linerate_protocol::counters::ReceiveCounters;
use linerate_protocol::probe::{MAX_FLOW_IDS, PROBE_BYTES, Probe};
use linerate_protocol::profile::MAX_FLOWS;

use super::frame::{ETHERTYPE_IPV4, HEAD_BYTES, IPV4_VERSION_IHL, PROBE_AT, PROTOCOL_UDP};
use super::histogram::DelayHistogram;

/// How far back, in sequence numbers, a late frame is told from a duplicate.
const WINDOW: u64 = 64;

/// What is known of one flow.
#[derive(Debug, Clone, Copy, Default)]
struct FlowState {
    /// Highest sequence number received, plus one: the next one expected.
    next: u64,
    /// Bit *i*: sequence number `next - 1 - i` has been received.
    window: u64,
    /// First copies received; what had passed before a learning receiver joined counts as received.
    received: u64,
}

/// How a frame stands to those of its flow that came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    InOrder,
    OutOfOrder,
    BeyondWindow,
    Duplicate,
}

impl FlowState {
    #[inline(always)]
    fn arrive(&mut self, sequence: u32) -> Arrival {
        let ahead = i64::from(sequence.wrapping_sub(self.next as u32) as i32);
        if ahead >= 0 {
            let step = ahead as u64 + 1;
            self.window = if step < WINDOW { self.window << step | 1 } else { 1 };
            self.next += step;
            self.received += 1;
            return Arrival::InOrder;
        }
        let back = (-ahead) as u64 - 1;
        if back >= WINDOW {
            self.received += 1;
            return Arrival::BeyondWindow;
        }
        let bit = 1 << back;
        if self.window & bit != 0 {
            return Arrival::Duplicate;
        }
        self.window |= bit;
        self.received += 1;
        Arrival::OutOfOrder
    }

    /// Takes the first frame seen as the flow's beginning.
    #[cold]
    fn join(&mut self, sequence: u32) {
        self.next = u64::from(sequence);
        self.received = self.next;
    }

    /// True until the first frame has arrived.
    fn is_new(&self) -> bool {
        self.window == 0
    }

    fn missing(&self) -> u64 {
        self.next.saturating_sub(self.received)
    }
}

/// Which trial's frames count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Exactly this trial, with flow ids below the number given. Memory is allocated at once.
    Trial {
        /// Tag of the trial's probes.
        tag: u16,
        /// Number of flows.
        flows: u32,
    },
    /// Whatever comes: the tag is learned from the first probe, a new tag begins anew, and the flow table grows as needed. For a
    /// receiver that nobody has told what to expect.
    Anything,
}

/// The receiving side's account of one RX lcore.
#[derive(Debug)]
pub struct Analysis {
    tag: Option<u16>,
    previous_tag: Option<u16>,
    learning: bool,
    flows: Vec<FlowState>,
    counters: ReceiveCounters,
    beyond_window: u64,
    /// Gaps of earlier tags, while learning.
    closed_gaps: u64,
    delays: DelayHistogram,
}

impl Analysis {
    /// An empty account.
    pub fn new(expect: Expect) -> Self {
        let (tag, flows) = match expect {
            Expect::Trial { tag, flows } => (Some(tag), flows.min(MAX_FLOW_IDS)),
            Expect::Anything => (None, 0),
        };
        Self {
            tag,
            previous_tag: None,
            learning: expect == Expect::Anything,
            flows: vec![FlowState::default(); flows as usize],
            counters: ReceiveCounters::default(),
            beyond_window: 0,
            closed_gaps: 0,
            delays: DelayHistogram::default(),
        }
    }

    /// Takes account of one frame: its first segment, its whole length in bytes, and the instant it was taken from the port.
    #[inline(always)]
    pub fn observe(&mut self, frame: &[u8], length: u32, ticks: u64) {
        self.counters.frames += 1;
        self.counters.bytes += u64::from(length);
        match probe_of(frame) {
            Some(probe) => self.observe_probe(probe, ticks),
            None => self.counters.foreign += 1,
        }
    }

    #[inline(always)]
    fn observe_probe(&mut self, probe: Probe, ticks: u64) {
        if self.tag != Some(probe.tag) && !self.adopt(probe.tag) {
            self.counters.stale += 1;
            return;
        }
        if probe.flow as usize >= self.flows.len() && !self.grow(probe.flow) {
            self.counters.foreign += 1;
            return;
        }
        let flow = &mut self.flows[probe.flow as usize];
        if self.learning && flow.is_new() {
            flow.join(probe.sequence);
        }
        match flow.arrive(probe.sequence) {
            Arrival::InOrder => {}
            Arrival::OutOfOrder => self.counters.out_of_order += 1,
            Arrival::BeyondWindow => {
                self.counters.out_of_order += 1;
                self.beyond_window += 1;
            }
            Arrival::Duplicate => {
                self.counters.duplicates += 1;
                return;
            }
        }
        self.counters.packets += 1;
        self.delays.record(probe.ticks_until(ticks));
    }

    /// While learning: begins anew with another tag. The tag before it stays known, so that its stragglers are stale.
    #[cold]
    fn adopt(&mut self, tag: u16) -> bool {
        if !self.learning || self.previous_tag == Some(tag) {
            return false;
        }
        self.closed_gaps = self.sequence_gaps();
        self.flows.fill(FlowState::default());
        self.previous_tag = self.tag.replace(tag);
        true
    }

    #[cold]
    fn grow(&mut self, flow: u32) -> bool {
        let possible = self.learning && flow < MAX_FLOWS;
        if possible {
            let flows = (flow + 1).next_power_of_two().max(1024);
            self.flows.resize(flows as usize, FlowState::default());
        }
        possible
    }

    /// The counters so far.
    pub fn counters(&self) -> &ReceiveCounters {
        &self.counters
    }

    /// Adds the account of another RX lcore.
    pub fn merge(&mut self, other: &Analysis) {
        if self.tag == other.tag && !self.learning {
            for (mine, theirs) in self.flows.iter_mut().zip(&other.flows) {
                mine.next = mine.next.max(theirs.next);
                mine.received += theirs.received;
            }
        } else {
            // Lcores that learned by themselves joined each flow at its own place; a flow stays with one lcore.
            self.closed_gaps += other.sequence_gaps();
        }
        self.counters += other.counters;
        self.beyond_window += other.beyond_window;
        self.delays.merge(&other.delays);
    }

    /// Packets missing before the last one received of each flow.
    pub fn sequence_gaps(&self) -> u64 {
        self.closed_gaps + self.flows.iter().map(FlowState::missing).sum::<u64>()
    }

    /// Frames too late to tell a first copy from a further one.
    pub fn beyond_window(&self) -> u64 {
        self.beyond_window
    }

    /// The delays.
    pub fn delays(&self) -> &DelayHistogram {
        &self.delays
    }
}

/// The probe of a frame, if it is one of ours: Ethernet, IPv4 without options, UDP, magic.
#[inline(always)]
fn probe_of(frame: &[u8]) -> Option<Probe> {
    let head = frame.first_chunk::<HEAD_BYTES>()?;
    let shape = head[12..14] == ETHERTYPE_IPV4 && head[14] == IPV4_VERSION_IHL && head[23] == PROTOCOL_UDP;
    let probe = Probe::from_bytes(head[PROBE_AT..].first_chunk::<PROBE_BYTES>()?);
    if shape { probe } else { None }
}

#[cfg(test)]
mod tests {
    use linerate_protocol::mac::MacAddr;
    use linerate_protocol::profile::{Profile, RawProfile};

    use super::super::flows::FrameWriter;
    use super::super::frame::{FrameHead, template};
    use super::*;

    fn flow_after(sequences: &[u32]) -> (FlowState, Vec<Arrival>) {
        let mut flow = FlowState::default();
        let arrivals = sequences.iter().map(|sequence| flow.arrive(*sequence)).collect();
        (flow, arrivals)
    }

    #[test]
    fn arrivals_are_told_apart() {
        use Arrival::{BeyondWindow, Duplicate, InOrder, OutOfOrder};
        let cases: [(&[u32], &[Arrival], u64); 6] = [
            (&[0, 1, 2], &[InOrder, InOrder, InOrder], 0),
            (&[0, 2, 1], &[InOrder, InOrder, OutOfOrder], 0),
            (&[0, 0, 1, 1, 0], &[InOrder, Duplicate, InOrder, Duplicate, Duplicate], 0),
            (&[3], &[InOrder], 3),
            (&[0, 100, 37, 37, 36], &[InOrder, InOrder, OutOfOrder, Duplicate, BeyondWindow], 97),
            (&[5, 4, 5, 3, 4], &[InOrder, OutOfOrder, Duplicate, OutOfOrder, Duplicate], 3),
        ];
        for (sequences, expected, missing) in cases {
            let (flow, arrivals) = flow_after(sequences);
            assert_eq!((arrivals.as_slice(), flow.missing()), (expected, missing), "{sequences:?}");
        }
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut flow =
            FlowState { next: u64::from(u32::MAX), window: u64::MAX, received: u64::from(u32::MAX) };
        for (sequence, arrival) in [
            (u32::MAX, Arrival::InOrder),
            (1, Arrival::InOrder),
            (0, Arrival::OutOfOrder),
            (0, Arrival::Duplicate),
        ] {
            assert_eq!(flow.arrive(sequence), arrival);
        }
        assert_eq!((flow.missing(), flow.next), (0, u64::from(u32::MAX) + 3));
    }

    fn frames(flows: u32, tag: u16, count: u32) -> Vec<FrameHead> {
        let profile: Profile = RawProfile { flows, ..RawProfile::default() }.try_into().unwrap();
        let mut writer = FrameWriter::new(&profile, tag, 0, 1).unwrap();
        let template: FrameHead =
            template(profile.frame_size(), MacAddr([2; 6]), MacAddr([4; 6])).try_into().unwrap();
        (0..count)
            .map(|i| {
                let mut head = template;
                writer.write(&mut head, u64::from(i));
                head
            })
            .collect()
    }

    #[test]
    fn frames_are_sorted_by_kind() {
        let mut analysis = Analysis::new(Expect::Trial { tag: 7, flows: 10 });
        for head in frames(10, 7, 30).iter().chain(&frames(20, 7, 20)[10..]).chain(&frames(1, 8, 3)) {
            analysis.observe(head, 60, 1000);
        }
        let mut arp = frames(1, 7, 1)[0];
        arp[13] = 6;
        let mut without_magic = frames(1, 7, 1)[0];
        without_magic[PROBE_AT] = 0;
        for frame in [&arp[..], &without_magic, &[0; 59], &[]] {
            analysis.observe(frame, frame.len() as u32, 1000);
        }
        let expected = ReceiveCounters {
            frames: 47,
            bytes: 45 * 60 + 59,
            packets: 30,
            stale: 3,
            foreign: 14,
            ..ReceiveCounters::default()
        };
        assert_eq!(*analysis.counters(), expected);
    }

    #[test]
    fn a_receiver_that_learns_follows_a_new_sender() {
        let mut analysis = Analysis::new(Expect::Anything);
        let (first, second) = (frames(3000, 1, 6000), frames(2, 2, 100));
        // It joins late, which is no loss; what is missing after that is.
        for head in first[3000..5990].iter().chain(&second[4..50]).chain(&second[54..]).chain(&first[5990..])
        {
            analysis.observe(head, 60, 10_000);
        }
        let counters = analysis.counters();
        assert_eq!((counters.packets, counters.stale, counters.foreign), (2990 + 92, 10, 0));
        assert_eq!((analysis.sequence_gaps(), counters.out_of_order), (4, 0));
    }

    #[test]
    fn lcores_merge_to_the_same_account() {
        let all = frames(8, 1, 800);
        let expect = Expect::Trial { tag: 1, flows: 8 };
        let mut parts = [Analysis::new(expect), Analysis::new(expect)];
        for (i, head) in all.iter().enumerate().filter(|(i, _)| i % 100 != 5) {
            parts[i % 8 / 4].observe(head, 60, 5000);
        }
        let [mut merged, other] = parts;
        merged.merge(&other);
        assert_eq!((merged.counters().packets, merged.sequence_gaps()), (792, 8));
        assert_eq!(merged.counters().out_of_order, 0);
    }
}
