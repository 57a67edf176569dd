//! Choice of the next load for one goal. Each target begins with the interval that the one before left, checks
//! its ends, extends it where a bound is missing, and bisects what is left.

use crate::bounds::{Bounds, Trials};
use crate::grid::Grid;
use crate::measurement::Measurement;
use crate::target::Target;

/// Factor by which the step grows after each load that was not the bound looked for.
const EXPANSION: usize = 2;

/// A load that a goal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nomination {
    /// Position of the load.
    pub(crate) at: usize,
    /// Intended duration in nanoseconds.
    pub(crate) trial_ns: u64,
    /// Distance to the load it came from, in steps.
    pub(crate) width: usize,
    /// The side to which the search extends.
    extends: Option<Side>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Down,
    Up,
}

/// Positions of a lower and an upper load, where there are such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Interval {
    pub(crate) lower: Option<usize>,
    pub(crate) upper: Option<usize>,
}

impl Interval {
    fn of(bounds: Bounds, grid: &Grid) -> Self {
        Self {
            lower: bounds.lower.map(|load| grid.at_most(load)),
            upper: bounds.upper.map(|load| grid.at_most(load)),
        }
    }

    fn both(self) -> Option<(usize, usize)> {
        self.lower.zip(self.upper)
    }
}

/// One goal's part in the search.
#[derive(Debug, Clone)]
pub(crate) struct Selector {
    /// The targets that are left, the current one first.
    targets: Vec<Target>,
    /// The interval with which the current target began.
    inherited: Interval,
    /// Next step of an extension.
    step: usize,
    /// True when the tester reached its limit before the path lost anything: the search only makes sure of a lower
    /// bound then.
    tester_limited: bool,
}

impl Selector {
    pub(crate) fn new(targets: Vec<Target>, inherited: Interval) -> Self {
        let mut selector = Self { targets, inherited, step: 0, tester_limited: false };
        selector.begin_target();
        selector
    }

    fn begin_target(&mut self) {
        let inherited = self.inherited.both().map_or(0, |(lower, upper)| upper.saturating_sub(lower));
        self.approach(inherited);
    }

    /// The bounds have come as close as `width`; later extensions begin there.
    fn approach(&mut self, width: usize) {
        let target = self.targets.first().map_or(1, |target| target.width);
        self.step = width.max(target).saturating_mul(EXPANSION);
    }

    /// The next load for the goal; `None` when it has all it needs. `shared` is the step of the latest trial of
    /// any goal: goals do not climb in turns.
    pub(crate) fn nominate(&mut self, trials: &Trials, grid: &Grid, shared: usize) -> Option<Nomination> {
        loop {
            let target = *self.targets.first()?;
            let bounds = trials.bounds(&target.criterion);
            let found = Interval::of(bounds, grid);
            if let Some(nomination) = self.nominate_for(target, found, grid, shared) {
                return Some(nomination);
            }
            self.targets.remove(0);
            let path_lost = |trial: &Measurement| trial.is_witnessed(target.criterion.loss_ppb);
            let lost = trials.loads().any(|(_, trials)| trials.iter().any(path_lost));
            self.tester_limited = !lost && (self.tester_limited || bounds.upper.is_some());
            self.inherited = found;
            if self.tester_limited {
                self.inherited.upper = None;
            }
            self.begin_target();
        }
    }

    fn nominate_for(
        &mut self,
        target: Target,
        found: Interval,
        grid: &Grid,
        shared: usize,
    ) -> Option<Nomination> {
        if let Some(at) = self.check_inherited(target, found, grid) {
            self.approach(target.width);
            return Some(Nomination { at, trial_ns: target.trial_ns, width: target.width, extends: None });
        }
        let step = self.step.max(shared);
        let nominated = |at, width, extends| Nomination { at, trial_ns: target.trial_ns, width, extends };
        match (found.lower, found.upper) {
            (None, Some(upper)) if upper > 0 => {
                let at = keep_off(upper.saturating_sub(step), target.width, found, grid)?;
                Some(nominated(at, step, Some(Side::Down)))
            }
            (Some(_), _) if self.tester_limited => None,
            (Some(lower), None) if lower < grid.top() => {
                let at = keep_off((lower + step).min(grid.top()), target.width, found, grid)?;
                Some(nominated(at, step, Some(Side::Up)))
            }
            (Some(lower), Some(upper)) if !target.is_close(lower, upper, grid) => {
                let middle = split(lower, upper, target.width);
                // Bounds that lie outside of the inherited interval are approached from the near end.
                if self.inherited.upper.is_some_and(|old| middle < old)
                    && let Some(at) = keep_off(upper.saturating_sub(step), target.width, found, grid)
                    && at > middle
                    && self.inherited.upper.is_some_and(|old| at < old)
                {
                    return Some(nominated(at, step, Some(Side::Down)));
                }
                if self.inherited.lower.is_some_and(|old| middle > old)
                    && let Some(at) = keep_off(lower + step, target.width, found, grid)
                    && at < middle
                    && self.inherited.lower.is_some_and(|old| at > old)
                {
                    return Some(nominated(at, step, Some(Side::Up)));
                }
                let width = (middle - lower).min(upper - middle);
                self.approach(width);
                Some(nominated(middle, width, None))
            }
            _ => None,
        }
    }

    /// A load of the inherited interval that is worth a trial: its middle when the interval is nearly narrow
    /// enough, then its ends.
    fn check_inherited(&self, target: Target, found: Interval, grid: &Grid) -> Option<usize> {
        let middle = self.inherited.both().and_then(|(lower, upper)| {
            let width = upper.saturating_sub(lower);
            (width > target.width && width <= 2 * target.width).then(|| split(lower, upper, target.width))
        });
        [middle, self.inherited.lower, self.inherited.upper]
            .into_iter()
            .flatten()
            .find(|at| is_worth(*at, target, found, grid))
    }

    /// The goal's nomination was measured. An extension that has not met its bound takes a larger step next
    /// time, and returns it.
    pub(crate) fn measured(
        &mut self,
        nomination: &Nomination,
        trials: &Trials,
        grid: &Grid,
    ) -> Option<usize> {
        let target = self.targets.first()?;
        let found = Interval::of(trials.bounds(&target.criterion), grid);
        let missed = match nomination.extends? {
            Side::Down => found.upper == Some(nomination.at),
            Side::Up => found.lower == Some(nomination.at),
        };
        missed.then(|| {
            self.step = self.step.saturating_mul(EXPANSION);
            self.step
        })
    }
}

impl Nomination {
    /// True when this one is measured before `other`: the lower load, then the longer trial, then the wider step.
    pub(crate) fn precedes(&self, other: &Self) -> bool {
        use std::cmp::Reverse;
        let rank = |one: &Self| (one.at, Reverse(one.trial_ns), Reverse(one.width));
        rank(self) < rank(other)
    }
}

/// True when a trial at `at` may move a bound.
fn is_worth(at: usize, target: Target, found: Interval, grid: &Grid) -> bool {
    found.lower.is_none_or(|lower| lower < at)
        && found.upper.is_none_or(|upper| at < upper)
        && found.both().is_none_or(|(lower, upper)| !target.is_close(lower, upper, grid))
}

/// Keeps a load between the found bounds, and a width off them: too close, it would be measured in vain. At the
/// limits of the search it becomes the limit.
fn keep_off(at: usize, width: usize, found: Interval, grid: &Grid) -> Option<usize> {
    let (bottom, top) = (found.lower.unwrap_or(0), found.upper.unwrap_or(grid.top()));
    if top <= bottom {
        return None;
    }
    if top - bottom <= width {
        return match found {
            Interval { lower: None, .. } => Some(bottom),
            Interval { upper: None, .. } => Some(top),
            _ => None,
        };
    }
    let (mut low, mut high) = (bottom + width, top - width);
    if low > high {
        low = split(bottom, top, width);
        high = low;
    }
    Some(if at < low {
        if found.lower.is_some() { low } else { bottom }
    } else if at > high {
        if found.upper.is_some() { high } else { top }
    } else {
        at
    })
}

/// A load between two others, as even as possible while one part is a power of two times `width`, and the lower
/// part the smaller one: the end is reached in whole halvings, and from below.
fn split(lower: usize, upper: usize, width: usize) -> usize {
    let whole = upper - lower;
    if whole <= 2 * width {
        return if whole == 2 * width || width < 2 || width % 2 == 1 {
            lower + (whole / 2).max(1)
        } else {
            split(lower, upper, width / 2)
        };
    }
    let mut part = width;
    while 2 * part < whole - 2 * part {
        part *= 2;
    }
    // `part` is the largest below half, `2 * part` the smallest above it.
    let evener = |one: usize, other: usize| one * (whole - one) >= other * (whole - other);
    let part = if evener(2 * part, part) { 2 * part } else { part };
    lower + part.min(whole - part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_power_of_two_times_the_width_and_the_lower_one_the_smaller() {
        for (upper, width, at) in
            [(2, 1, 1), (3, 1, 1), (4, 1, 2), (5, 1, 2), (7, 1, 3), (12, 1, 4), (6, 4, 2), (7, 4, 3)]
        {
            assert_eq!(split(0, upper, width), at, "{upper} {width}");
        }
        for upper in 2..200 {
            for width in 1..upper {
                let at = split(10, 10 + upper, width);
                assert!(at > 10 && at < 10 + upper, "{upper} {width}");
            }
        }
    }
}
