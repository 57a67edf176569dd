//! Which pages EAL takes for `--socket-mem`, process by process.
//!
//! Source: DPDK's `lib/eal/linux/eal_hugepage_info.c` (which pages it sees) and
//! `lib/eal/common/eal_common_dynmem.c` (which of them it takes). EAL sees the free pages of each node; only of a
//! size that no node has free does it see what the machine reports, over-commit included, as pages of node 0. It
//! takes whole pages, the largest size first, and of the smaller sizes where they suffice.

use super::{PageSize, Survey};
use crate::requirements::MEGABYTE;

/// The pages of one size.
#[derive(Debug, Clone)]
struct Stock {
    page: PageSize,
    /// Free pages by node.
    nodes: Vec<u64>,
    /// Free pages of the machine that are not promised, whatever node they lie on.
    unpromised: u64,
    /// Pages that the kernel may add when they are asked for.
    over_commit: u64,
    /// Pages that processes have taken.
    taken: u64,
}

impl Stock {
    /// Pages on a node, as a process that starts now sees them.
    fn seen(&self, node: usize) -> u64 {
        if self.nodes.iter().any(|free| *free > 0) {
            self.nodes.get(node).copied().unwrap_or(0)
        } else if node == 0 {
            self.unpromised.saturating_add(self.over_commit)
        } else {
            0
        }
    }

    /// Takes pages that a process has seen on a node.
    fn take(&mut self, node: usize, pages: u64) {
        if let Some(free) = self.nodes.get_mut(node) {
            *free = free.saturating_sub(pages);
        }
        let there = self.unpromised.min(pages);
        self.unpromised -= there;
        // What the machine does not have the kernel adds, as far as it may.
        self.over_commit = self.over_commit.saturating_sub(pages - there);
        self.taken += pages;
    }

    /// Pages that can be mapped at all.
    fn mappable(&self) -> u64 {
        self.unpromised.saturating_add(self.over_commit)
    }
}

/// A process that does not get its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Which process, from 1.
    pub(crate) process: u32,
    /// The node that has too little.
    pub(crate) node: u32,
    /// Bytes that EAL finds there for it.
    pub(crate) found: u64,
    /// Bytes that all processes together lack on each node, in whole pages of the usual size for each.
    pub(crate) missing: Vec<u64>,
    /// The pages are free and promised to others.
    pub(crate) promised: bool,
}

/// The pages that processes take one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Pages of each size, largest first.
    pub(crate) pages: Vec<(PageSize, u64)>,
    /// Bytes that are not set aside: the kernel adds their pages when they are asked for.
    pub(crate) over_commit: u64,
}

/// Starts `processes` that want so many megabytes on node 0, node 1, … each.
///
/// # Errors
/// The first process that EAL refuses, and what all of them lack.
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
            // All that follow find no more: their need is the same.
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

/// Takes a process's memory on a node, or tells what EAL finds there and whether pages that it finds are promised.
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
