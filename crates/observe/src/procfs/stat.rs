//! `/proc/stat`: CPU times of the node, and how many interrupts and softirqs it had (`man 5 proc`).

use super::{Content, of_cpu};
use crate::bytes::{decimal, lines, numbered, words};
use crate::counter::widen;

/// Ticks in a second, on all architectures (`USER_HZ`).
pub const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time since the start of the node, in ticks of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTimes {
    /// Programs, those of guests included.
    pub user: u64,
    /// Programs of low priority.
    pub nice: u64,
    /// The kernel on behalf of programs.
    pub system: u64,
    /// Nothing to do.
    pub idle: u64,
    /// Nothing to do while a disk works.
    pub iowait: u64,
    /// Interrupts.
    pub irq: u64,
    /// Softirqs, where packets are received.
    pub softirq: u64,
    /// Another guest of the hypervisor had the CPU.
    pub steal: u64,
}

impl CpuTimes {
    /// The words of a line after its name. Kernels before 2.6.11 lack `steal`, newer ones go on with guests,
    /// whose time is in `user` and `nice` as well.
    fn parse<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut next = || words.next().and_then(decimal);
        Some(Self {
            user: next()?,
            nice: next()?,
            system: next()?,
            idle: next()?,
            iowait: next()?,
            irq: next()?,
            softirq: next()?,
            steal: next().unwrap_or(0),
        })
    }

    /// Ticks since `then`. Idle times are estimates that may go back by a tick: they count as 0 then.
    #[must_use]
    pub fn since(&self, then: &Self) -> Self {
        Self {
            user: self.user.saturating_sub(then.user),
            nice: self.nice.saturating_sub(then.nice),
            system: self.system.saturating_sub(then.system),
            idle: self.idle.saturating_sub(then.idle),
            iowait: self.iowait.saturating_sub(then.iowait),
            irq: self.irq.saturating_sub(then.irq),
            softirq: self.softirq.saturating_sub(then.softirq),
            steal: self.steal.saturating_sub(then.steal),
        }
    }

    /// All ticks.
    pub fn total(&self) -> u64 {
        self.busy() + self.idle + self.iowait + self.steal
    }

    /// Ticks in which this node used the CPU.
    pub fn busy(&self) -> u64 {
        self.user + self.nice + self.system + self.irq + self.softirq
    }

    /// A part of the total, 0…1; `None` when no tick has passed.
    pub fn share(&self, part: u64) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| part as f64 / total as f64)
    }
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stat {
    /// All CPUs together.
    pub all: CpuTimes,
    /// Number and times of each CPU that is online, in order.
    pub cpus: Vec<(u32, CpuTimes)>,
    /// Interrupts since the start of the node, also those without a number, such as timers; `None` where the
    /// kernel does not tell.
    pub interrupts: Option<u64>,
    /// Softirqs since the start of the node.
    pub softirqs: Option<u64>,
}

impl Stat {
    /// Times of a CPU.
    pub fn cpu(&self, cpu: u32) -> Option<&CpuTimes> {
        of_cpu(&self.cpus, cpu)
    }
}

/// A sum over the CPUs, continued from the reading before. Softirqs, and interrupts without a number, are counted
/// in 32 bits on each CPU: when one of these counters wraps, the sum goes back by 2^32.
fn continued(sum: u64, last: Option<u64>) -> u64 {
    last.map_or(sum, |last| widen(last, sum as u32))
}

impl Content for Stat {
    const PATH: &'static str = "proc/stat";

    fn parse(&mut self, bytes: &[u8], before: Option<&Self>) -> Result<(), &'static str> {
        const EXPECTED: &str = "expected lines of seven times or more for all CPUs and for each";
        self.cpus.clear();
        (self.interrupts, self.softirqs) = (None, None);
        let mut all = None;
        for line in lines(bytes) {
            let mut words = words(line);
            match words.next() {
                Some(b"cpu") => all = Some(CpuTimes::parse(words).ok_or(EXPECTED)?),
                Some(name) if name.starts_with(b"cpu") => {
                    let cpu = numbered(name, b"cpu").ok_or(EXPECTED)?;
                    self.cpus.push((cpu, CpuTimes::parse(words).ok_or(EXPECTED)?));
                }
                Some(b"intr") => {
                    let last = before.and_then(|before| before.interrupts);
                    self.interrupts = words.next().and_then(decimal).map(|sum| continued(sum, last));
                }
                Some(b"softirq") => {
                    let last = before.and_then(|before| before.softirqs);
                    self.softirqs = words.next().and_then(decimal).map(|sum| continued(sum, last));
                }
                _ => {}
            }
        }
        self.all = all.filter(|_| !self.cpus.is_empty()).ok_or(EXPECTED)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] = b"cpu  100 5 50 900 7 2 30 4 9 1\ncpu0 60 5 30 400 7 2 0 1 9 1\ncpu2 40 0 20 500 0 0 30 3 0 0\nintr 500 0 7 1\n\
                          ctxt 9\nsoftirq 77 1 2\n";

    #[test]
    fn times_and_totals_are_read() {
        let mut stat = Stat::default();
        stat.parse(STAT, None).unwrap();
        assert_eq!(stat.cpus.iter().map(|(cpu, _)| *cpu).collect::<Vec<_>>(), [0, 2], "CPU 1 is offline");
        assert_eq!((stat.all.busy(), stat.all.total()), (187, 1_098), "guests are in user and nice");
        assert_eq!((stat.interrupts, stat.softirqs), (Some(500), Some(77)));
        let later = CpuTimes { user: 140, idle: 899, ..stat.all };
        let passed = later.since(&stat.all);
        assert_eq!((passed.user, passed.idle, passed.total()), (40, 0, 40));
        assert_eq!(passed.share(10), Some(0.25));
        assert_eq!(CpuTimes::default().share(0), None);
    }

    #[test]
    fn totals_go_on_when_a_cpus_counter_wraps() {
        let read = |softirqs: u64, before: Option<&Stat>| {
            let mut stat = Stat::default();
            let text =
                format!("cpu  1 2 3 4 5 6 7\ncpu0 1 2 3 4 5 6 7\nintr 9000000000 1\nsoftirq {softirqs} 1\n");
            stat.parse(text.as_bytes(), before).unwrap();
            stat
        };
        let first = read(8_000_000_000, None);
        let second = read(8_000_000_100 - (1 << 32), Some(&first));
        let third = read(8_000_000_300 - (1 << 32), Some(&second));
        assert_eq!((second.softirqs, third.softirqs), (Some(8_000_000_100), Some(8_000_000_300)));
        assert_eq!(third.interrupts, first.interrupts);
    }

    #[test]
    fn another_form_is_refused() {
        for bad in [
            &b""[..],
            b"cpu  1 2 3\n",
            b"cpu  1 2 3 4 5 6 7 8\n",
            b"cpu  1 2 3 4 5 6 7\ncpux 1 2 3 4 5 6 7\n",
        ] {
            assert!(Stat::default().parse(bad, None).is_err(), "{bad:?}");
        }
    }
}
