//! The time stamp counter.

use std::collections::BTreeSet;

use linerate_dpdk_sys as sys;

use super::eal::Eal;
use crate::loops::queue::Clock;

/// The counter that probes carry and the pacer runs on. It exists only after EAL has found its frequency.
#[derive(Debug, Clone, Copy)]
pub struct TickClock {
    tick_hz: u64,
    /// Some lcores share a CPU.
    crowded: bool,
}

impl TickClock {
    /// The counter, with the frequency that EAL found.
    pub fn new(eal: &Eal) -> Self {
        let workers = eal.workers();
        // SAFETY: reads what rte_eal_init has set; an Eal exists, and these are its lcores.
        let cpus: BTreeSet<i32> = workers.iter().map(|lcore| unsafe { sys::lr_lcore_cpu(lcore.0) }).collect();
        // SAFETY: as above.
        let tick_hz = unsafe { sys::lr_tick_hz() };
        Self { tick_hz, crowded: cpus.len() < workers.len() }
    }
}

impl Clock for TickClock {
    #[inline(always)]
    fn ticks(&self) -> u64 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reads a register; every x86-64 has it.
        let ticks = unsafe { core::arch::x86_64::_rdtsc() };
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: reads the architecture's counter through DPDK.
        let ticks = unsafe { sys::lr_ticks() };
        ticks
    }

    fn tick_hz(&self) -> u64 {
        self.tick_hz
    }

    #[inline(always)]
    fn relax(&self) {
        if self.crowded {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

impl TickClock {
    /// Ticks in that many milliseconds.
    pub fn ticks_in_ms(&self, ms: u64) -> u64 {
        u64::try_from(u128::from(self.tick_hz) * u128::from(ms) / 1000).unwrap_or(u64::MAX)
    }
}
