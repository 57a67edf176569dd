//! Reads pools and the default size from sysfs and procfs.

use super::{MEMINFO, NODES, Node, PageSize, Pool};
use crate::check::Evidence;
use crate::root::{ReadError, Reason, Root, excerpt};

/// Scope of the pools: reserved pages are known for the machine only.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scope {
    Machine,
    Node,
}

/// Pages that the kernel may add; very old kernels lack the file.
const OVER_COMMIT: &str = "nr_overcommit_hugepages";

/// Pools being read, and the read errors.
pub(super) struct Reading<'a> {
    root: &'a Root,
    pub(super) problems: Vec<ReadError>,
    pub(super) evidence: Vec<Evidence>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(root: &'a Root) -> Self {
        Self { root, problems: Vec::new(), evidence: Vec::new() }
    }

    fn problem(&mut self, error: ReadError) {
        self.evidence.push(Evidence::from(&error));
        self.problems.push(error);
    }

    pub(super) fn nodes(&mut self) -> Vec<Node> {
        let names = match self.root.names(NODES) {
            Ok(names) => names,
            // A kernel without NUMA has no such directory; without sysfs, reading the machine's pools fails.
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

    pub(super) fn pools(&mut self, dir: &str, scope: Scope) -> Vec<Pool> {
        let names = match self.root.names(dir) {
            Ok(names) => names,
            // A node with CPUs but without memory has no pools.
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
                        Scope::Machine if pool.over_commit > 0 => {
                            format!(", reserved {}, over-commit {}", pool.reserved, pool.over_commit)
                        }
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
        over_commit: if scope == Scope::Machine
            && root.read_if_there(&format!("{path}/{OVER_COMMIT}"))?.is_some()
        {
            count(OVER_COMMIT)?
        } else {
            0
        },
    })
}

fn parse_directory(name: &str) -> Option<PageSize> {
    let kilobytes = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    PageSize::from_kilobytes(kilobytes)
}

/// The default page size.
pub(super) fn read_default_page(root: &Root) -> Result<PageSize, ReadError> {
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

    fn page(kilobytes: u64) -> PageSize {
        PageSize::from_kilobytes(kilobytes).unwrap()
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
}
