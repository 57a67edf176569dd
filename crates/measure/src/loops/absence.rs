//! Time in which a receiving loop did not look at its queues.

use super::queue::Clock;

/// Shortest time between two looks that counts as an absence, in seconds: many times what a burst takes, and
/// far less than the ring of any port holds at rates that one lcore receives.
const SHORTEST_S: f64 = 100e-6;

/// Absences of a receiving loop: stretches between two looks at its queues in which another thread had its CPU.
/// A ring that fills meanwhile overflows, at the port or in the device before it.
#[derive(Debug)]
pub(super) struct Absence {
    last: u64,
    shortest: u64,
    /// Absences since the latest packet; the ones before the first packet lost nothing.
    pending: u64,
    has_packets: bool,
    ticks: u64,
    longest: u64,
}

impl Absence {
    pub(super) fn new(clock: &impl Clock) -> Self {
        let shortest = (clock.tick_hz() as f64 * SHORTEST_S) as u64;
        // Not zero, so that the first packet is noticed.
        Self { last: clock.ticks(), shortest, pending: 1, has_packets: false, ticks: 0, longest: 0 }
    }

    /// The loop looked at its queues.
    #[inline(always)]
    pub(super) fn look(&mut self, now: u64) {
        let gap = now.saturating_sub(self.last);
        self.last = now;
        if gap > self.shortest {
            self.was_away(gap);
        }
    }

    /// The latest look found packets.
    #[inline(always)]
    pub(super) fn arrived(&mut self) {
        if self.pending != 0 {
            self.settle();
        }
    }

    /// Ticks of all absences between the first packet and the last.
    pub(super) fn ticks(&self) -> u64 {
        self.ticks
    }

    /// The longest of all absences in ticks; 0 without any.
    pub(super) fn longest(&self) -> u64 {
        self.longest
    }

    #[cold]
    #[inline(never)]
    fn was_away(&mut self, gap: u64) {
        self.pending += gap;
        self.longest = self.longest.max(gap);
    }

    #[cold]
    #[inline(never)]
    fn settle(&mut self) {
        if self.has_packets {
            self.ticks += self.pending;
        }
        (self.has_packets, self.pending) = (true, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[derive(Default)]
    struct Stopped(Cell<u64>);

    impl Clock for Stopped {
        fn ticks(&self) -> u64 {
            self.0.get()
        }
        fn tick_hz(&self) -> u64 {
            1_000_000
        }
    }

    #[test]
    fn absences_between_the_first_packet_and_the_last_count() {
        let mut absence = Absence::new(&Stopped::default());
        // (time in microseconds, packets arrived, absences so far)
        for (now, arrived, expected) in [
            (5_000, false, 0),
            (5_100, true, 0),
            (5_200, true, 0),
            (5_301, true, 101),
            (9_000, false, 101),
            (9_050, false, 101),
            (9_060, true, 3_800),
            (12_000, false, 3_800),
        ] {
            absence.look(now);
            if arrived {
                absence.arrived();
            }
            assert_eq!(absence.ticks(), expected, "at {now}");
        }
        assert_eq!(absence.longest(), 5_000);
    }
}
