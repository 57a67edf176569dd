//! The time stamp counter.

use linerate_dpdk_sys as sys;
use linerate_wire::time::ClockReading;

use crate::host::monotonic_ns;
use linerate_measure::calibration::tightest;

/// Name of the counter.
pub const SOURCE: &str = if cfg!(target_arch = "x86_64") { "tsc" } else { "cntvct" };
/// Attempts to read both clocks close together.
const TRIES: u32 = 32;

/// The counter now.
#[inline(always)]
pub(super) fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads a register; every x86-64 has it.
    let ticks = unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: reads the architecture's counter through DPDK, which does not require EAL to be started.
    let ticks = unsafe { sys::lr_ticks() };
    ticks
}

/// Reads the counter and the raw monotonic clock; works before EAL starts.
pub(super) fn read_clocks() -> ClockReading {
    tightest(TRIES, || {
        let before_ns = monotonic_ns();
        let ticks = ticks();
        (before_ns, ticks, monotonic_ns())
    })
}

/// Frequency of the counter in Hz, as DPDK states it. EAL must have started.
pub(super) fn stated_hz() -> u64 {
    // SAFETY: reads a value that rte_eal_init has set.
    unsafe { sys::lr_tick_hz() }
}
