//! Common start of the senders of all pairs, on clocks that are compared over the sessions.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use linerate_wire::message::{MAX_START_AHEAD_MS, Welcome};

use super::agent::{Agent, EngineKind};
use super::trial::Stopped;
use linerate_results::summary::StartSpread;

/// Clock requests per agent; the fastest reply counts.
const ASKS: usize = 5;
/// Lead time for the start message to reach the agents, in addition to the sessions' round trips.
const LEAD: Duration = Duration::from_millis(20);
/// Additional lead per agent, because the messages are written one after the other.
const LEAD_PER_AGENT: Duration = Duration::from_micros(500);
/// No two clocks run apart faster than one nanosecond in so many: time services slew by 500 ppm at most, quartz is better than 100 ppm.
const WORST_RATE: u128 = 1000;
/// Upper limit of the lead: agents refuse a start further in the future.
const LONGEST_LEAD: Duration = Duration::from_millis(MAX_START_AHEAD_MS / 2);

/// Offset of an agent's monotonic clock from the controller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset {
    /// Its time minus the time since `Clocks::origin`, in nanoseconds.
    ns: i128,
    /// Uncertainty of the offset in nanoseconds: half of the fastest round trip, because the two directions
    /// cannot be separated.
    uncertainty_ns: u64,
    /// The slowest round trip.
    slowest: Duration,
}

/// Clocks of agents that start together.
#[derive(Debug)]
pub(super) struct Clocks {
    origin: Instant,
    offsets: Vec<Offset>,
    /// Time that the comparison took.
    took: Duration,
}

impl Clocks {
    /// Compares the clocks of `agents`.
    ///
    /// # Errors
    /// When an agent does not reply: its position, and the reason.
    pub(super) async fn compare<E: EngineKind>(agents: &[&Agent<E>]) -> Result<Self, (usize, Stopped)> {
        let origin = Instant::now();
        let mut offsets = try_join_all(
            agents
                .iter()
                .enumerate()
                .map(async |(index, agent)| offset(agent, origin).await.map_err(|stopped| (index, stopped))),
        )
        .await?;
        let kernels = agents.iter().map(|agent| {
            let Welcome { clock, .. } = agent.session.welcome();
            clock.boot_id.as_str()
        });
        share_one_clock(&mut offsets, &kernels.collect::<Vec<_>>());
        Ok(Self { origin, offsets, took: origin.elapsed() })
    }

    /// The earliest start that every agent can receive in time, on each agent's clock, in nanoseconds.
    pub(super) fn soon(&self) -> Vec<u64> {
        let slowest = self.offsets.iter().map(|offset| offset.slowest).max().unwrap_or_default();
        let lead = LEAD + 4 * slowest + LEAD_PER_AGENT * self.offsets.len() as u32;
        let lead = lead.min(LONGEST_LEAD);
        let at = (self.origin.elapsed() + lead).as_nanos() as i128;
        self.offsets.iter().map(|offset| u64::try_from(at + offset.ns).unwrap_or(0)).collect()
    }

    /// Clock of agent `other` less that of agent `one`, in nanoseconds.
    pub(super) fn ahead_ns(&self, other: usize, one: usize) -> i64 {
        let ahead = self.offsets[other].ns - self.offsets[one].ns;
        i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX })
    }

    /// Uncertainty of [`Self::ahead_ns`], in nanoseconds.
    pub(super) fn uncertainty_ns(&self, other: usize, one: usize) -> u64 {
        self.offsets[other].uncertainty_ns.saturating_add(self.offsets[one].uncertainty_ns)
    }

    /// Bound of the error of [`Self::ahead_ns`] at any time until the clocks were compared `again`, in nanoseconds: the error grows evenly from
    /// one comparison to the other, so it is largest at one of them. Agents on different machines only: the clocks of one kernel have no error.
    pub(super) fn bound_ns(&self, again: &Self, other: usize, one: usize) -> u64 {
        let drift = again.ahead_ns(other, one).abs_diff(self.ahead_ns(other, one));
        self.error_ns(other, one).max(drift.saturating_add(again.error_ns(other, one)))
    }

    /// The uncertainty, and how far the clocks may have run apart while agents were asked one after the other.
    fn error_ns(&self, other: usize, one: usize) -> u64 {
        let apart = self.took.as_nanos() / WORST_RATE;
        self.uncertainty_ns(other, one).saturating_add(u64::try_from(apart).unwrap_or(u64::MAX))
    }

    /// The clock of an agent now, in nanoseconds.
    pub(super) fn now_ns(&self, agent: usize) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos() as i128 + self.offsets[agent].ns).unwrap_or(0)
    }

    /// Spread of the starts of some agents, each by its position with its start on its own clock.
    pub(super) fn spread_of(&self, started_ns: &[(usize, u64)]) -> Option<StartSpread> {
        let offsets = started_ns.iter().map(|(agent, _)| self.offsets[*agent]).collect();
        let started: Vec<u64> = started_ns.iter().map(|(_, at)| *at).collect();
        Self { offsets, ..*self }.spread(&started)
    }

    /// When agents began, each by its position with its start on its own clock: nanoseconds after the first of them, in the
    /// order given, and the uncertainty between any two.
    pub(super) fn starts_of(&self, started_ns: &[(usize, u64)]) -> Option<(Vec<u64>, u64)> {
        let here: Vec<i128> =
            started_ns.iter().map(|(agent, at)| i128::from(*at) - self.offsets[*agent].ns).collect();
        let first = *here.iter().min()?;
        let after = here.iter().map(|at| u64::try_from(at - first).unwrap_or(u64::MAX)).collect();
        let uncertainty_ns = largest_two(started_ns.iter().map(|(agent, _)| &self.offsets[*agent]));
        Some((after, uncertainty_ns))
    }

    /// Spread of the starts of agents that report `started_ns`, each on its own clock.
    pub(super) fn spread(&self, started_ns: &[u64]) -> Option<StartSpread> {
        let here = self.offsets.iter().zip(started_ns).map(|(offset, at)| i128::from(*at) - offset.ns);
        let (first, last) = (here.clone().min()?, here.max()?);
        let uncertainty_ns = largest_two(self.offsets.iter());
        Some(StartSpread {
            spread_s: (last - first) as f64 / 1e9,
            uncertainty_s: uncertainty_ns as f64 / 1e9,
        })
    }
}

/// Uncertainty between two clocks, in nanoseconds: that of the two which are known least.
fn largest_two<'a>(offsets: impl Iterator<Item = &'a Offset>) -> u64 {
    let mut uncertainties: Vec<u64> = offsets.map(|offset| offset.uncertainty_ns).collect();
    uncertainties.sort_unstable_by(|a, b| b.cmp(a));
    uncertainties.iter().take(2).fold(0, |sum, one| sum.saturating_add(*one))
}

async fn offset<E: EngineKind>(agent: &Agent<E>, origin: Instant) -> Result<Offset, Stopped> {
    let mut best = Offset { ns: 0, uncertainty_ns: u64::MAX, slowest: Duration::ZERO };
    for _ in 0..ASKS {
        let asked = origin.elapsed();
        let pong = match agent.session.ping().await {
            Ok(pong) => pong,
            Err(error) => return Err(Stopped::by(agent, error).await),
        };
        let answered = origin.elapsed();
        let uncertainty_ns = ((answered - asked).as_nanos() / 2) as u64;
        best.slowest = best.slowest.max(answered - asked);
        if uncertainty_ns < best.uncertainty_ns {
            best.uncertainty_ns = uncertainty_ns;
            best.ns = i128::from(pong.now_ns) - (asked + answered).as_nanos() as i128 / 2;
        }
    }
    Ok(best)
}

/// Treats agents on one kernel as reading one clock, without uncertainty between them, unless the measurement
/// contradicts that.
fn share_one_clock(offsets: &mut [Offset], kernels: &[&str]) {
    let Some(best) = offsets.iter().copied().min_by_key(|offset| offset.uncertainty_ns) else { return };
    let one_kernel =
        kernels.windows(2).all(|pair| pair[0] == pair[1]) && kernels.iter().all(|id| !id.is_empty());
    let agrees = |offset: &Offset| {
        let apart = (offset.ns - best.ns).unsigned_abs();
        apart <= u128::from(offset.uncertainty_ns) + u128::from(best.uncertainty_ns)
    };
    if one_kernel && offsets.iter().all(agrees) {
        for offset in offsets {
            (offset.ns, offset.uncertainty_ns) = (best.ns, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(ns: i128, uncertainty_ns: u64) -> Offset {
        Offset { ns, uncertainty_ns, slowest: Duration::from_millis(1) }
    }

    #[test]
    fn starts_are_compared_on_our_clock() {
        let offsets = vec![offset(1_000_000, 200), offset(-500, 300), offset(70, 100)];
        let clocks = Clocks { origin: Instant::now(), offsets, took: Duration::ZERO };
        let spread = clocks.spread(&[1_005_000, 4_000, 5_070]).unwrap();
        assert_eq!(spread, StartSpread { spread_s: 500e-9, uncertainty_s: 500e-9 });
        let starts = clocks.starts_of(&[(0, 1_005_000), (2, 5_070)]).unwrap();
        assert_eq!(starts, (vec![0, 0], 300), "agents that are left out do not count");
        assert_eq!(clocks.starts_of(&[(0, 1_005_000), (1, 4_000)]), Some((vec![500, 0], 500)));
        let soon = clocks.soon();
        assert_eq!(soon[0] - soon[2], 1_000_000 - 70);
        assert!(soon[2] > 20_000_000);
    }

    #[test]
    fn the_bound_covers_both_comparisons_and_the_drift_between_them() {
        let clocks = |ahead: i128, uncertainty_ns, took_ms| Clocks {
            origin: Instant::now(),
            offsets: vec![offset(0, 100), offset(ahead, uncertainty_ns)],
            took: Duration::from_millis(took_ms),
        };
        let before = clocks(5_000_000, 200, 0);
        assert_eq!(before.ahead_ns(1, 0), 5_000_000);
        for (again, bound_ns) in [
            (clocks(5_000_000, 200, 0), 300),
            (clocks(5_000_000, 50, 0), 300),
            (clocks(5_000_000, 900, 0), 1_000),
            (clocks(5_004_000, 200, 0), 4_300),
            (clocks(4_996_000, 200, 2), 6_300),
        ] {
            assert_eq!((before.bound_ns(&again, 1, 0), before.bound_ns(&again, 0, 1)), (bound_ns, bound_ns));
        }
    }

    #[test]
    fn one_kernel_has_one_clock_unless_it_measures_otherwise() {
        let measured = [offset(1_000, 50), offset(1_040, 10), offset(1_100, 60)];
        let mut offsets = measured;
        share_one_clock(&mut offsets, &["a", "a", "a"]);
        assert_eq!(offsets, [offset(1_040, 0); 3]);
        for (kernels, third) in [(["a", "a", "b"], 1_100), (["", "", ""], 1_100), (["a", "a", "a"], 2_000)] {
            let mut offsets = measured;
            offsets[2].ns = third;
            let before = offsets;
            share_one_clock(&mut offsets, &kernels);
            assert_eq!(offsets, before);
        }
    }
}
