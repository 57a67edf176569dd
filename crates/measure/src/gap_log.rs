//! Missing sequence numbers of all flows of an lcore: a ring of fixed size, to which a gap is appended when
//! it opens.
//!
//! Each entry remembers where its numbers were placed in the [losses](super::losses). A late frame that fills
//! a gap takes its loss back from the same place.

use super::arrival::Arrival;
use super::losses::{Between, Losses, Sent, Span};

/// Number of gaps in an lcore's log: 8 MiB. Miri takes a minute to fill a log of that size, and half a second to make one of 2048.
pub(super) const LOG_GAPS: u32 = if cfg!(miri) { 1 << 8 } else { 1 << 18 };
/// Sequence numbers that one log entry covers.
const GAP_NUMBERS: u64 = 64;
/// Most entries for one gap; of a longer gap the beginning is forgotten.
const LONGEST_GAP: u64 = if cfg!(miri) { 64 } else { 1024 };
/// Marker in place of the number of an earlier entry that was not recorded.
const FORGOTTEN: u32 = u32::MAX;
/// Most entries searched for a late frame.
const LONGEST_SEARCH: u32 = 4096;

/// A newly opened gap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    pub(super) flow: u32,
    /// First missing number.
    pub(super) start: u64,
    /// How many are missing.
    pub(super) length: u64,
    /// Frames of the flow received before.
    pub(super) arrived: u32,
    /// When the frame before the gap was sent, in units; `None` for a flow of which no frame has arrived.
    pub(super) after: Option<u32>,
    /// When the frame behind the gap was sent.
    pub(super) before: Sent,
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
    /// Where the losses were placed.
    span: Span,
}

const _: () = assert!(size_of::<Gap>() == 32);

/// The gaps of all flows of an lcore, newest last, and when their numbers were lost.
#[derive(Debug)]
pub struct GapLog {
    gaps: Box<[Gap]>,
    newest: u32,
    pub(super) losses: Losses,
}

impl Default for GapLog {
    fn default() -> Self {
        let gaps = vec![Gap::default(); LOG_GAPS as usize].into_boxed_slice();
        Self { gaps, newest: 0, losses: Losses::default() }
    }
}

impl GapLog {
    /// Records the number at which a flow was joined: earlier numbers are unknown, later ones are tracked.
    pub(super) fn begin(&mut self, flow: u32, start: u32) -> u32 {
        self.append(Gap { start, flow, previous: FORGOTTEN, ..Gap::default() })
    }

    fn append(&mut self, gap: Gap) -> u32 {
        self.newest = if self.newest < FORGOTTEN - 1 { self.newest + 1 } else { 1 };
        self.gaps[(self.newest % LOG_GAPS) as usize] = gap;
        self.newest
    }

    /// Records a gap and returns its newest entry.
    #[inline(always)]
    pub(super) fn open(&mut self, gap: Opened, previous: u32) -> u32 {
        let Opened { flow, start, length, arrived, after, before } = gap;
        let between = self.losses.between(after, before);
        if length > GAP_NUMBERS {
            return self.open_long(gap, previous, between);
        }
        let span = between.all(length as u32);
        self.losses.add(span, length as u32);
        let missing = u64::MAX >> (GAP_NUMBERS - length);
        self.append(Gap { missing, start: start as u32, flow, previous, arrived, span })
    }

    /// Records a gap of several entries, each with the time of its own numbers.
    #[inline(never)]
    fn open_long(&mut self, gap: Opened, mut previous: u32, between: Between) -> u32 {
        let Opened { flow, start, length, arrived, .. } = gap;
        let end = start + length;
        let mut at = start.max(end.saturating_sub(LONGEST_GAP * GAP_NUMBERS));
        if at > start {
            previous = FORGOTTEN;
            // A gap is shorter than half the range of sequence numbers.
            self.losses.add(between.part(length, 0, at - start), (at - start) as u32);
        }
        while at < end {
            let numbers = (end - at).min(GAP_NUMBERS);
            let missing = u64::MAX >> (GAP_NUMBERS - numbers);
            let span = between.part(length, at - start, numbers);
            self.losses.add(span, numbers as u32);
            previous = self.append(Gap { missing, start: at as u32, flow, previous, arrived, span });
            at += numbers;
        }
        previous
    }

    /// Searches for a missing number of a flow and removes it from the log. Its frame was sent at `sent`.
    pub(super) fn fill(
        &mut self,
        (flow, sequence): (u32, u32),
        newest_of_flow: u32,
        arrived: u32,
        sent: Sent,
    ) -> Arrival {
        let mut entry = newest_of_flow;
        for _ in 0..LONGEST_SEARCH {
            match entry {
                0 => return Arrival::Duplicate,
                FORGOTTEN => break,
                _ => {}
            }
            let gap = &mut self.gaps[(entry % LOG_GAPS) as usize];
            // Entry numbers skip two values when they wrap.
            if self.newest.wrapping_sub(entry) >= LOG_GAPS - 2 || gap.flow != flow {
                break;
            }
            let behind = sequence.wrapping_sub(gap.start) as i32;
            if behind >= 0 {
                let bit = if behind < GAP_NUMBERS as i32 { 1u64 << behind } else { 0 };
                if gap.missing & bit == 0 {
                    return Arrival::Duplicate;
                }
                gap.missing &= !bit;
                let extent = arrived.wrapping_sub(gap.arrived);
                let span = gap.span;
                self.losses.take_back(span);
                return Arrival::Reordered { extent };
            }
            entry = gap.previous;
        }
        self.losses.give_back(sent);
        Arrival::BeyondMemory
    }
}
