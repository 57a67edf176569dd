//! Where lcores run when nobody has said: main lcore 0 and workers 1…n among the CPUs that the process may use.

/// EAL's `--lcores` for a main lcore and `workers` workers on the CPUs `allowed`, ascending and at least one.
///
/// `granted` is how many CPUs the process was promised, as a pod's request says. When it may use exactly so many, they are its own
/// and every lcore is pinned to one; the main lcore, which sleeps, shares the last worker's when they do not suffice. When it may use more, they are shared
/// with others, and pinning would put all of them on the same ones: then every lcore may run on all, and the kernel spreads them.
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
