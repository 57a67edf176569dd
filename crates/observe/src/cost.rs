//! What observing costs.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC_RAW: elapsed time is the difference of two readings, whatever the interval
/// that was asked for.
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::MonotonicRaw)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// CPU time that readings took, and their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// CPU time of the reading thread, the kernel's part included, in nanoseconds.
    pub cpu_ns: u64,
    /// Readings.
    pub readings: u64,
}

impl Cost {
    /// Does the work of one reading and adds its cost.
    pub fn of<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = nanoseconds(ClockId::ThreadCPUTime);
        let result = work();
        self.cpu_ns += nanoseconds(ClockId::ThreadCPUTime).saturating_sub(before);
        self.readings += 1;
        result
    }
}
