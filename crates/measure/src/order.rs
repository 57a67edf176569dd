//! Receive state of one flow: received sequence numbers, their order and their delays.
//!
//! A flow takes 64 bytes. Missing sequence numbers are kept in a log that all flows of an lcore share: a ring
//! of fixed size, to which a gap is appended when it opens. A loss therefore costs one store, also when
//! losses are frequent. Only a late frame searches the log: it is a first copy when its number is missing,
//! and a duplicate otherwise.
//!
//! Reordering is defined by RFC 4737: a frame is reordered when its number is below the next one expected;
//! its extent is the number of the flow's frames that arrived since the first one with a higher number
//! (section 4.2).

/// Number of gaps in an lcore's log: 6 MiB. Miri takes a minute to fill a log of that size.
const LOG_GAPS: u32 = if cfg!(miri) { 1 << 11 } else { 1 << 18 };
/// Sequence numbers that one log entry covers.
const GAP_NUMBERS: u64 = 64;
/// Most entries for one gap; of a longer gap the beginning is forgotten.
const LONGEST_GAP: u64 = 1024;
/// Marker in place of the number of an earlier entry that was not recorded.
const FORGOTTEN: u32 = u32::MAX;
/// Most entries searched for a late frame.
const LONGEST_SEARCH: u32 = 4096;

/// Receive state of one flow.
#[derive(Debug, Clone, Copy)]
pub struct FlowState {
    /// Highest sequence number received, plus one: the next one expected.
    next: u64,
    /// First copies received.
    received: u64,
    duplicates: u64,
    reordered: u64,
    delay_sum: u64,
    delay_min: u64,
    delay_max: u64,
    largest_extent: u32,
    /// Newest entry of this flow in the log; 0: none.
    last_gap: u32,
}

const _: () = assert!(size_of::<FlowState>() == 64);

impl Default for FlowState {
    fn default() -> Self {
        Self {
            next: 0,
            received: 0,
            duplicates: 0,
            reordered: 0,
            delay_sum: 0,
            delay_min: u64::MAX,
            delay_max: 0,
            largest_extent: 0,
            last_gap: 0,
        }
    }
}

/// Position of a frame relative to the earlier ones of its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Its number is the next one expected, or a higher one.
    InOrder,
    /// A first copy that arrived after `extent` frames with higher numbers.
    Reordered {
        /// RFC 4737, section 4.2.
        extent: u32,
    },
    /// The number was received before.
    Duplicate,
    /// Too late to classify; counted as a first copy.
    BeyondMemory,
}

impl FlowState {
    /// Takes the first received frame as the flow's beginning.
    pub fn join(&mut self, sequence: u32, flow: u32, log: &mut GapLog) {
        self.next = u64::from(sequence);
        self.last_gap = log.begin(flow, sequence);
    }

    /// True before the first frame has arrived.
    pub fn is_new(&self) -> bool {
        self.received == 0
    }

    /// The next expected sequence number in 64 bits; frames carry the lower half.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// First copies received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Further copies received.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// First copies that were reordered.
    pub fn reordered(&self) -> u64 {
        self.reordered
    }

    /// Largest extent of a reordered frame.
    pub fn largest_extent(&self) -> u32 {
        self.largest_extent
    }

    /// Smallest, mean and largest delay in ticks; `None` without received frames.
    pub fn delays(&self) -> Option<(u64, u64, u64)> {
        (self.received > 0).then(|| (self.delay_min, self.delay_sum / self.received, self.delay_max))
    }

    /// Records the delay of a first copy.
    #[inline(always)]
    pub fn record_delay(&mut self, ticks: u64) {
        // A delay between clocks that are not comparable may have 39 bits.
        self.delay_sum = self.delay_sum.saturating_add(ticks);
        self.delay_min = self.delay_min.min(ticks);
        self.delay_max = self.delay_max.max(ticks);
    }

    /// Records a frame's sequence number.
    #[inline(always)]
    pub fn arrive(&mut self, sequence: u32, flow: u32, log: &mut GapLog) -> Arrival {
        if sequence == self.next as u32 {
            self.next += 1;
            self.received += 1;
            return Arrival::InOrder;
        }
        self.arrive_out_of_turn(sequence, flow, log)
    }

    #[inline(never)]
    fn arrive_out_of_turn(&mut self, sequence: u32, flow: u32, log: &mut GapLog) -> Arrival {
        let ahead = i64::from(sequence.wrapping_sub(self.next as u32) as i32);
        if ahead > 0 {
            let gap = Opened { flow, start: self.next, length: ahead as u64, arrived: self.received as u32 };
            self.last_gap = log.open(gap, self.last_gap);
            self.next += ahead as u64 + 1;
            self.received += 1;
            return Arrival::InOrder;
        }
        let arrival = log.fill(flow, sequence, self.last_gap, self.received as u32);
        match arrival {
            Arrival::Duplicate => self.duplicates += 1,
            Arrival::Reordered { extent } => {
                self.largest_extent = self.largest_extent.max(extent);
                self.reordered += 1;
                self.received += 1;
            }
            Arrival::BeyondMemory | Arrival::InOrder => {
                self.reordered += 1;
                self.received += 1;
            }
        }
        arrival
    }

    /// Adds another lcore's state of the same flow.
    pub fn merge(&mut self, other: &FlowState) {
        self.next = self.next.max(other.next);
        self.received += other.received;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.delay_sum = self.delay_sum.saturating_add(other.delay_sum);
        self.delay_min = self.delay_min.min(other.delay_min);
        self.delay_max = self.delay_max.max(other.delay_max);
        self.largest_extent = self.largest_extent.max(other.largest_extent);
    }
}

/// A newly opened gap.
#[derive(Clone, Copy)]
struct Opened {
    flow: u32,
    start: u64,
    length: u64,
    arrived: u32,
}

/// Up to 64 missing sequence numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Gap {
    /// Bit *i*: number `start + i` is missing.
    missing: u64,
    start: u32,
    flow: u32,
    /// The flow's previous entry; 0: none.
    previous: u32,
    /// Frames of the flow received before the gap opened.
    arrived: u32,
}

/// The gaps of all flows of an lcore, newest last.
#[derive(Debug)]
pub struct GapLog {
    gaps: Box<[Gap]>,
    newest: u32,
}

impl Default for GapLog {
    fn default() -> Self {
        Self { gaps: vec![Gap::default(); LOG_GAPS as usize].into_boxed_slice(), newest: 0 }
    }
}

impl GapLog {
    /// Records the number at which a flow was joined: earlier numbers are unknown, later ones are tracked.
    fn begin(&mut self, flow: u32, start: u32) -> u32 {
        self.append(Gap { missing: 0, start, flow, previous: FORGOTTEN, arrived: 0 })
    }

    fn append(&mut self, gap: Gap) -> u32 {
        self.newest = if self.newest < FORGOTTEN - 1 { self.newest + 1 } else { 1 };
        self.gaps[(self.newest % LOG_GAPS) as usize] = gap;
        self.newest
    }

    /// Records a gap and returns its newest entry.
    fn open(&mut self, gap: Opened, mut previous: u32) -> u32 {
        let Opened { flow, start, length, arrived } = gap;
        let end = start + length;
        let mut at = start.max(end.saturating_sub(LONGEST_GAP * GAP_NUMBERS));
        if at > start {
            previous = FORGOTTEN;
        }
        while at < end {
            let numbers = (end - at).min(GAP_NUMBERS);
            let missing = u64::MAX >> (GAP_NUMBERS - numbers);
            previous = self.append(Gap { missing, start: at as u32, flow, previous, arrived });
            at += numbers;
        }
        previous
    }

    /// Searches for a missing number and removes it from the log.
    fn fill(&mut self, flow: u32, sequence: u32, newest_of_flow: u32, arrived: u32) -> Arrival {
        let mut entry = newest_of_flow;
        for _ in 0..LONGEST_SEARCH {
            match entry {
                0 => return Arrival::Duplicate,
                FORGOTTEN => return Arrival::BeyondMemory,
                _ => {}
            }
            let gap = &mut self.gaps[(entry % LOG_GAPS) as usize];
            // Entry numbers skip two values when they wrap.
            if self.newest.wrapping_sub(entry) >= LOG_GAPS - 2 || gap.flow != flow {
                return Arrival::BeyondMemory;
            }
            let behind = sequence.wrapping_sub(gap.start) as i32;
            if behind >= 0 {
                let bit = if behind < GAP_NUMBERS as i32 { 1u64 << behind } else { 0 };
                if gap.missing & bit == 0 {
                    return Arrival::Duplicate;
                }
                gap.missing &= !bit;
                return Arrival::Reordered { extent: arrived.wrapping_sub(gap.arrived) };
            }
            entry = gap.previous;
        }
        Arrival::BeyondMemory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_between_clocks_that_do_not_compare_overflow_nothing() {
        let mut flow = FlowState { received: 2, delay_sum: u64::MAX - 1, ..FlowState::default() };
        flow.record_delay(1 << 39);
        flow.merge(&flow.clone());
        assert_eq!(flow.delays(), Some((1 << 39, u64::MAX / 4, 1 << 39)));
    }

    /// Classification of these numbers, arriving in this order.
    fn arrivals(numbers: &[u32]) -> (Vec<Arrival>, FlowState) {
        let (mut flow, mut log) = (FlowState::default(), GapLog::default());
        let arrivals = numbers.iter().map(|number| flow.arrive(*number, 7, &mut log)).collect();
        (arrivals, flow)
    }

    /// RFC 4737, sections 3.3 and 4.2, implemented literally: quadratic, and independent of the log.
    fn by_definition(numbers: &[u32]) -> Vec<Arrival> {
        let mut seen: Vec<u32> = Vec::new();
        let mut result = Vec::new();
        for number in numbers {
            result.push(if seen.contains(number) {
                Arrival::Duplicate
            } else {
                let first_higher = seen.iter().position(|earlier| earlier > number);
                let extent = first_higher.map(|j| (seen.len() - j) as u32);
                seen.push(*number);
                extent.map_or(Arrival::InOrder, |extent| Arrival::Reordered { extent })
            });
        }
        result
    }

    #[test]
    fn any_order_is_classified_as_rfc_4737_defines() {
        let mut seed = 1u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for reach in [1, 3, 70, 300] {
            for _ in 0..if cfg!(miri) { 1 } else { 50 } {
                // Each number is late by up to `reach`; some are lost, some arrive twice.
                let mut at: Vec<(u64, u32)> = Vec::new();
                for number in 0..if cfg!(miri) { 80 } else { 400u32 } {
                    let fate = random(20);
                    if fate == 0 {
                        continue;
                    }
                    at.push((u64::from(number) + random(reach), number));
                    if fate == 1 {
                        at.push((u64::from(number) + random(2 * reach), number));
                    }
                }
                at.sort();
                let numbers: Vec<u32> = at.into_iter().map(|(_, number)| number).collect();
                let (told, flow) = arrivals(&numbers);
                assert_eq!(told, by_definition(&numbers), "{numbers:?}");
                let duplicates = told.iter().filter(|arrival| **arrival == Arrival::Duplicate).count();
                assert_eq!(flow.received() as usize, numbers.len() - duplicates);
            }
        }
    }

    #[test]
    fn numbers_wrap_after_32_bits() {
        let (mut flow, mut log) = (FlowState::default(), GapLog::default());
        flow.join(u32::MAX - 1, 0, &mut log);
        for number in [u32::MAX - 1, 0, u32::MAX, 1, 5, 3] {
            flow.arrive(number, 0, &mut log);
        }
        assert_eq!((flow.received(), flow.reordered(), flow.next()), (6, 2, (1 << 32) + 6));
    }

    #[test]
    fn a_flow_that_was_joined_knows_what_came_since() {
        let (mut flow, mut log) = (FlowState::default(), GapLog::default());
        flow.join(100, 3, &mut log);
        let told: Vec<Arrival> =
            [100, 101, 100, 101, 99, 103, 102, 103].map(|number| flow.arrive(number, 3, &mut log)).to_vec();
        use Arrival::{BeyondMemory, Duplicate, InOrder};
        let late = Arrival::Reordered { extent: 1 };
        assert_eq!(told, [InOrder, InOrder, Duplicate, Duplicate, BeyondMemory, InOrder, late, Duplicate]);
    }

    #[test]
    fn an_outage_is_remembered_as_far_as_memory_goes() {
        let (mut flow, mut log) = (FlowState::default(), GapLog::default());
        flow.arrive(0, 0, &mut log);
        flow.arrive(1_000_000, 0, &mut log);
        assert_eq!(flow.next() - flow.received(), 999_999);
        assert_eq!(flow.arrive(999_990, 0, &mut log), Arrival::Reordered { extent: 1 });
        assert_eq!(flow.arrive(999_990, 0, &mut log), Arrival::Duplicate);
        assert_eq!(flow.arrive(5, 0, &mut log), Arrival::BeyondMemory);
    }

    #[test]
    fn what_other_flows_have_overwritten_counts_as_unknown() {
        let mut log = GapLog::default();
        let (mut old, mut new) = (FlowState::default(), FlowState::default());
        old.arrive(3, 0, &mut log);
        for i in 1..=LOG_GAPS {
            new.arrive(2 * i, 1, &mut log);
        }
        assert_eq!(old.arrive(1, 0, &mut log), Arrival::BeyondMemory);
        assert_eq!(new.arrive(2 * LOG_GAPS - 1, 1, &mut log), Arrival::Reordered { extent: 1 });
    }
}
