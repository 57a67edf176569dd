//! The load of a trial's senders: one budget, from which all streams of a direction draw.
//!
//! A budget counts units: bytes of TCP, datagrams of UDP. Three limits apply together. The *schedule* gives the
//! units due since the start, so the average is exact. The *spacing* is a token bucket that fills 10 % faster
//! than the rate and holds 10 ms of it, so a debt is paid in part at once and then at 1.1 times the rate; under
//! a ceiling it fills at the ceiling's rate and holds one step. The *total* ends the sending.
//!
//! The schedule advances in steps, in the middle of equal parts of a second. So each whole second after the
//! start has the same number of units, though a step comes a little late.
//!
//! A stream takes what it is about to send, and gives back what its socket did not accept: the share of a slow
//! stream goes to the others. The two counters are the only data that workers share and write; a worker takes
//! from them once per system call.
//!
//! Units that were due more than 100 ms ago and not taken are forgiven, and counted. With a total they are due
//! later instead.

use std::sync::atomic::{AtomicU64, Ordering};

/// Factor by which a debt is paid faster than the rate.
const CATCH_UP: f64 = 1.1;
/// Age at which a debt is forgiven, in seconds.
const LONGEST_DEBT_S: f64 = 0.1;
/// Part of a debt that is paid at once, in seconds of the schedule.
const AT_ONCE_S: f64 = 0.01;
/// Fewest and most steps of the schedule per second. A worker that wakes up more often than the latter does
/// nothing else.
const STEPS_PER_SECOND: (f64, f64) = (20.0, 20_000.0);
/// Steps per second at which a load of small steps takes larger ones instead.
const MANY_STEPS: f64 = 1000.0;
/// Units of time of the spacing per nanosecond: a byte at 100 Gbit/s takes 0.08 ns.
const FINE: f64 = 256.0;
/// Rates are kept as whole numbers of this part of a unit per second.
const MILLI: u128 = 1000;
const NS_PER_S: u128 = 1_000_000_000;

/// A rate and the size of its steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace {
    /// Units per second.
    pub(crate) units_per_second: f64,
    /// Units that are best sent together: a segment of TCP, one datagram.
    pub(crate) unit_group: f64,
    /// Units that a system call takes when the load is high.
    pub(crate) call_units: f64,
    /// Highest rate that ceilings admit, in units per second.
    pub(crate) ceiling: Option<f64>,
}

impl Pace {
    /// Steps per second: one per group of units as long as these are few, one per system call when they are
    /// many.
    fn steps_per_second(&self) -> f64 {
        let (fewest, most) = STEPS_PER_SECOND;
        let groups = self.units_per_second / self.unit_group.max(1.0);
        if self.unit_group <= 1.0 {
            // A datagram is due at its own time.
            return groups.min(most);
        }
        if groups <= MANY_STEPS {
            return groups.floor().max(fewest);
        }
        (self.units_per_second / self.call_units.max(1.0)).floor().clamp(MANY_STEPS, most)
    }
}

/// What a sender gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// That many units may be sent now; at least one.
    Units(u64),
    /// Nothing is due before that time, in nanoseconds after the start.
    Wait(u64),
    /// The total has been taken.
    Exhausted,
}

#[derive(Debug, Clone, Copy)]
struct Schedule {
    /// Thousandths of a unit per second.
    milli_rate: u128,
    /// Millionths of a step per second.
    micro_steps: u128,
    /// Units of a step, rounded up.
    step_units: u64,
    /// Longest debt, in units.
    longest_debt: u64,
    /// Time that a unit takes in the spacing, and what the spacing holds, in parts of a nanosecond.
    unit_time: u64,
    depth_time: u64,
}

impl Schedule {
    fn new(pace: &Pace) -> Self {
        let steps = pace.steps_per_second();
        let step_units = (pace.units_per_second / steps).max(1.0);
        let (fill, depth) = match pace.ceiling {
            // A ceiling above the rate leaves room for debts.
            Some(ceiling) => (ceiling.min(CATCH_UP * pace.units_per_second), step_units),
            None => {
                (CATCH_UP * pace.units_per_second, (AT_ONCE_S * pace.units_per_second).max(2.0 * step_units))
            }
        };
        let unit_time = (FINE * 1e9 / fill).ceil().max(1.0);
        Self {
            milli_rate: (pace.units_per_second * 1e3).round().max(1.0) as u128,
            micro_steps: (steps * 1e6).round().max(1.0) as u128,
            step_units: step_units.ceil() as u64,
            longest_debt: (LONGEST_DEBT_S * pace.units_per_second).max(2.0 * step_units).ceil() as u64,
            unit_time: unit_time as u64,
            depth_time: (depth.ceil() * unit_time) as u64,
        }
    }

    /// Steps that have begun at `elapsed_ns`: the first one half a step after the start.
    fn steps(&self, elapsed_ns: u64) -> u128 {
        let scale = NS_PER_S * 1_000_000;
        (u128::from(elapsed_ns) * self.micro_steps + scale / 2) / scale
    }

    /// Units due after so many steps.
    fn due(&self, steps: u128) -> u64 {
        (steps * self.milli_rate * 1_000_000 / (self.micro_steps * MILLI)) as u64
    }

    /// Clock of the spacing, in parts of a nanosecond: ahead by what the bucket holds, which is full at the start.
    fn spacing_time(&self, elapsed_ns: u64) -> u64 {
        elapsed_ns.saturating_mul(FINE as u64).saturating_add(self.depth_time)
    }

    /// Time of the next step.
    fn next_step_ns(&self, steps: u128) -> u64 {
        let scale = NS_PER_S * 1_000_000;
        ((steps * scale + scale / 2).div_ceil(self.micro_steps)) as u64
    }
}

/// The budget of all streams of a direction.
#[derive(Debug)]
pub(crate) struct Budget {
    schedule: Option<Schedule>,
    total: Option<u64>,
    /// Units taken or forgiven.
    taken: AtomicU64,
    /// Time until which the spacing is used up, in parts of a nanosecond.
    spaced: AtomicU64,
    forgiven: AtomicU64,
}

impl Budget {
    /// A budget without a rate sends as fast as the sockets accept.
    pub(crate) fn new(pace: Option<&Pace>, total: Option<u64>) -> Self {
        Self {
            schedule: pace.map(Schedule::new),
            total,
            taken: AtomicU64::new(0),
            spaced: AtomicU64::new(0),
            forgiven: AtomicU64::new(0),
        }
    }

    /// True when there is neither a rate nor a total.
    pub(crate) fn is_unlimited(&self) -> bool {
        self.schedule.is_none() && self.total.is_none()
    }

    /// True when units become due one after the other.
    pub(crate) fn has_rate(&self) -> bool {
        self.schedule.is_some()
    }

    /// Units that were due and never taken.
    pub(crate) fn forgiven(&self) -> u64 {
        self.forgiven.load(Ordering::Relaxed)
    }

    /// Takes at most `most` units (at least 1), `elapsed_ns` after the start.
    pub(crate) fn take(&self, elapsed_ns: u64, most: u64) -> Grant {
        if self.is_unlimited() {
            return Grant::Units(most);
        }
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            let left = self.total.map_or(u64::MAX, |total| total.saturating_sub(taken));
            if left == 0 {
                return Grant::Exhausted;
            }
            let mut may = most.min(left);
            let mut from = taken;
            if let Some(schedule) = &self.schedule {
                let steps = schedule.steps(elapsed_ns);
                let due = schedule.due(steps);
                let debt = due.saturating_sub(taken);
                if debt == 0 {
                    return Grant::Wait(schedule.next_step_ns(steps));
                }
                if debt > schedule.longest_debt && self.total.is_none() {
                    from = due - schedule.longest_debt;
                }
                let spaced = self.spaced(schedule, elapsed_ns);
                let tokens = schedule.spacing_time(elapsed_ns).saturating_sub(spaced) / schedule.unit_time;
                // A debt is paid in whole steps: smaller grants would wake a worker for each unit.
                let least = schedule.step_units.min(debt).min(may).max(1);
                if tokens < least {
                    let at = (spaced + least * schedule.unit_time).saturating_sub(schedule.depth_time);
                    return Grant::Wait((at.div_ceil(FINE as u64)).max(elapsed_ns + 1));
                }
                may = may.min(due - from).min(tokens);
            }
            match self.taken.compare_exchange_weak(taken, from + may, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    self.forgiven.fetch_add(from - taken, Ordering::Relaxed);
                    if let Some(schedule) = &self.schedule {
                        // Two workers at once may exceed the spacing by one grant, never the schedule.
                        let spaced = self.spaced(schedule, elapsed_ns);
                        self.spaced.store(spaced + may * schedule.unit_time, Ordering::Relaxed);
                    }
                    return Grant::Units(may);
                }
                Err(now) => taken = now,
            }
        }
    }

    fn spaced(&self, schedule: &Schedule, elapsed_ns: u64) -> u64 {
        self.spaced.load(Ordering::Relaxed).max(schedule.spacing_time(elapsed_ns) - schedule.depth_time)
    }

    /// Gives back units that were taken and not sent.
    pub(crate) fn give_back(&self, units: u64) {
        if units == 0 || self.is_unlimited() {
            return;
        }
        self.taken.fetch_sub(units, Ordering::Relaxed);
        if let Some(schedule) = &self.schedule {
            let time = units * schedule.unit_time;
            let _ = self.spaced.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spaced| {
                Some(spaced.saturating_sub(time))
            });
        }
    }

    /// Units due in the first `elapsed_ns`; `None` without a rate.
    pub(crate) fn due(&self, elapsed_ns: u64) -> Option<u64> {
        let schedule = self.schedule.as_ref()?;
        Some(schedule.due(schedule.steps(elapsed_ns)))
    }
}

#[cfg(test)]
mod tests;
