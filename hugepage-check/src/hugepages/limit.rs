//! Check: hugepages that the control groups still allow. In a container the limit decides, not the node.
//!
//! Source: `hugetlb.<size>.*` of the group and those above it; kernel
//! `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/hugetlb.rst`. There are two limits: on pages in
//! use, where an excess causes SIGBUS, and on reserved pages (`rsvd`), where `mmap` fails.

use crate::cgroup::{self, Cgroup, Version};
use crate::check::{Check, Evidence, Outcome, Remedy, Topic, Verdict};
use crate::hugepages::eal::{self, Taken};
use crate::hugepages::{PageSize, Pool, Survey, megabytes};
use crate::requirements::{MEGABYTE, SocketMem};
use crate::root::{ReadError, Root, excerpt};
use crate::scene::Scene;

/// Version 1 writes "no limit" as its largest number of bytes, rounded down to whole pages. A limit of an
/// exabyte or more counts as none.
const NO_LIMIT: u64 = 1 << 60;

const TOPIC: Topic = Topic {
    id: "hugepages.cgroup",
    title: "Hugepage limit",
    why: "A control group, such as a pod's, can allow fewer hugepages than are free. EAL sees only the free \
          ones, and fails or dies of SIGBUS at the limit.",
};

/// The check `hugepages.cgroup`.
pub(crate) fn check(scene: &Scene<'_>) -> Vec<Check> {
    vec![TOPIC.judge(scene.wanted.socket_mem.is_some(), judge(scene))]
}

fn judge(scene: &Scene<'_>) -> Outcome {
    let root = scene.root;
    let Some(group) = cgroup::find(root, "hugetlb")? else {
        let seen =
            Evidence::new(root, "/proc/self/cgroup", "in no group of a mounted hierarchy with hugetlb");
        return Ok((Verdict::pass("none"), vec![seen]));
    };
    let (mut limits, mut evidence) = (Vec::new(), Vec::new());
    for pool in &scene.survey.machine {
        for dir in &group.dirs {
            for (file, limit) in read(root, &group, dir, pool.page)? {
                evidence.push(Evidence::new(root, &format!("{dir}/{file}"), limit.shown()));
                limits.push(limit);
            }
        }
    }
    if evidence.is_empty() {
        evidence.push(Evidence::new(
            root,
            &group.dirs[0],
            "no hugetlb.* file here or above: the controller is off",
        ));
    }
    let processes = scene.wanted.process_count();
    let wanted = scene.wanted.socket_mem.as_ref().map(|memory| memory.times(processes).total());
    let taken = scene.wanted.socket_mem.as_ref().and_then(|memory| {
        let nodes = match memory {
            SocketMem::Total(total) => &[*total][..],
            SocketMem::PerNode(nodes) => nodes,
        };
        eal::start(nodes, processes, &scene.survey).ok()
    });
    let verdict = decide(wanted, taken.as_ref(), &limits, &scene.survey, group.version, &group.dirs[0]);
    match (verdict.remedy.is_some(), scene.survey.problems.first()) {
        // A size that was not read may suffice.
        (true, Some(problem)) => Err(problem.clone()),
        _ => Ok((verdict, evidence)),
    }
}

/// One limit of one group, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    page: PageSize,
    /// `None` when there is no limit.
    limit: Option<u64>,
    used: u64,
}

impl Limit {
    fn left(&self) -> Option<u64> {
        // The kernel allocates whole pages only.
        self.limit.map(|limit| limit.saturating_sub(self.used)).map(|left| left - left % self.page.bytes())
    }

    fn shown(&self) -> String {
        match self.limit {
            None => "no limit".to_owned(),
            Some(limit) => format!("{}, {} used", megabytes(limit), megabytes(self.used)),
        }
    }
}

fn read(root: &Root, group: &Cgroup, dir: &str, page: PageSize) -> Result<Vec<(String, Limit)>, ReadError> {
    let size = format!("hugetlb.{}", page.to_string().replace(' ', "").to_uppercase());
    let mut limits = Vec::new();
    for kind in ["", ".rsvd"] {
        let (limit, used) = match group.version {
            Version::V1 => (format!("{size}{kind}.limit_in_bytes"), format!("{size}{kind}.usage_in_bytes")),
            Version::V2 => (format!("{size}{kind}.max"), format!("{size}{kind}.current")),
        };
        let Some(text) = cgroup::read(root, dir, &limit)? else { continue };
        let bytes = match text.trim() {
            "max" => None,
            number => Some(number.parse::<u64>().map_err(|_| {
                root.malformed(
                    &format!("{dir}/{limit}"),
                    format!("expected max or bytes, found {}", excerpt(number)),
                )
            })?),
        };
        let bytes = bytes.filter(|&bytes| bytes < NO_LIMIT);
        let used = if bytes.is_some() { root.read_number(&format!("{dir}/{used}"))? } else { 0 };
        limits.push((limit, Limit { page, limit: bytes, used }));
    }
    Ok(limits)
}

/// Bytes of a size that the tightest limit leaves; `None` without a limit.
fn left(limits: &[Limit], page: PageSize) -> Option<u64> {
    limits.iter().filter(|limit| limit.page == page).filter_map(Limit::left).min()
}

fn decide(
    wanted: Option<u64>,
    taken: Option<&Taken>,
    limits: &[Limit],
    survey: &Survey,
    version: Version,
    dir: &str,
) -> Verdict {
    if limits.iter().all(|limit| limit.limit.is_none()) {
        return Verdict::pass("none");
    }
    let usable = |pool: &Pool| {
        let free = pool.available_bytes();
        left(limits, pool.page).map_or(free, |left| left.min(free))
    };
    let sum = survey.machine.iter().fold(0_u64, |sum, pool| sum.saturating_add(usable(pool)));
    let parts: Vec<_> = survey
        .machine
        .iter()
        .map(|pool| {
            let free = megabytes(pool.available_bytes());
            match left(limits, pool.page) {
                Some(left) => {
                    format!("{} pages: {} left below the limit, {free} free", pool.page, megabytes(left))
                }
                None => format!("{} pages: no limit, {free} free", pool.page),
            }
        })
        .collect();
    let parts = parts.join("; ");
    // EAL selects free pages without regard to limits.
    let beyond = taken.into_iter().flat_map(|taken| &taken.pages).find_map(|&(page, pages)| {
        let left = left(limits, page)?;
        (pages.saturating_mul(page.bytes()) > left).then_some((page, pages, left))
    });
    match (wanted, beyond) {
        (None, _) => Verdict::pass(parts),
        (Some(wanted), Some((page, pages, left))) if wanted.saturating_mul(MEGABYTE) <= sum => Verdict::fail(
            format!(
                "{wanted} MB wanted: EAL takes {pages} × {page} for it, and {} are left below the limit; {parts}",
                megabytes(left)
            ),
            raise(pages.saturating_mul(page.bytes()) / MEGABYTE, limits, survey, version, dir),
        ),
        (Some(wanted), _) if wanted.saturating_mul(MEGABYTE) <= sum => {
            Verdict::pass(format!("{wanted} MB wanted, {} usable = {parts}", megabytes(sum)))
        }
        (Some(wanted), _) => Verdict::fail(
            format!("{wanted} MB wanted, but only {} usable = {parts}", megabytes(sum)),
            raise(wanted, limits, survey, version, dir),
        ),
    }
}

fn raise(wanted: u64, limits: &[Limit], survey: &Survey, version: Version, dir: &str) -> Remedy {
    // The remedy raises the limit of the size with most free memory.
    let page = survey.machine.iter().max_by_key(|pool| pool.available_bytes()).map(|pool| pool.page);
    let Some(page) = page else { return Remedy::default().note("The kernel offers no hugepages.") };
    let size = page.to_string().replace(' ', "").to_uppercase();
    let file = match version {
        Version::V1 => format!("hugetlb.{size}.limit_in_bytes"),
        Version::V2 => format!("hugetlb.{size}.max"),
    };
    let used = limits.iter().filter(|limit| limit.page == page).map(|limit| limit.used).max().unwrap_or(0);
    let bytes = wanted.saturating_mul(MEGABYTE).saturating_add(used);
    let bytes = bytes.div_ceil(page.bytes()).saturating_mul(page.bytes());
    let resource = size.replace("KB", "Ki").replace("MB", "Mi").replace("GB", "Gi");
    Remedy::type_in([format!("echo {bytes} > {}", crate::check::shell_word(&format!("{dir}/{file}")))]).note(
        format!(
            "Groups above may limit it too, and free pages do as well. On Kubernetes give the pod \
         resources.limits.hugepages-{resource} of {}Mi instead: the kubelet undoes what is written by hand.",
            bytes / MEGABYTE
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    fn page(kilobytes: u64) -> PageSize {
        PageSize::from_kilobytes(kilobytes).unwrap()
    }

    fn survey() -> Survey {
        let pool = |kilobytes, free| Pool {
            page: page(kilobytes),
            total: free,
            free,
            reserved: 0,
            surplus: 0,
            over_commit: 0,
        };
        Survey {
            machine: vec![pool(2048, 512), pool(1_048_576, 2)],
            nodes: Vec::new(),
            default_page: Ok(page(2048)),
            problems: Vec::new(),
            evidence: Vec::new(),
        }
    }

    fn limit(kilobytes: u64, limit: u64, used: u64) -> Limit {
        Limit { page: page(kilobytes), limit: Some(limit * MEGABYTE), used: used * MEGABYTE }
    }

    #[test]
    fn the_tightest_limit_decides() {
        let none = Limit { page: page(2048), limit: None, used: 0 };
        let small = vec![limit(2048, 512, 0), limit(2048, 600, 200), none, limit(1_048_576, 0, 0)];
        for (wanted, limits, status, words) in [
            (Some(9999), vec![none], Status::Pass, "none"),
            (
                Some(400),
                small.clone(),
                Status::Pass,
                "400 MB wanted, 400 MB usable = 2 MB pages: 400 MB left",
            ),
            (Some(401), small.clone(), Status::Fail, "only 400 MB usable"),
            (None, small, Status::Pass, "1 GB pages: 0 MB left"),
            (Some(3072), vec![limit(2048, 9999, 0)], Status::Pass, "1 GB pages: no limit, 2048 MB free"),
            (Some(1025), vec![limit(2048, 3, 0), limit(1_048_576, 2047, 0)], Status::Pass, "usable"),
            (Some(1027), vec![limit(2048, 3, 0), limit(1_048_576, 2047, 0)], Status::Fail, "only 1026 MB"),
            (Some(3073), vec![limit(2048, 9999, 0)], Status::Fail, "only 3072 MB usable"),
        ] {
            let taken = wanted.and_then(|wanted| eal::start(&[wanted], 1, &survey()).ok());
            let verdict = decide(wanted, taken.as_ref(), &limits, &survey(), Version::V2, "/sys/fs/cgroup");
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(words), "{}", verdict.summary);
        }
    }

    #[test]
    fn eal_takes_large_pages_although_the_limit_forbids_them() {
        let limits = [limit(2048, 2048, 0), limit(1_048_576, 0, 0)];
        let taken = eal::start(&[1024], 1, &survey()).unwrap();
        let verdict = decide(Some(1024), Some(&taken), &limits, &survey(), Version::V2, "/sys/fs/cgroup");
        assert_eq!(verdict.status, Status::Fail);
        assert!(
            verdict.summary.contains("EAL takes 1 × 1 GB for it, and 0 MB are left"),
            "{}",
            verdict.summary
        );
    }

    #[test]
    fn the_remedy_names_file_and_resource() {
        let remedy =
            raise(4097, &[limit(1_048_576, 0, 1024)], &survey(), Version::V1, "/sys/fs/cgroup/hugetlb/a");
        assert_eq!(
            remedy.commands,
            ["echo 6442450944 > /sys/fs/cgroup/hugetlb/a/hugetlb.1GB.limit_in_bytes"]
        );
        assert!(remedy.note.unwrap().contains("hugepages-1Gi of 6144Mi"));
    }
}
