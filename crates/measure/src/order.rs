//! Receive state of one flow: received sequence numbers, their order and their delays.
//!
//! A flow takes 64 bytes. Missing sequence numbers are kept in a [log](super::gap_log) that all flows of an
//! lcore share. A loss therefore costs one store, also when losses are frequent. Only a late frame searches
//! the log: it is a first copy when its number is missing, and a duplicate otherwise.
//!
//! Reordering is defined by RFC 4737: a frame is reordered when its number is below the next one expected;
//! its extent is the number of the flow's frames that arrived since the first one with a higher number
//! (section 4.2).

use super::arrival::Arrival;
use super::gap_log::{GapLog, Opened};
use super::losses::SendTime;

/// Most numbers by which a frame can be late: 4.5 s at 59.5 Mpps in one flow. All other numbers are ahead, so that a flow
/// is followed across an outage of up to 2³² − 2²⁸ packets.
const LATEST: u32 = 1 << 28;

/// Receive state of one flow.
#[derive(Debug, Clone, Copy)]
pub struct FlowState {
    /// Highest sequence number received, plus one: the next one expected.
    next: u64,
    /// Numbers below `next` that were not received, those before the flow was joined among them. Less than
    /// zero, modulo 2⁶⁴, when copies of one number count as received on several lcores.
    missing: u64,
    delay_sum: u64,
    delay_min: u64,
    delay_max: u64,
    /// When the frame with the highest number was sent, in units of [`SendTime::unit`].
    sent: u32,
    /// Newest entry of this flow in the log; 0: none.
    last_gap: u32,
    largest_extent: u32,
    duplicates: Count,
    reordered: Count,
}

const _: () = assert!(size_of::<FlowState>() == 64);

impl Default for FlowState {
    fn default() -> Self {
        Self {
            next: 0,
            missing: 0,
            delay_sum: 0,
            delay_min: u64::MAX,
            delay_max: 0,
            sent: 0,
            last_gap: 0,
            largest_extent: 0,
            duplicates: Count::default(),
            reordered: Count::default(),
        }
    }
}

/// A count of 48 bits, which a flow does not exceed in months: two of them and a time fit where two counts of
/// 64 bits would.
#[derive(Debug, Clone, Copy, Default)]
struct Count([u16; 3]);

impl Count {
    fn get(self) -> u64 {
        self.0.iter().rev().fold(0, |count, part| count << 16 | u64::from(*part))
    }

    fn add(&mut self, more: u64) {
        let sum = self.get() + more;
        self.0 = [sum as u16, (sum >> 16) as u16, (sum >> 32) as u16];
    }
}

impl FlowState {
    /// Takes the first received frame as the flow's beginning.
    pub fn join(&mut self, sequence: u32, flow: u32, log: &mut GapLog) {
        self.next = u64::from(sequence);
        self.missing = self.next;
        self.last_gap = log.begin(flow, sequence);
    }

    /// True before the first frame has arrived.
    pub fn is_new(&self) -> bool {
        self.received() == 0
    }

    /// The next expected sequence number in 64 bits; frames carry the lower half.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// First copies received.
    #[inline(always)]
    pub fn received(&self) -> u64 {
        self.next.wrapping_sub(self.missing)
    }

    /// When the frame with the highest number was sent, in units of [`SendTime::unit`]; of no meaning for a new
    /// flow.
    pub fn last_sent(&self) -> u32 {
        self.sent
    }

    /// Further copies received.
    pub fn duplicates(&self) -> u64 {
        self.duplicates.get()
    }

    /// First copies that were reordered.
    pub fn reordered(&self) -> u64 {
        self.reordered.get()
    }

    /// Largest extent of a reordered frame.
    pub fn largest_extent(&self) -> u32 {
        self.largest_extent
    }

    /// Smallest, mean and largest delay in ticks; `None` without received frames.
    pub fn delays(&self) -> Option<(u64, u64, u64)> {
        let received = self.received();
        (received > 0).then(|| (self.delay_min, self.delay_sum / received, self.delay_max))
    }

    /// Records the delay of a first copy.
    #[inline(always)]
    pub fn record_delay(&mut self, ticks: u64) {
        // A delay between clocks that are not comparable may have 39 bits.
        self.delay_sum = self.delay_sum.saturating_add(ticks);
        self.delay_min = self.delay_min.min(ticks);
        self.delay_max = self.delay_max.max(ticks);
    }

    /// Records the sequence number of a frame that was sent at `sent`.
    #[inline(always)]
    pub fn arrive(&mut self, sequence: u32, flow: u32, sent: SendTime, log: &mut GapLog) -> Arrival {
        if sequence == self.next as u32 {
            self.next += 1;
            self.sent = sent.unit();
            return Arrival::InOrder;
        }
        self.arrive_out_of_turn(sequence, flow, sent, log)
    }

    #[inline(never)]
    fn arrive_out_of_turn(&mut self, sequence: u32, flow: u32, sent: SendTime, log: &mut GapLog) -> Arrival {
        let ahead = u64::from(sequence.wrapping_sub(self.next as u32));
        if ahead < (1 << 32) - u64::from(LATEST) {
            let gap = Opened {
                flow,
                start: self.next,
                length: ahead,
                arrived: self.received() as u32,
                after: (!self.is_new()).then_some(self.sent),
                before: sent,
            };
            self.last_gap = log.open(gap, self.last_gap);
            self.next += ahead + 1;
            self.missing = self.missing.wrapping_add(ahead);
            self.sent = sent.unit();
            return Arrival::InOrder;
        }
        let arrival = log.fill((flow, sequence), self.last_gap, self.received() as u32, sent);
        match arrival {
            Arrival::Duplicate => {
                self.duplicates.add(1);
                return arrival;
            }
            Arrival::Reordered { extent } => self.largest_extent = self.largest_extent.max(extent),
            Arrival::BeyondMemory | Arrival::InOrder => {}
        }
        self.reordered.add(1);
        self.missing = self.missing.wrapping_sub(1);
        arrival
    }

    /// Adds another lcore's state of the same flow.
    pub fn merge(&mut self, other: &FlowState) {
        let received = self.received().wrapping_add(other.received());
        if self.is_new() || other.next > self.next {
            self.sent = other.sent;
        }
        self.next = self.next.max(other.next);
        self.missing = self.next.wrapping_sub(received);
        self.delay_sum = self.delay_sum.saturating_add(other.delay_sum);
        self.delay_min = self.delay_min.min(other.delay_min);
        self.delay_max = self.delay_max.max(other.delay_max);
        self.largest_extent = self.largest_extent.max(other.largest_extent);
        self.duplicates.add(other.duplicates());
        self.reordered.add(other.reordered());
    }
}

#[cfg(test)]
mod tests;
