//! Schedules: a load over time as numbers of events, which are packets or requests.
//!
//! A schedule says how many events are due until a time, when each of them is due, and the mean load. It is
//! compiled once, from stages or from recorded times, for a clock of any frequency: times are in ticks of
//! that clock, or in seconds when its frequency is 1. Event n, counted from 0, is due when the events before
//! it number n; a load that rests at that number has not reached it.
//!
//! How late events may leave, and in which bursts, is up to their senders.

use crate::limit::Limit;
use crate::profile::StageRates;

/// Error of a number of events that should be whole.
pub const ROUNDING: f64 = 1e-6;

/// A stretch of a schedule, with a rate that is constant or changes linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Ticks from the start to its beginning.
    pub begins: f64,
    /// Events due before it.
    pub before: f64,
    /// Events per tick at its beginning.
    rate: f64,
    /// Growth of the rate per tick.
    growth: f64,
}

impl Stretch {
    /// Events due `elapsed` ticks after the start of the schedule.
    #[inline]
    pub fn events(&self, elapsed: f64) -> f64 {
        let ticks = elapsed - self.begins;
        self.before + ticks * (self.rate + 0.5 * self.growth * ticks)
    }

    /// Events per tick at that time.
    #[inline]
    pub fn rate(&self, elapsed: f64) -> f64 {
        self.rate + self.growth * (elapsed - self.begins)
    }

    /// Ticks from the start of the schedule to an event of this stretch, numbered from 0; `None` when its
    /// rate is 0 by then.
    #[inline]
    pub fn time_of(&self, event: f64) -> Option<f64> {
        let more = (event - self.before).max(0.0);
        // The root of `more = ticks * (rate + growth / 2 * ticks)` in the form that also holds without growth.
        let divisor = self.rate + (self.rate * self.rate + 2.0 * self.growth * more).max(0.0).sqrt();
        if divisor > 0.0 {
            return Some(self.begins + 2.0 * more / divisor);
        }
        // A rate that rises from 0 reaches its first event at once.
        (self.growth > 0.0).then_some(self.begins)
    }
}

/// One round of a repeated schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Round {
    ticks: f64,
    events: u64,
}

/// Events due over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    stretches: Box<[Stretch]>,
    /// Repetition of recorded times.
    round: Option<Round>,
    tick_hz: f64,
}

impl Schedule {
    /// The schedule of stages, on a clock of `tick_hz`. After the last stage, its final rate persists.
    pub fn new(stages: &[StageRates], tick_hz: f64) -> Self {
        let (mut begins, mut before) = (0.0, 0.0);
        let mut stretches = Vec::with_capacity(stages.len() + 1);
        for stage in stages {
            let ticks = stage.seconds * tick_hz;
            let lasts = ticks > 0.0 && ticks.is_finite();
            let growth = if lasts { (stage.to_per_s - stage.from_per_s) / tick_hz / ticks } else { 0.0 };
            stretches.push(Stretch { begins, before, rate: stage.from_per_s / tick_hz, growth });
            let within = 0.5 * (stage.from_per_s + stage.to_per_s) * stage.seconds;
            begins += ticks;
            // An endless stage without a rate has no events, not an unknown number of them.
            before += if within.is_nan() { 0.0 } else { within };
        }
        if let (Some(stage), true) = (stages.last(), begins.is_finite()) {
            stretches.push(Stretch { begins, before, rate: stage.to_per_s / tick_hz, growth: 0.0 });
        }
        Self { stretches: stretches.into_boxed_slice(), round: None, tick_hz }
    }

    /// The schedule of events at these times, in seconds from the first one, repeated, on a clock of `tick_hz`. Two rounds
    /// are separated by the mean time between events. Events of the same time are a tick apart.
    pub fn recorded(times_s: &[f64], tick_hz: f64) -> Self {
        let last = times_s.last().copied().unwrap_or(0.0);
        let mean = if times_s.len() > 1 { last / (times_s.len() - 1) as f64 } else { 1e-3 };
        // A stretch per interval, in which one event becomes due at its end: every stretch needs a length.
        let ends = times_s.iter().skip(1).copied().chain([last + mean]);
        let (mut begins, mut stretches) = (0.0f64, Vec::with_capacity(times_s.len()));
        for (event, end) in ends.enumerate() {
            let end = (end * tick_hz).max(begins + 1.0);
            stretches.push(Stretch { begins, before: event as f64, rate: 1.0 / (end - begins), growth: 0.0 });
            begins = end;
        }
        let round = Round { ticks: begins.max(1.0), events: times_s.len() as u64 };
        Self { stretches: stretches.into_boxed_slice(), round: Some(round), tick_hz }
    }

    /// Its stretches in order of time, for users that keep their place among them; those of one round when it repeats.
    #[inline]
    pub fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// True when it repeats.
    #[inline]
    pub fn repeats(&self) -> bool {
        self.round.is_some()
    }

    /// The stretch in force `elapsed` ticks after the start, or after the start of a round.
    pub fn stretch_at(&self, elapsed: f64) -> Option<&Stretch> {
        let next = self.stretches.partition_point(|stretch| stretch.begins <= elapsed);
        next.checked_sub(1).and_then(|at| self.stretches.get(at))
    }

    /// Events due in the first `elapsed` ticks.
    pub fn events(&self, elapsed: f64) -> f64 {
        let (before, elapsed) = match self.round {
            Some(round) => {
                let rounds = (elapsed / round.ticks).floor();
                (rounds * round.events as f64, elapsed - rounds * round.ticks)
            }
            None => (0.0, elapsed),
        };
        before + self.stretch_at(elapsed).map_or(0.0, |stretch| stretch.events(elapsed))
    }

    /// Events per second `seconds` after the start, or after the start of a round.
    pub fn rate_at(&self, seconds: f64) -> f64 {
        let elapsed = seconds * self.tick_hz;
        self.stretch_at(elapsed).map_or(0.0, |stretch| stretch.rate(elapsed) * self.tick_hz)
    }

    /// Ticks from the start to an event, numbered from 0; `None`: never.
    pub fn time_of(&self, event: u64) -> Option<f64> {
        let (from, event) = match self.round {
            Some(Round { ticks, events }) => {
                let events = events.max(1);
                ((event / events) as f64 * ticks, event % events)
            }
            None => (0.0, event),
        };
        let event = event as f64;
        let behind = self.stretches.partition_point(|stretch| stretch.before <= event + ROUNDING);
        let stretch = behind.checked_sub(1).and_then(|at| self.stretches.get(at))?;
        Some(from + stretch.time_of(event)?)
    }

    /// Mean events per second over the first `seconds`; without a limit, of the first stage or of a whole
    /// round.
    pub fn mean_rate(&self, seconds: Option<f64>) -> f64 {
        let round_s = self.round.map(|round| round.ticks / self.tick_hz);
        match seconds.filter(|seconds| *seconds > 0.0).or(round_s) {
            Some(seconds) => self.events(seconds * self.tick_hz) / seconds,
            None => self.rate_at(0.0),
        }
    }

    /// Mean events per second of a trial with this end. A limit of packets is reached when the last packet is
    /// due; `together` packets, at least one, leave with it.
    pub fn mean_rate_within(&self, limit: &Limit, together: u64) -> f64 {
        let seconds = limit.duration_ms.map(|ms| ms as f64 / 1e3);
        let Some(packets) = limit.packets.filter(|_| !self.is_steady()) else {
            return self.mean_rate(seconds);
        };
        let last = packets.saturating_sub(together.max(1)).max(1);
        let last_s = self.time_of(last).map(|ticks| ticks / self.tick_hz);
        self.mean_rate(seconds.into_iter().chain(last_s).reduce(f64::min))
    }

    /// True when its rate is always the same.
    fn is_steady(&self) -> bool {
        let first = self.stretches.first();
        let same = |first: &Stretch| {
            self.stretches.iter().all(|stretch| stretch.growth == 0.0 && stretch.rate == first.rate)
        };
        !self.repeats() && first.is_some_and(same)
    }
}

#[cfg(test)]
mod tests;
