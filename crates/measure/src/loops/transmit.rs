//! The transmitting loop.

use linerate_wire::counters::TransmitCounters;
use linerate_wire::report::Ended;
use linerate_wire::time::WorkerTime;

use super::counters::TransmitBlock;
use super::own_frames::OwnFrames;
use super::queue::{Clock, FrameBurst, TransmitQueue};
use super::source::Source;
use super::stop::Signal;
use crate::ceiling::Ceiling;
use crate::histogram::TickHistogram;
use crate::pacer::{Late, Load, Pacer};

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
    /// Ticks of long calls of the port that took all packets: some drivers wait in them until the kernel has
    /// room. Also time in which the thread had no CPU; see [`count_sleep`](Self::count_sleep).
    pub long_calls: u64,
    /// Ticks after the end of the duration at which the last of them returned.
    pub overrun: u64,
    /// Ticks during which no packet was due.
    pub idle: u64,
    /// Longest time between two polls while no packet was due, in ticks.
    pub longest_gap: u64,
    /// Largest lateness of a recording's packets.
    pub late: Late,
    /// Ticks between consecutive packets as handed to the queue.
    pub departures: TickHistogram,
    /// The limit that ended the loop; `None`: the stop signal did.
    pub limit: Option<Ended>,
}

impl TransmitOutcome {
    /// Counts the time that the thread slept in long calls as time in which packets waited for the port, and the
    /// end of the last call as the end of sending. `time` is the thread's CPU time, by a clock of `tick_hz`: on a
    /// CPU it worked, and in wait for a CPU it was held up by other threads. Nothing counts where the kernel does
    /// not tell sleep and wait apart.
    pub fn count_sleep(&mut self, time: &WorkerTime, tick_hz: u64) {
        let ticks = |seconds: f64| (seconds * tick_hz as f64) as u64;
        let asleep = time.waited_s.map_or(0, |waited_s| {
            let asleep = ticks((time.off_cpu_s - waited_s).max(0.0));
            asleep.min(self.long_calls.saturating_sub(ticks(waited_s)))
        });
        self.blocked += asleep;
        self.ended += self.overrun.min(asleep);
        (self.long_calls, self.overrun) = (0, 0);
    }
}

/// Time in seconds after which a call of the port is long. Drivers write to a ring in microseconds, or have
/// the kernel send a burst in tens of them.
const LONG_CALL_S: f64 = 100e-6;

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
    let wanted = plan.packets.unwrap_or(u64::MAX);
    let pacer = |load| Pacer::new(load, clock.tick_hz(), began).under(&plan.ceilings).until(wanted);
    let mut pacer = plan.load.as_ref().map(pacer);
    let has_ceilings = pacer.as_ref().is_some_and(Pacer::has_ceilings);
    let mut built = 0;
    let stamp_age = (clock.tick_hz() as f64 * STAMP_AGE_S) as u64;
    let mut stamped = began;
    let mut idle = IdleTime::new(clock);
    let mut offers = Offers::new(clock);
    let mut burst = Q::Burst::default();

    let (ended, limit) = loop {
        let now = clock.ticks();
        offers.look(now);
        if now >= deadline {
            break (deadline, Some(Ended::Duration));
        }
        if signal.calls() {
            if signal.stopped() {
                break (now, None);
            }
            signal.send_waiting(queue);
        }
        let is_new = burst.is_empty();
        if is_new {
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
                offers.without_buffers(now);
                published.publish(&offers.totals);
                clock.relax();
                continue;
            }
            built += count;
            if let Some(pacer) = &mut pacer {
                pacer.took(count);
            }
            stamped = now;
        } else if now.saturating_sub(stamped) > stamp_age {
            plan.source.restamp(&mut burst, now);
            stamped = now;
        }
        let accepted = offers.offer(queue, &mut burst, now, is_new);
        if accepted == 0 && !is_new {
            clock.relax();
            continue;
        }
        if has_ceilings {
            left(&mut pacer, clock, accepted);
        }
        published.publish(&offers.totals);
    };
    published.publish(&offers.totals);
    offers.blocked.stop(ended);
    idle.end(ended);
    let late = pacer.as_ref().map_or(Late::default(), Pacer::late);
    let forgone = pacer.map_or(0, |pacer| pacer.scheduled_before(ended).min(wanted).saturating_sub(built));
    TransmitOutcome {
        counters: offers.totals,
        began,
        ended,
        forgone,
        unsent: burst.len() as u64,
        blocked: offers.blocked.ticks,
        long_calls: offers.long_calls,
        overrun: offers.returned.saturating_sub(ended),
        idle: idle.ticks,
        longest_gap: idle.longest,
        late,
        departures: offers.departures.intervals,
        limit,
    }
}

/// What a transmitting loop has offered to its port, and how the port took it.
#[derive(Debug)]
struct Offers {
    totals: TransmitCounters,
    departures: Departures,
    /// Time during which frames waited for the port, or for a buffer.
    blocked: Stopwatch,
    /// Ticks of long calls beyond those of the stopwatch.
    long_calls: u64,
    /// Ticks at which the last long call had returned.
    returned: u64,
    /// Ticks after which a call is long, and at which the present one is; `u64::MAX` without a call.
    long: u64,
    long_at: u64,
}

impl Offers {
    fn new(clock: &impl Clock) -> Self {
        Self {
            totals: TransmitCounters::default(),
            departures: Departures::default(),
            blocked: Stopwatch::default(),
            long_calls: 0,
            returned: 0,
            long: (clock.tick_hz() as f64 * LONG_CALL_S) as u64,
            long_at: u64::MAX,
        }
    }

    /// Looks at the time that has passed since the last offer: the loop reads the clock in each round, not
    /// after each call.
    #[inline(always)]
    fn look(&mut self, now: u64) {
        let long_at = std::mem::replace(&mut self.long_at, u64::MAX);
        if now >= long_at {
            self.note_long_call(now, long_at - self.long);
        }
    }

    #[cold]
    #[inline(never)]
    fn note_long_call(&mut self, now: u64, offered: u64) {
        if !self.blocked.is_running() {
            self.long_calls += now - offered;
        }
        self.returned = now;
    }

    /// Offers the burst to the port, counts what it accepts, and returns the number of frames. `is_new`: it is
    /// offered for the first time.
    #[inline(always)]
    fn offer<Q: TransmitQueue>(
        &mut self,
        queue: &mut Q,
        burst: &mut Q::Burst,
        now: u64,
        is_new: bool,
    ) -> u64 {
        let offered_bytes = burst.bytes();
        let accepted = queue.transmit(burst) as u64;
        self.totals.packets += accepted;
        self.totals.bytes += offered_bytes - burst.bytes();
        if accepted > 0 {
            self.long_at = now.saturating_add(self.long);
            self.departures.at(now, accepted);
        }
        if burst.is_empty() {
            self.blocked.stop(now);
        } else {
            self.blocked.start(now);
            self.totals.queue_full += u64::from(is_new);
        }
        accepted
    }

    /// Counts frames that are due and for which the port left no buffer.
    fn without_buffers(&mut self, now: u64) {
        self.totals.no_mbuf += 1;
        self.blocked.start(now);
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

    fn is_running(&self) -> bool {
        self.since.is_some()
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
