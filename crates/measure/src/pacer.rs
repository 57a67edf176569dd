//! Pacer: an exact average rate, with bounded bursts.
//!
//! Two limits apply together. The *schedule* gives the number of packets due since the start; it makes the
//! average exact over any time. The *spacing* is a token bucket that fills 10 % faster than the rate. So a
//! worker at rate R sends at most 1.1 R w + D packets in any interval of length w. The depth D is the number
//! of packets scheduled in the last 10 ms, but at most 512 packets, and at least two packets or two of the
//! profile's bursts. A burst leaves whole.
//!
//! A debt is the number of packets scheduled but not yet sent. A worker that was off its CPU for some
//! milliseconds sends its debt at once, up to D; it sends the remainder at 1.1 R. Packets scheduled more than
//! a tenth of a second ago are forgiven, and counted. After the load has stepped down, the earlier debt is
//! still due: R is the highest rate of the last 0.1 s. The 10 ms cover threads that share a CPU: they
//! alternate every 3 to 4 ms on Linux, and two other threads may run first. The 512 packets are half of the
//! smallest ring in common use.
//!
//! Ceilings on the rate ([`Ceiling`]) are a separate limit; no debt exceeds them.
//!
//! Packets of a recording keep their times, and what was meant to leave close together does. There is no
//! spacing that would tell a debt from that: after a stall, all that is due leaves at once, and none is forgiven.
//! [`Late`] says how late.

use linerate_traffic::limit::Limit;
use linerate_traffic::profile::StageRates;
use linerate_traffic::schedule::{ROUNDING, Schedule, Stretch};

use super::ceiling::{Ceiling, Window};

/// Factor by which a debt is sent faster than the rate.
const CATCH_UP: f64 = 1.1;
/// Age in seconds at which a debt is forgiven.
const LONGEST_DEBT_S: f64 = 0.1;
/// Part of a debt that is sent at once, in seconds of the schedule.
const AT_ONCE_S: f64 = 10e-3;
/// Most packets of a debt sent at once.
const AT_ONCE_PACKETS: f64 = 512.0;
/// Fewest bursts of a debt sent at once. With fewer than two, a loop that polls late could not catch up.
const AT_ONCE_BURSTS: f64 = 2.0;
/// Time between two looks at how late a recording's packets are.
const LATENESS_LOOK_S: f64 = 1e-3;
/// Clock on which means are computed, in hertz.
const NANOSECONDS: u64 = 1_000_000_000;

/// One worker's load.
#[derive(Debug, Clone, PartialEq)]
pub enum Load {
    /// Rates over time; the last one persists. Packets become due `burst` at a time.
    Stages {
        /// The rates.
        stages: Vec<StageRates>,
        /// Packets per burst: at least 1.
        burst: u32,
    },
    /// Packets at these times, in seconds from the first one, repeated. Two rounds are separated by the mean
    /// time between packets.
    Recorded(Vec<f64>),
}

impl Load {
    /// A steady load of single packets.
    pub fn steady(pps: f64) -> Self {
        Self::Stages { stages: vec![StageRates::steady(pps)], burst: 1 }
    }

    /// This share of the load; recorded times cannot be shared.
    pub fn share(self, share: f64) -> Self {
        match self {
            Self::Stages { mut stages, burst } => {
                for stage in &mut stages {
                    stage.from_per_s *= share;
                    stage.to_per_s *= share;
                }
                Self::Stages { stages, burst }
            }
            recorded @ Self::Recorded(_) => recorded,
        }
    }

    /// Packets over time on a clock of `tick_hz`, without regard to bursts.
    fn schedule(&self, tick_hz: u64) -> Schedule {
        match self {
            Self::Stages { stages, .. } => Schedule::new(stages, tick_hz as f64),
            Self::Recorded(departures_s) => Schedule::recorded(departures_s, tick_hz as f64),
        }
    }

    /// Mean packets per second over the first `seconds`; without a limit, of the first stage or of a whole
    /// round.
    pub fn mean_pps(&self, seconds: Option<f64>) -> f64 {
        self.schedule(NANOSECONDS).mean_rate(seconds)
    }

    /// Mean packets per second of a trial with this end. A limit of packets is reached when the last packet is due: with
    /// workers and bursts, `slack_packets` leave together with it.
    pub fn mean_pps_within(&self, limit: &Limit, slack_packets: u64) -> f64 {
        self.schedule(NANOSECONDS).mean_rate_within(limit, slack_packets)
    }

    /// Highest packets per second of its stages; 0 for recorded times.
    pub fn peak_pps(&self) -> f64 {
        match self {
            Self::Stages { stages, .. } => StageRates::peak_per_s(stages),
            Self::Recorded(_) => 0.0,
        }
    }

    fn burst(&self) -> u32 {
        match self {
            Self::Stages { burst, .. } => (*burst).max(1),
            Self::Recorded(_) => 1,
        }
    }
}

/// The packets of `most` that form whole bursts; all of them when a burst is longer.
pub fn whole_bursts_within(most: usize, burst: u32) -> usize {
    let burst = (burst.max(1) as usize).min(most.max(1));
    most - most % burst
}

/// Pacer: computes the number of packets due, on any clock of ticks.
#[derive(Debug)]
pub struct Pacer {
    /// When it repeats, its packets leave when they are due, however close together.
    schedule: Schedule,
    /// The stretch of the latest time.
    at: usize,
    /// Part of a debt that is sent at once, and age at which a debt is forgiven, in ticks.
    at_once: f64,
    longest_debt: f64,
    /// Packets per burst.
    burst: u64,
    start: u64,
    /// Packets of the schedule that are sent or forgiven.
    accounted: u64,
    tokens: f64,
    refilled: u64,
    windows: Box<[Window]>,
    tick_hz: f64,
    /// Of a recording: packets to send, and how late they left.
    wanted: u64,
    late: Late,
    /// Ticks since the start from which lateness is looked at again.
    look_at: f64,
}

/// Largest lateness of packets of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Late {
    /// Ticks by which a packet left behind its time.
    pub ticks: u64,
    /// Packets that were due by then, the late one included.
    pub packets: u64,
}

impl Pacer {
    /// A pacer for a load over time on a clock of `tick_hz`, beginning at `now`: the first packets are due at
    /// once.
    pub fn new(load: &Load, tick_hz: u64, now: u64) -> Self {
        let (hz, burst) = (tick_hz as f64, load.burst());
        Self {
            schedule: load.schedule(tick_hz),
            at: 0,
            at_once: hz * AT_ONCE_S,
            longest_debt: hz * LONGEST_DEBT_S,
            burst: u64::from(burst),
            start: now,
            accounted: 0,
            tokens: AT_ONCE_BURSTS * f64::from(burst),
            refilled: now,
            windows: Box::default(),
            tick_hz: hz,
            wanted: u64::MAX,
            late: Late::default(),
            look_at: 0.0,
        }
    }

    /// The same pacer for a trial that ends after this number of packets: later ones of a recording are never late.
    pub fn until(mut self, packets: u64) -> Self {
        self.wanted = packets;
        self
    }

    /// The same pacer under ceilings: their shares limit the packets, and the caller must report sent packets
    /// to [`Self::left`].
    pub fn under(mut self, ceilings: &[Ceiling]) -> Self {
        self.windows = ceilings.iter().map(|ceiling| Window::new(ceiling.clone(), self.tick_hz)).collect();
        self
    }

    /// Packets of the bursts due `elapsed` ticks after the start.
    fn scheduled(&self, stretch: &Stretch, elapsed: f64) -> u64 {
        let (packets, burst) = (stretch.events(elapsed), self.burst as f64);
        // A burst is due when the schedule reaches its first packet. A schedule that rests before that packet
        // does not reach it.
        let bursts = if stretch.rate(elapsed) > 0.0 {
            ((if self.burst == 1 { packets } else { packets / burst }) as u64).saturating_add(1)
        } else {
            (packets / burst - ROUNDING).ceil() as u64
        };
        bursts.saturating_mul(self.burst)
    }

    /// Packets scheduled in the last `ticks` before `elapsed`, or since the start.
    #[inline]
    fn lately(&self, stretch: &Stretch, elapsed: f64, ticks: f64) -> f64 {
        if elapsed - stretch.begins >= ticks {
            ticks * stretch.rate(elapsed - 0.5 * ticks)
        } else {
            stretch.events(elapsed) - self.schedule.events((elapsed - ticks).max(0.0))
        }
    }

    /// Highest rate of the last 0.1 s, in packets per tick.
    #[inline]
    fn highest_rate(&self, stretch: &Stretch, elapsed: f64) -> f64 {
        let from = elapsed - self.longest_debt;
        let highest = stretch.rate(elapsed).max(stretch.rate(from.max(stretch.begins)));
        if from >= stretch.begins { highest } else { self.highest_rate_before(from, highest) }
    }

    /// The same, including the stretches before this one.
    #[cold]
    fn highest_rate_before(&self, from: f64, highest: f64) -> f64 {
        let earlier =
            self.schedule.stretches().windows(2).take(self.at).rev().take_while(|pair| pair[1].begins > from);
        earlier.fold(highest, |highest, pair| {
            highest.max(pair[0].rate(pair[0].begins.max(from))).max(pair[0].rate(pair[1].begins))
        })
    }

    /// Packets that may leave now.
    #[inline]
    pub fn due(&mut self, now: u64) -> u64 {
        let elapsed = now.saturating_sub(self.start) as f64;
        let due = if self.schedule.repeats() {
            self.due_of_recording(elapsed)
        } else {
            self.due_of_stages(now, elapsed)
        };
        if due == 0 || self.windows.is_empty() { due } else { self.admitted(now, due) }
    }

    fn due_of_recording(&mut self, elapsed: f64) -> u64 {
        let scheduled = (self.schedule.events(elapsed) as u64).saturating_add(1);
        let due = scheduled.saturating_sub(self.accounted);
        if due > 0 && elapsed >= self.look_at {
            self.look_at_lateness(elapsed, due);
        }
        due
    }

    /// Notes how late the next packet of a recording is. Looks are 1 ms apart: a shorter lateness may be missed, a
    /// longer one is seen by at least one of them.
    #[cold]
    #[inline(never)]
    fn look_at_lateness(&mut self, elapsed: f64, due: u64) {
        self.look_at = elapsed + self.tick_hz * LATENESS_LOOK_S;
        let packets = due.min(self.wanted.saturating_sub(self.accounted));
        let ticks = self.schedule.time_of(self.accounted).map_or(0, |due_at| (elapsed - due_at) as u64);
        if packets > 0 && ticks > self.late.ticks {
            self.late = Late { ticks, packets };
        }
    }

    /// Largest lateness so far of packets of a recording, as far as it matters: above 10 ms. 0 for other loads,
    /// whose debts are bounded.
    pub fn late(&self) -> Late {
        if self.late.ticks as f64 > self.at_once { self.late } else { Late::default() }
    }

    #[inline]
    fn due_of_stages(&mut self, now: u64, elapsed: f64) -> u64 {
        let stretches = self.schedule.stretches();
        while stretches.get(self.at + 1).is_some_and(|next| next.begins <= elapsed) {
            self.at += 1;
        }
        let Some(stretch) = stretches.get(self.at).copied() else { return 0 };
        let scheduled = self.scheduled(&stretch, elapsed);
        let mut debt = scheduled.saturating_sub(self.accounted);
        if debt == 0 {
            return 0;
        }
        let at_once = self.lately(&stretch, elapsed, self.at_once);
        let longest = self.lately(&stretch, elapsed, self.longest_debt);
        let depth = at_once.min(AT_ONCE_PACKETS).max(AT_ONCE_BURSTS * self.burst as f64);
        // A resting load owes no packets of later times.
        let longest_debt = if stretch.rate(elapsed) > 0.0 { longest.max(depth) } else { longest.ceil() };
        let longest_debt = self.whole_bursts(longest_debt as u64).saturating_add(self.begun());
        if debt > longest_debt {
            self.accounted = scheduled - longest_debt;
            debt = longest_debt;
        }
        let refill =
            now.saturating_sub(self.refilled) as f64 * self.highest_rate(&stretch, elapsed) * CATCH_UP;
        self.tokens = (self.tokens + refill).min(depth);
        self.refilled = now;
        self.without_parts(debt.min(self.tokens as u64))
    }

    /// This number of packets, rounded up to whole bursts.
    fn whole_bursts(&self, packets: u64) -> u64 {
        if self.burst == 1 { packets } else { packets.div_ceil(self.burst).saturating_mul(self.burst) }
    }

    /// Remaining packets of a burst that is longer than the port accepts at once.
    #[inline]
    fn begun(&self) -> u64 {
        if self.burst == 1 { 0 } else { self.accounted.next_multiple_of(self.burst) - self.accounted }
    }

    /// This number of packets, without the part of a burst that would begin with the last of them.
    #[inline]
    fn without_parts(&self, packets: u64) -> u64 {
        if self.burst == 1 {
            return packets;
        }
        let rest = self.begun();
        if packets <= rest { packets } else { packets - (packets - rest) % self.burst }
    }

    /// Packets that the ceilings admit of those due.
    #[cold]
    #[inline(never)]
    fn admitted(&mut self, now: u64, due: u64) -> u64 {
        let admitted = self.windows.iter_mut().fold(due, |most, window| window.admits(now, most));
        self.without_parts(admitted)
    }

    /// Accounts for `packets` that were built for sending.
    #[inline]
    pub fn took(&mut self, packets: u64) {
        self.accounted += packets;
        self.tokens -= packets as f64;
    }

    /// True when the caller must report sent packets.
    pub fn has_ceilings(&self) -> bool {
        !self.windows.is_empty()
    }

    /// Records `packets` that the port has accepted by `now`.
    pub fn left(&mut self, now: u64, packets: u64) {
        self.windows.iter_mut().for_each(|window| window.left(now, packets));
    }

    /// Total packets due before `end`: at least as many as [`Self::due`] returned until then.
    pub fn scheduled_before(&self, end: u64) -> u64 {
        let Some(last) = end.saturating_sub(self.start).checked_sub(1) else { return 0 };
        let last = last as f64;
        if self.schedule.repeats() {
            return (self.schedule.events(last) as u64).saturating_add(1);
        }
        self.schedule.stretch_at(last).map_or(0, |stretch| self.scheduled(stretch, last))
    }
}

// Millions of polls of a schedule, which is arithmetic without unsafe or other threads: nothing that Miri could find.
#[cfg(all(test, not(miri)))]
mod tests;
