//! CPU time of workers in a trial, and throttling by a CPU quota.

use hugepage_check::cpu_limit::{CpuLimit, Throttled};
use hugepage_check::root::Root;
use linerate_wire::time::{Absences, Throttling, WorkerTime};

use crate::host::{monotonic_ns, thread_cpu_ns};

const SCHEDSTAT: &str = "/proc/thread-self/schedstat";
const STATUS: &str = "/proc/thread-self/status";

/// How regularly a polling loop looked for work, as it measured itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Looks {
    /// Longest time between two looks while it had nothing to do, in seconds.
    pub longest_gap_s: f64,
    /// Of a receiver: its absences from its queues while packets arrived.
    pub absences: Option<Absences>,
}

/// The kernel's CPU accounting of the calling thread.
#[derive(Debug, Clone, Copy)]
pub struct ThreadTime {
    at_ns: u64,
    on_cpu_ns: u64,
    waited_ns: Option<u64>,
    preemptions: Option<u64>,
}

impl ThreadTime {
    /// The calling thread's accounting now.
    pub fn now() -> Self {
        Self {
            at_ns: monotonic_ns(),
            on_cpu_ns: thread_cpu_ns(),
            waited_ns: std::fs::read_to_string(SCHEDSTAT).ok().and_then(|text| waited_ns(&text)),
            preemptions: std::fs::read_to_string(STATUS).ok().and_then(|text| preemptions(&text)),
        }
    }

    /// CPU time of the calling thread, `lcore`, since this reading.
    pub fn until_now(self, lcore: u32, looks: Looks) -> WorkerTime {
        let now = Self::now();
        let seconds = |later: u64, earlier: u64| later.saturating_sub(earlier) as f64 / 1e9;
        let elapsed_s = seconds(now.at_ns, self.at_ns);
        WorkerTime {
            lcore,
            cpu: u32::try_from(rustix::thread::sched_getcpu()).ok(),
            elapsed_s,
            off_cpu_s: (elapsed_s - seconds(now.on_cpu_ns, self.on_cpu_ns)).max(0.0),
            waited_s: now.waited_ns.zip(self.waited_ns).map(|(now, then)| seconds(now, then)),
            preemptions: now.preemptions.zip(self.preemptions).map(|(now, then)| now.saturating_sub(then)),
            longest_gap_s: looks.longest_gap_s,
            absences: looks.absences,
        }
    }
}

/// The kernel's CPU accounting of another thread of this process, which does not read it itself.
#[derive(Debug, Clone, Copy)]
pub struct TaskTime {
    thread: i32,
    at_ns: u64,
    on_cpu_ns: u64,
    waited_ns: u64,
}

impl TaskTime {
    /// The accounting of the thread with this id now; `None` when the kernel does not report it, or the thread has ended.
    pub fn of(thread: i32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
        let on_cpu_ns = text.split_whitespace().next()?.parse().ok()?;
        Some(Self { thread, at_ns: monotonic_ns(), on_cpu_ns, waited_ns: waited_ns(&text)? })
    }

    /// CPU time of the thread, which has this number, since this reading.
    pub fn until_now(self, number: u32) -> Option<WorkerTime> {
        let now = Self::of(self.thread)?;
        let seconds = |later: u64, earlier: u64| later.saturating_sub(earlier) as f64 / 1e9;
        let elapsed_s = seconds(now.at_ns, self.at_ns);
        Some(WorkerTime {
            lcore: number,
            elapsed_s,
            off_cpu_s: (elapsed_s - seconds(now.on_cpu_ns, self.on_cpu_ns)).max(0.0),
            waited_s: Some(seconds(now.waited_ns, self.waited_ns)),
            ..WorkerTime::default()
        })
    }
}

/// The second number of `schedstat`: nanoseconds spent waiting for a CPU (kernel
/// `Documentation/scheduler/sched-stats.rst`).
fn waited_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().nth(1)?.parse().ok()
}

fn preemptions(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))?.trim().parse().ok()
}

/// The CPU quota that applies to this process.
#[derive(Debug, Clone)]
pub struct Quota {
    limit: Option<CpuLimit>,
}

impl Quota {
    /// Finds the quota. An unreadable quota counts as unknown.
    pub fn find() -> Self {
        let limit = CpuLimit::find(&Root::host());
        let limit = limit.inspect_err(|error| tracing::debug!(%error, "the CPU quota is not known")).ok();
        Self { limit: limit.flatten() }
    }

    /// The quota in CPUs; `None` when there is none.
    pub fn cpus(&self) -> Option<f64> {
        self.limit.as_ref()?.quota_cpus
    }

    /// Throttling counters so far.
    pub fn throttled(&self) -> Vec<Throttled> {
        self.limit.as_ref().map(|limit| limit.throttled(&Root::host())).unwrap_or_default()
    }

    /// Seconds of throttling since `before`; `None` without a quota.
    pub fn stopped_s(&self, before: &[Throttled]) -> Option<f64> {
        self.limit.as_ref()?.quota_cpus?;
        Some(self.since(before).map_or(0.0, |throttling| throttling.stopped_s))
    }

    /// Throttling since `before`; `None` when there was none.
    pub fn since(&self, before: &[Throttled]) -> Option<Throttling> {
        stopped(before, &self.throttled(), self.cpus())
    }
}

/// The group that was throttled longest: its parents are throttled at the same time, so the times do not add
/// up.
fn stopped(before: &[Throttled], now: &[Throttled], quota_cpus: Option<f64>) -> Option<Throttling> {
    let each = before.iter().zip(now).map(|(before, now)| Throttling {
        quota_cpus,
        periods: now.periods.saturating_sub(before.periods),
        stopped_s: (now.stopped_s - before.stopped_s).max(0.0),
    });
    let most = each.max_by(|a, b| a.stopped_s.total_cmp(&b.stopped_s))?;
    (most.periods > 0 || most.stopped_s > 0.0).then_some(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(waited_ns("105230 7479591 2\n"), Some(7_479_591));
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t12\n";
        assert_eq!(preemptions(status), Some(12));
        assert_eq!((waited_ns(""), preemptions("")), (None, None));
    }

    #[test]
    fn a_thread_that_sleeps_is_off_its_cpu() {
        let before = ThreadTime::now();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let time = before.until_now(3, Looks { longest_gap_s: 0.02, absences: None });
        assert!(time.off_cpu_s >= 0.015 && time.off_cpu_s <= time.elapsed_s, "{time:?}");
        assert_eq!((time.lcore, time.longest_gap_s), (3, 0.02));
    }

    #[test]
    fn other_threads_have_an_account() {
        let (told, tell) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            told.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let _ = ended.recv();
        });
        let id = tell.recv().unwrap();
        let time = TaskTime::of(id).and_then(|before| before.until_now(4)).unwrap();
        assert!(time.lcore == 4 && time.off_cpu_s <= time.elapsed_s && time.waited_s.is_some(), "{time:?}");
        drop(end);
        thread.join().unwrap();
        assert!(TaskTime::of(id).is_none());
    }

    #[test]
    fn of_nested_groups_the_one_that_was_stopped_longest_counts() {
        let at = |periods, stopped_s| Throttled { periods, stopped_s };
        let before = [at(5, 1.0), at(9, 3.0)];
        assert_eq!(stopped(&before, &before, Some(0.5)), None);
        let now = [at(7, 1.25), at(9, 3.0)];
        let expected = Throttling { quota_cpus: Some(0.5), periods: 2, stopped_s: 0.25 };
        assert_eq!(stopped(&before, &now, Some(0.5)), Some(expected));
        assert_eq!(stopped(&[], &[], None), None);
    }
}
