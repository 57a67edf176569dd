//! CPU time of this process and its host in a trial.

use std::sync::atomic::{AtomicU64, Ordering};

use hugepage_check::cpu_limit::Throttled;
use linerate_agent::cpu_time::Quota;
use linerate_agent::host::{monotonic_ns, process_cpu_ns};
use linerate_observe::procfs::Content;
use linerate_observe::procfs::stat::{Stat, TICKS_PER_SECOND};
use linerate_wire::streams::{CpuUse, HostCpu};
use linerate_wire::time::Throttling;

/// Trials that run in this process, and trials ever started.
static RUNNING: AtomicU64 = AtomicU64::new(0);
static STARTED: AtomicU64 = AtomicU64::new(0);

/// Measures since the start of a trial.
#[derive(Debug)]
pub(crate) struct HostWatch {
    began_ns: u64,
    cpu_ns: u64,
    host: Option<HostCpu>,
    quota: Quota,
    throttled: Vec<Throttled>,
    alone: Option<u64>,
}

impl HostWatch {
    /// Begins to measure.
    pub(crate) fn begin() -> Self {
        let quota = Quota::find();
        let started = STARTED.fetch_add(1, Ordering::Relaxed) + 1;
        let alone = (RUNNING.fetch_add(1, Ordering::Relaxed) == 0).then_some(started);
        Self {
            began_ns: monotonic_ns(),
            cpu_ns: process_cpu_ns(),
            host: host_cpu(),
            throttled: quota.throttled(),
            quota,
            alone,
        }
    }

    /// CPU time of the process since the beginning, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> u64 {
        process_cpu_ns().saturating_sub(self.cpu_ns)
    }

    /// Time for which a quota stopped the process, in nanoseconds; `None` without a quota.
    pub(crate) fn throttled_ns(&self) -> Option<u64> {
        self.quota.stopped_s(&self.throttled).map(|seconds| (seconds * 1e9) as u64)
    }

    /// All measures until now.
    pub(crate) fn read(&self) -> (CpuUse, Option<Throttling>) {
        let host = host_cpu().zip(self.host).map(|(now, then)| HostCpu {
            cpus: now.cpus,
            busy_s: (now.busy_s - then.busy_s).max(0.0),
            interrupts_s: (now.interrupts_s - then.interrupts_s).max(0.0),
        });
        let cpu = CpuUse {
            process_s: self.cpu_ns() as f64 / 1e9,
            elapsed_s: monotonic_ns().saturating_sub(self.began_ns) as f64 / 1e9,
            shared: self.alone != Some(STARTED.load(Ordering::Relaxed)),
            host,
        };
        (cpu, self.quota.since(&self.throttled))
    }
}

impl Drop for HostWatch {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// CPU time of the host since it was started.
fn host_cpu() -> Option<HostCpu> {
    parse(&std::fs::read("/proc/stat").ok()?)
}

fn parse(bytes: &[u8]) -> Option<HostCpu> {
    let mut stat = Stat::default();
    stat.parse(bytes, None).ok()?;
    let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
    Some(HostCpu {
        cpus: stat.cpus.len() as u32,
        busy_s: seconds(stat.all.busy()),
        interrupts_s: seconds(stat.all.irq + stat.all.softirq),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_file_is_read() {
        let stat =
            b"cpu  100 5 50 900 7 2 30 4 0 0\ncpu0 50 0 25 450 3 1 15 2 0 0\ncpu1 1 1 1 1 1 1 1 1\nintr 5\n";
        assert_eq!(parse(stat), Some(HostCpu { cpus: 2, busy_s: 1.87, interrupts_s: 0.32 }));
        assert_eq!(parse(b"cpu  1 2"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn trials_at_the_same_time_share_the_cpu_time() {
        let first = HostWatch::begin();
        let second = HostWatch::begin();
        assert!(first.read().0.shared && second.read().0.shared);
        assert!(first.cpu_ns() <= process_cpu_ns());
    }
}
