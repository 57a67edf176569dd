//! Check: lcores share no physical core with each other or with other tasks.
//!
//! Source: `/sys/devices/system/cpu/cpu<N>/topology/thread_siblings_list` (kernel
//! `Documentation/admin-guide/cputopology.rst`).

use std::collections::BTreeMap;

use linerate_hardware::CpuSet;

use super::CPUS;
use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::root::{ReadError, Root};
use crate::scene::Scene;

const TOPIC: Topic = Topic {
    id: "cpu.siblings",
    title: "Shared cores (SMT)",
    why: "Two CPUs of one core share its execution units and its first caches: two polling lcores there get \
          little more done than one.",
};

pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    vec![TOPIC.judge(false, judge(scene))]
}

fn judge(scene: &Scene<'_>) -> Outcome {
    let cpus = scene.cpus()?;
    let cores = read_cores(scene.root, cpus)?;
    let shown = |(cpu, core): (&u32, &CpuSet)| Evidence::new(scene.root, &path(*cpu), format!("{core}"));
    let mut evidence: Vec<_> = cores.iter().take(16).map(shown).collect();
    if evidence.is_empty() {
        evidence.push(Evidence::new(scene.root, CPUS, "no CPU shows its siblings"));
    }
    Ok((decide(&cores, scene.wanted.lcores.is_some()), evidence))
}

fn path(cpu: u32) -> String {
    format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list")
}

/// The CPUs of each CPU's core. An offline CPU has no topology and is left out.
fn read_cores(root: &Root, cpus: &CpuSet) -> Result<BTreeMap<u32, CpuSet>, ReadError> {
    root.names(CPUS)?;
    let mut cores = BTreeMap::new();
    for cpu in cpus.iter() {
        if root.read_if_there(&path(cpu))?.is_some() {
            cores.insert(cpu, root.parse(&path(cpu))?);
        }
    }
    Ok(cores)
}

fn decide(cores: &BTreeMap<u32, CpuSet>, has_lcores: bool) -> Verdict {
    let cpus: CpuSet = cores.keys().copied().collect();
    let mut shared: Vec<_> = cores.values().filter(|core| core.and(&cpus).len() > 1).collect();
    shared.dedup();
    let open: CpuSet = cores.values().flat_map(CpuSet::iter).filter(|&cpu| !cpus.contains(cpu)).collect();
    let mut distinct: Vec<_> = cores.values().map(ToString::to_string).collect();
    distinct.sort();
    distinct.dedup();
    let cores_and_cpus = match distinct.len() {
        1 => format!("{} CPUs on 1 core", cpus.len()),
        count => format!("{} CPUs on {count} cores", cpus.len()),
    };
    if !has_lcores || (shared.is_empty() && open.is_empty()) {
        return Verdict::pass(cores_and_cpus);
    }
    let mut faults = Vec::new();
    if !shared.is_empty() {
        let pairs: Vec<_> = shared.iter().map(|core| core.and(&cpus).to_string()).collect();
        faults.push(format!("lcores share a core: {}", pairs.join("; ")));
    }
    if !open.is_empty() {
        faults.push(format!("others may use the second half of the lcores' cores: CPU {open}"));
    }
    Verdict::warn(
        format!("{cores_and_cpus}; {}", faults.join("; ")),
        Remedy::type_in(["lscpu --extended=CPU,CORE,NODE"]).note(
            "Take one CPU of each core, and leave the other idle or to the main lcore. On Kubernetes: static \
             CPU manager with the option full-pcpus-only.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn both_halves_of_a_core_are_seen() {
        let core = |cpu: u32| (cpu, [cpu % 4, cpu % 4 + 4].into_iter().collect());
        for (cpus, has_lcores, status, words) in [
            (&[0, 4][..], false, Status::Pass, "2 CPUs on 1 core"),
            (&[0, 4], true, Status::Warn, "share a core: 0,4"),
            (&[1, 2], true, Status::Warn, "others may use the second half of the lcores' cores: CPU 5-6"),
        ] {
            let verdict = decide(&cpus.iter().copied().map(core).collect(), has_lcores);
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(words), "{}", verdict.summary);
        }
        let alone = (0..4).map(|cpu| (cpu, [cpu].into_iter().collect())).collect();
        assert_eq!(decide(&alone, true).status, Status::Pass);
    }
}
