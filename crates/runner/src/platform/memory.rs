//! Choice between hugepages and ordinary memory. Pure.

use linerate_experiment::document::Hugepages;

/// Bytes of one megabyte of EAL's `-m`.
const MEGABYTE: u64 = 1 << 20;

/// Packet memory of every agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Megabytes per agent.
    pub megabytes: u64,
    /// True for hugepages, false for ordinary memory.
    pub hugepages: bool,
}

impl Memory {
    /// EAL's options.
    pub fn eal_options(self) -> Vec<String> {
        let mut options = if self.hugepages { vec![] } else { vec!["--no-huge".to_owned()] };
        options.extend(["-m".to_owned(), self.megabytes.to_string()]);
        options
    }
}

/// Free hugepages of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreePages {
    /// Bytes of one page.
    pub page_bytes: u64,
    /// Pages available to new processes.
    pub pages: u64,
}

/// Hugepages are demanded and too few are free.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "spec.local.hugepages is always, and the free hugepages suffice for {fit} of {agents} agents of {megabytes} MB: {found}\n  \
     remedy: run `hugepage-check` to see how to reserve more, lower spec.agents.memoryMb, or set spec.local.hugepages to auto"
)]
pub struct TooLittle {
    /// Agents to start.
    pub agents: u64,
    /// Agents that the free pages hold.
    pub fit: u64,
    /// Megabytes per agent.
    pub megabytes: u64,
    /// The free pages, or why they could not be counted.
    pub found: String,
}

/// Decides for `agents` agents of `megabytes` each. Agents do not share pages, so each agent's need is
/// rounded up to whole pages.
///
/// # Errors
/// When hugepages are demanded and too few are free.
pub fn decide(
    wanted: Hugepages,
    agents: u64,
    megabytes: u64,
    free: Result<Vec<FreePages>, String>,
) -> Result<Memory, TooLittle> {
    let (free, problem) = match free {
        Ok(free) => (free, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    let bytes = megabytes.saturating_mul(MEGABYTE);
    let fit = free.iter().map(|free| free.pages / bytes.div_ceil(free.page_bytes).max(1)).sum();
    let hugepages = fit >= agents && wanted != Hugepages::Never;
    if wanted == Hugepages::Always && !hugepages {
        let counts: Vec<String> =
            free.iter().map(|free| format!("{} of {} kB", free.pages, free.page_bytes / 1024)).collect();
        let found =
            problem.unwrap_or_else(|| if counts.is_empty() { "none".into() } else { counts.join(", ") });
        return Err(TooLittle { agents, fit, megabytes, found });
    }
    Ok(Memory { megabytes, hugepages })
}

/// Hugepages available to new processes.
///
/// # Errors
/// Names what could not be read.
pub fn free_hugepages() -> Result<Vec<FreePages>, String> {
    let survey = hugepage_check::hugepages::survey(&hugepage_check::root::Root::host());
    match survey.problems.first() {
        Some(problem) => Err(problem.to_string()),
        None => Ok(survey
            .machine
            .iter()
            .map(|pool| FreePages { page_bytes: pool.page.bytes(), pages: pool.available() })
            .collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hugepages_by_table() {
        // (wanted, free pages of 2 MB and of 1 GB, in hugepages?) for two agents of 256 MB
        for (wanted, small, large, hugepages) in [
            (Hugepages::Auto, 256, 0, Some(true)),
            (Hugepages::Auto, 255, 0, Some(false)),
            (Hugepages::Auto, 0, 1, Some(false)),
            (Hugepages::Auto, 0, 2, Some(true)),
            (Hugepages::Auto, 128, 1, Some(true)),
            (Hugepages::Never, 9999, 9, Some(false)),
            (Hugepages::Always, 256, 0, Some(true)),
            (Hugepages::Always, 0, 1, None),
        ] {
            let pools = [(2 << 20, small), (1 << 30, large)];
            let free = pools.map(|(page_bytes, pages)| FreePages { page_bytes, pages }).to_vec();
            let decided = decide(wanted, 2, 256, Ok(free));
            assert_eq!(decided.ok().map(|memory| memory.hugepages), hugepages, "{wanted:?} {small} {large}");
        }
    }

    #[test]
    fn missing_memory_is_reported() {
        let refusal = |free| decide(Hugepages::Always, 2, 256, free).unwrap_err().to_string();
        let some = refusal(Ok(vec![FreePages { page_bytes: 2 << 20, pages: 128 }]));
        assert!(some.contains("for 1 of 2 agents of 256 MB: 128 of 2048 kB"), "{some}");
        assert!(refusal(Ok(vec![])).contains("MB: none"));
        assert!(refusal(Err("no sysfs".into())).contains("MB: no sysfs"));
        let unknown = decide(Hugepages::Auto, 2, 256, Err("no sysfs".into())).unwrap();
        assert!(!unknown.hugepages);
    }

    #[test]
    fn options_for_eal() {
        let memory = Memory { megabytes: 256, hugepages: false };
        assert_eq!(memory.eal_options(), ["--no-huge", "-m", "256"]);
        assert_eq!(Memory { hugepages: true, ..memory }.eal_options(), ["-m", "256"]);
    }
}
