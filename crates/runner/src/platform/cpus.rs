//! Placement of lcores on CPUs. Pure.

use std::collections::BTreeSet;

use super::PlatformError;

/// CPUs of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCpus {
    /// CPU of the main lcore, which sleeps most of the time.
    pub main: usize,
    /// CPU of each worker lcore, which polls.
    pub workers: Vec<usize>,
}

impl AgentCpus {
    /// Value of EAL's `--lcores`: lcore 0 is the main one, the workers follow.
    pub fn lcores(&self) -> String {
        let cpus = std::iter::once(self.main).chain(self.workers.iter().copied());
        let maps: Vec<String> = cpus.enumerate().map(|(lcore, cpu)| format!("{lcore}@{cpu}")).collect();
        maps.join(",")
    }
}

/// CPUs of one pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairCpus {
    /// The transmitter's.
    pub tx: AgentCpus,
    /// The receiver's.
    pub rx: AgentCpus,
}

/// CPUs of all pairs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// In the order of the pairs.
    pub pairs: Vec<PairCpus>,
    /// True when workers share CPUs and slow each other down.
    pub workers_share: bool,
}

impl Placement {
    /// Value of the data plane's `--idle` under a quota in CPUs for all agents together; `None` leaves the
    /// choice to the agents, because each has CPUs of its own. An agent sees neither the other agents'
    /// workers nor their share of the quota.
    pub fn idle(&self, quota_cpus: Option<f64>) -> Option<&'static str> {
        let workers: usize =
            self.pairs.iter().map(|pair| pair.tx.workers.len() + pair.rx.workers.len()).sum();
        if quota_cpus.is_some_and(|quota| quota < workers as f64) {
            Some("sleep")
        } else if self.workers_share {
            Some("yield")
        } else {
            None
        }
    }
}

/// Places the agents of `pairs` pairs with `tx` and `rx` workers each on the `allowed` CPUs.
///
/// If there is a CPU for each worker and one more, all main lcores share the first CPU. Otherwise the workers
/// take the CPUs in turn, and a main lcore shares a CPU with its agent's first worker. An empty set stands
/// for CPU 0.
pub fn place(allowed: &BTreeSet<usize>, pairs: usize, tx: usize, rx: usize) -> Placement {
    let allowed: Vec<usize> = if allowed.is_empty() { vec![0] } else { allowed.iter().copied().collect() };
    let workers = pairs * (tx + rx);
    let roomy = allowed.len() > workers;
    let for_workers = if roomy { &allowed[1..] } else { &allowed[..] };
    let mut turn = for_workers.iter().copied().cycle();
    let mut agent = |count: usize| {
        let workers: Vec<usize> = turn.by_ref().take(count).collect();
        let main = if roomy { allowed[0] } else { workers.first().copied().unwrap_or(allowed[0]) };
        AgentCpus { main, workers }
    };
    let pairs = (0..pairs).map(|_| PairCpus { tx: agent(tx), rx: agent(rx) }).collect();
    Placement { pairs, workers_share: workers > allowed.len() }
}

/// CPUs that this process may run on.
///
/// # Errors
/// When the kernel does not report them.
pub fn allowed() -> Result<BTreeSet<usize>, PlatformError> {
    let set =
        rustix::thread::sched_getaffinity(None).map_err(|error| PlatformError::Cpus(error.to_string()))?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placements_by_table() {
        // (allowed, pairs, tx, rx, lcores per agent: tx0 rx0 tx1 rx1…, workers share)
        type Row = (&'static [usize], usize, usize, usize, &'static [&'static str], bool);
        let rows: &[Row] = &[
            (&[0], 1, 1, 1, &["0@0,1@0", "0@0,1@0"], true),
            (&[0, 1], 1, 1, 1, &["0@0,1@0", "0@1,1@1"], false),
            (&[3, 9], 1, 1, 1, &["0@3,1@3", "0@9,1@9"], false),
            (&[0, 1, 2], 1, 1, 1, &["0@0,1@1", "0@0,1@2"], false),
            (&[0, 1, 2, 3], 1, 1, 1, &["0@0,1@1", "0@0,1@2"], false),
            (&[0, 1, 2, 3], 1, 2, 1, &["0@0,1@1,2@2", "0@0,1@3"], false),
            (&[0, 1, 2, 3], 1, 2, 2, &["0@0,1@0,2@1", "0@2,1@2,2@3"], false),
            (&[0, 1, 2, 3], 2, 1, 1, &["0@0,1@0", "0@1,1@1", "0@2,1@2", "0@3,1@3"], false),
            (
                &[0, 1, 2, 3],
                3,
                1,
                1,
                &["0@0,1@0", "0@1,1@1", "0@2,1@2", "0@3,1@3", "0@0,1@0", "0@1,1@1"],
                true,
            ),
            (
                &[0, 1, 2, 3, 4, 5, 6, 7],
                2,
                2,
                1,
                &["0@0,1@1,2@2", "0@0,1@3", "0@0,1@4,2@5", "0@0,1@6"],
                false,
            ),
            (&[0, 2, 4, 10, 11, 12, 20, 21], 1, 3, 2, &["0@0,1@2,2@4,3@10", "0@0,1@11,2@12"], false),
            (&[], 1, 1, 1, &["0@0,1@0", "0@0,1@0"], true),
        ];
        for (cpus, pairs, tx, rx, expected, share) in rows {
            let placement = place(&cpus.iter().copied().collect(), *pairs, *tx, *rx);
            let lcores: Vec<String> =
                placement.pairs.iter().flat_map(|pair| [pair.tx.lcores(), pair.rx.lcores()]).collect();
            assert_eq!(lcores, *expected, "{cpus:?} {pairs} {tx} {rx}");
            assert_eq!(placement.workers_share, *share, "{cpus:?} {pairs} {tx} {rx}");
        }
    }

    #[test]
    fn this_process_may_run_somewhere() {
        assert!(!allowed().unwrap().is_empty());
    }
}
