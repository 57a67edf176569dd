//! The agent's measures of its machine during a trial: a clock and, under a CPU quota, one file per control group.

use hugepage_check::cpu_limit::Throttled;
use linerate_wire::host::HostSample;

use crate::cpu_time::Quota;
use crate::host::process_cpu_ns;

/// Measures since a trial was armed.
pub(crate) struct HostWatch {
    process_cpu_ns: u64,
    quota: Quota,
    throttled: Vec<Throttled>,
}

impl HostWatch {
    /// Begins to measure.
    pub(crate) fn begin(quota: &Quota) -> Self {
        let quota = quota.clone();
        Self { process_cpu_ns: process_cpu_ns(), throttled: quota.throttled(), quota }
    }

    /// Measures since the beginning.
    pub(crate) fn sample(&self) -> HostSample {
        HostSample {
            process_cpu_ns: Some(process_cpu_ns().saturating_sub(self.process_cpu_ns)),
            throttled_ns: self.quota.stopped_s(&self.throttled).map(|seconds| (seconds * 1e9).round() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_counts_from_the_beginning() {
        let watch = HostWatch::begin(&Quota::find());
        let began = std::time::Instant::now();
        while began.elapsed().as_millis() < 20 {
            std::hint::spin_loop();
        }
        let (first, second) = (watch.sample(), watch.sample());
        let cpu = |sample: HostSample| sample.process_cpu_ns.unwrap();
        assert!(cpu(first) > 0 && cpu(second) >= cpu(first), "{first:?} {second:?}");
    }
}
