//! Pace of a pair's line, independent of the sample interval.

use std::time::{Duration, Instant};

/// Shortest time between two lines, below one second so that samples at about 1 s intervals are all shown.
const LEAST_AGE: Duration = Duration::from_millis(900);

/// The pace of one pair's line.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
}

impl Pace {
    /// True when the line is due at `now`.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= LEAST_AGE);
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_samples_make_a_line_a_second_and_slow_ones_are_all_shown() {
        let begun = Instant::now();
        let lines = |every_ms: u64| {
            let mut pace = Pace::default();
            (1..=10_000 / every_ms)
                .filter(|sample| pace.is_due(begun + Duration::from_millis(sample * every_ms)))
                .count()
        };
        assert_eq!((lines(500), lines(1000), lines(2000)), (10, 10, 5));
        assert_eq!(lines(10), 12, "a little more often than once a second");
    }
}
