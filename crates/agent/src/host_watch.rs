//! The agent's measures of its machine during a trial: a clock, under a CPU quota one file per control group,
//! and the files of the kernel that `linerate-observe` reads.

use std::path::Path;

use hugepage_check::cpu_limit::Throttled;
use linerate_observe::cost::Cost;
use linerate_observe::host::Host;
use linerate_observe::interrupts::{InterruptReader, Interrupts};
use linerate_observe::source::Series;
use linerate_wire::host::{HostSample, KernelSample};
use linerate_wire::host_report::HostReport;

use crate::cpu_time::Quota;
use crate::host::{monotonic_ns, process_cpu_ns};
use crate::host_report::{add_interrupts, kernel_sample, report};

/// Least time between two readings of the kernel's files: CPU times have a grain of 10 ms, and large machines
/// have long files. A tenth less than the time between samples, which may be early by a look.
const LEAST_APART_NS: u64 = 90_000_000;
/// Least time between two readings, as a multiple of the CPU time that the last one took.
const LEAST_APART_COSTS: u64 = 100;
/// How long before a trial's start the kernel's files are read: several looks of the agent.
const LEAD_NS: u64 = 5_000_000;
/// Most time between two readings: counters of 32 bits may wrap once between them.
const MOST_APART_NS: u64 = 60_000_000_000;

/// Measures since a trial was armed; those of the kernel's files since it began, or since before where its first reading was late.
#[derive(Debug)]
pub(crate) struct HostWatch {
    process_cpu_ns: u64,
    quota: Quota,
    throttled: Vec<Throttled>,
    kernel: Host,
    /// Interrupts by number and CPU, where asked for: read before the trial and after it, because there may be hundreds of
    /// files.
    interrupts: Option<Series<Interrupts>>,
    start: Start,
    /// When they were last read, and the CPU time that it took.
    read_ns: u64,
    reading_cost_ns: u64,
    /// True for a reading that was not taken for a sample, as that of the report: a sample that follows at once has
    /// the same counts.
    is_fresh: bool,
}

/// When the kernel's files are first read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// The trial has no start yet.
    Unknown,
    /// Shortly before this instant.
    At(u64),
    /// They have been read.
    Done,
}

fn is_near(at_ns: u64, now_ns: u64) -> bool {
    at_ns <= now_ns.saturating_add(LEAD_NS)
}

impl HostWatch {
    /// Begins to measure when the trial is armed, on request with the node's interrupts.
    pub(crate) fn begin(quota: &Quota, interrupts: bool) -> Self {
        let quota = quota.clone();
        let mut kernel = Host::new(Path::new("/"));
        // Opens the files before the trial.
        Self::all(&mut kernel);
        kernel.rebase_node();
        kernel.rebase_namespace();
        let interrupts = interrupts.then(|| {
            let mut interrupts = Series::default();
            read_interrupts(&mut interrupts, &mut kernel);
            interrupts.rebase();
            interrupts
        });
        Self {
            process_cpu_ns: process_cpu_ns(),
            throttled: quota.throttled(),
            quota,
            kernel,
            interrupts,
            start: Start::Unknown,
            read_ns: 0,
            reading_cost_ns: 0,
            is_fresh: false,
        }
    }

    /// The trial begins at this instant, which other agents know, too.
    pub(crate) fn start_at(&mut self, at_ns: u64) {
        self.start = Start::At(at_ns);
    }

    /// The trial begins when this agent begins, which is after this returns: the first reading is taken now.
    pub(crate) fn start_now(&mut self) {
        self.read_first(monotonic_ns());
        self.rebase();
    }

    /// Takes the first reading shortly before the trial begins.
    pub(crate) fn look(&mut self, now_ns: u64) {
        match self.start {
            Start::At(at_ns) if is_near(at_ns, now_ns) => {
                self.read_first(now_ns);
                // A late reading lacks the first packets, which would be missing from the account of losses. The one that was taken when the
                // trial was armed lacks none.
                if monotonic_ns() <= at_ns {
                    self.rebase();
                }
            }
            Start::Done if now_ns.saturating_sub(self.read_ns) >= MOST_APART_NS => {
                self.read(now_ns, Host::read_for_sample);
                self.is_fresh = true;
            }
            _ => {}
        }
    }

    fn read_first(&mut self, now_ns: u64) {
        self.read(now_ns, Self::all);
        // The cost of a trial is that of what is read during it.
        *self.kernel.cost_mut() = Cost::default();
        self.start = Start::Done;
    }

    fn rebase(&mut self) {
        self.kernel.rebase_node();
        self.kernel.rebase_namespace();
    }

    fn all(kernel: &mut Host) {
        kernel.read_node();
        kernel.read_namespace();
    }

    fn read(&mut self, now_ns: u64, work: fn(&mut Host)) {
        let before_ns = self.kernel.cost().cpu_ns;
        work(&mut self.kernel);
        self.read_ns = now_ns;
        self.reading_cost_ns = self.kernel.cost().cpu_ns.saturating_sub(before_ns);
    }

    /// Measures since the beginning.
    pub(crate) fn sample(&mut self) -> HostSample {
        HostSample {
            process_cpu_ns: Some(process_cpu_ns().saturating_sub(self.process_cpu_ns)),
            throttled_ns: self.quota.stopped_s(&self.throttled).map(|seconds| (seconds * 1e9).round() as u64),
            kernel: self.kernel_sample(),
        }
    }

    fn kernel_sample(&mut self) -> Option<KernelSample> {
        if self.start != Start::Done {
            return None;
        }
        let now_ns = monotonic_ns();
        let is_fresh = std::mem::take(&mut self.is_fresh);
        let least_apart_ns = LEAST_APART_NS.max(LEAST_APART_COSTS * self.reading_cost_ns);
        if now_ns.saturating_sub(self.read_ns) >= least_apart_ns {
            self.read(now_ns, Host::read_for_sample);
        } else if !is_fresh {
            return None;
        }
        Some(kernel_sample(&self.kernel))
    }

    /// The host from the trial's start until now; `None` for a trial that did not begin.
    pub(crate) fn report(&mut self) -> Option<HostReport> {
        if self.start != Start::Done {
            return None;
        }
        self.read(monotonic_ns(), Self::all);
        self.is_fresh = true;
        let mut report = report(&self.kernel);
        if let Some(interrupts) = &mut self.interrupts {
            // What follows the trial is no part of its cost.
            read_interrupts(interrupts, &mut self.kernel);
            add_interrupts(&mut report, interrupts);
        }
        Some(report)
    }
}

/// Reads the interrupts of the node. No file stays open: connections of a trial may need all descriptors.
fn read_interrupts(interrupts: &mut Series<Interrupts>, kernel: &mut Host) {
    let online = kernel.online();
    let mut buffer = Vec::new();
    let read = InterruptReader::new(Path::new("/"), None).read(&mut buffer, &online, interrupts.last().ok());
    // The reading before is the base.
    let _ = interrupts.add(read);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn cpu_time_counts_from_the_beginning() {
        let mut watch = HostWatch::begin(&Quota::find(), true);
        let began = Instant::now();
        while began.elapsed().as_millis() < 20 {
            std::hint::spin_loop();
        }
        let (first, second) = (watch.sample(), watch.sample());
        let cpu = |sample: HostSample| sample.process_cpu_ns.unwrap();
        assert!(cpu(first) > 0 && cpu(second) >= cpu(first), "{first:?} {second:?}");
        assert_eq!(first.kernel, None, "the trial has not begun");
        assert_eq!(watch.report(), None);
    }

    #[test]
    fn interrupts_are_read_on_request_alone() {
        let mut watch = HostWatch::begin(&Quota::find(), false);
        watch.start_at(0);
        watch.look(monotonic_ns());
        let report = watch.report().unwrap();
        assert_eq!((report.node.irqs.len(), report.node.irqs_elapsed_s), (0, None));
        assert!(!report.not_known.contains_key("interrupts"), "{report:?}");
    }

    #[test]
    fn a_reading_that_is_late_for_the_first_packets_is_not_the_base() {
        let mut watch = HostWatch::begin(&Quota::find(), false);
        let armed = Instant::now();
        std::thread::sleep(Duration::from_millis(30));
        let now = monotonic_ns();
        watch.start_at(now - 1);
        watch.look(now);
        let since_armed = armed.elapsed().as_secs_f64();
        assert!(watch.report().unwrap().elapsed_s >= since_armed, "counted from before the first packet");

        let mut watch = HostWatch::begin(&Quota::find(), false);
        std::thread::sleep(Duration::from_millis(30));
        let before = Instant::now();
        // Far enough that no reading of a starved process is late.
        watch.start = Start::At(monotonic_ns() + 3_600_000_000_000);
        watch.look(monotonic_ns() + 3_600_000_000_000);
        let elapsed_s = watch.report().unwrap().elapsed_s;
        assert!(elapsed_s <= before.elapsed().as_secs_f64(), "counted from the trial's start");

        let mut watch = HostWatch::begin(&Quota::find(), false);
        std::thread::sleep(Duration::from_millis(30));
        let before = Instant::now();
        watch.start_now();
        let elapsed_s = watch.report().unwrap().elapsed_s;
        assert!(elapsed_s <= before.elapsed().as_secs_f64(), "a start at once waits for the reading");
    }

    #[test]
    fn the_kernel_is_read_from_the_start_and_not_too_often() {
        let mut watch = HostWatch::begin(&Quota::find(), true);
        let now = monotonic_ns();
        watch.start_at(now + LEAD_NS + 1);
        watch.look(now);
        assert_eq!(watch.report(), None, "not long before the start");
        watch.look(now + 1);
        std::thread::sleep(Duration::from_millis(30));
        watch.read_ns = monotonic_ns() + 1_000_000_000;
        assert_eq!(watch.sample().kernel, None, "too soon");
        let report = watch.report().unwrap();
        assert!(report.elapsed_s >= 0.03 && report.cost_s > 0.0, "{report:?}");
        assert!(!report.node.cpus.is_empty() && report.node.net_rx.is_some(), "{report:?}");
        // Some containers hide them.
        let irqs = &report.node.irqs;
        assert!(
            report.not_known.contains_key("interrupts") || report.node.irqs_elapsed_s >= Some(0.03),
            "{report:?}"
        );
        assert!(
            irqs.iter()
                .all(|irq| irq.total > 0 && irq.cpus.iter().map(|cpu| cpu.count).sum::<u64>() <= irq.total),
            "{irqs:?}"
        );
        assert!(
            report.not_known.keys().all(|what| what == "interrupts")
                && report.namespace.protocols.contains_key("UdpRcvbufErrors")
        );
        let last = watch.sample().kernel.unwrap();
        assert_eq!(last.node_net_rx, report.node.net_rx, "of the report's own reading");
        // A machine whose files are so long that a reading takes a second.
        watch.reading_cost_ns = 1_000_000_000;
        std::thread::sleep(Duration::from_millis(95));
        assert_eq!(watch.sample().kernel, None, "readings would cost too much");
        watch.reading_cost_ns = 0;
        let sample = watch.sample().kernel.unwrap();
        assert!(sample.node_busy_ms.is_some() && sample.udp_receive_buffer_errors.is_some(), "{sample:?}");
        // Counters of 32 bits are followed between rare samples.
        watch.reading_cost_ns = 1_000_000_000;
        watch.look(watch.read_ns + MOST_APART_NS - 1);
        assert_eq!(watch.sample().kernel, None);
        watch.look(watch.read_ns + MOST_APART_NS);
        assert!(watch.sample().kernel.is_some());
    }
}
