//! Hugepages: the number of each size, on the machine and on each NUMA node.
//!
//! Source: `/sys/kernel/mm/hugepages` and `/sys/devices/system/node/node*/hugepages`, described in the
//! kernel's `Documentation/admin-guide/mm/hugetlbpage.rst`; the default size is `Hugepagesize` of
//! `/proc/meminfo`.

pub use page_size::PageSize;
use reading::{Reading, Scope, read_default_page};
use serde::Serialize;

use crate::check::Evidence;
use crate::requirements::MEGABYTE;
use crate::root::{ReadError, Root};

pub(crate) mod eal;
pub(crate) mod free;
pub(crate) mod limit;
mod page_size;
mod reading;

const MACHINE: &str = "/sys/kernel/mm/hugepages";
const NODES: &str = "/sys/devices/system/node";
const MEMINFO: &str = "/proc/meminfo";

/// Hugepages of one size, on the machine or on one node. Counts are pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// Size of one page.
    pub page: PageSize,
    /// Pages in the pool (`nr_hugepages`).
    pub total: u64,
    /// Unallocated pages (`free_hugepages`).
    pub free: u64,
    /// Free pages reserved for a mapping (`resv_hugepages`). The kernel counts them for the machine only;
    /// zero for a node.
    pub reserved: u64,
    /// Pages beyond `nr_hugepages` (`surplus_hugepages`).
    pub surplus: u64,
    /// Pages beyond `nr_hugepages` that the kernel may add on demand (`nr_overcommit_hugepages`). The kernel
    /// counts them for the machine only; zero for a node.
    pub over_commit: u64,
}

impl Pool {
    /// Pages that a new process can get: free and not reserved. Without any free page, the pages that the
    /// kernel adds on demand; EAL ignores these as long as a node has a free page of the size.
    pub fn available(&self) -> u64 {
        if self.free > 0 { self.free.saturating_sub(self.reserved) } else { self.over_commit_left() }
    }

    /// Pages that the kernel may still add on demand.
    pub fn over_commit_left(&self) -> u64 {
        self.over_commit.saturating_sub(self.surplus)
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

/// All the kernel's information about hugepages.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The machine's pools, one per page size, smallest first.
    pub machine: Vec<Pool>,
    /// The nodes in order; empty on a kernel without NUMA.
    pub nodes: Vec<Node>,
    /// The default page size.
    pub default_page: Result<PageSize, ReadError>,
    /// Read errors, except that of the default size.
    pub problems: Vec<ReadError>,
    /// The sources read and their content.
    pub evidence: Vec<Evidence>,
}

impl Survey {
    /// The page size for remedies: the default one if it has a pool, else the smallest.
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

/// Bytes of hugepages that a new process can get: free minus reserved, over all page sizes and nodes. Zero
/// means that EAL needs `--no-huge`.
///
/// # Errors
/// For any file below `/sys/kernel/mm/hugepages` that is missing or deviates from the kernel's documentation.
pub fn free_bytes(root: &Root) -> Result<u64, ReadError> {
    let mut reading = Reading::new(root);
    let pools = reading.pools(MACHINE, Scope::Machine);
    reading.problems.into_iter().next().map_or_else(|| Ok(sum(&pools)), Err)
}

/// As [`free_bytes`], on one NUMA node; reserved pages are not known per node and not deducted. Zero for a
/// node that does not exist.
///
/// # Errors
/// For any file below `/sys/devices/system/node/node*/hugepages` that deviates from the kernel's
/// documentation.
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

/// The available pages of some pools, as a sum of products: `512 × 2 MB + 4 × 1 GB`, or `0`.
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

/// Reads all information; read errors are listed in the result.
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

/// The file that sets the number of pages of a size, on the machine or on one node.
pub fn control_file(page: PageSize, node: Option<u32>) -> String {
    match node {
        Some(node) => format!("{NODES}/node{node}/hugepages/{}/nr_hugepages", page.directory()),
        None => format!("{MACHINE}/{}/nr_hugepages", page.directory()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(kilobytes: u64, total: u64, free: u64, reserved: u64) -> Pool {
        let page = PageSize::from_kilobytes(kilobytes).unwrap();
        Pool { page, total, free, reserved, surplus: 0, over_commit: 0 }
    }

    #[test]
    fn promised_pages_are_not_available() {
        assert_eq!(pool(2048, 512, 100, 30).available(), 70);
        assert_eq!(pool(2048, 512, 10, 30).available(), 0);
        // Over-commit: EAL sees it only where no page is free, minus the surplus pages in use.
        let over = |free, surplus| Pool { surplus, over_commit: 100, ..pool(2048, 512, free, 0) };
        assert_eq!((over(0, 0).available(), over(0, 30).available(), over(5, 0).available()), (100, 70, 5));
        assert_eq!(sum(&[pool(2048, 512, 100, 30), pool(1_048_576, 2, 1, 0)]), 70 * (2 << 20) + (1 << 30));
    }

    #[test]
    fn free_memory_is_shown_as_a_product() {
        assert_eq!(products(&[pool(2048, 512, 512, 0), pool(1_048_576, 4, 4, 0)]), "512 × 2 MB + 4 × 1 GB");
        assert_eq!(products(&[pool(2048, 512, 0, 0)]), "0");
    }
}
