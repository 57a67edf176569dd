//! Clocks of this host, read from the kernel.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC_RAW, the time base of all measurements: common to all processes of a host,
/// monotonic, and not slewed by time services.
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::MonotonicRaw)
}

/// CPU time of this thread, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

/// Nanoseconds for which all threads of this process together have had CPUs.
pub fn process_cpu_ns() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
