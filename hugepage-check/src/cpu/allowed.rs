//! Check: this process may run on the CPUs of the lcores.

use linerate_hardware::CpuSet;

use super::{CPUS, STATUS, read_online};
use crate::cgroup::{self, Version};
use crate::check::{Check, Evidence, Outcome, Remedy, Status, Topic, Verdict};
use crate::root::Root;
use crate::scene::Scene;

/// Upper bound of lcore numbers in DPDK's usual builds, including Debian's (`RTE_MAX_LCORE`).
const LCORES: u32 = 128;

const TOPIC: Topic = Topic {
    id: "cpu.allowed",
    title: "CPUs for lcores",
    why: "EAL pins each lcore to a CPU and ends when the CPU is off or outside of the process's set.",
};

pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    vec![TOPIC.judge(scene.wanted.lcores.is_some(), judge(scene))]
}

fn judge(scene: &Scene<'_>) -> Outcome {
    let allowed = scene.allowed.as_ref().map_err(Clone::clone)?;
    let online = read_online(scene.root)?;
    let mut evidence = vec![
        Evidence::new(scene.root, STATUS, format!("Cpus_allowed_list {allowed}")),
        Evidence::new(scene.root, &format!("{CPUS}/online"), online.to_string()),
    ];
    let cpuset = cpuset(scene.root);
    // EAL can widen an affinity mask, but not the cpuset.
    let within_reach = cpuset.as_ref().and_then(|(cpus, _)| cpus.clone());
    evidence.extend(cpuset.map(|(_, evidence)| evidence));
    let verdict = decide(scene.wanted.lcores.as_ref(), allowed, within_reach.as_ref(), &online);
    let beyond = scene.wanted.highest_lcore.filter(|highest| *highest >= LCORES);
    Ok((beyond.filter(|_| verdict.status <= Status::Warn).map_or(verdict, number_too_high), evidence))
}

/// By default, EAL numbers an lcore like the CPU that it runs on.
fn number_too_high(lcore: u32) -> Verdict {
    Verdict::fail(
        format!("lcore {lcore} is beyond EAL's last one, {} (RTE_MAX_LCORE {LCORES})", LCORES - 1),
        Remedy::default().note(format!(
            "Number lcores from 0 and map them to CPUs, in place of -l: --lcores 0@{lcore}. Builds of DPDK with \
             -Dmax_lcores=N have more."
        )),
    )
}

/// The cpuset that limits the process, from the nearest group that has one; without the set when it cannot
/// be read.
fn cpuset(root: &Root) -> Option<(Option<CpuSet>, Evidence)> {
    let group = match cgroup::find(root, "cpuset") {
        Ok(group) => group?,
        Err(error) => return Some((None, Evidence::from(&error))),
    };
    let file = match group.version {
        Version::V1 => "cpuset.cpus",
        Version::V2 => "cpuset.cpus.effective",
    };
    group.dirs.iter().find_map(|dir| match cgroup::read(root, dir, file) {
        Ok(cpus) => {
            let cpus = cpus?;
            let evidence = Evidence::new(root, &format!("{dir}/{file}"), cpus.trim());
            Some((cpus.trim().parse().ok(), evidence))
        }
        Err(error) => Some((None, Evidence::from(&error))),
    })
}

fn decide(lcores: Option<&CpuSet>, allowed: &CpuSet, cpuset: Option<&CpuSet>, online: &CpuSet) -> Verdict {
    let Some(lcores) = lcores else {
        return Verdict::pass(format!("{allowed}, of {online} that are on"));
    };
    let (off, outside) = (lcores.without(online), lcores.and(online).without(allowed));
    let sets = format!("allowed are {allowed}, on are {online}");
    match (off.is_empty(), outside.is_empty()) {
        (true, true) => Verdict::pass(format!("{lcores}, within {allowed}")),
        (false, _) => Verdict::fail(
            format!("CPU {off} is absent or switched off, so no lcore runs there; {sets}"),
            Remedy::type_in(["lscpu --extended"]).note("Choose lcores among the CPUs that are on."),
        ),
        (true, false) if cpuset.is_some_and(|cpuset| outside.without(cpuset).is_empty()) => Verdict::warn(
            format!("CPU {outside} is outside of this process's affinity mask, and within its cpuset; {sets}"),
            Remedy::type_in([format!("taskset -pc {lcores} $$")])
                .note("EAL widens the mask by itself; whoever set it may have meant to keep other CPUs free."),
        ),
        (true, false) => Verdict::fail(
            format!("CPU {outside} is outside of this process's set, so no lcore runs there; {sets}"),
            Remedy::type_in([format!("taskset -pc {lcores} $$")]).note(format!(
                "Works only as far as the cpuset reaches. In a container choose lcores among {allowed}, or ask \
                 for other CPUs: docker --cpuset-cpus; on Kubernetes the kubelet chooses."
            )),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn every_lcore_needs_an_allowed_cpu_that_is_on() {
        let set = |text: &str| text.parse::<CpuSet>().unwrap();
        for (lcores, cpuset, status, words) in [
            (None, None, Status::Pass, "2-5, of 0-7"),
            (Some("2-4"), None, Status::Pass, "2-4, within 2-5"),
            (Some("1-6"), None, Status::Fail, "CPU 1,6 is outside of this process's set"),
            (Some("1-6"), Some("2-5"), Status::Fail, "CPU 1,6 is outside of this process's set"),
            (Some("1-6"), Some("0-7"), Status::Warn, "CPU 1,6 is outside of this process's affinity mask"),
            (Some("5,8"), None, Status::Fail, "CPU 8 is absent or switched off"),
        ] {
            let cpuset = cpuset.map(set);
            let verdict = decide(lcores.map(set).as_ref(), &set("2-5"), cpuset.as_ref(), &set("0-7"));
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(words), "{}", verdict.summary);
        }
    }
}
