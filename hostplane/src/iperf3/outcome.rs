//! A test that has been run, from this end's side.

use std::collections::VecDeque;
use std::net::SocketAddr;

use linerate_iperf3::results::Results;

use super::MOST_SAMPLES;
use crate::client::Samples;
use crate::result::interval::{Interval, interval};
use crate::spec::{Direction, TrialSpec};
use crate::streams::counters::StreamCounters;
use crate::streams::report::{EndReport, EndSample};
use crate::streams::session::Session;

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

impl Role {
    /// The direction in which this end sends.
    pub(crate) fn sends(self) -> Direction {
        match self {
            Role::Client => Direction::Forward,
            Role::Server => Direction::Reverse,
        }
    }
}

/// Both ends' addresses, and what the peer says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) cookie: String,
    /// Version of a client of iperf3; servers do not tell theirs.
    pub(crate) peer_version: Option<String>,
}

/// A test that has been run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) role: Role,
    pub(crate) ends: Ends,
    pub(crate) spec: TrialSpec,
    /// Seconds at the beginning that the peer does not count.
    pub(crate) omit_s: u64,
    /// Start of the test by this end's calendar, in seconds since 1970.
    pub(crate) began_unix_s: f64,
    pub(crate) own: EndReport,
    /// What the peer says; absent when it did not.
    pub(crate) foreign: Option<Results>,
    /// Each stream's counters at the end of the omitted beginning.
    pub(crate) omitted: Option<Vec<(u32, StreamCounters)>>,
    pub(crate) recording: Recording,
    /// True when a signal of this end ended it.
    pub(crate) interrupted: bool,
    /// Why there is no complete account; absent when there is.
    pub(crate) failure: Option<String>,
    pub(crate) remarks: Vec<String>,
}

impl Outcome {
    /// Seconds from the start to the end of the test, as the last sample has them.
    pub(crate) fn test_s(&self) -> f64 {
        self.recording.samples.back().map_or(0.0, |last| last.at_ns as f64 / 1e9)
    }
}

/// CPU time in per cent of one CPU: in all, of the program's own code, and of the kernel for it. The latter two
/// divide it as they divide the whole life of the program.
pub(crate) fn cpu_percent(cpu_s: f64, seconds: f64) -> [f64; 3] {
    let total = if seconds > 0.0 { 100.0 * cpu_s / seconds } else { 0.0 };
    let times = std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| own_and_kernel(&stat));
    let share = times.map_or(0.0, |(own, kernel)| kernel / (own + kernel).max(1.0));
    [total, total * (1.0 - share), total * share]
}

/// Ticks of user and system time (`man 5 proc`): the 14th and 15th field, after a name that may have blanks.
fn own_and_kernel(stat: &str) -> Option<(f64, f64)> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Samples of this end.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) samples: VecDeque<EndSample>,
    /// Oldest ones that were left out.
    pub(crate) left_out: u64,
}

impl Recording {
    /// Takes a sample.
    pub(crate) fn take(&mut self, session: &mut Session) {
        if self.samples.len() >= MOST_SAMPLES {
            self.samples.pop_front();
            self.left_out += 1;
        }
        let index = self.samples.back().map_or(0, |last| last.index) + 1;
        self.samples.push_back(session.sample(index));
    }

    /// The last interval.
    pub(crate) fn last(&self, role: Role, trial: &TrialSpec) -> Option<Interval> {
        let none = EndSample::default();
        let now = self.samples.back()?;
        let before = self.samples.len().checked_sub(2).and_then(|at| self.samples.get(at)).unwrap_or(&none);
        Some(between(before, now, role, trial))
    }

    /// All intervals.
    pub(crate) fn intervals(&self, role: Role, trial: &TrialSpec) -> Vec<Interval> {
        let none = EndSample::default();
        let first = (self.left_out == 0).then_some(&none);
        let before = first.into_iter().chain(&self.samples);
        let skipped = usize::from(self.left_out > 0);
        let each = before.zip(self.samples.iter().skip(skipped));
        each.map(|(before, now)| between(before, now, role, trial)).collect()
    }
}

/// The interval between two samples of this end; the peer sends none.
fn between(before: &EndSample, now: &EndSample, role: Role, trial: &TrialSpec) -> Interval {
    let samples = |sample| match role {
        Role::Client => Samples { client: Some(sample), server: None },
        Role::Server => Samples { client: None, server: Some(sample) },
    };
    interval(&samples(before), &samples(now), trial.directions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_times_of_a_program_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 30 10 0 0 20 0 1 0 5 1 1";
        assert_eq!(own_and_kernel(stat), Some((30.0, 10.0)));
        assert_eq!(own_and_kernel(""), None);
        let [total, own, kernel] = cpu_percent(1.0, 2.0);
        assert!(total == 50.0 && (own + kernel - total).abs() < 1e-9);
    }
}
