//! Time in which a receiving loop did not look at its queues.

use linerate_wire::time::{ABSENCE_LENGTHS, Absences};

use super::queue::Clock;

/// Shortest time between two looks that counts as an absence, in seconds: many times what a burst takes, and
/// far less than the ring of any port holds at rates that one lcore receives.
const SHORTEST_S: f64 = 100e-6;
/// The same in looks of an idle loop, which may sleep between them.
const SHORTEST_LOOKS: f64 = 2.0;

/// Absences of a receiving loop: stretches between two looks at its queues in which another thread had its CPU.
/// A ring that fills meanwhile overflows, at the port or in the device before it.
#[derive(Debug)]
pub(super) struct AbsenceLog {
    last: u64,
    tick_hz: u64,
    shortest: u64,
    /// Absences since the latest packet, by length; those before the first packet lost nothing.
    pending: [u64; ABSENCE_LENGTHS],
    is_pending: bool,
    has_packets: bool,
    /// Ticks of absences between the first packet and the last, by length.
    ticks: [u64; ABSENCE_LENGTHS],
}

impl AbsenceLog {
    pub(super) fn new(clock: &impl Clock) -> Self {
        let shortest_s = SHORTEST_S.max(SHORTEST_LOOKS * clock.longest_look_s());
        Self {
            last: clock.ticks(),
            tick_hz: clock.tick_hz(),
            shortest: (clock.tick_hz() as f64 * shortest_s) as u64,
            pending: [0; ABSENCE_LENGTHS],
            // So that the first packet is noticed.
            is_pending: true,
            has_packets: false,
            ticks: [0; ABSENCE_LENGTHS],
        }
    }

    /// The loop looked at its queues, or was busy with what it had taken from them.
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
        if self.is_pending {
            self.settle();
        }
    }

    /// The absences between the first packet and the last.
    pub(super) fn absences(&self) -> Absences {
        let seconds = |ticks: u64| ticks as f64 / self.tick_hz.max(1) as f64;
        Absences { shortest_s: seconds(self.shortest), by_length_s: self.ticks.map(seconds) }
    }

    #[cold]
    #[inline(never)]
    fn was_away(&mut self, gap: u64) {
        let length = (gap / self.shortest.max(1)).max(1).ilog2() as usize;
        self.pending[length.min(ABSENCE_LENGTHS - 1)] += gap;
        self.is_pending = true;
    }

    #[cold]
    #[inline(never)]
    fn settle(&mut self) {
        if self.has_packets {
            for (sum, pending) in self.ticks.iter_mut().zip(self.pending) {
                *sum += pending;
            }
        }
        (self.has_packets, self.is_pending, self.pending) = (true, false, [0; ABSENCE_LENGTHS]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stopped {
        look_s: f64,
    }

    impl Clock for Stopped {
        fn ticks(&self) -> u64 {
            0
        }
        fn tick_hz(&self) -> u64 {
            1_000_000
        }
        fn longest_look_s(&self) -> f64 {
            self.look_s
        }
    }

    fn lengths(log: &AbsenceLog) -> Vec<u64> {
        let seconds = log.absences().by_length_s;
        let mut micros: Vec<u64> = seconds.iter().map(|seconds| (seconds * 1e6).round() as u64).collect();
        micros.truncate(micros.iter().rposition(|one| *one > 0).map_or(0, |last| last + 1));
        micros
    }

    #[test]
    fn absences_between_the_first_packet_and_the_last_count_by_length() {
        let mut log = AbsenceLog::new(&Stopped { look_s: 2e-6 });
        // (time in microseconds, packets arrived, absences so far)
        for (now, arrived, expected) in [
            (5_000, false, vec![]),
            (5_100, true, vec![]),
            (5_200, true, vec![]),
            (5_301, true, vec![101]),
            (5_500, false, vec![101]),
            (5_510, true, vec![300]),
            (6_000, true, vec![300, 0, 490]),
            (12_000, false, vec![300, 0, 490]),
        ] {
            log.look(now);
            if arrived {
                log.arrived();
            }
            assert_eq!(lengths(&log), expected, "at {now}");
        }
    }

    #[test]
    fn naps_of_a_loop_that_sleeps_are_no_absences() {
        let mut log = AbsenceLog::new(&Stopped { look_s: 200e-6 });
        log.arrived();
        log.look(390);
        log.arrived();
        assert_eq!(lengths(&log), Vec::<u64>::new());
        log.look(100_000_000);
        log.arrived();
        assert_eq!(lengths(&log), [vec![0; ABSENCE_LENGTHS - 1], vec![99_999_610]].concat());
    }
}
