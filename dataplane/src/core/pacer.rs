//! When to send: an exact average rate, without bursts after a stall.
//!
//! Two limits apply together. The *schedule* says how many packets should have left since the start; it makes the average exact over any
//! time. The *spacing* is a token bucket a little faster than the rate and a few packets deep; it keeps a worker that was held up
//! from sending its debt at once: the debt is paid back at 10 % above the rate. A debt of more than a tenth of a second is forgiven, and counted.

/// How much faster than the rate a debt is paid back.
const CATCH_UP: f64 = 1.1;
/// Longest stall that is made good, in seconds.
const LONGEST_DEBT_S: f64 = 0.1;
/// How much of the traffic may leave back to back, in seconds: a burst that a polling loop needs at high rates.
const BURST_S: f64 = 10e-6;
/// Bounds of what may leave back to back, in packets.
const BURST_PACKETS: (f64, f64) = (1.0, 64.0);

/// Says how many packets are due. Works on any clock of ticks.
#[derive(Debug)]
pub struct Pacer {
    packets_per_tick: f64,
    start: u64,
    /// Packets of the schedule that are sent or forgiven.
    accounted: u64,
    longest_debt: u64,
    depth: f64,
    tokens: f64,
    refilled: u64,
}

impl Pacer {
    /// A pacer for `pps` packets per second on a clock of `tick_hz`, beginning at `now`: the first packet is due at once.
    pub fn new(pps: f64, tick_hz: u64, now: u64) -> Self {
        let depth = (pps * BURST_S).clamp(BURST_PACKETS.0, BURST_PACKETS.1);
        Self {
            packets_per_tick: pps / tick_hz as f64,
            start: now,
            accounted: 0,
            longest_debt: (pps * LONGEST_DEBT_S).max(depth) as u64,
            depth,
            tokens: depth,
            refilled: now,
        }
    }

    /// Packets that may leave now.
    #[inline]
    pub fn due(&mut self, now: u64) -> u64 {
        let scheduled =
            ((now.saturating_sub(self.start) as f64 * self.packets_per_tick) as u64).saturating_add(1);
        let mut debt = scheduled.saturating_sub(self.accounted);
        if debt == 0 {
            return 0;
        }
        if debt > self.longest_debt {
            self.accounted = scheduled - self.longest_debt;
            debt = self.longest_debt;
        }
        let refill = now.saturating_sub(self.refilled) as f64 * self.packets_per_tick * CATCH_UP;
        self.tokens = (self.tokens + refill).min(self.depth);
        self.refilled = now;
        debt.min(self.tokens as u64)
    }

    /// Accounts for `packets` that were built for sending.
    #[inline]
    pub fn took(&mut self, packets: u64) {
        self.accounted += packets;
        self.tokens -= packets as f64;
    }

    /// Packets that the schedule had before `end`.
    pub fn scheduled_before(&self, end: u64) -> u64 {
        // A packet due exactly at the end is not among them, whichever way the product rounds.
        const ROUNDING: f64 = 1e-3;
        (end.saturating_sub(self.start) as f64 * self.packets_per_tick - ROUNDING).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 1_000_000_000;

    /// Sends whatever is due every `step` ticks until `end`; returns the packets and the largest number due at once.
    fn run(pacer: &mut Pacer, from: u64, end: u64, step: u64) -> (u64, u64) {
        let (mut sent, mut largest) = (0, 0);
        for now in (from..end).step_by(step as usize) {
            let due = pacer.due(now);
            pacer.took(due);
            sent += due;
            largest = largest.max(due);
        }
        (sent, largest)
    }

    #[test]
    fn the_average_is_exact_from_one_packet_per_second_to_many() {
        for (pps, step) in
            [(1.0, 1_000_000), (3.0, 999_983), (1000.0, 10_000), (1.234_567e6, 700), (20e6, 1000)]
        {
            let mut pacer = Pacer::new(pps, HZ, 5);
            let (sent, _) = run(&mut pacer, 5, 5 + 2 * HZ, step);
            assert!((sent as f64 - 2.0 * pps).abs() <= 1.0 + pps * step as f64 / HZ as f64, "{pps}: {sent}");
            assert_eq!(pacer.scheduled_before(5 + 2 * HZ), (2.0 * pps) as u64);
        }
    }

    #[test]
    fn the_first_packet_is_due_at_once_and_the_second_one_interval_later() {
        let mut pacer = Pacer::new(10.0, HZ, 1000);
        assert_eq!(pacer.due(1000), 1);
        pacer.took(1);
        assert_eq!(pacer.due(1000 + HZ / 10 - 1), 0);
        assert_eq!(pacer.due(1000 + HZ / 10), 1);
    }

    #[test]
    fn a_stall_is_paid_back_slowly_and_completely() {
        let mut pacer = Pacer::new(1e6, HZ, 0);
        run(&mut pacer, 0, HZ / 10, 1000);
        // 5 ms held up: 5,000 packets of debt, at most ten at a time, paid back at 10 % within 50 ms.
        let (sent, largest) = run(&mut pacer, HZ / 10 + 5_000_000, HZ / 5, 1000);
        assert!(largest <= 10, "{largest}");
        assert!((sent as i64 - 100_000).abs() <= 2, "{sent}");
    }

    #[test]
    fn a_long_stall_is_forgiven() {
        let mut pacer = Pacer::new(1e6, HZ, 0);
        let (before, _) = run(&mut pacer, 0, HZ / 10, 1000);
        let (after, largest) = run(&mut pacer, HZ / 10 + 3 * HZ, 5 * HZ, 1000);
        assert!(largest <= 10, "{largest}");
        // 1.9 s at the rate, and at most 100 ms of debt.
        assert!((after as i64 - 2_000_000).abs() <= 2, "{after}");
        let forgone = pacer.scheduled_before(5 * HZ) - before - after;
        assert!((forgone as i64 - 2_900_000).abs() <= 2, "{forgone}");
    }

    #[test]
    fn an_absurd_rate_is_only_fast() {
        let mut pacer = Pacer::new(1e300, HZ, 0);
        for now in [0, HZ, u64::MAX] {
            assert!(pacer.due(now) <= 64);
        }
    }
}
