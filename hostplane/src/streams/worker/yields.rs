//! When a sender gives up its CPU for a moment.
//!
//! Where both ends of a stream share a CPU, the receiver does not run before the sender sleeps, and a sender sleeps
//! only when every receive buffer is full: megabytes that have left the CPU's cache long before they are read. A
//! sender that yields after each few hundred kilobytes lets the receiver read what is still in the cache. Alone on a
//! CPU, as in front of a network card, a yield returns at once.

use linerate_agent::host::monotonic_ns;

/// Bytes between two yields, or a sleep and a yield: they stay in a CPU's L2 cache.
const YIELD_BYTES: u64 = 256 * 1024;
/// A receiver reads that much in far less time, so a longer yield went to another program, which keeps the CPU for its
/// whole time slice.
const LONG_NS: u64 = 2_000_000;
/// After a long yield there is none for that time: the other program takes no more than its fair share.
const PAUSE_NS: u64 = 100_000_000;

/// Yields of a worker that sends as fast as it can.
#[derive(Debug, Default)]
pub(super) struct Yields {
    /// Bytes since the last yield or sleep.
    written: u64,
    not_before_ns: u64,
}

impl Yields {
    /// Notes what a stream has written; yields when it is time, and tells the time after it.
    pub(super) fn wrote(&mut self, bytes: u64) -> Option<u64> {
        self.written += bytes;
        if self.written < YIELD_BYTES {
            return None;
        }
        self.written = 0;
        let before_ns = monotonic_ns();
        if before_ns < self.not_before_ns {
            return Some(before_ns);
        }
        rustix::thread::sched_yield();
        let after_ns = monotonic_ns();
        self.lasted(before_ns, after_ns);
        Some(after_ns)
    }

    /// The worker has nothing to do: others run without a yield.
    pub(super) fn sleeps(&mut self) {
        self.written = 0;
    }

    fn lasted(&mut self, from_ns: u64, to_ns: u64) {
        if to_ns.saturating_sub(from_ns) > LONG_NS {
            self.not_before_ns = to_ns + PAUSE_NS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_yield_is_followed_by_a_pause() {
        let mut yields = Yields::default();
        yields.lasted(5_000, 5_000 + LONG_NS);
        assert_eq!(yields.not_before_ns, 0);
        yields.lasted(5_000, 5_001 + LONG_NS);
        assert_eq!(yields.not_before_ns, 5_001 + LONG_NS + PAUSE_NS);
    }

    #[test]
    fn bytes_of_all_streams_count_together() {
        let mut yields = Yields { not_before_ns: u64::MAX, ..Yields::default() };
        assert_eq!(yields.wrote(YIELD_BYTES - 1), None);
        assert!(yields.wrote(1).is_some());
        assert_eq!(yields.written, 0);
        assert_eq!(yields.wrote(1), None);
        yields.sleeps();
        assert_eq!(yields.written, 0);
    }
}
