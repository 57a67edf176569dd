//! Common start of the senders of all pairs, on clocks that are compared over the sessions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
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
    /// Each agent's kernel; empty where it is not known.
    kernels: Vec<String>,
    /// Time that the comparison took.
    took: Duration,
}

/// A second comparison of the same clocks.
#[derive(Debug)]
pub(super) struct ComparedAgain {
    /// `None` for agents that did not reply.
    offsets: Vec<Option<Offset>>,
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
            clock.boot_id.clone()
        });
        let kernels: Vec<String> = kernels.collect();
        share_one_clock(&mut offsets, &kernels.iter().map(String::as_str).collect::<Vec<_>>());
        Ok(Self { origin, offsets, kernels, took: origin.elapsed() })
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
        nanoseconds(self.offsets[other].ns - self.offsets[one].ns)
    }

    /// Uncertainty of [`Self::ahead_ns`], in nanoseconds.
    pub(super) fn uncertainty_ns(&self, other: usize, one: usize) -> u64 {
        both_ns(&self.offsets[other], &self.offsets[one])
    }

    /// True when two agents read one clock.
    pub(super) fn is_one(&self, other: usize, one: usize) -> bool {
        self.kernels[one] == self.kernels[other]
            && !self.kernels[one].is_empty()
            && self.ahead_ns(other, one) == 0
    }

    /// True when all agents read one clock.
    pub(super) fn are_one(&self) -> bool {
        (0..self.offsets.len()).all(|place| self.is_one(place, 0))
    }

    /// Compares the clocks of `agents` again, in the same places; `None` for agents that are gone.
    pub(super) async fn compare_again<E: EngineKind>(agents: &[Option<&Agent<E>>]) -> ComparedAgain {
        let origin = Instant::now();
        let compared = agents.iter().map(async |agent| {
            let agent = (*agent)?;
            let compared = offset(agent, origin).await;
            if let Err(stopped) = &compared {
                tracing::warn!("the clock of {} could not be compared again: {stopped}", agent.name());
            }
            compared.ok()
        });
        let offsets = join_all(compared).await;
        ComparedAgain { offsets, took: origin.elapsed() }
    }

    /// Bound of the error of [`Self::ahead_ns`] at any time until the clocks were compared `again`, in nanoseconds: of an error that grows evenly
    /// from one comparison to the other, which is largest at one of them. `None` where agents read one clock, and where one was not compared again.
    pub(super) fn bound_ns(&self, again: &ComparedAgain, other: usize, one: usize) -> Option<u64> {
        if self.is_one(other, one) {
            return None;
        }
        let [later_other, later_one] = [again.offsets[other]?, again.offsets[one]?];
        let drift = nanoseconds(later_other.ns - later_one.ns).abs_diff(self.ahead_ns(other, one));
        let before = error_ns(&self.offsets[other], &self.offsets[one], self.took);
        let after = error_ns(&later_other, &later_one, again.took);
        Some(before.max(drift.saturating_add(after)))
    }

    /// The clock of an agent now, in nanoseconds.
    pub(super) fn now_ns(&self, agent: usize) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos() as i128 + self.offsets[agent].ns).unwrap_or(0)
    }

    /// Spread of the starts of some agents, each by its position with its start on its own clock.
    pub(super) fn spread_of(&self, started_ns: &[(usize, u64)]) -> Option<StartSpread> {
        spread(started_ns.iter().map(|(agent, at)| (&self.offsets[*agent], *at)))
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
        spread(self.offsets.iter().zip(started_ns.iter().copied()))
    }
}

/// Spread of starts, each on its own clock.
fn spread<'a>(starts: impl Iterator<Item = (&'a Offset, u64)> + Clone) -> Option<StartSpread> {
    let here = starts.clone().map(|(offset, at)| i128::from(at) - offset.ns);
    let (first, last) = (here.clone().min()?, here.max()?);
    let uncertainty_ns = largest_two(starts.map(|(offset, _)| offset));
    Some(StartSpread { spread_s: (last - first) as f64 / 1e9, uncertainty_s: uncertainty_ns as f64 / 1e9 })
}

/// A difference of clocks.
fn nanoseconds(ahead: i128) -> i64 {
    i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX })
}

fn both_ns(other: &Offset, one: &Offset) -> u64 {
    other.uncertainty_ns.saturating_add(one.uncertainty_ns)
}

/// The uncertainty, and how far two clocks may have run apart while agents were asked one after the other.
fn error_ns(other: &Offset, one: &Offset, took: Duration) -> u64 {
    let apart = took.as_nanos() / WORST_RATE;
    both_ns(other, one).saturating_add(u64::try_from(apart).unwrap_or(u64::MAX))
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

/// Treats the agents of each kernel as reading one clock, without uncertainty where there is no other kernel, unless the
/// measurement contradicts that.
fn share_one_clock(offsets: &mut [Offset], kernels: &[&str]) {
    let is_one = kernels.windows(2).all(|pair| pair[0] == pair[1]);
    let known: BTreeSet<&str> = kernels.iter().copied().filter(|id| !id.is_empty()).collect();
    for kernel in known {
        let places: Vec<usize> = (0..offsets.len()).filter(|place| kernels[*place] == kernel).collect();
        let of_kernel = places.iter().map(|place| offsets[*place]);
        let Some(best) = of_kernel.clone().min_by_key(|offset| offset.uncertainty_ns) else { continue };
        let agrees = |offset: Offset| {
            let apart = (offset.ns - best.ns).unsigned_abs();
            apart <= u128::from(offset.uncertainty_ns) + u128::from(best.uncertainty_ns)
        };
        if of_kernel.clone().all(agrees) {
            for place in places {
                offsets[place].ns = best.ns;
                offsets[place].uncertainty_ns = if is_one { 0 } else { best.uncertainty_ns };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(ns: i128, uncertainty_ns: u64) -> Offset {
        Offset { ns, uncertainty_ns, slowest: Duration::from_millis(1) }
    }

    fn clocks(offsets: &[Offset], kernels: &[&str], took_ms: u64) -> Clocks {
        Clocks {
            origin: Instant::now(),
            offsets: offsets.to_vec(),
            kernels: kernels.iter().map(|kernel| (*kernel).to_owned()).collect(),
            took: Duration::from_millis(took_ms),
        }
    }

    #[test]
    fn starts_are_compared_on_our_clock() {
        let offsets = [offset(1_000_000, 200), offset(-500, 300), offset(70, 100)];
        let clocks = clocks(&offsets, &["a", "b", "c"], 0);
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
        let before =
            clocks(&[offset(0, 100), offset(5_000_000, 200), offset(5_000_000, 300)], &["a", "b", "b"], 0);
        assert_eq!(before.ahead_ns(1, 0), 5_000_000);
        for (ahead, uncertainty_ns, took_ms, bound_ns) in [
            (5_000_000, 200, 0, 300),
            (5_000_000, 50, 0, 300),
            (5_000_000, 900, 0, 1_000),
            (5_004_000, 200, 0, 4_300),
            (4_996_000, 200, 2, 6_300),
        ] {
            let offsets = vec![Some(offset(0, 100)), Some(offset(ahead, uncertainty_ns)), None];
            let again = ComparedAgain { offsets, took: Duration::from_millis(took_ms) };
            let bound = |other, one| before.bound_ns(&again, other, one);
            assert_eq!((bound(1, 0), bound(0, 1)), (Some(bound_ns), Some(bound_ns)));
            assert_eq!(
                (bound(2, 0), bound(1, 2)),
                (None, None),
                "one that is gone, and two that read one clock"
            );
        }
    }

    #[test]
    fn agents_read_one_clock_when_kernel_and_measurement_say_so() {
        let of = |ns: [i128; 3], kernels: [&str; 3]| {
            let clocks = clocks(&ns.map(|ns| offset(ns, 10)), &kernels, 0);
            (clocks.is_one(1, 0), clocks.is_one(2, 0), clocks.are_one())
        };
        assert_eq!(of([7, 7, 7], ["a", "a", "a"]), (true, true, true));
        assert_eq!(of([7, 7, 7], ["a", "a", "b"]), (true, false, false));
        assert_eq!(of([7, 7, 90], ["a", "a", "a"]), (true, false, false));
        assert_eq!(of([7, 7, 7], ["", "", ""]), (false, false, false));
    }

    #[test]
    fn one_kernel_has_one_clock_unless_it_measures_otherwise() {
        let measured = [offset(1_000, 50), offset(1_040, 10), offset(1_100, 60)];
        let mut offsets = measured;
        share_one_clock(&mut offsets, &["a", "a", "a"]);
        assert_eq!(offsets, [offset(1_040, 0); 3]);
        // Beside another kernel, its clock is compared as well as that of its agent that was compared best.
        let mut offsets = measured;
        share_one_clock(&mut offsets, &["a", "b", "a"]);
        assert_eq!(offsets, [offset(1_000, 50), offset(1_040, 10), offset(1_000, 50)]);
        let mut offsets = [offset(1_000, 50), offset(9_000_000, 700), offset(1_100, 60)];
        share_one_clock(&mut offsets, &["a", "b", "a"]);
        assert_eq!(offsets, [offset(1_000, 50), offset(9_000_000, 700), offset(1_000, 50)]);
        for (kernels, third) in [(["a", "b", "c"], 1_100), (["", "", ""], 1_100), (["a", "a", "a"], 2_000)] {
            let mut offsets = measured;
            offsets[2].ns = third;
            let before = offsets;
            share_one_clock(&mut offsets, &kernels);
            assert_eq!(offsets, before);
        }
    }
}
