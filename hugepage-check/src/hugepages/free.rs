//! Check: there are hugepages, and some are free.

use super::{Node, PageSize, Survey, control_file, megabytes, products, sum};
use crate::check::{Check, Remedy, Topic, Verdict};
use crate::kernel;
use crate::scene::Scene;

const TOPIC: Topic = Topic {
    id: "hugepages.free",
    title: "Free hugepages",
    why: "DPDK keeps packet buffers in hugepages. Without them EAL starts only with --no-huge, where TLB \
          misses cost a good part of the rate.",
};

/// The check `hugepages.free`.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    let mut evidence = scene.survey.evidence.clone();
    evidence.push(kernel::options(scene.root, kernel::HUGEPAGE_OPTIONS));
    vec![decide(&scene.survey).on(&TOPIC, false, evidence)]
}

fn decide(survey: &Survey) -> Verdict {
    if let Some(problem) = survey.problems.first() {
        return Verdict::unknown(problem);
    }
    let Some(page) = survey.usual_page() else {
        let build =
            Remedy::default().note("Run a kernel built with CONFIG_HUGETLBFS, or start EAL with --no-huge.");
        return Verdict::warn("the kernel offers no hugepage size: EAL starts only with --no-huge", build);
    };
    let total: u64 = survey.machine.iter().fold(0, |pages, pool| pages.saturating_add(pool.total));
    let free = sum(&survey.machine);
    let all = survey
        .machine
        .iter()
        .fold(0_u64, |bytes, pool| bytes.saturating_add(pool.total.saturating_mul(pool.page.bytes())));
    if free > 0 && survey.machine.iter().all(|pool| pool.free == 0) {
        let remedy = set_aside(page, 512, "512 is an example.");
        let summary = format!(
            "none set aside is free; {} = {} by over-commit, which the kernel refuses when its memory is full or \
             fragmented",
            megabytes(free),
            products(&survey.machine)
        );
        return Verdict::warn(summary, remedy);
    }
    if total == 0 {
        let remedy = set_aside(page, 512, "512 is an example.");
        return Verdict::warn("none set aside: EAL starts only with --no-huge, at a lower rate", remedy);
    }
    if free == 0 {
        let taken = format!("all {total} pages are taken: EAL starts only with --no-huge, at a lower rate");
        let usual = survey.machine.iter().find(|pool| pool.page == page).map_or(0, |pool| pool.total);
        let more = set_aside(page, usual.saturating_add(512), "Or end the process that holds them.");
        return Verdict::warn(taken, more);
    }
    Verdict::pass(format!(
        "{} free of {} = {}{}",
        megabytes(free),
        megabytes(all),
        products(&survey.machine),
        per_node(&survey.nodes)
    ))
}

fn per_node(nodes: &[Node]) -> String {
    if nodes.len() < 2 {
        return String::new();
    }
    let nodes: Vec<_> =
        nodes.iter().map(|node| format!("node {}: {}", node.id, products(&node.pools))).collect();
    format!(" ({})", nodes.join(", "))
}

fn set_aside(page: PageSize, pages: u64, note: &str) -> Remedy {
    let file = control_file(page, None);
    Remedy::type_in([format!("echo {pages} > {file}"), format!("cat {file}")]).note(format!(
        "{note} The second line shows how many there are: when memory is fragmented the kernel gives fewer \
         and reports no error. To have them after a reboot, add hugepagesz={} hugepages=N to the kernel \
         command line.",
        page.mount_option()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;
    use crate::hugepages::Pool;

    fn page(kilobytes: u64) -> PageSize {
        PageSize::from_kilobytes(kilobytes).unwrap()
    }

    fn pool(kilobytes: u64, total: u64, free: u64, reserved: u64) -> Pool {
        Pool { page: page(kilobytes), total, free, reserved, surplus: 0, over_commit: 0 }
    }

    fn survey(machine: Vec<Pool>) -> Survey {
        let default_page = Ok(page(2048));
        Survey { machine, nodes: Vec::new(), default_page, problems: Vec::new(), evidence: Vec::new() }
    }

    #[test]
    fn status_follows_what_a_new_process_can_have() {
        for (pools, status, word) in [
            (vec![], Status::Warn, "no hugepage size"),
            (vec![pool(2048, 0, 0, 0)], Status::Warn, "none set aside"),
            (vec![pool(2048, 512, 0, 0)], Status::Warn, "all 512 pages"),
            (vec![pool(2048, 512, 100, 100)], Status::Warn, "all 512 pages"),
            (
                vec![Pool { over_commit: 64, ..pool(2048, 0, 0, 0) }],
                Status::Warn,
                "128 MB = 64 × 2 MB by over-commit",
            ),
            (vec![pool(2048, 512, 1, 0)], Status::Pass, "2 MB free of 1024 MB = 1 × 2 MB"),
        ] {
            let verdict = decide(&survey(pools));
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(word), "{}", verdict.summary);
            assert_eq!(verdict.remedy.is_none(), status == Status::Pass);
        }
    }

    #[test]
    fn remedies_name_an_existing_size() {
        let mut odd = survey(vec![pool(64, 0, 0, 0), pool(524_288, 0, 0, 0)]);
        assert_eq!(odd.usual_page(), Some(page(64)));
        odd.default_page = Ok(page(524_288));
        assert_eq!(odd.usual_page(), Some(page(524_288)));
        let command = &decide(&odd).remedy.unwrap().commands[0];
        assert!(command.ends_with("/sys/kernel/mm/hugepages/hugepages-524288kB/nr_hugepages"), "{command}");
    }
}
