//! Missing sequence numbers of all flows of an lcore: a ring of fixed size, to which a gap is appended when
//! it opens.
//!
//! Each entry remembers where its numbers were placed in the [losses](super::losses). A late frame that fills
//! a gap takes its loss back from the same place.
//!
//! A search begins with the newest gap of the flow. Where packets take paths of different length, thousands of
//! gaps may be newer than the one that a late frame fills, and late frames of one path fill neighbouring gaps.
//! A longer search therefore goes on where the last one of the flow ended.

use super::arrival::Arrival;
use super::losses::{Between, Losses, SendTime, Span};

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
/// Entries after which a search goes on where the last one of the flow ended.
const NEAR: u32 = 4;
/// Most entries of all flows that are looked at from there on; they lie side by side.
const LONGEST_SCAN: u32 = 256;
/// Flows whose last search is remembered; several share one place when there are more.
const SEARCHES: usize = 256;

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
    pub(super) before: SendTime,
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

/// Where the last long search of a flow ended; entry 0: nowhere.
#[derive(Debug, Clone, Copy, Default)]
struct LastSearch {
    flow: u32,
    entry: u32,
}

/// Where a number stands in the log.
enum Place {
    /// In the gap of this entry or behind it, and before the flow's next gap.
    From(u32),
    /// Before the flow's first gap.
    First,
    /// Farther back than the log or the search reaches.
    Forgotten,
}

/// The gaps of all flows of an lcore, newest last, and when their numbers were lost.
#[derive(Debug)]
pub struct GapLog {
    gaps: Box<[Gap]>,
    newest: u32,
    searches: Box<[LastSearch]>,
    pub(super) losses: Losses,
}

impl Default for GapLog {
    fn default() -> Self {
        let gaps = vec![Gap::default(); LOG_GAPS as usize].into_boxed_slice();
        let searches = vec![LastSearch::default(); SEARCHES].into_boxed_slice();
        Self { gaps, newest: 0, searches, losses: Losses::default() }
    }
}

impl GapLog {
    /// Where its gaps lie in memory.
    #[cfg(test)]
    pub(super) fn gaps_address(&self) -> *const () {
        self.gaps.as_ptr().cast()
    }

    /// Forgets all gaps and losses, in the memory that the log has.
    pub(super) fn reset(&mut self) {
        // Entries are found through their flows and their searches only, so that those of before stay unread.
        self.newest = 0;
        self.searches.fill(LastSearch::default());
        self.losses.reset();
    }

    /// Records the number at which a flow was joined: earlier numbers are unknown, later ones are tracked.
    pub(super) fn begin(&mut self, flow: u32, start: u32) -> u32 {
        self.append(Gap { start, flow, previous: FORGOTTEN, ..Gap::default() })
    }

    fn append(&mut self, gap: Gap) -> u32 {
        self.newest = after(self.newest);
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
            // A gap is shorter than the range of sequence numbers.
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
        sent: SendTime,
    ) -> Arrival {
        let entry = match self.search((flow, sequence), newest_of_flow) {
            Place::From(entry) => entry,
            Place::First => return Arrival::Duplicate,
            Place::Forgotten => {
                self.losses.give_back(sent);
                return Arrival::BeyondMemory;
            }
        };
        let gap = &mut self.gaps[(entry % LOG_GAPS) as usize];
        let behind = u64::from(sequence.wrapping_sub(gap.start));
        let bit = if behind < GAP_NUMBERS { 1u64 << behind } else { 0 };
        if gap.missing & bit == 0 {
            return Arrival::Duplicate;
        }
        gap.missing &= !bit;
        let (extent, span) = (arrived.wrapping_sub(gap.arrived), gap.span);
        self.losses.take_back(span);
        Arrival::Reordered { extent }
    }

    /// Searches backwards from the newest gap of a flow for the one that a number lies in or behind.
    fn search(&mut self, (flow, sequence): (u32, u32), newest_of_flow: u32) -> Place {
        let (mut entry, mut last) = (newest_of_flow, 0);
        let mut place = Place::Forgotten;
        let mut steps = 0;
        while steps < LONGEST_SEARCH {
            if steps == NEAR {
                entry = self.nearer((flow, sequence), entry);
            }
            steps += 1;
            if entry == 0 {
                place = Place::First;
                break;
            }
            let Some(gap) = self.gap(flow, entry) else { break };
            last = entry;
            if is_behind(sequence, gap) {
                place = Place::From(entry);
                break;
            }
            entry = gap.previous;
        }
        if steps > NEAR {
            self.searches[flow as usize % SEARCHES] = LastSearch { flow, entry: last };
        }
        place
    }

    /// The entry at which a search that has come to `entry` goes on: the first gap behind the number that lies at
    /// the end of the flow's last search or not far behind it.
    fn nearer(&self, (flow, sequence): (u32, u32), entry: u32) -> u32 {
        let LastSearch { flow: searched, entry: mut at } = self.searches[flow as usize % SEARCHES];
        if searched != flow || self.gap(flow, at).is_none() {
            return entry;
        }
        for _ in 0..LONGEST_SCAN {
            // Its previous gap is the number's place, unless that was forgotten.
            if self.gap(flow, at).is_some_and(|gap| !is_behind(sequence, gap)) {
                return at;
            }
            if at == self.newest {
                break;
            }
            at = after(at);
        }
        entry
    }

    /// The flow's gap in this entry; `None` when the entry is another flow's, or was overwritten or never made.
    fn gap(&self, flow: u32, entry: u32) -> Option<&Gap> {
        // Entry numbers skip two values when they wrap.
        let exists = entry != 0 && entry != FORGOTTEN && self.newest.wrapping_sub(entry) < LOG_GAPS - 2;
        exists.then(|| &self.gaps[(entry % LOG_GAPS) as usize]).filter(|gap| gap.flow == flow)
    }
}

/// The number of the next entry.
fn after(entry: u32) -> u32 {
    if entry < FORGOTTEN - 1 { entry + 1 } else { 1 }
}

/// True when a number lies in a gap of its flow or behind it.
fn is_behind(sequence: u32, gap: &Gap) -> bool {
    sequence.wrapping_sub(gap.start).cast_signed() >= 0
}
