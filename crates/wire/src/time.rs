//! Timekeeping of a trial, and the CPU time of its workers.
//!
//! There is one time base. Probes carry a counter's ticks; ticks are converted to nanoseconds by the
//! frequency measured against the kernel's raw monotonic clock (`CLOCK_MONOTONIC_RAW`), which time services
//! do not slew. Samples, starts and ends are read from that clock directly.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Deviation of the nominal from the measured frequency above which a report notes it, in parts per million.
pub const TOLD_TOLERANCE_PPM: f64 = 50.0;

/// Stated and measured frequency of a counter. All rates, durations and delays are computed with the measured
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TickRate {
    /// Frequency stated by DPDK, in Hz: on many machines nominal, or rounded to 10 MHz.
    pub told_hz: u64,
    /// Frequency measured against the kernel's raw monotonic clock, in Hz.
    pub measured_hz: u64,
    /// Stated minus measured frequency, in parts per million of the measured one.
    pub difference_ppm: f64,
    /// How far the measured frequency may be off at most, in parts per million: no pair of readings is taken at one instant.
    pub uncertainty_ppm: f64,
}

impl TickRate {
    /// A rate from the nominal and the measured frequency.
    pub fn new(told_hz: u64, measured_hz: u64, uncertainty_ppm: f64) -> Self {
        let difference_ppm = (told_hz as f64 / measured_hz.max(1) as f64 - 1.0) * 1e6;
        Self { told_hz, measured_hz, difference_ppm, uncertainty_ppm }
    }

    /// True when DPDK's frequency deviates by more than [`TOLD_TOLERANCE_PPM`], beyond the uncertainty.
    pub fn differs_from_stated(&self) -> bool {
        self.difference_ppm.abs() > TOLD_TOLERANCE_PPM + self.uncertainty_ppm
    }
}

impl fmt::Display for TickRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { told_hz, measured_hz, difference_ppm, uncertainty_ppm } = self;
        write!(
            f,
            "{told_hz} Hz stated by DPDK, {measured_hz} Hz measured ({difference_ppm:+.2} ppm, ±{uncertainty_ppm:.2} ppm)"
        )
    }
}

/// A counter and the kernel's raw monotonic clock, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ClockReading {
    /// Ticks of the counter.
    pub ticks: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC_RAW` at that tick.
    pub raw_ns: u64,
    /// How far those nanoseconds may be off, either way.
    pub uncertainty_ns: u64,
}

/// How an agent kept time in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialClock {
    /// Both clocks when the agent was told to start.
    pub start: ClockReading,
    /// Both clocks when the trial had ended.
    pub end: ClockReading,
    /// The counter's frequency as it was known at the end.
    pub rate: TickRate,
}

/// When an agent sent, on the counter that its probes carry. A receiver needs it to tell when packets were
/// lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendingTimes {
    /// Frequency of the counter in Hz.
    pub tick_hz: u64,
    /// The counter when sending began.
    pub began_ticks: u64,
    /// The counter when sending ended.
    pub ended_ticks: u64,
}

impl SendingTimes {
    /// The times of an agent that began at `started_ns` of its raw monotonic clock and sent for `duration_s`
    /// seconds.
    pub fn of(clock: &TrialClock, started_ns: u64, duration_s: f64) -> Self {
        let TrialClock { start, rate, .. } = clock;
        let tick_hz = rate.measured_hz;
        let later_ns = i128::from(started_ns) - i128::from(start.raw_ns);
        let began = i128::from(start.ticks) + later_ns * i128::from(tick_hz) / 1_000_000_000;
        let began_ticks = u64::try_from(began).unwrap_or(0);
        let ended_ticks = began_ticks.saturating_add((duration_s * tick_hz as f64) as u64);
        Self { tick_hz, began_ticks, ended_ticks }
    }
}

/// How much of a trial a worker had a CPU, as the kernel counts it, from the word to start (a receiver: from its first look) to the end.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct WorkerTime {
    /// DPDK's number of the lcore.
    pub lcore: u32,
    /// The CPU it was on at the end; null where the kernel does not report it.
    pub cpu: Option<u32>,
    /// Seconds that it worked.
    pub elapsed_s: f64,
    /// Of those, seconds in which it was not on a CPU: it waited, slept, or a quota stopped it.
    pub off_cpu_s: f64,
    /// Of those, seconds in which it was ready to run and others had the CPU; null where the kernel does not
    /// report it.
    pub waited_s: Option<f64>,
    /// Times that the kernel took the CPU from it; null where the kernel does not report it.
    pub preemptions: Option<u64>,
    /// Longest time between two of its looks while it had nothing to do, in seconds.
    pub longest_gap_s: f64,
    /// Of a receiver: its absences between its first packet and its last. Null for a transmitter, and in older records.
    #[serde(default)]
    pub absences: Option<Absences>,
}

/// Number of lengths that absences are counted by.
pub const ABSENCE_LENGTHS: usize = 12;

/// Absences of a receiver: stretches in which it did not look at its queues, because another thread had its CPU.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Absences {
    /// Length from which a stretch counts, in seconds.
    pub shortest_s: f64,
    /// Seconds of absences by their length: those of up to twice the shortest, up to four times, and so on; the last
    /// number has all longer ones, too.
    pub by_length_s: [f64; ABSENCE_LENGTHS],
}

impl Absences {
    /// Seconds of the absences by length: the least and the greatest length, and their sum. The greatest of the last
    /// is unknown, and infinite here.
    pub fn by_length(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let shortest_s = self.shortest_s;
        self.by_length_s.iter().enumerate().map(move |(index, sum_s)| {
            let least_s = shortest_s * (1u64 << index) as f64;
            (least_s, if index + 1 < ABSENCE_LENGTHS { 2.0 * least_s } else { f64::INFINITY }, *sum_s)
        })
    }
}

impl WorkerTime {
    /// Share of the time, 0…1, in which the worker was ready to run but had no CPU. Where the kernel does not
    /// report it: the share in which the worker was off its CPU.
    pub fn waiting_share(&self) -> f64 {
        let waited_s = self.waited_s.unwrap_or(self.off_cpu_s);
        if self.elapsed_s > 0.0 { (waited_s / self.elapsed_s).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Mean length of the waits that began with a preemption; 0 where that is unknown. A shorter gap is not the
    /// longest wait: gaps are measured while there is nothing to do, and a busy worker waits unseen.
    fn mean_wait_s(&self, waited_s: f64) -> f64 {
        let preemptions = self.preemptions.filter(|preemptions| *preemptions > 0);
        preemptions.map_or(0.0, |preemptions| waited_s / preemptions as f64)
    }
}

impl fmt::Display for WorkerTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lcore {}", self.lcore)?;
        match self.cpu {
            Some(cpu) => write!(f, " waited for CPU {cpu}")?,
            None => f.write_str(" waited for a CPU")?,
        }
        let waited_s = self.waited_s.unwrap_or(self.off_cpu_s);
        let share = 100.0 * self.waiting_share();
        write!(f, " {share:.1} % of the time ({waited_s:.3} of {:.3} s", self.elapsed_s)?;
        if let Some(preemptions) = self.preemptions {
            write!(f, ", {preemptions} preemptions")?;
        }
        if self.longest_gap_s > 0.0 && self.longest_gap_s >= self.mean_wait_s(waited_s) {
            write!(f, ", {:.3} ms at the longest", 1e3 * self.longest_gap_s)?;
        }
        f.write_str(")")
    }
}

/// How a CPU quota of the agent's control group stopped the agent during a trial.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Throttling {
    /// The quota in CPUs; null when it is not known.
    pub quota_cpus: Option<f64>,
    /// Periods in which the quota was used up.
    pub periods: u64,
    /// Seconds for which the group was stopped, summed over its CPUs.
    pub stopped_s: f64,
}

impl fmt::Display for Throttling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the control group's CPU quota")?;
        if let Some(quota) = self.quota_cpus {
            write!(f, " of {quota:.2} CPUs")?;
        }
        write!(f, " stopped it for {:.3} s in {} periods", self.stopped_s, self.periods)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_frequency_is_detected_beyond_the_uncertainty() {
        for (told, measured, uncertainty, difference, wrong) in [
            (2_100_000_000, 2_095_000_000, 1.0, 2386.6, true),
            (2_300_000_000, 2_299_998_000, 1.0, 0.87, false),
            (1_000_060_000, 1_000_000_000, 5.0, 60.0, true),
            (1_000_060_000, 1_000_000_000, 20.0, 60.0, false),
            (999_900_000, 1_000_000_000, 1.0, -100.0, true),
        ] {
            let rate = TickRate::new(told, measured, uncertainty);
            assert!((rate.difference_ppm - difference).abs() < 0.1, "{rate}");
            assert_eq!(rate.differs_from_stated(), wrong, "{rate}");
        }
    }

    #[test]
    fn sending_is_told_on_the_counter() {
        let start = ClockReading { ticks: 50_000, raw_ns: 1_000, uncertainty_ns: 0 };
        let clock = TrialClock { start, end: start, rate: TickRate::new(0, 2_000_000_000, 0.0) };
        let times = |started_ns| SendingTimes::of(&clock, started_ns, 0.5);
        let ticks = |began_ticks| SendingTimes {
            tick_hz: 2_000_000_000,
            began_ticks,
            ended_ticks: began_ticks + 1_000_000_000,
        };
        assert_eq!([times(1_500), times(900)], [ticks(51_000), ticks(49_800)]);
    }

    #[test]
    fn time_without_a_cpu_is_described_in_words() {
        let worker = WorkerTime {
            lcore: 1,
            cpu: Some(0),
            elapsed_s: 2.0,
            off_cpu_s: 1.2,
            waited_s: Some(1.0),
            preemptions: Some(240),
            longest_gap_s: 0.0081,
            absences: None,
        };
        let text = "lcore 1 waited for CPU 0 50.0 % of the time (1.000 of 2.000 s, 240 preemptions, 8.100 ms at the longest)";
        assert_eq!(worker.to_string(), text);
        let unknown = WorkerTime { cpu: None, waited_s: None, preemptions: None, ..worker };
        assert_eq!(
            unknown.to_string(),
            "lcore 1 waited for a CPU 60.0 % of the time (1.200 of 2.000 s, 8.100 ms at the longest)"
        );
        // The worker was never idle for as long as it waited on average.
        let busy = WorkerTime { longest_gap_s: 0.0041, ..worker };
        assert_eq!(
            busy.to_string(),
            "lcore 1 waited for CPU 0 50.0 % of the time (1.000 of 2.000 s, 240 preemptions)"
        );
        let throttling = Throttling { quota_cpus: Some(0.5), periods: 9, stopped_s: 0.41 };
        assert_eq!(
            throttling.to_string(),
            "the control group's CPU quota of 0.50 CPUs stopped it for 0.410 s in 9 periods"
        );
    }
}
