//! From spans of time with losses to intervals: the timeline of a report. Runs once, after the trial.

use std::collections::{BTreeMap, HashMap};

use linerate_wire::loss::{LOSS_INTERVAL_NS, LossTimeline, LossZero, MOST_LOSS_INTERVALS};
use linerate_wire::time::SendingTimes;

use super::losses::{Losses, Placed, UNIT_BITS, distance};

/// Intervals are at least so many times as wide as the ends of spans are exact.
const FINER: u64 = 2;
/// Longest trial that can be told, in units of [`losses`](super::losses).
const LONGEST_UNITS: u64 = 1 << 31;
/// Fraction bits of the packets lost per tick.
const FRACTION: u32 = 40;

/// What a receiver knows of the sender's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderTimes {
    /// The receiver's own ticks about the start of sending, off by less than a minute.
    pub own_start: u64,
    /// Frequency of the receiver's ticks in Hz.
    pub own_hz: u64,
    /// What the sender reported; `None`: nothing, and zero is the receiver's own start.
    pub told: Option<SendingTimes>,
}

/// The losses of all lcores of a receiver.
#[derive(Debug, Clone, Default)]
pub(super) struct AllLosses {
    spans: Vec<Placed>,
    /// Width of the spans' ends in ticks.
    width: u64,
    first_offset: Option<i64>,
    clock_jumped: bool,
    /// Set when frames of one flow arrived on several lcores, none of which knows what was lost.
    pub(super) flows_are_shared: bool,
}

/// Packets of some flows that were sent behind the last one received: unit at which that was sent, and their
/// number, with the number of such flows.
pub(super) type Tails = HashMap<(u32, u64), u64>;

/// Sending in the ticks of the spans.
struct Sending {
    zero: LossZero,
    began: u64,
    ended: Option<u64>,
    tick_hz: u64,
}

impl AllLosses {
    /// Adds the losses of an lcore.
    pub(super) fn add(&mut self, losses: &Losses) {
        let (spans, width) = losses.placed();
        self.spans.extend(spans);
        self.width = self.width.max(width);
        self.first_offset = self.first_offset.or(losses.first_offset());
        self.clock_jumped |= losses.clock_jumped();
    }

    /// Adds those of another receiver.
    pub(super) fn merge(&mut self, other: &Self) {
        self.spans.extend(&other.spans);
        self.width = self.width.max(other.width);
        self.first_offset = self.first_offset.or(other.first_offset);
        self.clock_jumped |= other.clock_jumped;
        self.flows_are_shared |= other.flows_are_shared;
    }

    fn sending(&self, times: &SenderTimes) -> Option<Sending> {
        let own_start = times.own_start.wrapping_add_signed(self.first_offset?);
        Some(match times.told {
            None => Sending {
                zero: LossZero::Receiver,
                began: own_start,
                ended: None,
                tick_hz: times.own_hz.max(1),
            },
            Some(told) => {
                const REST: u32 = u64::BITS - linerate_traffic::probe::TIME_BITS;
                let later = (told.began_ticks.wrapping_sub(own_start) << REST).cast_signed() >> REST;
                let began = own_start.wrapping_add_signed(later);
                let ended = began.saturating_add(told.ended_ticks.saturating_sub(told.began_ticks));
                let tick_hz = told.tick_hz.max(1);
                Sending { zero: LossZero::Sender, began, ended: Some(ended), tick_hz }
            }
        })
    }

    /// When `lost` packets were lost, those of `tails` among them.
    pub(super) fn timeline(&self, lost: u64, tails: &Tails, times: &SenderTimes) -> LossTimeline {
        let zero = if times.told.is_some() { LossZero::Sender } else { LossZero::Receiver };
        if self.flows_are_shared {
            let reason =
                "packets of one flow arrived on several RX lcores, so no lcore knows which were lost";
            return LossTimeline::unknown(zero, lost, reason);
        }
        let Some(sending) = self.sending(times) else {
            return LossTimeline::unknown(zero, lost, "no packet arrived");
        };
        let mut spans = self.spans.clone();
        spans.extend(sending.tails(tails, self.clock_jumped));
        let last = spans.iter().map(|span| span.to).max().or(sending.ended).unwrap_or(sending.began);
        if last.saturating_sub(sending.began) >> UNIT_BITS >= LONGEST_UNITS {
            let reason = "the trial is longer than the account of lost packets reaches";
            return LossTimeline::unknown(zero, lost, reason);
        }
        sending.spread(&spans, self.width.max(1)).of_lost(lost)
    }
}

impl Sending {
    /// Spans of packets that were sent behind the last one received of their flow.
    fn tails<'t>(&self, tails: &'t Tails, clock_jumped: bool) -> impl Iterator<Item = Placed> + use<'t> {
        let (ended, began) = (self.ended, self.began);
        tails.iter().filter_map(move |((sent, packets), flows)| {
            let to = ended?;
            let length = distance(*sent, (to >> UNIT_BITS) as u32, clock_jumped) << UNIT_BITS;
            let step = length / (packets + 1);
            let from = (to.saturating_sub(length) + step).max(began);
            let to = (from + step * (packets - 1)).max(from) + 1;
            Some(Placed { from: Some(from), to, packets: i64::try_from(packets * flows).unwrap_or(i64::MAX) })
        })
    }

    /// Ticks since the start at which a span begins and ends; the end is behind the beginning.
    fn range(&self, span: &Placed) -> (u64, u64) {
        let since = |ticks: u64| ticks.saturating_sub(self.began);
        let longest = self.ended.map_or(u64::MAX, since).max(1);
        let to = since(span.to).clamp(1, longest);
        let from = span.from.map_or(0, since).min(to - 1);
        (from, to)
    }

    fn ns(&self, ticks: u64) -> u64 {
        let ns = u128::from(ticks) * 1_000_000_000 / u128::from(self.tick_hz);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// Number of the interval of a tick since the start.
    fn interval(&self, ticks: u64, interval_ns: u64) -> u64 {
        (u128::from(ticks) * 1_000_000_000 / (u128::from(self.tick_hz) * u128::from(interval_ns))) as u64
    }

    /// First tick since the start that is in an interval.
    fn begin_of(&self, interval: u64, interval_ns: u64) -> u64 {
        let tick_ns = u128::from(interval) * u128::from(interval_ns) * u128::from(self.tick_hz);
        u64::try_from(tick_ns.div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
    }

    /// The timeline of spans whose ends are exact to `width` ticks. All their packets are placed.
    fn spread(&self, spans: &[Placed], width: u64) -> LossTimeline {
        let lost = spans.iter().filter(|span| span.packets > 0);
        let mut ranges: Vec<(u64, u64, u64)> = lost
            .map(|span| {
                let (from, to) = self.range(span);
                (from, to, span.packets as u64)
            })
            .collect();
        ranges.sort_unstable();
        let mut interval_ns = LOSS_INTERVAL_NS;
        while interval_ns < FINER * self.ns(width) || self.covered(&ranges, interval_ns) > MOST_LOSS_INTERVALS
        {
            interval_ns *= 2;
        }
        let mut intervals = self.distribute(&ranges, interval_ns);
        for span in spans.iter().filter(|span| span.packets < 0) {
            let (from, to) = self.range(span);
            let at = self.interval(from + (to - from) / 2, interval_ns);
            take_back(&mut intervals, at, span.packets.unsigned_abs());
        }
        let intervals: Vec<(u64, u64)> = intervals.into_iter().filter(|(_, packets)| *packets > 0).collect();
        // Losses that late frames took back may have been the first or the last.
        let first = intervals.first().map(|(at, _)| self.begin_of(*at, interval_ns));
        let last = intervals.last().map(|(at, _)| self.begin_of(at + 1, interval_ns));
        let first_lost = ranges.iter().map(|range| range.0).min();
        let last_lost = ranges.iter().map(|range| range.1).max();
        LossTimeline {
            zero: self.zero,
            interval_ns,
            resolution_ns: self.ns(width),
            first_ns: first.zip(first_lost).map(|(first, lost)| self.ns(first.max(lost))),
            last_ns: last.zip(last_lost).map(|(last, lost)| self.ns(last.min(lost))),
            intervals,
            ..LossTimeline::default()
        }
    }

    /// Number of intervals in which sorted ranges lie.
    fn covered(&self, ranges: &[(u64, u64, u64)], interval_ns: u64) -> usize {
        let mut next = 0;
        let mut count = 0;
        for (from, to, _) in ranges {
            let first = self.interval(*from, interval_ns).max(next);
            let end = self.interval(to - 1, interval_ns) + 1;
            count += end.saturating_sub(first);
            next = next.max(end);
        }
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Packets of each interval, in order. Each range spreads its packets evenly; what is rounded in one
    /// interval is made up for in the next.
    fn distribute(&self, ranges: &[(u64, u64, u64)], interval_ns: u64) -> Vec<(u64, u64)> {
        // Packets per tick from here on, and the rest that makes a range whole at its end.
        let mut events: BTreeMap<u64, (i128, i128)> = BTreeMap::new();
        for (from, to, packets) in ranges {
            let whole = i128::from(*packets) << FRACTION;
            let slope = whole / i128::from(to - from);
            events.entry(*from).or_default().0 += slope;
            let end = events.entry(*to).or_default();
            end.0 -= slope;
            end.1 += whole - slope * i128::from(to - from);
        }
        let (mut slope, mut sum, mut placed, mut at) = (0i128, 0i128, 0u64, 0u64);
        let mut intervals: Vec<(u64, u64)> = Vec::new();
        let mut reach = |interval: u64, sum: i128| {
            let reached = u64::try_from((sum + (1 << (FRACTION - 1))) >> FRACTION).unwrap_or(u64::MAX);
            let packets = reached - placed;
            placed = reached;
            match intervals.last_mut() {
                _ if packets == 0 => {}
                Some(last) if last.0 == interval => last.1 += packets,
                _ => intervals.push((interval, packets)),
            }
        };
        for (tick, (more, rest)) in events {
            while slope > 0 && at < tick {
                let interval = self.interval(at, interval_ns);
                let until = self.begin_of(interval + 1, interval_ns).min(tick);
                sum += slope * i128::from(until - at);
                at = until;
                reach(interval, sum);
            }
            sum += rest;
            slope += more;
            at = tick;
            if rest > 0 {
                reach(self.interval(tick.saturating_sub(1), interval_ns), sum);
            }
        }
        intervals
    }
}

/// Takes packets back from the intervals nearest to `at`.
fn take_back(intervals: &mut [(u64, u64)], at: u64, mut packets: u64) {
    let mut after = intervals.partition_point(|(interval, _)| *interval < at);
    let mut before = after;
    while packets > 0 {
        let left = before.checked_sub(1).map(|index| (at - intervals[index].0, index));
        let right = intervals.get(after).map(|(interval, _)| (interval - at, after));
        let Some((_, index)) = [right, left].into_iter().flatten().min_by_key(|(far, _)| *far) else {
            return;
        };
        let taken = intervals[index].1.min(packets);
        intervals[index].1 -= taken;
        packets -= taken;
        if index == after { after += 1 } else { before = index }
    }
}

#[cfg(test)]
mod tests;
