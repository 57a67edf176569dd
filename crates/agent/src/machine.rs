//! The agent's machine, read from procfs and sysfs. Unreadable values are absent.

use std::fs;
use std::path::Path;

use linerate_wire::host::{HostInfo, HugepagePool};

/// The machine's present state. Call before EAL starts: EAL pins this thread and takes hugepages.
pub fn machine() -> HostInfo {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    HostInfo {
        hostname: line("/proc/sys/kernel/hostname"),
        kernel: line("/proc/sys/kernel/osrelease"),
        kernel_command_line: line("/proc/cmdline"),
        os: value(&os, "PRETTY_NAME", '=').map(|name| name.trim_matches('"').to_owned()),
        architecture: std::env::consts::ARCH.to_owned(),
        // Some ARM kernels use the second name.
        cpu_model: value(&cpuinfo, "model name", ':').or_else(|| value(&cpuinfo, "Model", ':')),
        cpus_online: line("/sys/devices/system/cpu/online"),
        cpus_allowed: value(&status, "Cpus_allowed_list", ':'),
        cpus_isolated: fs::read_to_string("/sys/devices/system/cpu/isolated")
            .ok()
            .map(|text| text.trim().to_owned()),
        smt: line("/sys/devices/system/cpu/smt/active").map(|active| active == "1"),
        numa_nodes: line("/sys/devices/system/node/online"),
        governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        virtual_machine: value(&cpuinfo, "flags", ':')
            .map(|flags| flags.split_ascii_whitespace().any(|flag| flag == "hypervisor")),
        memory_kib: value(&meminfo, "MemTotal", ':')
            .and_then(|text| text.trim_end_matches("kB").trim().parse().ok()),
        hugepages: hugepages(Path::new("/sys/kernel/mm/hugepages")),
    }
}

fn line(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The value of the first line `key <separator> value`.
fn value(text: &str, key: &str, separator: char) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(separator));
    pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
}

fn hugepages(directory: &Path) -> Vec<HugepagePool> {
    let mut pools: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let size_kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let pages = |file| line(path.join(file))?.parse().ok();
            Some(HugepagePool { size_kib, total: pages("nr_hugepages")?, free: pages("free_hugepages")? })
        })
        .collect();
    pools.sort_by_key(|pool| pool.size_kib);
    pools
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_key() {
        let text = "Model : board\nmodel\t\t: 85\nmodel name\t: A: B\nmodel name\t: other\n";
        assert_eq!(value(text, "model name", ':').as_deref(), Some("A: B"));
        assert_eq!(value(text, "mode", ':'), None);
    }

    #[test]
    fn this_machine_is_described() {
        let host = machine();
        assert!(host.kernel.is_some() && host.cpus_online.is_some() && host.memory_kib > Some(0), "{host:?}");
    }
}
