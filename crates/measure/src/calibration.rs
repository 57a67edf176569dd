//! Calibration of a counter's frequency against the kernel's raw monotonic clock. Pure.
//!
//! A frequency follows from two pairs of readings, each of the counter and the clock. The two readings of a
//! pair are not simultaneous: the clock is read before and after the counter, and half of the time between is
//! the uncertainty of the pair. The tightest of several tries is used, so a preemption or a stolen CPU shows
//! in the uncertainty. The bound of the frequency is the sum of both pairs' uncertainties divided by the time
//! between the pairs: 100 ns in total are 1 ppm after 0.1 s and 0.01 ppm after 10 s.

use linerate_wire::time::{ClockReading, TickRate};

/// Change of the frequency, beyond both uncertainties, from which the counter counts as changed, in parts per
/// million.
const CHANGE_PPM: f64 = 20.0;
/// After a counter was set back it is measured anew; the earlier frequency applies until the new bound is at
/// most this, in parts per million.
const FINE_PPM: f64 = 2.5;
/// Shortest stretch from which a change of the counter's frequency is judged; shorter ones are too coarse.
const SHORTEST_JUDGED_NS: u64 = 10_000_000;

/// The tightest of several readings of both clocks: `read` returns the raw monotonic clock before, the
/// counter, and the clock after it.
pub fn tightest(tries: u32, mut read: impl FnMut() -> (u64, u64, u64)) -> ClockReading {
    let mut best: Option<ClockReading> = None;
    for _ in 0..tries.max(1) {
        let (before_ns, ticks, after_ns) = read();
        let width_ns = after_ns.saturating_sub(before_ns);
        let reading = ClockReading {
            ticks,
            raw_ns: before_ns + width_ns / 2,
            // The clock's resolution of a nanosecond adds to the uncertainty.
            uncertainty_ns: width_ns / 2 + 1,
        };
        if best.is_none_or(|best| reading.uncertainty_ns < best.uncertainty_ns) {
            best = Some(reading);
        }
    }
    best.unwrap_or_default()
}

/// Irregularity of a counter that is expected to run at a constant frequency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClockEvent {
    /// The frequency changed.
    Changed {
        /// Frequency before.
        before: TickRate,
        /// Frequency after the change.
        now: TickRate,
    },
    /// The counter went backwards, so the stretch could not be measured. The earlier frequency is kept.
    SetBack {
        /// Ticks at the earlier reading.
        from: u64,
        /// Ticks at the later one.
        to: u64,
    },
}

/// Number of a clock's events, and the last one. A later comparison with a copy shows the events in between.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClockEvents {
    count: u64,
    last: Option<ClockEvent>,
}

impl ClockEvents {
    /// The last event after `earlier`; `None` when there was none.
    pub fn since(&self, earlier: &Self) -> Option<ClockEvent> {
        self.last.filter(|_| self.count != earlier.count)
    }
}

/// The frequency of a counter, measured since `first`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    stated_hz: u64,
    first: ClockReading,
    last: ClockReading,
    rate: TickRate,
    events: ClockEvents,
    /// The frequency dates from before the counter was set back; the next good measurement replaces it.
    kept: bool,
}

impl Calibration {
    /// A calibration from two readings. `stated_hz` is DPDK's frequency.
    pub fn new(stated_hz: u64, first: ClockReading, second: ClockReading) -> Self {
        // A counter set back between the two readings is measured from the second one on.
        let first = if second.ticks < first.ticks { second } else { first };
        let rate = rate(stated_hz, first, second);
        Self { stated_hz, first, last: second, rate, events: ClockEvents::default(), kept: false }
    }

    /// The frequency as known now.
    pub fn rate(&self) -> TickRate {
        self.rate
    }

    /// The counter's events so far.
    pub fn events(&self) -> ClockEvents {
        self.events
    }

    /// Adds a later reading. A counter whose frequency changed since the last reading (a machine that
    /// migrated to another host, a counter that follows the CPU's frequency) is measured anew from the last
    /// reading on. A counter that was set back keeps its earlier frequency until a new measurement is
    /// possible. Both cases are recorded in [`Self::events`].
    pub fn refine(&mut self, now: ClockReading) {
        if now.raw_ns <= self.last.raw_ns {
            return;
        }
        if now.ticks < self.last.ticks {
            self.note(ClockEvent::SetBack { from: self.last.ticks, to: now.ticks });
            (self.first, self.last, self.kept) = (now, now, true);
            return;
        }
        let before = self.rate;
        let lately = rate(self.stated_hz, self.last, now);
        let off_ppm = (lately.measured_hz as f64 / before.measured_hz.max(1) as f64 - 1.0).abs() * 1e6;
        let changed = now.raw_ns - self.last.raw_ns >= SHORTEST_JUDGED_NS
            && off_ppm > CHANGE_PPM + lately.uncertainty_ppm + before.uncertainty_ppm;
        if changed {
            self.first = self.last;
        }
        self.last = now;
        let measured = rate(self.stated_hz, self.first, now);
        self.kept &= !changed && measured.uncertainty_ppm > before.uncertainty_ppm.max(FINE_PPM);
        if !self.kept {
            self.rate = measured;
        }
        if changed {
            self.note(ClockEvent::Changed { before, now: measured });
        }
    }

    fn note(&mut self, event: ClockEvent) {
        self.events = ClockEvents { count: self.events.count + 1, last: Some(event) };
    }
}

fn rate(stated_hz: u64, from: ClockReading, to: ClockReading) -> TickRate {
    let (ticks, ns) = (to.ticks.saturating_sub(from.ticks), to.raw_ns.saturating_sub(from.raw_ns));
    if ticks == 0 || ns == 0 {
        // Without a measurement, DPDK's frequency applies, with an unbounded uncertainty.
        return TickRate::new(stated_hz, stated_hz, 1e6);
    }
    let measured_hz = (u128::from(ticks) * 1_000_000_000 + u128::from(ns / 2)) / u128::from(ns);
    let uncertainty_ppm = (from.uncertainty_ns + to.uncertainty_ns) as f64 / ns as f64 * 1e6;
    TickRate::new(stated_hz, measured_hz as u64, uncertainty_ppm)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 2_095_000_000;

    fn at(ms: u64, hz: u64, uncertainty_ns: u64) -> ClockReading {
        ClockReading { ticks: 77 + ms * hz / 1000, raw_ns: 5_000 + ms * 1_000_000, uncertainty_ns }
    }

    #[test]
    fn a_wrongly_stated_frequency_is_measured_within_its_bound() {
        for (ms, uncertainty_ns, bound_ppm) in [(20, 50, 5.0), (100, 50, 1.0), (10_000, 50, 0.01)] {
            let calibration = Calibration::new(
                2_100_000_000,
                at(0, HZ, uncertainty_ns),
                ClockReading { raw_ns: at(ms, HZ, 0).raw_ns + uncertainty_ns, ..at(ms, HZ, uncertainty_ns) },
            );
            let rate = calibration.rate();
            assert!((rate.uncertainty_ppm / bound_ppm - 1.0).abs() < 1e-3, "{rate}");
            let off_ppm = (rate.measured_hz as f64 / HZ as f64 - 1.0).abs() * 1e6;
            assert!(off_ppm <= bound_ppm + 0.001, "{off_ppm}: {rate}");
            assert!(
                rate.differs_from_stated() && (rate.difference_ppm - 2386.6).abs() < 2.0 * bound_ppm + 1.0,
                "{rate}"
            );
        }
    }

    #[test]
    fn of_several_tries_the_tightest_counts() {
        // A preemption of 4 ms between the first two readings, a slow read of 600 ns, then 40 ns.
        let mut tries =
            [(0, 10, 4_000_000), (5_000_000, 20, 5_000_600), (6_000_000, 30, 6_000_040)].into_iter();
        let reading = tightest(3, || tries.next().unwrap());
        assert_eq!(reading, ClockReading { ticks: 30, raw_ns: 6_000_020, uncertainty_ns: 21 });
    }

    #[test]
    fn the_frequency_gets_better_with_time_and_follows_a_counter_that_changes() {
        let mut calibration = Calibration::new(HZ, at(0, HZ, 50), at(100, HZ, 50));
        calibration.refine(at(1_000, HZ, 50));
        let before = calibration.events();
        assert_eq!(before, ClockEvents::default());
        assert!((calibration.rate().uncertainty_ppm - 0.1).abs() < 1e-9);
        let moved = ClockReading {
            ticks: at(1_000, HZ, 0).ticks + 3_000_000_000,
            raw_ns: at(2_000, HZ, 0).raw_ns,
            uncertainty_ns: 50,
        };
        calibration.refine(moved);
        let event = calibration.events().since(&before);
        assert!(
            matches!(event, Some(ClockEvent::Changed { before, now }) if (before.measured_hz, now.measured_hz) == (HZ, 3_000_000_000)),
            "{event:?}"
        );
        assert_eq!(calibration.rate().measured_hz, 3_000_000_000);
        // A stretch that is too short to judge, and a reading that is not later.
        let after = calibration.events();
        calibration.refine(moved);
        assert_eq!((calibration.events().since(&after), calibration.events().since(&before)), (None, event));
    }

    #[test]
    fn a_counter_that_is_set_back_is_not_measured_until_it_can_be() {
        // The counter shows these ticks instead, from the second reading on.
        for shown in [0, 76, at(999, HZ, 0).ticks] {
            let mut calibration = Calibration::new(2_100_000_000, at(0, HZ, 50), at(1_000, HZ, 50));
            let known = calibration.rate();
            let set_back = |ms: u64| ClockReading {
                ticks: at(ms, HZ, 0).ticks - at(1_010, HZ, 0).ticks + shown,
                ..at(ms, HZ, 50)
            };
            let before = calibration.events();
            calibration.refine(set_back(1_010));
            let from = at(1_000, HZ, 0).ticks;
            assert_eq!(calibration.events().since(&before), Some(ClockEvent::SetBack { from, to: shown }));
            assert_eq!(calibration.rate(), known);
            // 10 ms give a bound of 10 ppm, 40 ms one of 2.5 ppm.
            let event = calibration.events();
            calibration.refine(set_back(1_020));
            assert_eq!(calibration.rate(), known);
            calibration.refine(set_back(1_050));
            assert_eq!(calibration.events().since(&event), None);
            let rate = calibration.rate();
            assert!((rate.uncertainty_ppm - 2.5).abs() < 1e-6 && rate.measured_hz == HZ, "{rate}");
        }
        // Set back before the first frequency was known.
        let mut calibration = Calibration::new(
            2_100_000_000,
            ClockReading { ticks: u64::MAX, ..at(0, HZ, 50) },
            at(10, HZ, 50),
        );
        assert_eq!(
            (calibration.rate().measured_hz, calibration.rate().uncertainty_ppm),
            (2_100_000_000, 1e6)
        );
        calibration.refine(at(110, HZ, 50));
        assert_eq!((calibration.rate().measured_hz, calibration.events()), (HZ, ClockEvents::default()));
    }
}
