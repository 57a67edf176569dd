//! The pages that EAL allocates for `--socket-mem`, for one process after another.
//!
//! Source: DPDK's `lib/eal/linux/eal_hugepage_info.c` (visible pages) and
//! `lib/eal/common/eal_common_dynmem.c` (allocation). EAL sees the free pages of each node; only for a size
//! without free pages on any node does it see the machine's count, including over-commit, as pages of node 0.
//! It allocates whole pages, the largest size first, and smaller sizes where they suffice.

use super::{PageSize, Survey};
use crate::requirements::MEGABYTE;

/// The pages of one size.
#[derive(Debug, Clone)]
struct Stock {
    page: PageSize,
    /// Free pages by node.
    nodes: Vec<u64>,
    /// Free pages of the machine that are not reserved, on any node.
    unpromised: u64,
    /// Pages that the kernel may add on demand.
    over_commit: u64,
    /// Pages allocated by processes.
    taken: u64,
}

impl Stock {
    /// Pages on a node that a process starting now sees.
    fn seen(&self, node: usize) -> u64 {
        if self.nodes.iter().any(|free| *free > 0) {
            self.nodes.get(node).copied().unwrap_or(0)
        } else if node == 0 {
            self.unpromised.saturating_add(self.over_commit)
        } else {
            0
        }
    }

    /// Allocates pages that a process has seen on a node.
    fn take(&mut self, node: usize, pages: u64) {
        if let Some(free) = self.nodes.get_mut(node) {
            *free = free.saturating_sub(pages);
        }
        let there = self.unpromised.min(pages);
        self.unpromised -= there;
        // The kernel adds missing pages within its limit.
        self.over_commit = self.over_commit.saturating_sub(pages - there);
        self.taken += pages;
    }

    /// Pages that can be mapped in total.
    fn mappable(&self) -> u64 {
        self.unpromised.saturating_add(self.over_commit)
    }
}

/// A process that does not get its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Number of the process, from 1.
    pub(crate) process: u32,
    /// The node with too little memory.
    pub(crate) node: u32,
    /// Bytes that EAL finds there for the process.
    pub(crate) found: u64,
    /// Bytes that all processes together lack on each node, in whole pages of the usual size.
    pub(crate) missing: Vec<u64>,
    /// True when the pages are free but reserved by others.
    pub(crate) promised: bool,
}

/// The pages that processes allocate one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Pages of each size, largest first.
    pub(crate) pages: Vec<(PageSize, u64)>,
    /// Bytes from over-commit: the kernel adds their pages on demand.
    pub(crate) over_commit: u64,
}

/// Simulates the start of `processes` that each want these megabytes on node 0, node 1, …
///
/// # Errors
/// The first process that EAL refuses, and the memory that all of them lack.
pub(crate) fn start(wanted: &[u64], processes: u32, survey: &Survey) -> Result<Taken, Refusal> {
    let mut stock = stock(survey);
    let over_commit_of = |stock: &[Stock]| -> u64 {
        stock.iter().map(|stock| stock.over_commit.saturating_mul(stock.page.bytes())).sum()
    };
    let before = over_commit_of(&stock);
    let page = survey.usual_page().map_or(1, PageSize::bytes);
    let mut refusal: Option<Refusal> = None;
    for process in 1..=processes {
        for (node, &megabytes) in wanted.iter().enumerate() {
            let bytes = megabytes.saturating_mul(MEGABYTE);
            let Err((found, promised)) = take(bytes, node, &mut stock) else { continue };
            let refused = refusal.get_or_insert_with(|| Refusal {
                process,
                node: node as u32,
                found,
                missing: vec![0; wanted.len()],
                promised,
            });
            refused.missing[node] =
                refused.missing[node].saturating_add(whole(bytes - found.min(bytes), page));
            // All later processes find no more memory: they need the same.
            let later = u64::from(processes - process);
            if let (true, 0) = (later > 0, found) {
                let each = whole(bytes, page);
                refused.missing[node] = refused.missing[node].saturating_add(each.saturating_mul(later));
                return Err(refused.clone());
            }
        }
    }
    match refusal {
        Some(refusal) => Err(refusal),
        None => Ok(Taken {
            over_commit: before - over_commit_of(&stock),
            pages: stock.iter().map(|stock| (stock.page, stock.taken)).collect(),
        }),
    }
}

fn whole(bytes: u64, page: u64) -> u64 {
    bytes.checked_next_multiple_of(page).unwrap_or(u64::MAX)
}

/// The machine's pages, largest size first, as EAL sorts them.
fn stock(survey: &Survey) -> Vec<Stock> {
    let nodes = survey.nodes.iter().map(|node| node.id as usize + 1).max().unwrap_or(0);
    let of = |pool: &super::Pool| {
        let mut free = vec![0; nodes];
        for node in &survey.nodes {
            let on_node = node.pools.iter().find(|other| other.page == pool.page);
            free[node.id as usize] = on_node.map_or(0, |pool| pool.free);
        }
        Stock {
            page: pool.page,
            nodes: free,
            unpromised: pool.free.saturating_sub(pool.reserved),
            over_commit: pool.over_commit_left(),
            taken: 0,
        }
    };
    survey.machine.iter().rev().map(of).collect()
}

/// Allocates a process's memory on a node, or returns the bytes that EAL finds there and whether found pages
/// are reserved.
fn take(bytes: u64, node: usize, stock: &mut [Stock]) -> Result<(), (u64, bool)> {
    let mut rest = bytes;
    let mut plan = Vec::new();
    for (i, size) in stock.iter().enumerate() {
        if rest == 0 {
            break;
        }
        let (page, seen) = (size.page.bytes(), size.seen(node));
        let mut pages = (rest / page).min(seen);
        rest -= pages * page;
        if rest > 0 && pages < seen {
            let smaller = stock[i + 1..].iter().fold(0_u64, |bytes, size| {
                bytes.saturating_add(size.seen(node).saturating_mul(size.page.bytes()))
            });
            if smaller < rest {
                pages += 1;
                rest = 0;
            }
        }
        plan.push((i, pages));
    }
    let promised = plan.iter().any(|&(i, pages)| pages > stock[i].mappable());
    for &(i, pages) in &plan {
        stock[i].take(node, pages);
    }
    if rest > 0 || promised {
        return Err((bytes - rest, promised));
    }
    Ok(())
}
