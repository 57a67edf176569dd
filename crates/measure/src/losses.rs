//! When packets were lost, in memory of fixed size.
//!
//! Each packet carries its send time. Packets missing in a flow were sent between the frames before and
//! behind the gap, and count as spread evenly between them. A gap adds its losses to one *span* of time,
//! whatever its length: a span has a first and a last instant, and the packets lost in it. Spans are kept in a
//! hash table. When it fills up, its content moves to a second table in which instants are twice as coarse, a
//! few entries with each new one, so that no frame waits for it.
//!
//! Times are the sender's ticks. A probe has the lower 40 bits of them; `SenderClock` supplies the others.

use linerate_traffic::probe::TIME_BITS;

/// Ticks in a unit of time, as a power of two: 0.3…1 ms of x86 counters (1…4 GHz), and 0.07…2.7 ms of Arm's
/// (25 MHz…1 GHz).
pub const UNIT_BITS: u32 = if cfg!(target_arch = "x86_64") { 20 } else { 16 };
/// Slots of a table, as a power of two: 512 KiB.
const TABLE_BITS: u32 = if cfg!(miri) { 8 } else { 15 };
const SLOTS: usize = 1 << TABLE_BITS;
/// Used slots at which a table is exchanged, and those that it never exceeds.
const FULL: usize = SLOTS / 4 * 3;
const LIMIT: usize = SLOTS / 16 * 15;
/// Slots of the old table that move with each new entry.
const MOVED: usize = 8;
/// Units before the first instant that spans may reach.
const MARGIN: u64 = 1 << 16;
/// Ticks after which the sender's clock is read again: a sixteenth of the range of a probe's time.
const CLOCK_TICKS: u64 = 1 << (TIME_BITS - 4);

/// When a received frame was sent.
#[derive(Debug, Clone, Copy)]
pub struct SendTime {
    /// The receiver's ticks on arrival.
    now: u64,
    /// The receiver's ticks less the sender's, modulo 2⁴⁰.
    delay: i64,
}

impl SendTime {
    /// Of a frame that arrives at `now` of the receiver's clock, `delay` ticks after the sender's.
    #[inline(always)]
    pub const fn new(now: u64, delay: i64) -> Self {
        Self { now, delay }
    }

    /// The send time in units, modulo 2³² and with a jump of 2⁴⁰ ticks wherever the clocks have drifted apart
    /// so far.
    #[inline(always)]
    pub fn unit(self) -> u32 {
        (self.now.wrapping_sub(self.delay.cast_unsigned()) >> UNIT_BITS) as u32
    }
}

/// The sender's clock, as far as its packets show it: their times have 40 bits.
#[derive(Debug, Clone, Copy, Default)]
struct SenderClock {
    /// The sender's ticks less the receiver's, as last seen; `None` before the first frame.
    offset: Option<i64>,
    /// The receiver's ticks and that offset when it was first seen.
    first: (u64, i64),
    /// True once the clocks have drifted apart by the range of a probe's time.
    jumped: bool,
    /// The receiver's ticks at which the offset must be seen again.
    due: u64,
}

impl SenderClock {
    /// Ticks of the sender, without jumps.
    #[inline(always)]
    fn ticks(&mut self, SendTime { now, delay }: SendTime) -> u64 {
        const REST: u32 = u64::BITS - TIME_BITS;
        let told = delay.wrapping_neg();
        let before = if now < self.due { self.offset.unwrap_or(told) } else { self.expected(now, told) };
        // The drift since then is far below half the range.
        let drift = (told.wrapping_sub(before) << REST) >> REST;
        let offset = before.wrapping_add(drift);
        self.jumped |= offset != told;
        self.offset = Some(offset);
        self.due = now.saturating_add(CLOCK_TICKS);
        now.wrapping_add_signed(offset)
    }

    /// The offset at `now`, long after it was last seen, if the clocks go on drifting apart as they did.
    #[cold]
    #[inline(never)]
    fn expected(&mut self, now: u64, told: i64) -> i64 {
        let Some(offset) = self.offset else {
            self.first = (now, told);
            return told;
        };
        let last = self.due.saturating_sub(CLOCK_TICKS);
        let (first, first_offset) = self.first;
        let seen_for = last.saturating_sub(first);
        if seen_for < CLOCK_TICKS {
            return offset;
        }
        let drift = i128::from(offset.wrapping_sub(first_offset)) * i128::from(now.saturating_sub(last));
        offset.wrapping_add((drift / i128::from(seen_for)) as i64)
    }
}

/// A span of time in units since the first one, with a kind. As entries of a table: with both ends divided by
/// a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    /// The last instant.
    to: u32,
    /// Distance to the first instant, or a kind.
    length: u32,
}

/// In place of a length: from the start of sending.
const FROM_START: u32 = u32::MAX;
/// In place of a length: packets that arrived too late to know from which span they were missing.
const GIVEN_BACK: u32 = u32::MAX - 1;

impl Span {
    fn coarser(self, levels: u32) -> Self {
        let Self { to, length } = self;
        let length = match length {
            FROM_START | GIVEN_BACK => length,
            _ => (to >> levels) - (to.saturating_sub(length) >> levels),
        };
        Self { to: to >> levels, length }
    }

    fn place(self) -> usize {
        let key = u64::from(self.to) | u64::from(self.length) << 32;
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - TABLE_BITS)) as usize
    }
}

/// Time between the frames before and behind a gap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Between {
    /// Units to the second instant, when the frame behind the gap was sent.
    before: u32,
    /// Units from the first instant, when the frame before the gap was sent; `None`: unknown.
    length: Option<u32>,
}

impl Between {
    /// The span of all `packets` that are missing between.
    #[inline(always)]
    pub(super) fn all(self, packets: u32) -> Span {
        let Self { before, length } = self;
        let Some(length) = length else { return Span { to: before, length: FROM_START } };
        // Most gaps are one packet long, or shorter than a unit.
        let step = match packets {
            _ if length == 0 => 0,
            1 => length.div_ceil(2),
            _ => length / (packets + 1),
        };
        Span { to: before - step, length: length.saturating_sub(2 * step) }
    }

    /// The span of `count` of `packets` that are missing, from the one numbered `first`, from 0.
    pub(super) fn part(self, packets: u64, first: u64, count: u64) -> Span {
        let Self { before, length } = self;
        let Some(length) = length else { return Span { to: before, length: FROM_START } };
        let at = |packet: u64| (u128::from(length) * u128::from(packet) / u128::from(packets + 1)) as u32;
        let (from, to) = (at(first + 1), at(first + count));
        Span { to: before - length + to, length: to - from }
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    span: Span,
    /// Packets lost in the span; [`EMPTY`] in a free slot.
    packets: i64,
}

const EMPTY: i64 = i64::MIN;
const FREE: Slot = Slot { span: Span { to: 0, length: 0 }, packets: EMPTY };

/// [`SLOTS`] slots.
type Table = Box<[Slot]>;

fn free_table() -> Table {
    vec![FREE; SLOTS].into_boxed_slice()
}

/// Losses of an lcore by the time at which they were sent.
#[derive(Debug)]
pub struct Losses {
    clock: SenderClock,
    /// Unit at which the spans' count of units begins.
    base: Option<u64>,
    table: Table,
    /// Units are divided by two to the power of this in the table.
    level: u32,
    /// The old table, whose content moves to the one in use, and its level.
    old: (Table, u32),
    used: usize,
    /// Used slots without packets.
    zeros: usize,
    /// Slots of the old table that are free.
    moved: usize,
    /// The span added last, not divided, and its slot.
    last: (Span, usize),
    /// Packets for which there was no room: a second exchange would have to come before the first has ended.
    unplaced: i64,
}

impl Default for Losses {
    fn default() -> Self {
        Self { table: free_table(), old: (free_table(), 0), ..Self::without_tables() }
    }
}

/// Losses in a span of the sender's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// The first tick; `None`: the start of sending.
    pub(super) from: Option<u64>,
    /// The first tick behind it.
    pub(super) to: u64,
    /// Packets; less than zero: packets that were counted as lost about this time, and arrived.
    pub(super) packets: i64,
}

impl Losses {
    fn without_tables() -> Self {
        Self {
            clock: SenderClock::default(),
            base: None,
            table: Box::default(),
            level: 0,
            old: (Box::default(), 0),
            used: 0,
            zeros: 0,
            moved: SLOTS,
            last: (Span::default(), 0),
            unplaced: 0,
        }
    }

    /// Forgets all losses and the sender's clock, in the memory that the tables have.
    pub(super) fn reset(&mut self) {
        let (mut table, mut old) = (std::mem::take(&mut self.table), std::mem::take(&mut self.old.0));
        if self.used > 0 {
            table.fill(FREE);
        }
        // Its slots are free until the first exchange, and once all of them have moved.
        if self.moved < SLOTS {
            old[self.moved..].fill(FREE);
        }
        *self = Self { table, old: (old, 0), ..Self::without_tables() };
    }

    /// The receiver's ticks from which on the sender's clock must be [followed](Self::follow).
    #[inline(always)]
    pub(super) fn clock_due(&self) -> u64 {
        self.clock.due
    }

    /// Follows the sender's clock, which may run at another rate.
    pub(super) fn follow(&mut self, sent: SendTime) {
        let unit = self.clock.ticks(sent) >> UNIT_BITS;
        self.base.get_or_insert(unit.saturating_sub(MARGIN));
    }

    /// The sender's ticks less the receiver's, when a frame was first seen.
    pub(super) fn first_offset(&self) -> Option<i64> {
        self.clock.offset.map(|_| self.clock.first.1)
    }

    /// True when the clocks have drifted apart by the range of a probe's time.
    pub(super) fn clock_jumped(&self) -> bool {
        self.clock.jumped
    }

    /// The time between a frame sent at unit `after` and one sent at `before`.
    #[inline(always)]
    pub(super) fn between(&mut self, after: Option<u32>, before: SendTime) -> Between {
        let to = self.unit(before);
        let length = after.map(|after| {
            let units = distance(after, before.unit(), self.clock.jumped);
            u32::try_from(units).unwrap_or(u32::MAX).min(to)
        });
        Between { before: to, length }
    }

    /// Units of the sender's time since the first frame.
    #[inline(always)]
    fn unit(&mut self, sent: SendTime) -> u32 {
        let unit = self.clock.ticks(sent) >> UNIT_BITS;
        let base = *self.base.get_or_insert(unit.saturating_sub(MARGIN));
        u32::try_from(unit.saturating_sub(base)).unwrap_or(u32::MAX)
    }

    /// A frame sent at `sent` arrived when the log had forgotten it as missing.
    #[cold]
    pub(super) fn give_back(&mut self, sent: SendTime) {
        let to = self.unit(sent);
        self.add_elsewhere(Span { to, length: GIVEN_BACK }, -1);
    }

    /// Adds lost packets to a span of units.
    #[inline(always)]
    pub(super) fn add(&mut self, span: Span, packets: u32) {
        let (last, place) = self.last;
        let slot = &mut self.table[place % SLOTS];
        // A free slot, and one without packets, is for the others.
        if span == last && slot.packets > 0 {
            slot.packets += i64::from(packets);
        } else {
            self.add_elsewhere(span, i64::from(packets));
        }
    }

    /// Takes a packet back from a span.
    pub(super) fn take_back(&mut self, span: Span) {
        self.add_elsewhere(span, -1);
    }

    #[inline(never)]
    fn add_elsewhere(&mut self, span: Span, packets: i64) {
        if self.used >= FULL && self.moved >= SLOTS {
            self.exchange();
        }
        let used = self.used;
        self.last = (span, self.insert(span.coarser(self.level), packets));
        if self.used > used {
            self.move_on();
        }
    }

    /// Begins a new table.
    #[cold]
    fn exchange(&mut self) {
        // Where most spans are empty, because late frames took their losses back, there is room without them.
        let coarser = u32::from(2 * self.zeros < self.used);
        std::mem::swap(&mut self.table, &mut self.old.0);
        (self.level, self.old.1) = (self.level + coarser, self.level);
        (self.used, self.zeros, self.moved) = (0, 0, 0);
    }

    /// Moves some slots of the old table to the new one.
    fn move_on(&mut self) {
        let (_, level) = self.old;
        for _ in 0..MOVED {
            if self.moved >= SLOTS {
                return;
            }
            let Slot { span, packets } = std::mem::replace(&mut self.old.0[self.moved], FREE);
            self.moved += 1;
            if packets != EMPTY && packets != 0 {
                self.insert(span.coarser(self.level - level), packets);
            }
        }
    }

    /// Adds to the table in use, and returns the place.
    fn insert(&mut self, span: Span, packets: i64) -> usize {
        let mut place = span.place();
        loop {
            let slot = &mut self.table[place % SLOTS];
            if slot.packets == EMPTY {
                if self.used < LIMIT {
                    *slot = Slot { span, packets };
                    self.used += 1;
                } else {
                    self.unplaced += packets;
                }
                return place;
            }
            if slot.span == span {
                self.zeros -= usize::from(slot.packets == 0);
                slot.packets += packets;
                self.zeros += usize::from(slot.packets == 0);
                return place;
            }
            place += 1;
        }
    }

    /// The spans with losses, in ticks of the sender, and the width of their ends in ticks.
    pub(super) fn placed(&self) -> (Vec<Placed>, u64) {
        let Some(base) = self.base else { return (Vec::new(), 1 << UNIT_BITS) };
        let old = self.old.0.iter().map(|slot| (slot, self.old.1));
        let all = self.table.iter().map(|slot| (slot, self.level)).chain(old);
        let used = all.filter(|(slot, _)| slot.packets != EMPTY && slot.packets != 0);
        let placed = used.map(|(Slot { span, packets }, level)| {
            let ticks = |units: u64| (base + (units << level)) << UNIT_BITS;
            let to = u64::from(span.to);
            let from = match span.length {
                FROM_START => None,
                GIVEN_BACK => Some(ticks(to)),
                length => Some(ticks(to - u64::from(length))),
            };
            Placed { from, to: ticks(to + 1), packets: *packets }
        });
        (placed.collect(), 1 << (UNIT_BITS + self.level))
    }
}

/// Units from one instant to a later one, both as [`SendTime::unit`] gives them.
#[inline(always)]
pub(super) fn distance(from: u32, to: u32, clock_jumped: bool) -> u64 {
    let units = i64::from(to.wrapping_sub(from) as i32);
    let range = 1 << (TIME_BITS - UNIT_BITS);
    (if units < 0 || clock_jumped { units.rem_euclid(range) } else { units }) as u64
}

#[cfg(test)]
mod tests;
