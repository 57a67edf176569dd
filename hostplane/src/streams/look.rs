//! The end of receiving: what still arrives after the sender has ended, and when to give a stream up.

use linerate_measure::drain::Drainer;
use linerate_wire::counters::ReceiveCounters;
use linerate_wire::report::Ended;
use linerate_wire::trial::Drain;

/// Time without progress of any stream after which the ended TCP streams of a direction are given up, in nanoseconds.
pub(super) const STALLED_NS: u64 = 5_000_000_000;

/// The receipt of datagrams, after the sender has told how many it sent.
#[derive(Debug)]
pub(super) struct DatagramDrain {
    drainer: Drainer,
}

impl DatagramDrain {
    /// `longest_ns` is the largest delay, `gap_ns` the mean time between datagrams.
    pub(super) fn new(sent: u64, longest_ns: u64, gap_ns: u64, now_ns: u64) -> Self {
        let drain =
            Drain { expected_packets: sent, path_delay_ns: longest_ns, gap_ns, ..Drain::OF_DATAGRAMS };
        Self { drainer: Drainer::new(drain, now_ns) }
    }

    /// True when it has ended: all have arrived, or no more do.
    pub(super) fn is_over(&mut self, now_ns: u64, packets: u64, duplicates: u64) -> Option<Ended> {
        let received = ReceiveCounters { packets, duplicates, ..ReceiveCounters::default() };
        self.drainer.look(now_ns, &received)
    }
}

/// Progress of the TCP streams of a direction after their senders have ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Streams that have not ended, and their bytes.
    state: (u32, u64),
    since_ns: u64,
}

impl Progress {
    pub(super) fn new(now_ns: u64) -> Self {
        Self { state: (0, 0), since_ns: now_ns }
    }

    /// True when nothing has moved for too long.
    pub(super) fn is_stalled(&mut self, now_ns: u64, state: (u32, u64)) -> bool {
        if state != self.state {
            *self = Self { state, since_ns: now_ns };
        }
        now_ns.saturating_sub(self.since_ns) >= STALLED_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_given_up_when_none_of_them_moves() {
        let s = 1_000_000_000;
        let mut progress = Progress::new(0);
        assert!(!progress.is_stalled(s, (2, 100)));
        assert!(!progress.is_stalled(5 * s, (2, 100)));
        assert!(!progress.is_stalled(5 * s, (2, 101)), "one moved");
        assert!(!progress.is_stalled(9 * s, (1, 101)), "one ended");
        assert!(!progress.is_stalled(13 * s, (1, 101)));
        assert!(progress.is_stalled(14 * s, (1, 101)));
    }

    #[test]
    fn datagrams_are_awaited_until_they_rest() {
        let ms = 1_000_000;
        let mut drain = DatagramDrain::new(10, 0, 0, 0);
        assert_eq!(drain.is_over(ms, 5, 0), None);
        assert_eq!(drain.is_over(2 * ms, 8, 0), None);
        assert_eq!(drain.is_over(303 * ms, 8, 0), Some(Ended::Settled));
        let mut complete = DatagramDrain::new(10, 0, 0, 0);
        assert_eq!(complete.is_over(ms, 10, 0), None);
        assert_eq!(complete.is_over(7 * ms, 10, 0), Some(Ended::Packets));
    }
}
