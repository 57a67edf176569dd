//! The transmitting loop.

use linerate_wire::counters::TransmitCounters;
use linerate_wire::report::Ended;

use super::counters::TransmitBlock;
use super::own_frames::OwnFrames;
use super::queue::{Clock, FrameBurst, TransmitQueue};
use super::source::Source;
use super::stop::Signal;
use crate::ceiling::Ceiling;
use crate::histogram::TickHistogram;
use crate::pacer::{Load, Pacer};

/// One transmitting lcore's part of a trial.
#[derive(Debug)]
pub struct TransmitPlan {
    /// Source of its frames.
    pub source: Source,
    /// Its load; `None`: as fast as the port accepts frames.
    pub load: Option<Load>,
    /// Its shares of the ceilings on the rate; they apply to a load only.
    pub ceilings: Vec<Ceiling>,
    /// Duration of sending in ticks; `None`: no limit.
    pub duration_ticks: Option<u64>,
    /// Number of packets to send; `None`: no limit.
    pub packets: Option<u64>,
    /// Packets handed to the port at once.
    pub burst: usize,
}

/// Results of a transmitting loop.
#[derive(Debug, Clone, Default)]
pub struct TransmitOutcome {
    /// Totals.
    pub counters: TransmitCounters,
    /// Ticks when sending began.
    pub began: u64,
    /// Ticks when sending ended.
    pub ended: u64,
    /// Packets due under the load but never built.
    pub forgone: u64,
    /// Packets built but not accepted by the port.
    pub unsent: u64,
    /// Ticks during which packets waited for the port, or for a buffer because the port held all of them.
    pub blocked: u64,
    /// Ticks during which no packet was due.
    pub idle: u64,
    /// Longest time between two polls while no packet was due, in ticks.
    pub longest_gap: u64,
    /// Ticks between consecutive packets as handed to the queue.
    pub departures: TickHistogram,
    /// The limit that ended the loop; `None`: the stop signal did.
    pub limit: Option<Ended>,
}

/// Age in seconds at which the send time of a waiting frame is renewed.
const STAMP_AGE_S: f64 = 1e-6;

/// Sends until a limit or the stop signal ends the loop. Packets that the port does not accept are offered
/// again, with a new send time, before new ones are built; each attempt checks the signal and the clock, so a
/// full queue cannot keep the loop running.
pub fn transmit<Q: TransmitQueue + OwnFrames>(
    queue: &mut Q,
    clock: &impl Clock,
    mut plan: TransmitPlan,
    signal: &Signal,
    published: &TransmitBlock,
) -> TransmitOutcome {
    while signal.waiting(clock.ticks()) {
        signal.send_waiting(queue);
        clock.relax();
    }
    let began = clock.ticks();
    let deadline = plan.duration_ticks.map_or(u64::MAX, |ticks| began.saturating_add(ticks));
    let pacer = |load| Pacer::new(load, clock.tick_hz(), began).under(&plan.ceilings);
    let mut pacer = plan.load.as_ref().map(pacer);
    let has_ceilings = pacer.as_ref().is_some_and(Pacer::has_ceilings);
    let wanted = plan.packets.unwrap_or(u64::MAX);
    let mut built = 0;
    let stamp_age = (clock.tick_hz() as f64 * STAMP_AGE_S) as u64;
    let mut stamped = began;
    let mut blocked = Stopwatch::default();
    let mut idle = IdleTime::new(clock);
    let mut departures = Departures::default();
    let mut totals = TransmitCounters::default();
    let mut burst = Q::Burst::default();

    let (ended, limit) = loop {
        let now = clock.ticks();
        if now >= deadline {
            break (deadline, Some(Ended::Duration));
        }
        if signal.calls() {
            if signal.stopped() {
                break (now, None);
            }
            signal.send_waiting(queue);
        }
        if burst.is_empty() {
            let due = pacer.as_mut().map_or(plan.burst as u64, |pacer| pacer.due(now)).min(plan.burst as u64);
            if due == 0 {
                idle.look(now);
                clock.relax();
                continue;
            }
            idle.end(now);
            // Wait out the last packet's interval, so that N packets at R per second take N/R seconds.
            if built == wanted {
                break (now, Some(Ended::Packets));
            }
            let count = due.min(wanted - built) as usize;
            let count = plan.source.build(queue, &mut burst, count, now) as u64;
            if count == 0 {
                totals.no_mbuf += 1;
                blocked.start(now);
                published.publish(&totals);
                clock.relax();
                continue;
            }
            built += count;
            if let Some(pacer) = &mut pacer {
                pacer.took(count);
            }
            stamped = now;
            let accepted = send(queue, &mut burst, &mut totals);
            departures.at(now, accepted);
            if has_ceilings {
                left(&mut pacer, clock, accepted);
            }
            if burst.is_empty() {
                blocked.stop(now);
            } else {
                blocked.start(now);
                totals.queue_full += 1;
            }
        } else {
            if now.saturating_sub(stamped) > stamp_age {
                plan.source.restamp(&mut burst, now);
                stamped = now;
            }
            let accepted = send(queue, &mut burst, &mut totals);
            if accepted == 0 {
                clock.relax();
                continue;
            }
            departures.at(now, accepted);
            if has_ceilings {
                left(&mut pacer, clock, accepted);
            }
            if burst.is_empty() {
                blocked.stop(now);
            }
        }
        published.publish(&totals);
    };
    published.publish(&totals);
    blocked.stop(ended);
    idle.end(ended);
    let forgone = pacer.map_or(0, |pacer| pacer.scheduled_before(ended).min(wanted).saturating_sub(built));
    TransmitOutcome {
        counters: totals,
        began,
        ended,
        forgone,
        unsent: burst.len() as u64,
        blocked: blocked.ticks,
        idle: idle.ticks,
        longest_gap: idle.longest,
        departures: departures.intervals,
        limit,
    }
}

/// Sum of time intervals.
#[derive(Debug, Default)]
struct Stopwatch {
    ticks: u64,
    since: Option<u64>,
}

impl Stopwatch {
    #[inline(always)]
    fn start(&mut self, now: u64) {
        self.since.get_or_insert(now);
    }

    #[inline(always)]
    fn stop(&mut self, now: u64) {
        if let Some(since) = self.since.take() {
            self.ticks += now.saturating_sub(since);
        }
    }
}

/// Time during which a loop was idle although it could have sent.
#[derive(Debug)]
pub(super) struct IdleTime {
    pub(super) ticks: u64,
    /// Longest time between two polls, the second of which may have found a packet due.
    pub(super) longest: u64,
    last: Option<u64>,
    longest_look: u64,
}

impl IdleTime {
    pub(super) fn new(clock: &impl Clock) -> Self {
        let longest_look = (clock.tick_hz() as f64 * clock.longest_look_s()) as u64;
        Self { ticks: 0, longest: 0, last: None, longest_look }
    }

    /// Marks the loop idle.
    #[inline(always)]
    pub(super) fn look(&mut self, now: u64) {
        self.end(now);
        self.last = Some(now);
    }

    /// Marks the loop busy.
    #[inline(always)]
    pub(super) fn end(&mut self, now: u64) {
        if let Some(last) = self.last.take() {
            let gap = now.saturating_sub(last);
            self.longest = self.longest.max(gap);
            self.ticks += gap.min(self.longest_look);
        }
    }
}

/// Intervals between packets as handed to the queue.
#[derive(Debug, Default)]
struct Departures {
    intervals: TickHistogram,
    last: Option<u64>,
}

impl Departures {
    #[inline(always)]
    fn at(&mut self, now: u64, packets: u64) {
        if packets == 0 {
            return;
        }
        if let Some(last) = self.last.replace(now) {
            self.intervals.record_times(now.saturating_sub(last), 1);
        }
        if packets > 1 {
            self.intervals.record_times(0, packets - 1);
        }
    }
}

/// Reports sent packets to the pacer. The clock is read again, since the lcore may have been off its CPU
/// after the last reading.
#[cold]
#[inline(never)]
fn left(pacer: &mut Option<Pacer>, clock: &impl Clock, accepted: u64) {
    if let Some(pacer) = pacer {
        pacer.left(clock.ticks(), accepted);
    }
}

/// Offers the burst to the port and counts what it accepts.
#[inline(always)]
fn send<Q: TransmitQueue>(queue: &mut Q, burst: &mut Q::Burst, totals: &mut TransmitCounters) -> u64 {
    let offered_bytes = burst.bytes();
    let accepted = queue.transmit(burst) as u64;
    totals.packets += accepted;
    totals.bytes += offered_bytes - burst.bytes();
    accepted
}
