//! When the requests of an open loop are due. Pure.
//!
//! The rates over time give the number of requests due until a time. Request k of a trial is due when that
//! number reaches k, and of W workers, worker w sends the requests w, w + W, w + 2 W, …: together they are
//! exactly the schedule of one. With Poisson arrivals each worker has an independent process of 1/W of the
//! rate, whose sum is a Poisson process of the whole rate.

use linerate_traffic::profile::StageRates;
use linerate_traffic::random::SplitMix64;
use linerate_traffic::schedule::Schedule;

use super::spec::Arrivals;

/// The requests of one worker.
#[derive(Debug, Clone)]
pub(super) struct WorkerSchedule {
    /// Requests of the trial over time, in seconds.
    trial: Schedule,
    at: usize,
    arrivals: Arrivals,
    workers: f64,
    random: SplitMix64,
    /// The next request's number in the trial's schedule, with a fraction when arrivals are random.
    next: f64,
    left: u64,
}

/// A worker among all of a trial.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) worker: u32,
    pub(super) workers: u32,
}

impl WorkerSchedule {
    /// The schedule of one worker. `requests` is the number of requests of the trial, if it has one.
    pub(super) fn new(
        stages: &[StageRates],
        arrivals: Arrivals,
        seed: u64,
        share: Share,
        requests: Option<u64>,
    ) -> Self {
        let (worker, workers) = (u64::from(share.worker), u64::from(share.workers.max(1)));
        let mut random = SplitMix64(seed.wrapping_add(worker.wrapping_mul(0x2545_f491_4f6c_dd1d)));
        let left = requests.map_or(u64::MAX, |all| all / workers + u64::from(worker < all % workers));
        let workers = workers as f64;
        let next = match arrivals {
            Arrivals::Constant => worker as f64,
            Arrivals::Poisson => -workers * random.fraction().ln(),
        };
        Self { trial: Schedule::new(stages, 1.0), at: 0, arrivals, workers, random, next, left }
    }

    /// Time of the next request, in nanoseconds after the start; `None` when there are no more.
    pub(super) fn next_ns(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        let stretches = self.trial.stretches();
        while stretches.get(self.at + 1).is_some_and(|next| self.next >= next.before) {
            self.at += 1;
        }
        let Some(due_s) = stretches.get(self.at).and_then(|stretch| stretch.time_of(self.next)) else {
            self.left = 0;
            return None;
        };
        self.next += match self.arrivals {
            Arrivals::Constant => self.workers,
            Arrivals::Poisson => -self.workers * self.random.fraction().ln(),
        };
        Some((due_s * 1e9) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(rate: f64) -> Vec<StageRates> {
        vec![StageRates::steady(rate)]
    }

    /// All requests before a time, of all workers.
    fn all(
        stages: &[StageRates],
        arrivals: Arrivals,
        workers: u32,
        requests: Option<u64>,
        until_s: f64,
    ) -> Vec<u64> {
        let mut times: Vec<u64> = (0..workers)
            .flat_map(|worker| {
                let mut schedule =
                    WorkerSchedule::new(stages, arrivals, 7, Share { worker, workers }, requests);
                std::iter::from_fn(move || schedule.next_ns()).take_while(|ns| *ns < (until_s * 1e9) as u64)
            })
            .collect();
        times.sort_unstable();
        times
    }

    #[test]
    fn workers_together_are_one_schedule() {
        let expected: Vec<u64> = (0..1000).map(|number| number * 1_000_000).collect();
        for workers in [1, 3, 8] {
            assert_eq!(all(&steady(1000.0), Arrivals::Constant, workers, None, 1.0), expected);
        }
        assert_eq!(all(&steady(1000.0), Arrivals::Constant, 3, Some(100), 1.0), expected[..100]);
        assert_eq!(all(&steady(1000.0), Arrivals::Poisson, 3, Some(100), 10.0).len(), 100);
        assert!(all(&steady(0.0), Arrivals::Constant, 1, None, 1.0).is_empty());
    }

    #[test]
    fn stages_are_followed() {
        let stage = |from_per_s, to_per_s, seconds| StageRates { from_per_s, to_per_s, seconds };
        let stages = [stage(100.0, 100.0, 1.0), stage(0.0, 0.0, 1.0), stage(0.0, 200.0, 2.0)];
        let times = all(&stages, Arrivals::Constant, 2, None, 5.0);
        let within = |from: f64, to: f64| {
            times.iter().filter(|ns| (from * 1e9..to * 1e9).contains(&(**ns as f64))).count()
        };
        assert_eq!((within(0.0, 1.0), within(1.0, 2.0), within(2.0, 3.0)), (100, 0, 50));
        assert_eq!((within(3.0, 4.0), within(4.0, 5.0)), (150, 200));
        let ends = [stage(100.0, 0.0, 1.0)];
        assert_eq!(all(&ends, Arrivals::Constant, 1, None, 100.0).len(), 50);
    }

    #[test]
    fn poisson_arrivals_have_exponential_gaps() {
        let times = all(&steady(10_000.0), Arrivals::Poisson, 4, None, 10.0);
        let count = times.len() as f64;
        assert!((count - 100_000.0).abs() < 5.0 * 100_000f64.sqrt(), "{count}");
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // The standard deviation of exponential gaps is their mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{} {mean}", variance.sqrt());
    }
}
