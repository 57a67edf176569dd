//! Hugepages: how many there are of each size, on the machine and on each NUMA node.
//!
//! Source: `/sys/kernel/mm/hugepages` and `/sys/devices/system/node/node*/hugepages`, described in the
//! kernel's `Documentation/admin-guide/mm/hugetlbpage.rst`; the default size is `Hugepagesize` of
//! `/proc/meminfo`.

use std::fmt;

use serde::Serialize;

use crate::check::{Check, Evidence, Remedy, Topic, Verdict};
use crate::requirements::MEGABYTE;
use crate::root::{ReadError, Reason, Root, excerpt};
use crate::scene::CheckFn;
use crate::{kernel, leftover, mounts, socket_mem};

mod limit;

/// The checks of this group.
pub(crate) const CHECKS: &[CheckFn] = &[
    |scene| vec![check(scene.root, &scene.survey)],
    |scene| vec![leftover::check(scene.root, &scene.mounts)],
    |scene| vec![mounts::check(scene.root, &scene.mounts, &scene.survey)],
    limit::check,
    socket_mem::check,
];

const MACHINE: &str = "/sys/kernel/mm/hugepages";
const NODES: &str = "/sys/devices/system/node";
const MEMINFO: &str = "/proc/meminfo";

const TOPIC: Topic = Topic {
    id: "hugepages.free",
    title: "Free hugepages",
    why: "DPDK keeps packet buffers in hugepages. Without them EAL starts only with --no-huge, where TLB \
          misses cost a good part of the rate.",
};

/// The size of a hugepage in bytes, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PageSize(u64);

impl PageSize {
    /// From a size in kB (1024 bytes), as the kernel names it; `None` for zero and for what no `u64` holds.
    pub fn from_kilobytes(kilobytes: u64) -> Option<Self> {
        kilobytes.checked_mul(1024).filter(|&bytes| bytes > 0).map(Self)
    }

    /// Bytes of one page.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// The name of its directory in sysfs.
    fn directory(self) -> String {
        format!("hugepages-{}kB", self.0 / 1024)
    }

    /// The value of hugetlbfs' mount option `pagesize`.
    pub fn mount_option(self) -> String {
        self.to_string().replace(' ', "").trim_end_matches('B').to_uppercase()
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 / 1024 {
            kb if kb % (1 << 20) == 0 => write!(f, "{} GB", kb >> 20),
            kb if kb % (1 << 10) == 0 => write!(f, "{} MB", kb >> 10),
            kb => write!(f, "{kb} kB"),
        }
    }
}

/// Hugepages of one size, on the machine or on one node. Counts are pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// Size of one page.
    pub page: PageSize,
    /// Pages set aside (`nr_hugepages`).
    pub total: u64,
    /// Pages not handed out (`free_hugepages`).
    pub free: u64,
    /// Free pages already promised to a mapping (`resv_hugepages`). The kernel counts them for the machine
    /// only; zero for a node.
    pub reserved: u64,
    /// Pages beyond `nr_hugepages` (`surplus_hugepages`).
    pub surplus: u64,
}

impl Pool {
    /// Pages a new process can have: free and not promised, which is what EAL counts too.
    pub fn available(&self) -> u64 {
        self.free.saturating_sub(self.reserved)
    }

    /// [`Pool::available`] in bytes.
    pub fn available_bytes(&self) -> u64 {
        self.available().saturating_mul(self.page.bytes())
    }
}

/// The hugepages of one NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Number of the node; EAL calls it a socket.
    pub id: u32,
    /// One pool per page size, smallest first.
    pub pools: Vec<Pool>,
}

/// All that the kernel says about hugepages.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The machine's pools, one per page size, smallest first.
    pub machine: Vec<Pool>,
    /// The nodes in order; empty on a kernel without NUMA.
    pub nodes: Vec<Node>,
    /// The page size used where none is named.
    pub default_page: Result<PageSize, ReadError>,
    /// What could not be read, besides the default size.
    pub problems: Vec<ReadError>,
    /// What was read.
    pub evidence: Vec<Evidence>,
}

impl Survey {
    /// The page size that a remedy speaks of: the default one if there is a pool of it, else the smallest.
    pub fn usual_page(&self) -> Option<PageSize> {
        let default = self.default_page.as_ref().ok().copied();
        let offered = |page: &PageSize| self.machine.iter().any(|pool| pool.page == *page);
        default.filter(offered).or_else(|| self.machine.first().map(|pool| pool.page))
    }

    /// The pools of node `id`. On a kernel without NUMA node 0 is the machine.
    pub fn node(&self, id: u32) -> Option<&[Pool]> {
        match self.nodes.iter().find(|node| node.id == id) {
            Some(node) => Some(&node.pools),
            None if self.nodes.is_empty() && id == 0 => Some(&self.machine),
            None => None,
        }
    }
}

/// Bytes of hugepages that a new process can have: free minus promised, over all page sizes and nodes. Zero
/// means that EAL needs `--no-huge`.
///
/// # Errors
/// Anything below `/sys/kernel/mm/hugepages` that is missing or is not what the kernel documents.
pub fn free_bytes(root: &Root) -> Result<u64, ReadError> {
    let mut reading = Reading::new(root);
    let pools = reading.pools(MACHINE, Scope::Machine);
    reading.problems.into_iter().next().map_or_else(|| Ok(sum(&pools)), Err)
}

/// As [`free_bytes`], on one NUMA node; promised pages are not known per node and not deducted. Zero for a
/// node that does not exist.
///
/// # Errors
/// Anything below `/sys/devices/system/node/node*/hugepages` that is not what the kernel documents.
pub fn free_bytes_on(root: &Root, node: u32) -> Result<u64, ReadError> {
    let survey = survey(root);
    match survey.problems.into_iter().next() {
        Some(problem) => Err(problem),
        None if survey.nodes.is_empty() && node == 0 => Ok(sum(&survey.machine)),
        None => Ok(survey.nodes.iter().find(|known| known.id == node).map_or(0, |known| sum(&known.pools))),
    }
}

/// Bytes available in some pools.
pub fn sum(pools: &[Pool]) -> u64 {
    pools.iter().fold(0, |bytes, pool| bytes.saturating_add(pool.available_bytes()))
}

/// What is available in some pools, as a sum of products: `512 × 2 MB + 4 × 1 GB`, or `0`.
pub fn products(pools: &[Pool]) -> String {
    let used: Vec<_> = pools
        .iter()
        .filter(|pool| pool.available() > 0)
        .map(|pool| format!("{} × {}", pool.available(), pool.page))
        .collect();
    if used.is_empty() { "0".to_owned() } else { used.join(" + ") }
}

/// Bytes in EAL's unit, rounded down: `1024 MB`.
pub fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / MEGABYTE)
}

/// Reads everything; never fails, but lists what it could not read.
pub fn survey(root: &Root) -> Survey {
    let mut reading = Reading::new(root);
    let machine = reading.pools(MACHINE, Scope::Machine);
    let nodes = reading.nodes();
    let default_page = read_default_page(root);
    let Reading { problems, mut evidence, .. } = reading;
    evidence.push(match &default_page {
        Ok(page) => Evidence::new(root, MEMINFO, format!("default size {page}")),
        Err(error) => Evidence::from(error),
    });
    Survey { machine, nodes, default_page, problems, evidence }
}

/// The file that sets how many pages of a size there are, on the machine or on one node.
pub fn control_file(page: PageSize, node: Option<u32>) -> String {
    match node {
        Some(node) => format!("{NODES}/node{node}/hugepages/{}/nr_hugepages", page.directory()),
        None => format!("{MACHINE}/{}/nr_hugepages", page.directory()),
    }
}

/// The check `hugepages.free`.
pub fn check(root: &Root, survey: &Survey) -> Check {
    let mut evidence = survey.evidence.clone();
    evidence.push(kernel::options(root, kernel::HUGEPAGE_OPTIONS));
    decide(survey).on(&TOPIC, false, evidence)
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

#[derive(Clone, Copy, PartialEq)]
enum Scope {
    Machine,
    Node,
}

struct Reading<'a> {
    root: &'a Root,
    problems: Vec<ReadError>,
    evidence: Vec<Evidence>,
}

impl<'a> Reading<'a> {
    fn new(root: &'a Root) -> Self {
        Self { root, problems: Vec::new(), evidence: Vec::new() }
    }

    fn problem(&mut self, error: ReadError) {
        self.evidence.push(Evidence::from(&error));
        self.problems.push(error);
    }

    fn nodes(&mut self) -> Vec<Node> {
        let names = match self.root.names(NODES) {
            Ok(names) => names,
            // A kernel without NUMA has no such directory; one whose sysfs is missing fails at the machine's
            // pools.
            Err(ReadError { reason: Reason::Missing, .. }) => Vec::new(),
            Err(error) => {
                self.problem(error);
                Vec::new()
            }
        };
        let mut nodes: Vec<_> = names
            .iter()
            .filter_map(|name| name.strip_prefix("node")?.parse().ok())
            .map(|id: u32| Node {
                id,
                pools: self.pools(&format!("{NODES}/node{id}/hugepages"), Scope::Node),
            })
            .collect();
        nodes.sort_by_key(|node| node.id);
        nodes
    }

    fn pools(&mut self, dir: &str, scope: Scope) -> Vec<Pool> {
        let names = match self.root.names(dir) {
            Ok(names) => names,
            // A node of processors without memory has no pools.
            Err(ReadError { reason: Reason::Missing, .. }) if scope == Scope::Node => return Vec::new(),
            Err(error) => {
                self.problem(error);
                return Vec::new();
            }
        };
        let mut pools = Vec::new();
        for name in names.iter().filter(|name| name.starts_with("hugepages-")) {
            match read_pool(self.root, dir, name, scope) {
                Ok(pool) => {
                    let promised = match scope {
                        Scope::Machine => format!(", reserved {}", pool.reserved),
                        Scope::Node => String::new(),
                    };
                    let seen = format!(
                        "total {}, free {}{promised}, surplus {}",
                        pool.total, pool.free, pool.surplus
                    );
                    self.evidence.push(Evidence::new(self.root, &format!("{dir}/{name}"), seen));
                    pools.push(pool);
                }
                Err(error) => self.problem(error),
            }
        }
        pools.sort_by_key(|pool| pool.page);
        pools
    }
}

fn read_pool(root: &Root, dir: &str, name: &str, scope: Scope) -> Result<Pool, ReadError> {
    let path = format!("{dir}/{name}");
    let page = parse_directory(name)
        .ok_or_else(|| root.malformed(&path, "expected a directory named like hugepages-2048kB"))?;
    let count = |file: &str| {
        let file = format!("{path}/{file}");
        let pages = root.read_number(&file)?;
        let possible = pages.checked_mul(page.bytes()).is_some();
        possible
            .then_some(pages)
            .ok_or_else(|| root.malformed(&file, format!("{pages} pages of {page} cannot be")))
    };
    Ok(Pool {
        page,
        total: count("nr_hugepages")?,
        free: count("free_hugepages")?,
        reserved: if scope == Scope::Machine { count("resv_hugepages")? } else { 0 },
        surplus: count("surplus_hugepages")?,
    })
}

fn parse_directory(name: &str) -> Option<PageSize> {
    let kilobytes = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    PageSize::from_kilobytes(kilobytes)
}

fn read_default_page(root: &Root) -> Result<PageSize, ReadError> {
    let text = root.read(MEMINFO)?;
    parse_default_page(&text).map_err(|what| root.malformed(MEMINFO, what))
}

fn parse_default_page(meminfo: &str) -> Result<PageSize, String> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("Hugepagesize:"));
    let value = line.ok_or("no Hugepagesize line: a kernel without hugepages")?.trim();
    let kilobytes = value.strip_suffix("kB").and_then(|number| number.trim_end().parse().ok());
    kilobytes
        .and_then(PageSize::from_kilobytes)
        .ok_or_else(|| format!("expected Hugepagesize in kB, found {}", excerpt(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    fn page(kilobytes: u64) -> PageSize {
        PageSize::from_kilobytes(kilobytes).unwrap()
    }

    fn pool(kilobytes: u64, total: u64, free: u64, reserved: u64) -> Pool {
        Pool { page: page(kilobytes), total, free, reserved, surplus: 0 }
    }

    fn survey(machine: Vec<Pool>) -> Survey {
        let default_page = Ok(page(2048));
        Survey { machine, nodes: Vec::new(), default_page, problems: Vec::new(), evidence: Vec::new() }
    }

    #[test]
    fn sizes_are_named_as_people_name_them() {
        for (kilobytes, shown, option) in [
            (64, "64 kB", "64K"),
            (2048, "2 MB", "2M"),
            (524_288, "512 MB", "512M"),
            (1_048_576, "1 GB", "1G"),
            (16_777_216, "16 GB", "16G"),
        ] {
            assert_eq!(page(kilobytes).to_string(), shown);
            assert_eq!(page(kilobytes).mount_option(), option);
        }
        assert_eq!(PageSize::from_kilobytes(0), None);
        assert_eq!(PageSize::from_kilobytes(u64::MAX), None);
    }

    #[test]
    fn directory_names_carry_the_size() {
        for (name, size) in [
            ("hugepages-2048kB", Some(2048 * 1024)),
            ("hugepages-1048576kB", Some(1 << 30)),
            ("hugepages-0kB", None),
            ("hugepages-2MB", None),
            ("hugepages-kB", None),
            ("hugepages--1kB", None),
        ] {
            assert_eq!(parse_directory(name).map(PageSize::bytes), size, "{name}");
        }
    }

    #[test]
    fn the_default_size_comes_from_meminfo() {
        for (text, size) in [
            ("MemTotal: 1 kB\nHugepagesize:       2048 kB\n", Some(page(2048))),
            ("Hugepagesize: 1048576 kB", Some(page(1_048_576))),
            ("MemTotal: 1 kB\n", None),
            ("Hugepagesize: 2 MB", None),
            ("Hugepagesize: kB", None),
            ("Hugepagesize: 0 kB", None),
        ] {
            assert_eq!(parse_default_page(text).ok(), size, "{text:?}");
        }
    }

    #[test]
    fn promised_pages_are_not_available() {
        assert_eq!(pool(2048, 512, 100, 30).available(), 70);
        assert_eq!(pool(2048, 512, 10, 30).available(), 0);
        assert_eq!(sum(&[pool(2048, 512, 100, 30), pool(1_048_576, 2, 1, 0)]), 70 * (2 << 20) + (1 << 30));
    }

    #[test]
    fn free_memory_is_shown_as_a_product() {
        assert_eq!(products(&[pool(2048, 512, 512, 0), pool(1_048_576, 4, 4, 0)]), "512 × 2 MB + 4 × 1 GB");
        assert_eq!(products(&[pool(2048, 512, 0, 0)]), "0");
    }

    #[test]
    fn status_follows_what_a_new_process_can_have() {
        for (pools, status, word) in [
            (vec![], Status::Warn, "no hugepage size"),
            (vec![pool(2048, 0, 0, 0)], Status::Warn, "none set aside"),
            (vec![pool(2048, 512, 0, 0)], Status::Warn, "all 512 pages"),
            (vec![pool(2048, 512, 100, 100)], Status::Warn, "all 512 pages"),
            (vec![pool(2048, 512, 1, 0)], Status::Pass, "2 MB free of 1024 MB = 1 × 2 MB"),
        ] {
            let verdict = decide(&survey(pools));
            assert_eq!(verdict.status, status, "{}", verdict.summary);
            assert!(verdict.summary.contains(word), "{}", verdict.summary);
            assert_eq!(verdict.remedy.is_none(), status == Status::Pass);
        }
    }

    #[test]
    fn remedies_speak_of_a_size_that_exists() {
        let mut odd = survey(vec![pool(64, 0, 0, 0), pool(524_288, 0, 0, 0)]);
        assert_eq!(odd.usual_page(), Some(page(64)));
        odd.default_page = Ok(page(524_288));
        assert_eq!(odd.usual_page(), Some(page(524_288)));
        let command = &decide(&odd).remedy.unwrap().commands[0];
        assert!(command.ends_with("/sys/kernel/mm/hugepages/hugepages-524288kB/nr_hugepages"), "{command}");
    }
}
