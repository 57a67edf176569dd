//! What observing costs.

use crate::clock::thread_cpu_ns;

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
        let before = thread_cpu_ns();
        let result = work();
        self.cpu_ns += thread_cpu_ns().saturating_sub(before);
        self.readings += 1;
        result
    }
}
