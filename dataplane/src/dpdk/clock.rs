//! The clock of a trial: the time stamp counter, and the behaviour of loops without work.

use std::collections::BTreeSet;
use std::time::Duration;

use linerate_dpdk_sys as sys;
use linerate_wire::time::ClockReading;

use super::counter::{read_clocks, ticks};
use super::eal::Eal;
use linerate_measure::idle::Idle;
use linerate_measure::loops::queue::Clock;

/// Sleep time of an idle loop; the kernel adds about as much again.
const NAP: Duration = Duration::from_micros(50);
/// Longest time between two polls that still counts as idle, in seconds; in a longer one, another thread used
/// the CPU.
const LONGEST_LOOK_S: f64 = 2e-6;
/// The same for a loop that sleeps between its polls.
const LONGEST_NAP_S: f64 = 200e-6;

/// The counter that probes carry and the pacer uses, with the frequency known at construction.
#[derive(Debug, Clone, Copy)]
pub struct TickClock {
    tick_hz: u64,
    idle: Idle,
}

impl TickClock {
    /// The counter, with the frequency known so far.
    pub fn new(eal: &Eal, idle: Idle) -> Self {
        Self { tick_hz: eal.tick_rate().measured_hz, idle }
    }

    /// A reading of both clocks, as close together as possible.
    pub fn reading(self) -> ClockReading {
        read_clocks()
    }

    /// Seconds in this number of ticks.
    pub fn seconds(self, ticks: u64) -> f64 {
        ticks as f64 / self.tick_hz.max(1) as f64
    }

    /// Ticks in this number of milliseconds.
    pub fn ticks_in_ms(&self, ms: u64) -> u64 {
        u64::try_from(u128::from(self.tick_hz) * u128::from(ms) / 1000).unwrap_or(u64::MAX)
    }

    /// Behaviour of loops without work.
    pub fn idle(&self) -> Idle {
        self.idle
    }
}

/// True when worker lcores share a CPU.
pub fn workers_share(eal: &Eal) -> bool {
    let workers = eal.workers();
    // SAFETY: reads values that rte_eal_init has set; an Eal exists, and these are its lcores.
    let cpus: BTreeSet<i32> = workers.iter().map(|lcore| unsafe { sys::lr_lcore_cpu(lcore.0) }).collect();
    cpus.len() < workers.len()
}

impl Clock for TickClock {
    #[inline(always)]
    fn ticks(&self) -> u64 {
        ticks()
    }

    fn tick_hz(&self) -> u64 {
        self.tick_hz
    }

    fn longest_look_s(&self) -> f64 {
        if self.idle == Idle::Sleep { LONGEST_NAP_S } else { LONGEST_LOOK_S }
    }

    #[inline(always)]
    fn relax(&self) {
        match self.idle {
            Idle::Spin => std::hint::spin_loop(),
            Idle::Yield => std::thread::yield_now(),
            Idle::Sleep => std::thread::sleep(NAP),
        }
    }
}
