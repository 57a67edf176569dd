//! Targets of a goal: the goal itself, preceded by coarser ones, so that the search comes near with little
//! measuring and then measures longer.

use crate::bounds::is_narrow;
use crate::classify::GoalCriterion;
use crate::goal::Goal;
use crate::grid::Grid;

/// One target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// What decides a load.
    pub(crate) criterion: GoalCriterion,
    /// The bounds are close enough at this distance, in steps of the grid.
    pub(crate) width: usize,
    /// The same as a share of the upper bound, in parts per billion: at low loads, where a step is a whole packet per
    /// second, fewer steps are as wide.
    pub(crate) width_ppb: u64,
    /// Intended duration of its trials, in nanoseconds.
    pub(crate) trial_ns: u64,
}

impl Target {
    /// True when bounds at these positions are close enough.
    pub(crate) fn is_close(&self, lower: usize, upper: usize, grid: &Grid) -> bool {
        upper.saturating_sub(lower) <= self.width
            && is_narrow(grid.load_pps(lower), grid.load_pps(upper), self.width_ppb)
    }
}

/// The targets of `goal`, coarsest first. Their duration sums rise geometrically from the initial trial duration
/// to the goal's; each is searched to half the width of the one before.
pub(crate) fn targets(goal: &Goal, grid: &Grid) -> Vec<Target> {
    let parts = goal.preceding_targets;
    (0..=parts)
        .map(|rank| {
            let sum_ns = geometric(goal.initial_duration_ns, goal.duration_sum_ns, rank, parts);
            let trial_ns = goal.final_duration_ns.min(whole_ms(sum_ns));
            // A trial that is shorter than the goal's decides alone; the rest of a millisecond must not ask for two.
            let sum_ns = if trial_ns < goal.final_duration_ns { trial_ns } else { sum_ns };
            Target {
                criterion: GoalCriterion {
                    loss_ppb: goal.loss_ppb,
                    exceed_ppb: goal.exceed_ppb,
                    full_ns: trial_ns,
                    sum_ns,
                },
                width: grid.steps(goal.width_ppb) << (parts - rank),
                width_ppb: goal.width_ppb << (parts - rank),
                trial_ns,
            }
        })
        .collect()
}

/// Trials last whole milliseconds.
fn whole_ms(ns: u64) -> u64 {
    (ns / 1_000_000).max(1) * 1_000_000
}

/// The `rank`-th of `parts` equal ratios from `first` to `last`, in nanoseconds, whole microseconds between the
/// ends.
fn geometric(first: u64, last: u64, rank: u32, parts: u32) -> u64 {
    if rank == 0 && parts > 0 {
        return first;
    }
    if rank == parts {
        return last;
    }
    let (first_us, last_us) = (u128::from(first / 1_000), u128::from(last / 1_000));
    let product = first_us.pow(parts - rank) * last_us.pow(rank);
    let (mut low, mut high) = (first_us, last_us);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if middle.pow(parts) <= product { low = middle } else { high = middle - 1 }
    }
    low as u64 * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PPB;
    use crate::goal::SECOND_NS;

    #[test]
    fn sums_rise_geometrically_and_widths_halve() {
        let grid = Grid::new(9_001, 14_880_952, &[PPB / 200]);
        let of = |goal: &Goal| {
            targets(goal, &grid)
                .into_iter()
                .map(|target| (target.criterion.sum_ns, target.trial_ns, target.width))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of(&Goal::ndr()),
            [(SECOND_NS, SECOND_NS, 4), (4_582_575_000, SECOND_NS, 2), (21 * SECOND_NS, SECOND_NS, 1)]
        );
        assert_eq!(of(&Goal::rfc2544()), [(60 * SECOND_NS, 60 * SECOND_NS, 1)]);
        assert_eq!(
            of(&Goal::tst009()),
            [(60 * SECOND_NS, 60 * SECOND_NS, 2), (120 * SECOND_NS, 60 * SECOND_NS, 1)]
        );
        // With an exceed ratio of 0, all of the sum must be measured: one trial of the second target is enough.
        let strict = Goal { initial_duration_ns: SECOND_NS, preceding_targets: 2, ..Goal::rfc2544() };
        assert_eq!(of(&strict)[1], (7_745_000_000, 7_745_000_000, 2));
        let longest = Goal {
            initial_duration_ns: SECOND_NS / 1_000,
            final_duration_ns: 86_400 * SECOND_NS,
            duration_sum_ns: 86_400 * SECOND_NS,
            preceding_targets: 3,
            ..Goal::ndr()
        };
        assert_eq!(of(&longest).len(), 4);
    }
}
