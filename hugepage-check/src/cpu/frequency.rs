//! Check: the CPUs keep their full frequency.
//!
//! Source: `/sys/devices/system/cpu/cpu<N>/cpufreq/scaling_governor` (kernel
//! `Documentation/admin-guide/pm/cpufreq.rst`).

use std::collections::BTreeMap;

use linerate_hardware::CpuSet;

use super::CPUS;
use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::scene::Scene;

const TOPIC: Topic = Topic {
    id: "cpu.governor",
    title: "Clock governor",
    why: "A governor that saves power changes the clock during a trial, and a result then says more about the \
          governor than about the network.",
};

pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    vec![TOPIC.judge(false, judge(scene))]
}

fn judge(scene: &Scene<'_>) -> Outcome {
    scene.root.names(CPUS)?;
    let mut governors: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for cpu in scene.cpus()?.iter() {
        let path = format!("{CPUS}/cpu{cpu}/cpufreq/scaling_governor");
        if let Some(governor) = scene.root.read_if_there(&path)? {
            governors.entry(governor.trim().chars().take(40).collect()).or_default().push(cpu);
        }
    }
    let governors: Vec<_> =
        governors.into_iter().map(|(name, cpus)| (name, cpus.into_iter().collect())).collect();
    let source = format!("{CPUS}/cpu*/cpufreq/scaling_governor");
    let seen = if governors.is_empty() { "not there".to_owned() } else { list(&governors) };
    Ok((decide(&governors), vec![Evidence::new(scene.root, &source, seen)]))
}

fn list(governors: &[(String, CpuSet)]) -> String {
    let show = |(name, cpus): &(String, CpuSet)| format!("{name} on CPU {cpus}");
    governors.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn decide(governors: &[(String, CpuSet)]) -> Verdict {
    if governors.is_empty() {
        return Verdict::pass("none: the kernel does not change the clock here");
    }
    if governors.iter().all(|(name, _)| name == "performance") {
        return Verdict::pass(list(governors));
    }
    Verdict::warn(
        list(governors),
        Remedy::type_in([format!(
            "for f in {CPUS}/cpu*/cpufreq/scaling_governor; do echo performance > $f; done"
        )])
        .note("Holds until the next boot."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn only_performance_keeps_the_clock() {
        let governor = |name: &str| (name.to_owned(), CpuSet::default());
        for (governors, status) in [
            (vec![], Status::Pass),
            (vec![governor("performance")], Status::Pass),
            (vec![governor("performance"), governor("powersave")], Status::Warn),
        ] {
            assert_eq!(decide(&governors).status, status);
        }
    }
}
