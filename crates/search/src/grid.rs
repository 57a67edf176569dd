//! The loads that a search may choose: each below the next by at most the same ratio, from the highest load
//! down to the lowest. Whole packets per second, so equal loads are equal after any conversion.

use crate::PPB;

/// Share of each goal's width that a whole number of steps must reach, in percent.
const LEAST_QUALITY_PERCENT: u64 = 97;
/// The finest step tried: the smallest width in so many parts.
const FINEST: u64 = 64;

/// Loads in packets per second, lowest first. A position counts steps from the lowest load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    loads: Vec<u64>,
    step_ppb: u64,
}

impl Grid {
    /// Loads from `min_pps` to `max_pps`, so that each of `widths_ppb` is nearly a whole number of steps and
    /// never less than it.
    pub fn new(min_pps: u64, max_pps: u64, widths_ppb: &[u64]) -> Self {
        let smallest = widths_ppb.iter().copied().min().unwrap_or(PPB / 200);
        let fits = |step: &u64| {
            widths_ppb.iter().all(|width| {
                span_ppb(*step, steps_within(*step, *width)) * 100 >= *width * LEAST_QUALITY_PERCENT
            })
        };
        let step_ppb =
            (1..=FINEST).map(|parts| smallest / parts).find(fits).unwrap_or(smallest / FINEST).max(1);
        let mut loads = vec![max_pps];
        let mut load = max_pps;
        while load > min_pps {
            let step = u128::from(load) * u128::from(step_ppb) / u128::from(PPB);
            load = load.saturating_sub((step as u64).max(1)).max(min_pps);
            loads.push(load);
        }
        loads.reverse();
        Self { loads, step_ppb }
    }

    /// The load at a position.
    pub fn load_pps(&self, at: usize) -> u64 {
        self.loads[at.min(self.top())]
    }

    /// Position of the highest load.
    pub fn top(&self) -> usize {
        self.loads.len() - 1
    }

    /// Position of the highest load that is at most `pps`; the lowest load when there is none.
    pub fn at_most(&self, pps: u64) -> usize {
        self.loads.partition_point(|load| *load <= pps).saturating_sub(1)
    }

    /// Steps within a width.
    pub fn steps(&self, width_ppb: u64) -> usize {
        steps_within(self.step_ppb, width_ppb).max(1) as usize
    }
}

/// Relative distance of loads that are `steps` apart, in parts per billion of the higher one, rounded up.
fn span_ppb(step_ppb: u64, steps: u64) -> u64 {
    let mut left = u128::from(PPB);
    for _ in 0..steps {
        left = left * u128::from(PPB - step_ppb) / u128::from(PPB);
    }
    PPB - left as u64
}

/// The most steps whose distance is at most `width_ppb`.
fn steps_within(step_ppb: u64, width_ppb: u64) -> u64 {
    let mut left = u128::from(PPB);
    let least = u128::from(PPB - width_ppb);
    let mut steps = 0;
    loop {
        left = left * u128::from(PPB - step_ppb) / u128::from(PPB);
        if left < least {
            return steps;
        }
        steps += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::is_narrow;

    #[test]
    fn goals_widths_are_whole_steps_and_never_exceeded() {
        for widths in
            [&[PPB / 200][..], &[PPB / 200, PPB / 100], &[PPB / 200, 7_300_000], &[PPB / 10, PPB / 300]]
        {
            let grid = Grid::new(9_001, 14_880_952, widths);
            assert_eq!((grid.load_pps(0), grid.load_pps(grid.top())), (9_001, 14_880_952));
            for width in widths {
                let steps = grid.steps(*width);
                for at in steps..=grid.top() {
                    let (lower, upper) = (grid.load_pps(at - steps), grid.load_pps(at));
                    assert!(is_narrow(lower, upper, *width), "{lower} {upper} {width}");
                }
                let (lower, upper) = (grid.load_pps(grid.top() - steps), grid.load_pps(grid.top()));
                assert!(!is_narrow(lower, upper, *width * 95 / 100), "{lower} {upper} {width}");
            }
        }
    }

    #[test]
    fn positions_round_down() {
        let grid = Grid::new(1_000, 2_000, &[PPB / 10]);
        assert_eq!(grid.at_most(500), 0);
        assert_eq!(grid.load_pps(grid.at_most(1_999)), 1_800);
        assert_eq!(grid.at_most(u64::MAX), grid.top());
    }
}
