//! Behaviour of a polling loop without work. The decision is pure.

use std::fmt;

/// What a polling loop does while there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Idle {
    /// Looks again at once. For a CPU of its own.
    Spin,
    /// Lets other threads run first. For loops that share CPUs with each other: one that spins through its time slice keeps the others
    /// waiting for milliseconds.
    Yield,
    /// Sleeps for about 0.1 ms. For a control group with a CPU quota: one that spins uses the quota up, and the kernel then stops all of them
    /// for the rest of the period, tens of milliseconds.
    Sleep,
}

impl Idle {
    /// The choice for `workers` polling workers, some of which share a CPU when `share` is true, under a
    /// quota in CPUs.
    pub fn fitting(workers: usize, share: bool, quota_cpus: Option<f64>) -> Self {
        if quota_cpus.is_some_and(|quota| quota < workers as f64) {
            Idle::Sleep
        } else if share {
            Idle::Yield
        } else {
            Idle::Spin
        }
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Idle::Spin => "spin",
            Idle::Yield => "yield",
            Idle::Sleep => "sleep",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_spin_only_on_cpus_of_their_own() {
        for (workers, share, quota, expected) in [
            (1, false, None, Idle::Spin),
            (2, true, None, Idle::Yield),
            (2, false, Some(2.0), Idle::Spin),
            (2, true, Some(4.0), Idle::Yield),
            (2, true, Some(1.5), Idle::Sleep),
            (1, false, Some(0.5), Idle::Sleep),
        ] {
            assert_eq!(Idle::fitting(workers, share, quota), expected, "{workers} {share} {quota:?}");
        }
    }
}
