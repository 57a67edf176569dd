//! Check: there is enough hugepage memory for EAL's allocation. The answer shows the arithmetic.
//!
//! If necessary, EAL fills a request from several page sizes, with whole pages for each process:
//! `hugepages::eal` simulates the processes one after the other. The bytes of all sizes together explain the
//! outcome.

use crate::check::{Check, Remedy, Status, Topic, Verdict};
use crate::hugepages::{Pool, Survey, control_file, eal, megabytes, products, sum};
use crate::requirements::{MEGABYTE, SocketMem};
use crate::scene::Scene;

const TOPIC: Topic = Topic {
    id: "hugepages.socket-mem",
    title: "Memory for --socket-mem",
    why: "EAL takes all of --socket-mem when it starts, on the NUMA nodes it names, and refuses to start \
          when a page is missing.",
};

/// The check `hugepages.socket-mem`, when memory is required.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    let check = |wanted| {
        let verdict = decide_for(wanted, scene.wanted.process_count(), &scene.survey);
        verdict.on(&TOPIC, true, scene.survey.evidence.clone())
    };
    scene.wanted.socket_mem.iter().map(check).collect()
}

/// The budget of all processes together.
fn decide_for(wanted: &SocketMem, processes: u32, survey: &Survey) -> Verdict {
    let mut verdict = decide(wanted, processes, survey);
    if processes > 1 && verdict.status != Status::Unknown {
        verdict.summary = format!("{processes} processes × {wanted} MB: {}", verdict.summary);
        if verdict.status == Status::Warn {
            let spread = "Divide the processes over the nodes: start some with --socket-mem 0,MB.";
            verdict.remedy = Some(Remedy::default().note(spread));
        }
    }
    verdict
}

fn decide(wanted: &SocketMem, processes: u32, survey: &Survey) -> Verdict {
    let verdict = match wanted {
        SocketMem::Total(total) => decide_total(*total, processes, survey),
        SocketMem::PerNode(nodes) => decide_per_node(nodes, processes, survey),
    };
    match (verdict.remedy.is_some(), survey.problems.first()) {
        // The pages that could not be read might suffice.
        (true, Some(problem)) => Verdict::unknown(problem),
        _ => verdict,
    }
}

fn decide_total(wanted: u64, processes: u32, survey: &Survey) -> Verdict {
    let all = wanted.saturating_mul(processes.into());
    let sum_up = arithmetic(all, &survey.machine);
    let refusal = match eal::start(&[wanted], processes, survey) {
        Ok(taken) => return Verdict::pass(sum_up + &by_over_commit(&taken)),
        Err(refusal) => refusal,
    };
    if let Some(short) = shortage(all, &survey.machine) {
        return Verdict::fail(sum_up, more_pages(survey, &[(None, short)]));
    }
    let split = split(all, survey);
    let elsewhere = survey.node(0).is_some_and(|pools| shortage(all, pools).is_some());
    if elsewhere && !refusal.promised {
        let remedy = Remedy::default().note(format!("Start EAL with --socket-mem {split}."));
        let there = megabytes(survey.node(0).map_or(0, sum));
        return Verdict::warn(
            format!("{sum_up}; but EAL takes a single number from node 0, which has {there}"),
            remedy,
        );
    }
    Verdict::fail(
        format!("{sum_up}; {}", whole_pages(&refusal, wanted, processes)),
        more_pages(survey, &[(None, refusal.missing.iter().sum())]),
    )
}

fn decide_per_node(wanted: &[u64], processes: u32, survey: &Survey) -> Verdict {
    let each: Vec<u64> = wanted.iter().map(|megabytes| megabytes.saturating_mul(processes.into())).collect();
    let outcome = eal::start(wanted, processes, survey);
    let mut lines = Vec::new();
    let mut short = Vec::new();
    for (node, &megabytes) in (0_u32..).zip(&each).filter(|&(_, &megabytes)| megabytes > 0) {
        // For a size without free pages on any node, EAL sees the machine's pages on node 0.
        let pools = match survey.node(node) {
            Some(pools) if node == 0 && outcome.is_ok() && sum(pools) == 0 => Some(survey.machine.as_slice()),
            pools => pools,
        };
        let sum_up = arithmetic(megabytes, pools.unwrap_or_default());
        let absent = if pools.is_none() { ", there is no such node" } else { "" };
        lines.push(format!("node {node}: {sum_up}{absent}"));
        if let Some(bytes) = shortage(megabytes, pools.unwrap_or_default()) {
            short.push((Some(node), bytes));
        }
    }
    let sum_up = lines.join("; ");
    let refusal = match outcome {
        Ok(taken) => return Verdict::pass(sum_up + &by_over_commit(&taken)),
        Err(refusal) => refusal,
    };
    if !short.is_empty() {
        return Verdict::fail(sum_up, more_pages(survey, &short));
    }
    // The kernel does not report the nodes of reserved pages.
    let total = each.iter().fold(0_u64, |sum, node| sum.saturating_add(*node));
    if let (true, Some(bytes)) = (refusal.promised, shortage(total, &survey.machine)) {
        return Verdict::fail(
            format!("{sum_up}; in all: {}, the rest is reserved", arithmetic(total, &survey.machine)),
            more_pages(survey, &[(None, bytes)]),
        );
    }
    let missing: Vec<_> =
        (0_u32..).map(Some).zip(refusal.missing.iter().copied()).filter(|(_, bytes)| *bytes > 0).collect();
    let asked = wanted.get(refusal.node as usize).copied().unwrap_or(0);
    Verdict::fail(
        format!("{sum_up}; {}", whole_pages(&refusal, asked, processes)),
        more_pages(survey, &missing),
    )
}

/// Pages that the kernel must add for the request, if any.
fn by_over_commit(taken: &eal::Taken) -> String {
    match taken.over_commit {
        0 => String::new(),
        bytes => format!(
            "; {} of it by over-commit, which the kernel refuses when its memory is full or fragmented",
            megabytes(bytes)
        ),
    }
}

/// Explanation for memory that suffices in bytes but not in whole pages.
fn whole_pages(refusal: &eal::Refusal, wanted: u64, processes: u32) -> String {
    if refusal.promised {
        return "of that, pages are promised to others".to_owned();
    }
    format!(
        "but EAL gives each process whole pages: process {} of {processes} finds {} of its {wanted} MB on node {}",
        refusal.process,
        megabytes(refusal.found),
        refusal.node
    )
}

/// `2048 MB wanted, 1024 MB free = 512 × 2 MB, short of 1024 MB`.
fn arithmetic(wanted: u64, pools: &[Pool]) -> String {
    let free = match sum(pools) {
        0 => "0 MB free".to_owned(),
        bytes => format!("{} free = {}", megabytes(bytes), products(pools)),
    };
    match shortage(wanted, pools) {
        Some(bytes) => {
            format!("{wanted} MB wanted, {free}, short of {}", megabytes(bytes.next_multiple_of(MEGABYTE)))
        }
        None => format!("{wanted} MB wanted, {free}"),
    }
}

/// The missing bytes, if any.
fn shortage(wanted: u64, pools: &[Pool]) -> Option<u64> {
    wanted.saturating_mul(MEGABYTE).checked_sub(sum(pools)).filter(|&bytes| bytes > 0)
}

/// A number per node, `wanted` megabytes in total, lower nodes first.
fn split(wanted: u64, survey: &Survey) -> SocketMem {
    let last = survey.nodes.iter().map(|node| node.id).max().unwrap_or(0);
    let mut rest = wanted;
    let nodes = (0..=last).map(|id| {
        let part = rest.min(survey.node(id).map_or(0, sum) / MEGABYTE);
        rest -= part;
        part
    });
    SocketMem::PerNode(nodes.collect())
}

fn more_pages(survey: &Survey, short: &[(Option<u32>, u64)]) -> Remedy {
    let Some(page) = survey.usual_page() else {
        return Remedy::default().note("The kernel offers no hugepages: start EAL with --no-huge -m MB.");
    };
    let mut remedy = Remedy::default();
    for &(node, bytes) in short {
        let pools = match node {
            Some(id) => survey.node(id),
            None => Some(survey.machine.as_slice()),
        };
        // A node that does not exist cannot provide pages.
        let Some(pools) = pools else { continue };
        let now = pools.iter().find(|pool| pool.page == page).map_or(0, |pool| pool.total);
        let pages = now.saturating_add(bytes.div_ceil(page.bytes()));
        let numa = node.filter(|_| !survey.nodes.is_empty());
        let file = control_file(page, numa);
        remedy.commands.extend([format!("echo {pages} > {file}"), format!("cat {file}")]);
    }
    remedy.note(if remedy_is_possible(survey, short) {
        "Each echo sets the whole number, pages in use included; cat shows how many the kernel could find. \
         Left-over files may hold pages, too."
    } else {
        "Ask for memory only on nodes that exist; lscpu lists them."
    })
}

fn remedy_is_possible(survey: &Survey, short: &[(Option<u32>, u64)]) -> bool {
    short.iter().all(|(node, _)| node.is_none_or(|id| survey.node(id).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hugepages::{Node, PageSize};
    use crate::root::{ReadError, Reason};

    fn pool(kilobytes: u64, free: u64, reserved: u64) -> Pool {
        let page = PageSize::from_kilobytes(kilobytes).unwrap();
        Pool { page, total: free, free, reserved, surplus: 0, over_commit: 0 }
    }

    fn survey(machine: Vec<Pool>, nodes: &[Vec<Pool>]) -> Survey {
        let nodes = (0..).zip(nodes).map(|(id, pools)| Node { id, pools: pools.clone() }).collect();
        let default_page = Ok(PageSize::from_kilobytes(2048).unwrap());
        Survey { machine, nodes, default_page, problems: Vec::new(), evidence: Vec::new() }
    }

    fn two_nodes() -> Survey {
        survey(vec![pool(2048, 768, 0)], &[vec![pool(2048, 512, 0)], vec![pool(2048, 256, 0)]])
    }

    #[test]
    fn the_arithmetic_decides() {
        let flat = || survey(vec![pool(2048, 512, 0), pool(1_048_576, 1, 0)], &[]);
        for (wanted, survey, status, words) in [
            ("1024", two_nodes(), Status::Pass, "1024 MB wanted, 1536 MB free = 768 × 2 MB"),
            ("1536", two_nodes(), Status::Warn, "takes a single number from node 0, which has 1024 MB"),
            ("1537", two_nodes(), Status::Fail, "short of 1 MB"),
            ("1024,512", two_nodes(), Status::Pass, "node 1: 512 MB wanted, 512 MB free = 256 × 2 MB"),
            (
                "512,1024",
                two_nodes(),
                Status::Fail,
                "node 1: 1024 MB wanted, 512 MB free = 256 × 2 MB, short of 512 MB",
            ),
            (
                "512,0,64",
                two_nodes(),
                Status::Fail,
                "node 2: 64 MB wanted, 0 MB free, short of 64 MB, there is no such",
            ),
            ("2048", flat(), Status::Pass, "2048 MB free = 512 × 2 MB + 1 × 1 GB"),
            ("2048,0", flat(), Status::Pass, "node 0: 2048 MB wanted"),
            (
                "64",
                survey(vec![pool(2048, 100, 80)], &[]),
                Status::Fail,
                "40 MB free = 20 × 2 MB, short of 24 MB",
            ),
            ("64", survey(vec![], &[]), Status::Fail, "0 MB free"),
        ] {
            let verdict = decide(&wanted.parse().unwrap(), 1, &survey);
            assert_eq!(verdict.status, status, "{wanted}: {}", verdict.summary);
            assert!(verdict.summary.contains(words), "{wanted}: {}", verdict.summary);
        }
    }

    #[test]
    fn the_budget_is_for_all_processes() {
        for (wanted, processes, status, words) in [
            ("512", 1, Status::Pass, "512 MB wanted"),
            ("512", 2, Status::Pass, "2 processes × 512 MB: 1024 MB wanted, 1536 MB free"),
            ("512", 3, Status::Warn, "3 processes × 512 MB: 1536 MB wanted"),
            ("512", 4, Status::Fail, "short of 512 MB"),
            ("256,256", 2, Status::Pass, "2 processes × 256,256 MB: node 0: 512 MB wanted"),
        ] {
            let verdict = decide_for(&wanted.parse().unwrap(), processes, &two_nodes());
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(words), "{}", verdict.summary);
        }
    }

    #[test]
    fn each_process_gets_whole_pages() {
        let gigabytes = |pages| survey(vec![pool(1_048_576, pages, 0)], &[vec![pool(1_048_576, pages, 0)]]);
        let both = || survey(vec![pool(2048, 512, 0), pool(1_048_576, 2, 0)], &[]);
        for (wanted, processes, survey, status, words) in [
            ("512", 4, gigabytes(2), Status::Fail, "process 3 of 4 finds 0 MB of its 512 MB on node 0"),
            ("512,0", 4, gigabytes(2), Status::Fail, "process 3 of 4 finds 0 MB"),
            ("512", 2, gigabytes(2), Status::Pass, "1024 MB wanted, 2048 MB free"),
            ("1025", 1, gigabytes(2), Status::Pass, "1025 MB wanted"),
            ("1025", 2, gigabytes(3), Status::Fail, "process 2 of 2 finds 1024 MB of its 1025 MB"),
            // Two processes allocate the small pages, two a large one each.
            ("512", 4, both(), Status::Pass, "2048 MB wanted, 3072 MB free"),
            ("512", 5, both(), Status::Fail, "process 5 of 5 finds 0 MB"),
            ("3", 256, survey(vec![pool(2048, 512, 0)], &[]), Status::Pass, "768 MB wanted"),
            ("3", 257, survey(vec![pool(2048, 512, 0)], &[]), Status::Fail, "process 257 of 257"),
        ] {
            let verdict = decide_for(&wanted.parse().unwrap(), processes, &survey);
            assert_eq!(verdict.status, status, "{wanted} × {processes}: {}", verdict.summary);
            assert!(verdict.summary.contains(words), "{wanted} × {processes}: {}", verdict.summary);
        }
        let remedy = decide_for(&"512".parse().unwrap(), 4, &gigabytes(2)).remedy.unwrap();
        assert_eq!(remedy.commands[0], "echo 4 > /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages");
    }

    #[test]
    fn pages_by_over_commit_count_where_no_page_is_free() {
        let over = |free: u64, surplus| Pool { surplus, over_commit: 100, ..pool(2048, free, 0) };
        let node = |free: u64| vec![vec![pool(2048, free, 0)]];
        for (wanted, machine, nodes, status, words) in [
            ("64", over(0, 0), vec![], Status::Pass, "64 MB of it by over-commit"),
            ("64", over(0, 0), node(0), Status::Pass, "64 MB of it by over-commit"),
            ("64,0", over(0, 0), node(0), Status::Pass, "64 MB of it by over-commit"),
            ("200", over(0, 0), node(0), Status::Pass, "200 MB of it"),
            ("201", over(0, 0), node(0), Status::Fail, "short of 1 MB"),
            ("64", over(0, 80), node(0), Status::Fail, "40 MB free"),
            // A free page on a node hides over-commit pages from EAL.
            ("64", over(1, 0), node(1), Status::Fail, "2 MB free = 1 × 2 MB"),
        ] {
            let verdict = decide(&wanted.parse().unwrap(), 1, &survey(vec![machine], &nodes));
            assert_eq!(verdict.status, status, "{wanted}: {}", verdict.summary);
            assert!(verdict.summary.contains(words), "{wanted}: {}", verdict.summary);
        }
    }

    #[test]
    fn promised_pages_count_although_nodes_do_not_show_them() {
        let mut survey = two_nodes();
        survey.machine[0].reserved = 100;
        let verdict = decide(&SocketMem::PerNode(vec![1024, 512]), 1, &survey);
        assert_eq!(verdict.status, Status::Fail);
        assert!(verdict.summary.ends_with("short of 200 MB, the rest is reserved"), "{}", verdict.summary);
    }

    #[test]
    fn the_remedy_adds_what_is_missing_where_it_is_missing() {
        let command = |wanted: &str, survey: &Survey| {
            let remedy = decide(&wanted.parse().unwrap(), 1, survey).remedy.unwrap();
            remedy.commands.first().cloned().unwrap_or_else(|| remedy.note.unwrap())
        };
        assert_eq!(
            command("512,1024", &two_nodes()),
            "echo 512 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"
        );
        assert_eq!(
            command("1537", &two_nodes()),
            "echo 769 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
        );
        assert_eq!(
            command("64,64", &survey(vec![pool(2048, 0, 0)], &[])),
            "echo 32 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
        );
        assert_eq!(command("1536", &two_nodes()), "Start EAL with --socket-mem 1024,512.");
    }

    #[test]
    fn what_was_not_read_might_have_been_enough() {
        let mut survey = two_nodes();
        survey.problems.push(ReadError { path: "/sys/x".into(), reason: Reason::NotUtf8 });
        assert_eq!(decide(&SocketMem::Total(1024), 1, &survey).status, Status::Pass);
        assert_eq!(decide(&SocketMem::Total(4096), 1, &survey).status, Status::Unknown);
    }
}
