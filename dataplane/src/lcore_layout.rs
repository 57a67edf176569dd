//! Default placement of lcores: main lcore 0 and workers 1…n on the CPUs that the process may use.

/// EAL's `--lcores` for a main lcore and `workers` workers on the CPUs `allowed`, ascending and at least one.
///
/// `granted` is the number of CPUs that the process was granted, as a pod's request states. When the process
/// may use exactly this number, the CPUs are exclusive and every lcore is pinned to one; if they do not
/// suffice, the main lcore, which sleeps, shares the last worker's. When the process may use more, it shares
/// them with other processes, and pinning would put all of these on the same CPUs: every lcore may then run
/// on all CPUs, and the kernel distributes them.
pub fn lcores(allowed: &[usize], workers: usize, granted: usize) -> String {
    let list = |cpus: &[usize]| cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    if allowed.len() > granted {
        let all = list(allowed);
        return (0..=workers).map(|lcore| format!("{lcore}@({all})")).collect::<Vec<_>>().join(",");
    }
    let spare = allowed.len() > workers;
    let cpu = |lcore: usize| match (lcore, spare) {
        (lcore, true) => allowed[lcore],
        (0, false) => allowed[allowed.len() - 1],
        (lcore, false) => allowed[(lcore - 1) % allowed.len()],
    };
    (0..=workers).map(|lcore| format!("{lcore}@{}", cpu(lcore))).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_cpus_are_pinned_and_shared_ones_are_not() {
        for (allowed, workers, granted, expected) in [
            (&[4, 7][..], 1, 2, "0@4,1@7"),
            (&[4, 7, 9], 1, 3, "0@4,1@7"),
            (&[4, 7, 9], 2, 4, "0@4,1@7,2@9"),
            (&[3], 1, 1, "0@3,1@3"),
            (&[3, 8], 2, 2, "0@8,1@3,2@8"),
            (&[3, 8], 3, 2, "0@8,1@3,2@8,3@3"),
            (&[0, 1], 1, 1, "0@(0,1),1@(0,1)"),
        ] {
            assert_eq!(lcores(allowed, workers, granted), expected, "{allowed:?} {workers} {granted}");
        }
    }
}
