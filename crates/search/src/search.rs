//! The search: which trial is next.

use serde::{Deserialize, Serialize};

use crate::PPB;
use crate::bounds::Trials;
use crate::conclusion::GoalConclusion;
use crate::goal::{Goal, GoalError, SECOND_NS};
use crate::grid::Grid;
use crate::measurement::Measurement;
use crate::selector::{Interval, Nomination, Selector};
use crate::target::targets;

/// The longest search, in trials. Loads near a goal's loss could swap their classes for ever.
const MOST_TRIALS: usize = 10_000;

/// What to search for, and within which loads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchSpec {
    /// The goals; at least one, each with a name of its own.
    pub goals: Vec<Goal>,
    /// Lowest load that may be chosen, in packets per second.
    pub min_pps: u64,
    /// Highest load that may be chosen, in packets per second.
    pub max_pps: u64,
    /// Duration of a first trial at the highest load, which is not counted, in nanoseconds; 0 for none. It lets
    /// the path learn addresses and fill its caches.
    pub warm_up_ns: u64,
}

/// Why there cannot be such a search.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No goal.
    #[error("a search needs at least one goal, such as {}", Goal::NAMES.join(", "))]
    NoGoal,
    /// Two goals have the same name.
    #[error("two goals are named '{0}'")]
    SameName(String),
    /// A goal is out of range.
    #[error(transparent)]
    Goal(#[from] GoalError),
    /// No load lies between the limits.
    #[error("the lowest load, {min_pps} packets per second, must be below the highest, {max_pps}")]
    Limits {
        /// Lowest load.
        min_pps: u64,
        /// Highest load.
        max_pps: u64,
    },
    /// Loads are whole packets per second, so bounds at the lowest load cannot be as close as a goal asks.
    #[error(
        "the width of goal '{goal}' is less than one packet per second at the lowest load of {min_pps}; the lowest load must be at least {least_pps}"
    )]
    TooFine {
        /// The goal.
        goal: String,
        /// Lowest load.
        min_pps: u64,
        /// The least that it could be.
        least_pps: u64,
    },
    /// The shortest trial at the lowest load has no packet.
    #[error(
        "a trial of {duration_ns} ns at {min_pps} packets per second has no packet; raise the lowest load or the trial duration"
    )]
    NoPacket {
        /// Lowest load.
        min_pps: u64,
        /// Shortest trial.
        duration_ns: u64,
    },
}

impl SearchSpec {
    /// Checks goals and limits.
    ///
    /// # Errors
    /// The first that cannot be.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.goals.is_empty() {
            return Err(SpecError::NoGoal);
        }
        let (min_pps, max_pps) = (self.min_pps, self.max_pps);
        if min_pps == 0 || min_pps >= max_pps {
            return Err(SpecError::Limits { min_pps, max_pps });
        }
        for (index, goal) in self.goals.iter().enumerate() {
            goal.check()?;
            if self.goals[..index].iter().any(|other| other.name == goal.name) {
                return Err(SpecError::SameName(goal.name.clone()));
            }
            let least_pps = PPB.div_ceil(goal.width_ppb);
            if min_pps < least_pps {
                return Err(SpecError::TooFine { goal: goal.name.clone(), min_pps, least_pps });
            }
            let duration_ns = goal.initial_duration_ns;
            if u128::from(min_pps) * u128::from(duration_ns) < u128::from(SECOND_NS) {
                return Err(SpecError::NoPacket { min_pps, duration_ns });
            }
        }
        Ok(())
    }
}

/// A trial to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Load in packets per second, for each sender in each direction.
    pub load_pps: u64,
    /// Duration in nanoseconds.
    pub duration_ns: u64,
    /// False for the warm-up, whose outcome is not used.
    pub counted: bool,
}

/// What a search needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The outcome of this trial.
    Measure(Request),
    /// Nothing: no goal can be improved.
    Finished,
}

/// Where the search is.
#[derive(Debug, Clone)]
enum Stage {
    WarmUp,
    /// At the highest load.
    First,
    /// At the rate that the first trial forwarded.
    Second {
        at: usize,
    },
    /// Beside the second: lower when that lost too much, otherwise higher.
    Third {
        second: usize,
        at: usize,
    },
    /// By the goals' selectors; `chosen` is the next trial with its goal, `None` at the end.
    Main {
        shared: usize,
        chosen: Option<(usize, Nomination)>,
    },
}

/// A search in progress.
#[derive(Debug, Clone)]
pub struct Search {
    spec: SearchSpec,
    grid: Grid,
    trials: Trials,
    selectors: Vec<Selector>,
    stage: Stage,
    counted: usize,
}

impl Search {
    /// A search without trials.
    ///
    /// # Errors
    /// When goals or limits cannot be.
    pub fn new(spec: SearchSpec) -> Result<Self, SpecError> {
        spec.check()?;
        let widths: Vec<u64> = spec.goals.iter().map(|goal| goal.width_ppb).collect();
        let grid = Grid::new(spec.min_pps, spec.max_pps, &widths);
        let stage = if spec.warm_up_ns > 0 { Stage::WarmUp } else { Stage::First };
        let strictest_ppb = spec.goals.iter().map(|goal| goal.loss_ppb).min().unwrap_or(0);
        Ok(Self { spec, grid, trials: Trials::new(strictest_ppb), selectors: Vec::new(), stage, counted: 0 })
    }

    /// What is searched for.
    pub fn spec(&self) -> &SearchSpec {
        &self.spec
    }

    /// The counted trials so far.
    pub fn trials(&self) -> &Trials {
        &self.trials
    }

    /// The next trial.
    pub fn next(&self) -> Next {
        let request = |at: usize, duration_ns, counted| {
            Next::Measure(Request { load_pps: self.grid.load_pps(at), duration_ns, counted })
        };
        let first_ns = self.first_ns();
        match &self.stage {
            Stage::WarmUp => request(self.grid.top(), self.spec.warm_up_ns, false),
            Stage::First => request(self.grid.top(), first_ns, true),
            Stage::Second { at } | Stage::Third { at, .. } => request(*at, first_ns, true),
            Stage::Main { chosen: Some((_, nomination)), .. } if self.counted < MOST_TRIALS => {
                request(nomination.at, nomination.trial_ns, true)
            }
            Stage::Main { .. } => Next::Finished,
        }
    }

    /// Takes the outcome of the trial that [`Search::next`] asked for.
    pub fn record(&mut self, outcome: Measurement) {
        if matches!(self.stage, Stage::WarmUp) {
            self.stage = Stage::First;
            return;
        }
        self.counted += 1;
        if !self.trials.add(outcome) {
            return;
        }
        let top = self.grid.top();
        match self.stage.clone() {
            Stage::WarmUp => {}
            Stage::First => {
                let at = self.forwarded(&outcome);
                match keep_off_limits(at, self.first_width(), top) {
                    Some(at) => self.stage = Stage::Second { at },
                    None => self.begin(top, top),
                }
            }
            Stage::Second { at } => match self.beside(at, &outcome) {
                Some(third) => self.stage = Stage::Third { second: at, at: third },
                None => self.begin(at, at),
            },
            Stage::Third { second, at } => self.begin(second.min(at), second.max(at)),
            Stage::Main { shared, chosen } => self.go_on(shared, chosen),
        }
    }

    /// The results so far, by goal in the order of the goals.
    pub fn conclusions(&self) -> impl Iterator<Item = (&Goal, GoalConclusion)> {
        self.spec
            .goals
            .iter()
            .map(|goal| (goal, GoalConclusion::of(goal, &self.trials, self.spec.min_pps, self.spec.max_pps)))
    }

    /// Duration of the first trials: the longest initial one.
    fn first_ns(&self) -> u64 {
        self.spec.goals.iter().map(|goal| goal.initial_duration_ns).max().unwrap_or(SECOND_NS)
    }

    /// Width of the first steps: the widest of the coarsest targets.
    fn first_width(&self) -> usize {
        let coarsest = |goal: &Goal| self.grid.steps(goal.width_ppb) << goal.preceding_targets;
        self.spec.goals.iter().map(coarsest).max().unwrap_or(1)
    }

    /// The smallest loss of the goals.
    fn least_loss_ppb(&self) -> u64 {
        self.spec.goals.iter().map(|goal| goal.loss_ppb).min().unwrap_or(0)
    }

    /// The load that would have forwarded as much, with the loss that the strictest goal allows.
    fn forwarded(&self, outcome: &Measurement) -> usize {
        let allowed = u128::from(PPB - self.least_loss_ppb());
        let pps = u128::from(outcome.forwarding_pps()) * u128::from(PPB) / allowed;
        let at = self.grid.at_most(u64::try_from(pps).unwrap_or(u64::MAX));
        let lost = outcome.is_high_loss(self.least_loss_ppb());
        // A trial with more loss than a goal allows did not forward its own load.
        if lost && self.grid.load_pps(at) >= outcome.load_pps {
            self.grid.at_most(outcome.load_pps.saturating_sub(1))
        } else {
            at
        }
    }

    /// Position of the third trial, beside the second one at `at`; `None` when there is no room.
    fn beside(&self, at: usize, outcome: &Measurement) -> Option<usize> {
        let (top, width) = (self.grid.top(), self.first_width());
        if outcome.is_high_loss(self.least_loss_ppb()) {
            let lower = self.forwarded(outcome);
            return if at == 0 {
                None
            } else if at <= width {
                Some(0)
            } else {
                Some(clear(lower, width, at))
            };
        }
        // The highest load has lost too much, or there would be no second trial.
        if top - at <= width { None } else { Some((at + width).min(top - width).max(at + 1)) }
    }

    fn begin(&mut self, lower: usize, upper: usize) {
        let inherited = Interval { lower: Some(lower), upper: Some(upper) };
        self.selectors =
            self.spec.goals.iter().map(|goal| Selector::new(targets(goal, &self.grid), inherited)).collect();
        self.choose(upper - lower);
    }

    fn go_on(&mut self, shared: usize, chosen: Option<(usize, Nomination)>) {
        let Some((goal, nomination)) = chosen else { return };
        let grown = self.selectors[goal].measured(&nomination, &self.trials, &self.grid);
        self.choose(grown.unwrap_or(if nomination.width > 0 { nomination.width } else { shared }));
    }

    /// Chooses the next trial among the goals' nominations.
    fn choose(&mut self, shared: usize) {
        let mut chosen: Option<(usize, Nomination)> = None;
        for (goal, selector) in self.selectors.iter_mut().enumerate() {
            let Some(nomination) = selector.nominate(&self.trials, &self.grid, shared) else { continue };
            if chosen.as_ref().is_none_or(|(_, other)| nomination.precedes(other)) {
                chosen = Some((goal, nomination));
            }
        }
        self.stage = Stage::Main { shared, chosen };
    }
}

/// A load below the highest one and a width off both limits, or the lowest load; `None` at the top.
fn keep_off_limits(at: usize, width: usize, top: usize) -> Option<usize> {
    if at >= top {
        return None;
    }
    if top <= width {
        return Some(0);
    }
    Some(clear(at, width, top))
}

/// `at`, moved a width off `upper` and off the lowest load; below that, the lowest load.
fn clear(at: usize, width: usize, upper: usize) -> usize {
    let at = at.min(upper.saturating_sub(width));
    if at < width { 0 } else { at }
}
