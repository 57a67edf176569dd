//! Division of a run's time into parts. Each moment belongs to one part, so the parts add up to the total.

use std::time::Instant;

use linerate_results::summary::{Overhead, OverheadPart};

/// Adds the time of a run to the parts of its overhead.
#[derive(Debug)]
pub(super) struct Stopwatch {
    current: OverheadPart,
    since: Instant,
    /// Time so far, earlier runs of the experiment included.
    pub(super) overhead: Overhead,
}

impl Stopwatch {
    /// Starts in `part`, with the time spent before the experiment was resumed.
    pub(super) fn start(part: OverheadPart, before: Overhead) -> Self {
        Self { current: part, since: Instant::now(), overhead: before }
    }

    /// Adds the time since the last turn to the current part, and continues with `next`.
    pub(super) fn turn(&mut self, next: OverheadPart) {
        let seconds = self.lap();
        self.overhead.add(self.current, seconds);
        self.current = next;
    }

    /// Assigns the time since the last turn to `part`, and continues with it.
    pub(super) fn spent_on(&mut self, part: OverheadPart) {
        self.current = part;
    }

    /// Ends an attempt that sent for `sending_s` seconds (0 when it gave no result) and took `writing_s` to
    /// store its outcome. Continues with writing.
    pub(super) fn attempt_ended(&mut self, part: OverheadPart, sending_s: f64, writing_s: f64) {
        let seconds = self.lap();
        self.overhead.add(OverheadPart::Writing, writing_s);
        self.overhead.add(part, seconds - writing_s - sending_s);
        self.current = OverheadPart::Writing;
    }

    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.since, now)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_moment_has_a_part() {
        let begun = Instant::now();
        let mut watch = Stopwatch::start(OverheadPart::StartUp, Overhead::default());
        std::thread::sleep(Duration::from_millis(5));
        watch.turn(OverheadPart::Trials);
        std::thread::sleep(Duration::from_millis(20));
        watch.attempt_ended(OverheadPart::Trials, 0.010, 0.005);
        watch.turn(OverheadPart::TearDown);
        watch.turn(OverheadPart::TearDown);
        let (overhead, took_s) = (watch.overhead, begun.elapsed().as_secs_f64());
        assert!(
            overhead.adds_up() && overhead.start_up_s >= 0.005 && overhead.trials_s >= 0.005,
            "{overhead:?}"
        );
        assert!((took_s - 0.010 - overhead.total_s).abs() < 0.001, "{took_s} {overhead:?}");
    }
}
