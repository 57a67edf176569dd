//! Check: no hypervisor steals time from the CPUs.
//!
//! Source: the field steal of `/proc/stat` (`man 5 proc_stat`), cumulative since boot, so a single reading
//! suffices.

use linerate_hardware::CpuSet;

use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::scene::Scene;

const STAT: &str = "/proc/stat";

/// The file is long on a machine with thousands of interrupts.
const LIMIT: u64 = 16 << 20;

/// Threshold of a warning, in tenths of a percent. An estimate: one percent of a second is 10 ms, in which 10
/// Gb/s of small packets overflow a ring of 4096 descriptors many times.
const TOO_MUCH: u64 = 10;

const TOPIC: Topic = Topic {
    id: "cpu.steal",
    title: "Steal time",
    why: "While the hypervisor runs another guest on the CPU, the lcore is stopped, and packets are lost that \
          no counter of the virtual machine explains.",
};

pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    vec![TOPIC.judge(false, judge(scene))]
}

fn judge(scene: &Scene<'_>) -> Outcome {
    let cpus = scene.cpus()?;
    let text = scene.root.read_up_to(STAT, LIMIT)?;
    let times = parse(&text, cpus).map_err(|what| scene.root.malformed(STAT, what))?;
    let seen = format!("CPU {cpus}: {} of {} ticks since boot", times.stolen, times.all);
    Ok((decide(times), vec![Evidence::new(scene.root, STAT, seen)]))
}

/// Clock ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Times {
    stolen: u64,
    all: u64,
}

fn parse(text: &str, cpus: &CpuSet) -> Result<Times, String> {
    let mut times = Times::default();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let cpu = fields.next().and_then(|name| name.strip_prefix("cpu")).and_then(|cpu| cpu.parse().ok());
        if !cpu.is_some_and(|cpu| cpus.contains(cpu)) {
            continue;
        }
        let ticks: Result<Vec<u64>, _> = fields.map(str::parse).collect();
        // user nice system idle iowait irq softirq steal; the guest times after them are included in user.
        let Ok([first @ .., stolen]) = ticks.as_deref().map(|ticks| ticks.get(..8).unwrap_or_default())
        else {
            return Err(format!("expected 8 or more numbers, found {}", crate::root::excerpt(line)));
        };
        times.stolen = times.stolen.saturating_add(*stolen);
        times.all =
            first.iter().fold(times.all, |sum, &ticks| sum.saturating_add(ticks)).saturating_add(*stolen);
    }
    Ok(times)
}

fn decide(times: Times) -> Verdict {
    let tenths = times.stolen.saturating_mul(1000).checked_div(times.all).unwrap_or(0);
    let summary = format!("{}.{} % since boot", tenths / 10, tenths % 10);
    if tenths < TOO_MUCH {
        return Verdict::pass(summary);
    }
    Verdict::warn(
        summary,
        Remedy::type_in(["vmstat 1 5"]).note(
            "The column st shows it now. On the hypervisor: pin the virtual CPUs, and put no more of them on a \
             core than it has.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn only_the_named_cpus_count() {
        let text =
            "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 4 5 6 7 100 0 0\ncpu1 10 0 0 0 0 0 0 0 5 5\nintr 1 2\n";
        let set = |text: &str| text.parse::<CpuSet>().unwrap();
        assert_eq!(parse(text, &set("1")), Ok(Times { stolen: 0, all: 10 }));
        assert_eq!(parse(text, &set("0-1")), Ok(Times { stolen: 100, all: 138 }));
        assert!(parse("cpu0 1 2 3\n", &set("0")).is_err());
        assert!(parse("cpu0 a 2 3 4 5 6 7 8\n", &set("0")).is_err());
    }

    #[test]
    fn one_percent_is_too_much() {
        for (stolen, status) in [(0, Status::Pass), (9, Status::Pass), (10, Status::Warn)] {
            assert_eq!(decide(Times { stolen, all: 1000 }).status, status, "{stolen}");
        }
        assert_eq!(decide(Times::default()).status, Status::Pass);
    }
}
