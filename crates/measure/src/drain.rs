//! End of reception: a receiver is done when its counters come to rest, rather than after a fixed sleep.
//!
//! Rest counts from the first arrival on: before it, packets may still be on a long path, and only the time
//! limit ends the drain. The necessary rest depends on the path: a packet that arrives some time after the
//! drain began has been in flight for at least that time, so the rest must last twice as long. A complete
//! drain also ends with a short rest, because duplicates of the last packets arrive after them.

use linerate_wire::counters::ReceiveCounters;
use linerate_wire::report::Ended;
use linerate_wire::trial::Drain;

/// Monitor of a receiver's progress after its transmitter has ended.
#[derive(Debug, Clone, Copy)]
pub struct Drainer {
    drain: Drain,
    began_ns: u64,
    /// Packets of the trial at the last look; `None` before the first one.
    progress: Option<u64>,
    /// Time of the last observed arrival of the trial's packets; until then, the beginning.
    moved_ns: u64,
}

/// Packets of the trial that have arrived, in any condition.
fn progress(received: &ReceiveCounters) -> u64 {
    received.packets + received.duplicates + received.bad_checksums + received.bad_probes
}

impl Drainer {
    /// Starts the monitor at `now_ns` of a monotonic clock.
    pub fn new(drain: Drain, now_ns: u64) -> Self {
        Self { drain, began_ns: now_ns, progress: None, moved_ns: now_ns }
    }

    /// Time of the last arrival, on the clock of the looks; the beginning when no packet arrived since.
    pub fn last_arrival_ns(&self) -> u64 {
        self.moved_ns
    }

    /// Checks the counters. `Some` with the reason when the drain is over.
    pub fn look(&mut self, now_ns: u64, received: &ReceiveCounters) -> Option<Ended> {
        let progress = progress(received);
        if self.progress.replace(progress).is_some_and(|before| before != progress) {
            self.moved_ns = now_ns;
        }
        let rest_ns = now_ns.saturating_sub(self.moved_ns);
        let expired = now_ns.saturating_sub(self.began_ns) >= self.drain.limit_ns();
        if received.packets >= self.drain.expected_packets {
            return (rest_ns >= self.drain.tail_ns() || expired).then_some(Ended::Packets);
        }
        let settle_ns = self.drain.settle_ns();
        if progress > 0 && rest_ns >= settle_ns.max((self.moved_ns - self.began_ns).saturating_mul(2)) {
            return Some(Ended::Settled);
        }
        expired.then_some(if rest_ns >= settle_ns { Ended::Settled } else { Ended::Expired })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const DRAIN: Drain = Drain {
        expected_packets: 100,
        settle_ms: 50,
        limit_ms: 1_000,
        path_delay_ns: 0,
        path_variation_ns: 0,
        gap_ns: 0,
    };

    fn packets(packets: u64) -> ReceiveCounters {
        ReceiveCounters { packets, ..ReceiveCounters::default() }
    }

    #[test]
    fn complete_receipt_ends_it_after_a_short_rest() {
        let mut drainer = Drainer::new(DRAIN, 0);
        assert_eq!(drainer.look(0, &packets(100)), None);
        assert_eq!(drainer.look(5 * MS, &packets(100)), Some(Ended::Packets));
    }

    #[test]
    fn duplicates_of_the_last_packets_are_waited_for() {
        let mut drainer = Drainer::new(Drain { path_variation_ns: 10 * MS, ..DRAIN }, 0);
        assert_eq!(drainer.look(0, &packets(99)), None);
        assert_eq!(drainer.look(2 * MS, &packets(100)), None);
        assert_eq!(drainer.look(21 * MS, &packets(100)), None);
        let duplicate = ReceiveCounters { duplicates: 1, ..packets(100) };
        assert_eq!(drainer.look(21 * MS, &duplicate), None);
        assert_eq!(drainer.look(40 * MS, &duplicate), None);
        assert_eq!(drainer.look(41 * MS, &duplicate), Some(Ended::Packets));
    }

    #[test]
    fn rest_ends_it_after_the_settling_time() {
        let mut drainer = Drainer::new(DRAIN, 0);
        assert_eq!(drainer.look(0, &packets(80)), None);
        assert_eq!(drainer.look(10 * MS, &packets(90)), None);
        assert_eq!(drainer.look(59 * MS, &packets(90)), None);
        assert_eq!(drainer.look(60 * MS, &packets(90)), Some(Ended::Settled));
    }

    #[test]
    fn rest_does_not_count_before_the_first_arrival() {
        let mut drainer = Drainer::new(DRAIN, 0);
        assert!((0..60).all(|i| drainer.look(i * 10 * MS, &packets(0)).is_none()));
        // The path takes 600 ms, which is unknown: late packets are still counted.
        assert_eq!(drainer.look(600 * MS, &packets(1)), None);
        assert_eq!(drainer.look(999 * MS, &packets(1)), None);
        assert_eq!(drainer.look(1_000 * MS, &packets(1)), Some(Ended::Settled));
        let mut silent = Drainer::new(DRAIN, 0);
        assert_eq!(silent.look(999 * MS, &packets(0)), None);
        assert_eq!(silent.look(1_000 * MS, &packets(0)), Some(Ended::Settled));
    }

    #[test]
    fn damaged_packets_are_arrivals() {
        let mut drainer = Drainer::new(DRAIN, 0);
        let damaged = ReceiveCounters { bad_checksums: 100, ..packets(0) };
        assert_eq!(drainer.look(0, &damaged), None);
        assert_eq!(drainer.look(50 * MS, &damaged), Some(Ended::Settled));
    }

    #[test]
    fn a_path_that_is_known_to_be_long_gets_its_time() {
        let mut drainer = Drainer::new(Drain { path_delay_ns: 700 * MS, ..DRAIN }, 0);
        assert_eq!(drainer.look(0, &packets(10)), None);
        assert_eq!(drainer.look(10 * MS, &packets(11)), None);
        assert_eq!(drainer.look(1_409 * MS, &packets(11)), None);
        assert_eq!(drainer.look(1_410 * MS, &packets(11)), Some(Ended::Settled));
    }

    #[test]
    fn a_trickle_cannot_hold_it_beyond_the_limit() {
        let mut drainer = Drainer::new(DRAIN, 0);
        assert!((1..100).all(|i| drainer.look(i * 10 * MS, &packets(i / 2)).is_none()));
        assert_eq!(drainer.look(1_000 * MS, &packets(60)), Some(Ended::Expired));
    }
}
