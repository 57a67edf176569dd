//! When requests at a rate are due. Pure.

/// The requests of one stream: of all that a trial has at its rate, every one whose number is `stream` modulo `streams`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    pub(super) start_ns: u64,
    /// Requests per second, all streams together.
    pub(super) per_second: f64,
    pub(super) streams: u32,
    pub(super) stream: u32,
}

impl Pace {
    /// When a request of this stream is due, counted from 0. It is computed from its number: a sum of intervals in whole
    /// nanoseconds would run ahead of the rate.
    pub(super) fn due_ns(&self, request: u64) -> u64 {
        let number = request as f64 * f64::from(self.streams.max(1)) + f64::from(self.stream);
        self.start_ns.saturating_add((number * 1e9 / self.per_second).round() as u64)
    }

    /// Requests of this stream that are due before `until_ns`.
    pub(super) fn due_before(&self, until_ns: u64) -> u64 {
        let elapsed_ns = until_ns.saturating_sub(self.start_ns) as f64;
        let number = elapsed_ns * self.per_second / 1e9 - f64::from(self.stream);
        let mut count = (number / f64::from(self.streams.max(1))).ceil().max(0.0) as u64;
        // What rounding makes of a number that should be whole.
        while count > 0 && self.due_ns(count - 1) >= until_ns {
            count -= 1;
        }
        while self.due_ns(count) < until_ns {
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_its_number_of_requests_also_where_its_interval_is_no_whole_number() {
        let start_ns = 123_456_789_012_345;
        for (per_second, seconds, expected) in [
            (7.0, 1, 7),
            (3.0, 10, 30),
            (0.7, 10, 7),
            (1e6 / 3.0, 3, 1_000_000),
            (1000.0, 1, 1000),
            (0.5, 1, 1),
        ] {
            for streams in [1, 2, 3, 8] {
                let until_ns = start_ns + seconds * 1_000_000_000;
                let paces = (0..streams).map(|stream| Pace { start_ns, per_second, streams, stream });
                let due = paces.map(|pace| {
                    let due = pace.due_before(until_ns);
                    assert!(due == 0 || pace.due_ns(due - 1) < until_ns, "{pace:?}");
                    assert!(pace.due_ns(due) >= until_ns, "{pace:?}");
                    due
                });
                assert_eq!(due.sum::<u64>(), expected, "{per_second} {streams}");
            }
        }
    }

    #[test]
    fn streams_take_turns() {
        let pace = |stream| Pace { start_ns: 5, per_second: 10.0, streams: 2, stream };
        assert_eq!([0, 1, 2].map(|request| pace(0).due_ns(request)), [5, 200_000_005, 400_000_005]);
        assert_eq!([0, 1].map(|request| pace(1).due_ns(request)), [100_000_005, 300_000_005]);
        assert_eq!(pace(0).due_before(0), 0);
    }
}
