//! The CPU quota of this process's control groups, and the time for which it has throttled them.
//!
//! Source: `cpu.max` and `cpu.stat` (version 2), `cpu.cfs_quota_us` and `cpu.stat` (version 1) of the cgroup
//! and those above it; kernel `Documentation/admin-guide/cgroup-v2.rst` and
//! `Documentation/scheduler/sched-bwc.rst`.

use crate::cgroup::{self, Cgroup};
use crate::cpu::smallest_quota;
use crate::root::{ReadError, Root};

/// The control groups whose CPU quota applies to this process.
#[derive(Debug, Clone, PartialEq)]
pub struct CpuLimit {
    group: Cgroup,
    /// The smallest quota among them, in CPUs; `None` when there is none.
    pub quota_cpus: Option<f64>,
}

/// Throttling of a group since its creation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Throttled {
    /// Periods in which the group used up its quota.
    pub periods: u64,
    /// Seconds for which the group was throttled, summed over its CPUs.
    pub stopped_s: f64,
}

impl CpuLimit {
    /// Finds the groups; `None` where no mounted hierarchy has the controller.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    pub fn find(root: &Root) -> Result<Option<Self>, ReadError> {
        let Some(group) = cgroup::find(root, "cpu")? else { return Ok(None) };
        let quota_cpus = smallest_quota(root)?;
        Ok(Some(Self { group, quota_cpus }))
    }

    /// Throttling of each group so far, the process's own group first. Groups without statistics are left
    /// out.
    pub fn throttled(&self, root: &Root) -> Vec<Throttled> {
        let read = |dir: &String| cgroup::read(root, dir, "cpu.stat").ok().flatten();
        self.group.dirs.iter().filter_map(read).filter_map(|text| parse(&text)).collect()
    }
}

/// `cpu.stat`: version 1 has `throttled_time` in nanoseconds, version 2 `throttled_usec`.
fn parse(text: &str) -> Option<Throttled> {
    let value = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    };
    let stopped_s = value("throttled_usec")
        .map(|us| us as f64 / 1e6)
        .or_else(|| value("throttled_time").map(|ns| ns as f64 / 1e9))?;
    Some(Throttled { periods: value("nr_throttled")?, stopped_s })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn both_versions_give_the_time_a_group_was_stopped() {
        let v1 = "nr_periods 20\nnr_throttled 9\nthrottled_time 410000000\n";
        let v2 = "usage_usec 1\nnr_periods 20\nnr_throttled 9\nthrottled_usec 410000\nnr_bursts 0\n";
        for text in [v1, v2] {
            assert_eq!(parse(text), Some(Throttled { periods: 9, stopped_s: 0.41 }), "{text}");
        }
        for text in ["", "usage_usec 1\n", "nr_throttled x\nthrottled_time 1\n"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn quota_and_stops_of_all_groups_above_are_found() {
        let mounts = [
            "29 24 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
            "30 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        ];
        for (groups, mounts, dir, quota) in [
            ("4:cpu:/a\n", mounts[0], "sys/fs/cgroup/cpu", ["cpu.cfs_quota_us", "50000\n"]),
            ("0::/a\n", mounts[1], "sys/fs/cgroup", ["cpu.max", "50000 100000\n"]),
        ] {
            let tree = tempfile::tempdir().unwrap();
            let write = |path: &str, text: &str| {
                let path = tree.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            write("proc/self/cgroup", groups);
            write("proc/self/mountinfo", mounts);
            write(&format!("{dir}/cgroup.procs"), "");
            write(&format!("{dir}/a/{}", quota[0]), quota[1]);
            write(&format!("{dir}/a/cpu.cfs_period_us"), "100000\n");
            write(&format!("{dir}/a/cpu.stat"), "nr_throttled 2\nthrottled_time 5000000\n");
            let root = Root::at(tree.path());
            let limit = CpuLimit::find(&root).unwrap().unwrap();
            assert_eq!(limit.quota_cpus, Some(0.5));
            assert_eq!(limit.throttled(&root), [Throttled { periods: 2, stopped_s: 0.005 }]);
        }
    }
}
