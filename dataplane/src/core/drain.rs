//! When a receiver has received what will come: counters that settle, instead of a fixed sleep.

use linerate_protocol::report::Ended;
use linerate_protocol::trial::Drain;

/// Watches a receiver's progress after its transmitter has ended.
#[derive(Debug, Clone, Copy)]
pub struct Drainer {
    drain: Drain,
    began_ns: u64,
    progress: u64,
    moved_ns: u64,
}

impl Drainer {
    /// Begins to watch at `now_ns` of a monotonic clock.
    pub fn new(drain: Drain, now_ns: u64) -> Self {
        Self { drain, began_ns: now_ns, progress: 0, moved_ns: now_ns }
    }

    /// Looks at the counters: `received` first copies, `progress` frames of the trial in all. `Some` when the drain is over.
    pub fn look(&mut self, now_ns: u64, received: u64, progress: u64) -> Option<Ended> {
        if received >= self.drain.expected_packets {
            return Some(Ended::Packets);
        }
        if progress != self.progress {
            self.progress = progress;
            self.moved_ns = now_ns;
        }
        let passed_ms = |since: u64| now_ns.saturating_sub(since) / 1_000_000;
        let settled = passed_ms(self.moved_ns) >= u64::from(self.drain.settle_ms);
        let expired = passed_ms(self.began_ns) >= u64::from(self.drain.limit_ms);
        if settled { Some(Ended::Settled) } else { expired.then_some(Ended::Expired) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn drainer() -> Drainer {
        Drainer::new(Drain { expected_packets: 100, settle_ms: 50, limit_ms: 200 }, 0)
    }

    #[test]
    fn complete_receipt_ends_it_at_once() {
        assert_eq!(drainer().look(0, 100, 100), Some(Ended::Packets));
    }

    #[test]
    fn silence_ends_it_after_the_settling_time() {
        let mut drainer = drainer();
        assert_eq!(drainer.look(10 * MS, 90, 90), None);
        assert_eq!(drainer.look(59 * MS, 90, 90), None);
        assert_eq!(drainer.look(60 * MS, 90, 90), Some(Ended::Settled));
    }

    #[test]
    fn a_trickle_cannot_hold_it_beyond_the_limit() {
        let mut drainer = drainer();
        assert!((1..20).all(|i| drainer.look(i * 10 * MS, 10, i).is_none()));
        assert_eq!(drainer.look(200 * MS, 10, 99), Some(Ended::Expired));
    }
}
