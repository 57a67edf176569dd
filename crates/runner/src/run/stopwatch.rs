//! What a run's time is spent on: each moment belongs to one part, so that the parts add up.

use std::time::Instant;

use linerate_results::summary::{Overhead, OverheadPart};

/// Adds the time of a run to the parts of its overhead.
#[derive(Debug)]
pub(super) struct Stopwatch {
    current: OverheadPart,
    since: Instant,
    /// Time so far, that of earlier runs of the experiment included.
    pub(super) overhead: Overhead,
}

impl Stopwatch {
    /// Starts in `part`, with the time that was spent before the experiment was resumed.
    pub(super) fn start(part: OverheadPart, before: Overhead) -> Self {
        Self { current: part, since: Instant::now(), overhead: before }
    }

    /// Adds the time since the last turn to the current part, and goes on with `next`.
    pub(super) fn turn(&mut self, next: OverheadPart) {
        let seconds = self.lap();
        self.overhead.add(self.current, seconds);
        self.current = next;
    }

    /// Says that the time since the last turn was spent on `part`, and still is.
    pub(super) fn spent_on(&mut self, part: OverheadPart) {
        self.current = part;
    }

    /// Ends an attempt that sent for `sending_s` seconds (0 when it gave no result) and of which `writing_s` were spent on storing what came
    /// of it. Goes on with writing.
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
