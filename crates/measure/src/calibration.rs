//! The counter's frequency, measured against the kernel's raw monotonic clock. Pure.
//!
//! Two pairs of readings, each of the counter and of the clock, give a frequency. The two readings of a pair are not of one instant: the
//! clock is read before and after the counter, and half of the time between is what the pair may be off. Of several tries the tightest
//! counts, so that neither a preemption nor a stolen CPU gets in unseen. The bound of the frequency is the sum of both pairs' bounds by the
//! time between the pairs: 100 ns in all are 1 ppm after 0.1 s and 0.01 ppm after 10 s.

use linerate_wire::time::{ClockReading, TickRate};

/// A trial whose own frequency is off the one known before by more than this, beyond both uncertainties, had another counter.
const CHANGE_PPM: f64 = 20.0;
/// Shorter stretches are too coarse to judge whether the counter has changed.
const SHORTEST_JUDGED_NS: u64 = 10_000_000;

/// The tightest of several tries to read both clocks: `read` gives the raw monotonic clock before, the counter, and the clock after it.
pub fn tightest(tries: u32, mut read: impl FnMut() -> (u64, u64, u64)) -> ClockReading {
    let mut best: Option<ClockReading> = None;
    for _ in 0..tries.max(1) {
        let (before_ns, ticks, after_ns) = read();
        let width_ns = after_ns.saturating_sub(before_ns);
        let reading = ClockReading {
            ticks,
            raw_ns: before_ns + width_ns / 2,
            // The clock's own step of a nanosecond counts, too.
            uncertainty_ns: width_ns / 2 + 1,
        };
        if best.is_none_or(|best| reading.uncertainty_ns < best.uncertainty_ns) {
            best = Some(reading);
        }
    }
    best.unwrap_or_default()
}

/// The frequency of a counter, measured since `first`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    told_hz: u64,
    first: ClockReading,
    last: ClockReading,
    rate: TickRate,
}

impl Calibration {
    /// A calibration between two readings. `told_hz` is what DPDK says.
    pub fn new(told_hz: u64, first: ClockReading, second: ClockReading) -> Self {
        Self { told_hz, first, last: second, rate: rate(told_hz, first, second) }
    }

    /// What is known now.
    pub fn rate(&self) -> TickRate {
        self.rate
    }

    /// Takes a later reading. A counter that has run at another frequency since the last reading (a machine that moved to another host, a
    /// counter that follows the CPU's frequency) is measured anew from the last reading on; returns its earlier frequency then.
    pub fn refine(&mut self, now: ClockReading) -> Option<TickRate> {
        if now.raw_ns <= self.last.raw_ns {
            return None;
        }
        let before = self.rate;
        let lately = rate(self.told_hz, self.last, now);
        let off_ppm = (lately.measured_hz as f64 / before.measured_hz.max(1) as f64 - 1.0).abs() * 1e6;
        let changed = now.raw_ns - self.last.raw_ns >= SHORTEST_JUDGED_NS
            && off_ppm > CHANGE_PPM + lately.uncertainty_ppm + before.uncertainty_ppm;
        if changed {
            self.first = self.last;
        }
        self.last = now;
        self.rate = rate(self.told_hz, self.first, now);
        changed.then_some(before)
    }
}

fn rate(told_hz: u64, from: ClockReading, to: ClockReading) -> TickRate {
    let (ticks, ns) = (to.ticks.saturating_sub(from.ticks), to.raw_ns.saturating_sub(from.raw_ns));
    if ticks == 0 || ns == 0 {
        // Nothing was measured: what is told has to do, and nothing bounds it.
        return TickRate::new(told_hz, told_hz, 1e6);
    }
    let measured_hz = (u128::from(ticks) * 1_000_000_000 + u128::from(ns / 2)) / u128::from(ns);
    let uncertainty_ppm = (from.uncertainty_ns + to.uncertainty_ns) as f64 / ns as f64 * 1e6;
    TickRate::new(told_hz, measured_hz as u64, uncertainty_ppm)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 2_095_000_000;

    fn at(ms: u64, hz: u64, uncertainty_ns: u64) -> ClockReading {
        ClockReading { ticks: 77 + ms * hz / 1000, raw_ns: 5_000 + ms * 1_000_000, uncertainty_ns }
    }

    #[test]
    fn a_frequency_that_is_told_wrong_is_measured_right_within_its_bound() {
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
                rate.is_told_wrong() && (rate.difference_ppm - 2386.6).abs() < 2.0 * bound_ppm + 1.0,
                "{rate}"
            );
        }
    }

    #[test]
    fn of_several_tries_the_tightest_counts() {
        // A preemption of 4 ms between the first two readings, 600 ns of a slow read, 40 ns.
        let mut tries =
            [(0, 10, 4_000_000), (5_000_000, 20, 5_000_600), (6_000_000, 30, 6_000_040)].into_iter();
        let reading = tightest(3, || tries.next().unwrap());
        assert_eq!(reading, ClockReading { ticks: 30, raw_ns: 6_000_020, uncertainty_ns: 21 });
    }

    #[test]
    fn the_frequency_gets_better_with_time_and_follows_a_counter_that_changes() {
        let mut calibration = Calibration::new(HZ, at(0, HZ, 50), at(100, HZ, 50));
        assert_eq!(calibration.refine(at(1_000, HZ, 50)), None);
        assert!((calibration.rate().uncertainty_ppm - 0.1).abs() < 1e-9);
        let moved = ClockReading {
            ticks: at(1_000, HZ, 0).ticks + 3_000_000_000,
            raw_ns: at(2_000, HZ, 0).raw_ns,
            uncertainty_ns: 50,
        };
        assert_eq!(calibration.refine(moved).map(|before| before.measured_hz), Some(HZ));
        assert_eq!(calibration.rate().measured_hz, 3_000_000_000);
        // A stretch too short to tell, and a reading that is not later.
        assert_eq!(calibration.refine(moved), None);
    }
}
