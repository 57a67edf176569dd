//! A control group with a CPU quota, version 1 or 2, removed when dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PERIOD_US: u64 = 100_000;

pub struct CpuQuota {
    group: PathBuf,
}

impl CpuQuota {
    /// A group with so many thousandths of a CPU. `None` where this user may not make one.
    pub fn new(name: &str, per_mille: u64) -> Option<Self> {
        let quota_us = PERIOD_US * per_mille / 1000;
        let name = format!("linerate-test-{}-{name}", std::process::id());
        let mut v1 = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"].into_iter().map(Path::new);
        if let Some(parent) = v1.find(|parent| parent.join("cpu.cfs_quota_us").exists()) {
            let group = Self { group: parent.join(&name) };
            fs::create_dir(&group.group).ok()?;
            fs::write(group.group.join("cpu.cfs_period_us"), PERIOD_US.to_string()).ok()?;
            fs::write(group.group.join("cpu.cfs_quota_us"), quota_us.to_string()).ok()?;
            return Some(group);
        }
        let parent = Path::new("/sys/fs/cgroup");
        let group = Self { group: parent.join(&name) };
        fs::write(parent.join("cgroup.subtree_control"), "+cpu").ok()?;
        fs::create_dir(&group.group).ok()?;
        fs::write(group.group.join("cpu.max"), format!("{quota_us} {PERIOD_US}")).ok()?;
        Some(group)
    }

    /// The same command, run in the group from its first instruction on.
    pub fn around(&self, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"echo $$ > "$0" && exec "$@""#]).arg(self.group.join("cgroup.procs"));
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell
    }
}

impl Drop for CpuQuota {
    fn drop(&mut self) {
        // Processes that were killed leave the group a moment later.
        let begun = Instant::now();
        while fs::remove_dir(&self.group).is_err() && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
