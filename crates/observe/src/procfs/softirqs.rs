//! `/proc/softirqs`: softirqs of every CPU of the node, by kind.

use super::{Content, of_cpu};
use crate::bytes::{decimal, lines, numbered, words};
use crate::counter::widen;

/// Kinds of softirqs, as the kernel names them.
pub const KINDS: [&str; 10] =
    ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"];
/// Place of `NET_TX` in [`KINDS`].
pub const NET_TX: usize = 2;
/// Place of `NET_RX` in [`KINDS`].
pub const NET_RX: usize = 3;

/// The file. A count is `None` for kinds that the kernel does not list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Softirqs {
    /// Number and counts of each CPU, by the places of [`KINDS`]. The kernel counts in 32 bits.
    pub cpus: Vec<(u32, [Option<u64>; KINDS.len()])>,
}

impl Softirqs {
    /// Counts of a CPU.
    pub fn cpu(&self, cpu: u32) -> Option<&[Option<u64>; KINDS.len()]> {
        of_cpu(&self.cpus, cpu)
    }

    /// Softirqs of one kind on one CPU since `then`.
    pub fn since(&self, then: &Self, cpu: u32, kind: usize) -> Option<u64> {
        let count = |softirqs: &Self| softirqs.cpu(cpu).and_then(|counts| *counts.get(kind)?);
        crate::counter::since(count(self)?, count(then)?)
    }

    /// Softirqs of one kind on all CPUs since `then`; `None` when those of one CPU are not known.
    pub fn all_since(&self, then: &Self, kind: usize) -> Option<u64> {
        self.cpus.iter().map(|(cpu, _)| self.since(then, *cpu, kind)).sum()
    }
}

/// The kind of a line. Older kernels say `BLOCK_IOPOLL` for `IRQ_POLL`.
fn kind(name: &[u8]) -> Option<usize> {
    let name = name.strip_suffix(b":")?;
    let name = if name == b"BLOCK_IOPOLL" { b"IRQ_POLL" } else { name };
    KINDS.iter().position(|kind| kind.as_bytes() == name)
}

impl Content for Softirqs {
    const PATH: &'static str = "proc/softirqs";

    fn parse(&mut self, bytes: &[u8], before: Option<&Self>) -> Result<(), &'static str> {
        const EXPECTED: &str = "expected a line of CPUs, and a line of counts for each kind of softirq";
        let mut lines = lines(bytes);
        self.cpus.clear();
        for word in words(lines.next().ok_or(EXPECTED)?) {
            self.cpus.push((numbered(word, b"CPU").ok_or(EXPECTED)?, [None; KINDS.len()]));
        }
        let mut any = false;
        for line in lines {
            let mut words = words(line);
            let Some(kind) = words.next().and_then(kind) else { continue };
            for (place, (cpu, counts)) in self.cpus.iter_mut().enumerate() {
                let raw = words.next().and_then(decimal).ok_or(EXPECTED)?;
                let last = before
                    .and_then(|before| before.cpus.get(place))
                    .filter(|(number, _)| number == cpu)
                    .and_then(|(_, counts)| counts[kind]);
                counts[kind] = Some(last.map_or(raw, |last| widen(last, raw as u32)));
            }
            any = true;
        }
        if any && !self.cpus.is_empty() { Ok(()) } else { Err(EXPECTED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, before: Option<&Softirqs>) -> Softirqs {
        let mut softirqs = Softirqs::default();
        softirqs.parse(text.as_bytes(), before).unwrap();
        softirqs
    }

    #[test]
    fn counts_are_continued_beyond_32_bits() {
        let text = |one: u64| format!("  CPU0 CPU3\nNET_RX: {one} 7\nBLOCK_IOPOLL: 1 2\nNEW: 4 4\n");
        let first = read(&text(4_294_967_290), None);
        let second = read(&text(4), Some(&first));
        assert_eq!(second.since(&first, 0, NET_RX), Some(10));
        assert_eq!(second.all_since(&first, NET_RX), Some(10));
        assert_eq!((second.since(&first, 3, 5), second.since(&first, 3, NET_TX)), (Some(0), None));
        assert_eq!(second.since(&first, 1, NET_RX), None, "there is no such CPU");
    }

    #[test]
    fn another_form_is_refused() {
        for bad in ["", "CPU0\n", "CPU0 CPU1\nNET_RX: 1\n", "CPUx\nNET_RX: 1\n"] {
            assert!(Softirqs::default().parse(bad.as_bytes(), None).is_err(), "{bad:?}");
        }
    }
}
